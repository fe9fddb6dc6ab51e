"""The page as Markdown: the answer, tables, gates and notes, cut at a size that GitHub still shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports import distilled
from reports.accuracy import AccuracyTable
from reports.answer import Answer
from reports.confidence import ConfidenceTable
from reports.context import Context
from reports.numbers import figure_text, signed, significant
from reports.perplexities import WORDS, PerplexityTable
from reports.tables import Row, Table
from reports.terminal import ORDER, cell_text, verdict_text

BYTES = 900_000  # a step summary on GitHub takes 1 MiB and drops anything longer whole


def markdown(context: Context) -> str:
    parts = [f"# {context.title}", *(f"**{line.lead}** {line.rest}" for line in context.headlines)]
    if context.common:
        parts.append(f"Every case: {', '.join(context.common)}.")
    for section in context.sections:
        parts.append(f"## {section.table.model}: {section.table.title}\n\n{_damage(section.table)}")
        parts += [_answers(*block) for block in section.blocks]
        parts += [
            f"### {plain.title}\n\n{table_of(plain.head, plain.rows, plain.words)}\n\n{escaped(plain.caption)}"
            for plain in section.plain
        ]
    parts += [f"## {t.model} on {t.text}: perplexity\n\n{_perplexity(t)}" for t in context.perplexities]
    for accuracy in context.accuracies:
        title = f"## {accuracy.model}: mean accuracy of {len(accuracy.tasks)} tasks, %"
        parts.append(f"{title}\n\n{accuracy_markdown(accuracy)}")
    for confidence in context.confidence:
        parts.append(f"## {confidence.model}: changed answers and confidence\n\n{confidence_markdown(confidence)}")
    for images in context.distilled:
        parts.append(f"## {images.model}: networks trained on distilled images\n\n{distilled.markdown(images)}")
    counts = ", ".join(f"{context.counts[o]} {o}" for o in ORDER if context.counts[o]) or "none was judged"
    parts.append(f"## Gates: {counts}")
    shown = [v for o in ORDER for v in context.verdicts if v.outcome == o]
    parts.append("\n".join(f"- {escaped(verdict_text(v))}" for v in shown))
    if context.notes:
        parts.append("## Repaired, skipped or missing\n\n" + "\n".join(f"- {escaped(line)}" for line in context.notes))
    text = "\n\n".join(part for part in parts if part) + "\n"
    if len(text.encode()) > BYTES:
        text = text.encode()[:BYTES].decode(errors="ignore") + "\n\n(cut here: see report.html)\n"
    return text


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """The first ``words`` columns to the left, the others, numbers, to the right."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return "\n".join([*lines, *(f"| {' | '.join(map(escaped, row))} |" for row in rows)])


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _damage(table: Table) -> str:
    def cell(row: Row, source: str) -> str:
        return cell_text(table, row, source).strip() if source in row.cells else ""

    if table.upright:
        names = [row.group.method_name for row in table.held]
        body = table_of(["source", *names], ([s, *(cell(row, s) for row in table.held)] for s in table.sources))
    else:
        rows = ([row.group.method_name, *(cell(row, s) for s in table.sources)] for row in table.held)
        body = table_of(["method", *table.sources], rows)
    dense = "" if table.dense is None else f" Dense: {table.dense * table.scale:.{table.digits}f}."
    text = f"{body}\n\nMean ± SD over draws; \\* lowest source, = not told apart from it.{dense}"
    for reason, names in table.without:
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        text += f"\n{reason[:1].upper()}{reason[1:]}: {escaped(', '.join(names[:6]))}{more}."
    return text


def _answers(setting: str, members: Sequence[Answer], lead: str) -> str:
    lines = [f"At {setting}: {lead}".rstrip(": ") + "\n"] if setting else []
    for answer in members:
        gap = f"; {answer.gap}" if answer.gap else ""
        draws = f" Another draw: {answer.draws}." if answer.draws else ""
        named = {"yes": answer.source, "partly": answer.source, "refused": f"{answer.source}?"}
        shown = named.get(answer.sure, "undecided" if answer.sure == "no" else "open")
        lines.append(escaped(f"- `{answer.method}`: {shown}; {answer.words}{gap}.{draws}"))
    return "\n".join(lines)


def _perplexity(table: PerplexityTable) -> str:
    rows = (
        [r.method, r.source, str(r.draws), *(_spread(r.mean[metric], r.sd[metric]) for metric in WORDS)]
        for r in table.rows
    )
    body = table_of(["method", "source", "draws", *WORDS.values()], rows, 2)
    return f"{body}\n\nMean ± SD over draws, of {table.texts} texts."


def _spread(mean: float, sd: float | None) -> str:
    return significant(mean) + ("" if sd is None else f" ±{significant(sd, mean)}" if sd else " ±0")


def accuracy_markdown(table: AccuracyTable) -> str:
    """The papers' table; best and worst source by mean, without a test."""

    def cell(row: Any, source: str) -> str:
        if source not in row.draws:
            return ""
        sd = row.sd_of(source)
        text = f"{100 * row.draws[source].mean():.1f}"
        return text + ("" if sd is None else f" ±{100 * sd:.2f}" if sd else " ±0")

    rows = (
        [
            row.method, *(cell(row, s) for s in table.sources), "" if row.sd is None else f"{100 * row.sd:.2f}",
            "" if row.range is None else f"{100 * row.range:.1f}", ", ".join(row.ends or ()),
        ]
        for row in table.rows
    )  # fmt: skip
    body = table_of(["method", *table.sources, "SD", "range", "best, worst"], rows)
    dense = "" if table.dense is None else f" Dense: {100 * table.dense:.1f}."
    return (
        f"{body}\n\nEvery task has the same weight; mean ± SD over draws. SD: pooled over sources; range: best minus "
        f"worst draw of one source.{dense}"
    )


def confidence_markdown(table: ConfidenceTable) -> str:
    head = ["method", "draws", "accuracy, %", "right → wrong, %", "wrong → right, %", "gap", "ECE", "Brier", "NLL"]
    rows = (
        [
            r.method, str(r.draws), figure_text(r.accuracy, r.accuracy_sd, 1, 100), figure_text(r.worse, None, 1, 100),
            figure_text(r.better, None, 1, 100), "" if r.gap is None else signed(100 * r.gap, 1),
            figure_text(r.ece, r.ece_sd, 1, 100), figure_text(r.brier, r.brier_sd, 3), figure_text(r.nll, r.nll_sd, 2),
        ]
        for r in table.overall
    )  # fmt: skip
    words = f" Without a choice, so no ECE, gap or Brier score: {', '.join(table.words)}." if table.words else ""
    return (
        f"{table_of(head, rows)}\n\nMeans over {len(table.tasks)} tasks of equal weight ± SD over draws. Gap: "
        f"confidence minus accuracy; ECE: ten bins; both in points. Brier: 0 to 2; NLL: nats.{words}"
    )
