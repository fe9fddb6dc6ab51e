"""Figures of what was swept, on neutral text: sparsity, amount, self-written text, reconstruction. From records alone.

Every function takes a ``World`` and gives tables; a model or method whose records do not hold a sweep gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.claims import rules
from benchmarks.claims.amounts import TOLERANCE, amounts, fullest, left_out, paired, stack, swept
from benchmarks.claims.common import generator
from benchmarks.claims.contrasts import similarities
from benchmarks.claims.evidence import Effect
from benchmarks.claims.panels import NoEvidence, Panel, View
from benchmarks.claims.reconstructed import final
from benchmarks.claims.selfmade import WORDS
from benchmarks.claims.world import World, ordinary
from benchmarks.likeness import FEWEST, MADE
from compressors.method import parse
from fixtures.records import label
from reports.groups import is_calibrated
from reports.statistics import source_range
from reports.statistics.one_way import one_way
from reports.statistics.rank_association import rank_association

OUTCOME = "nll"
TARGETS = 4  # fewer sparsities and patterns make no sweep
AMOUNTS = 3
SOURCES = 3  # fewer say nothing of how sources vary
WRITTEN = "selfgen"
MEASURES = {"jaccard-3": 1, "js-1": -1, "perplexity": -1}  # published, of words, of the model; the sign of more alike
BESIDE = r"train\(.*\)|corpus"  # shown with what the model wrote


@dataclass(frozen=True)
class Sweep:
    """One table: ``rows`` are what the figure draws; ``head`` and ``lines`` what a page shows."""

    kind: str
    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    rows: tuple[dict[str, Any], ...]
    note: str = ""


def neutral_views(world: World) -> Iterator[View]:
    """Of every panel of ordinary draws that has the dense model's record and neutral text."""
    for panel in world.panels:
        if ordinary(panel.case) and panel.calibrated:
            try:
                yield panel.view(OUTCOME)
            except NoEvidence:
                continue


def by_sparsity(world: World) -> Iterator[Sweep]:
    """The SD between sources at every sparsity and pattern, its interval, its null and its share of the damage."""
    head = (
        "method", "sources x draws", "damage", "of the worst source", "magnitude", "SD between sources", "interval",
        "of the damage", "largest gap", "draws alone (95th percentile)",
    )  # fmt: skip
    for view in neutral_views(world):
        for algorithm, every in _targets(view.panel):
            methods, sources = _shared(view.panel, every)
            if len(methods) < TARGETS:
                continue
            rows = tuple({"algorithm": algorithm, **_component(view, method, sources)} for method in methods)
            yield Sweep("sparsity", f"{view.panel.name}: {algorithm}", head, tuple(map(_sparsity_line, rows)), rows)


def _shared(panel: Panel, methods: Sequence[str]) -> tuple[list[str], list[str]]:
    """The most methods that share enough sources, and those: one that was run on few takes no other away."""
    best: tuple[list[str], list[str]] = ([], [])
    for sources in (panel.real([method]) for method in methods):
        held = [m for m in methods if set(sources) <= set(panel.real([m]))]
        if len(sources) >= SOURCES and (len(held), len(sources)) > (len(best[0]), len(best[1])):
            best = (held, sources)
    return best


def _targets(panel: Panel) -> Iterator[tuple[str, list[str]]]:
    """(algorithm, its methods by sparsity and then by pattern), enough of them with two draws of a source."""
    found: dict[str, list[tuple[tuple[bool, float, str], str]]] = {}
    for method in panel.calibrated:
        parsed = parse(method)
        target = str(parsed.target)
        pattern = parsed.target.kind == "pattern"
        if (pattern or parsed.target.kind == "sparsity") and panel.sources([method]):
            kept = int(target.partition("of")[2]) if pattern else 0
            place = (pattern, -kept if pattern else float(target), target)
            found.setdefault(method.replace(f"-{target}", "", 1), []).append((place, method))
    for algorithm, placed in found.items():
        if len(placed) >= TARGETS:
            yield algorithm, [method for _, method in sorted(placed)]


def _component(view: View, method: str, sources: Sequence[str]) -> dict[str, Any]:
    groups = [view.means(method, source) for source in sources]
    found = one_way(groups)
    gap = source_range(groups, generator("sparsity", view.panel.name, method))
    means = {source: float(group.mean()) for source, group in zip(sources, groups, strict=True)}
    worst = max(means, key=means.__getitem__)
    target = str(parse(method).target)
    free = f"magnitude-{target}"
    return {
        "target": target, "sources": len(sources), "draws": min(map(len, groups)),
        "damage": float(np.mean(list(means.values()))), "means": means, "worst": worst,
        "magnitude": view.damage(free) if free in view.panel.methods else None,
        "sd": found.between, "low": found.low, "high": found.high, "gap": gap.gap, "alone": gap.high,
    }  # fmt: skip


def _sparsity_line(row: dict[str, Any]) -> tuple[str, ...]:
    share = f"{100 * row['sd'] / row['damage']:.1f} %" if row["damage"] > 0 else ""
    free = "" if row["magnitude"] is None else f"{row['magnitude']:.4f}"
    return (
        f"{row['algorithm']}-{row['target']}", f"{row['sources']} x {row['draws']}", f"{row['damage']:.4f}",
        f"{row['means'][row['worst']]:.4f} ({row['worst']})", free, f"{row['sd']:.4f}",
        f"{row['low']:.4f} to {row['high']:.4f}", share, f"{row['gap']:.4f}", f"{row['alone']:.4f}",
    )  # fmt: skip


def by_amount(world: World) -> Iterator[Sweep]:
    """Mean damage and SD over draws, apart, at every amount of the same draws; the mean against that of the largest."""
    head = (
        "method", "draw", "tokens a column", "sources x draws", "mean", "SD over draws", "minus the largest amount",
        "interval", f"within {TOLERANCE[OUTCOME]:g} of it",
    )  # fmt: skip
    for model, every in amounts(world):
        for method, panels in swept(every, {}):
            if len(panels) < AMOUNTS:
                continue
            reached, panels = panels, fullest(panels, method, AMOUNTS)
            try:
                table, sources = stack(panels, method, OUTCOME)
            except NoEvidence:
                continue
            rows = tuple(
                {"method": method, **_amount(panel, method, held, table[-1], sources)}
                for panel, held in zip(panels, table, strict=True)
            )
            title = f"{label(model)}{panels[0].trained}: {method}"
            note = left_out(reached, panels, method)
            yield Sweep("amount", title, head, tuple(map(_amount_line, rows)), rows, note)


def _amount(panel: Panel, method: str, held: np.ndarray, largest: np.ndarray, sources: list[str]) -> dict[str, Any]:
    """``held`` and ``largest`` ``[n_sources, n_draws]``."""
    records = panel.cells[method, sources[0]].values()
    widths = [linear["shape"][1] for r in records for linear in r.compression.get("linears", []) if "shape" in linear]
    change = paired(held - largest)
    return {
        "draw": panel.amount, "tokens": panel.tokens, "sources": len(sources), "draws": held.shape[1],
        "columns": [panel.tokens / n for n in (min(widths), max(widths))] if widths else None,
        "mean": float(held.mean()), "sd": float(np.sqrt(held.var(axis=1, ddof=1).mean())),
        "change": change.estimate, "low": change.low, "high": change.high,
        "same": WORDS[rules.no_effect(Effect(change), TOLERANCE[OUTCOME])],
    }  # fmt: skip


def _amount_line(row: dict[str, Any]) -> tuple[str, ...]:
    columns = " to ".join(dict.fromkeys(f"{value:.3g}" for value in row["columns"] or ()))
    against = (f"{row['change']:+.4f}", f"{row['low']:+.4f} to {row['high']:+.4f}", row["same"])
    return (
        row["method"], row["draw"], columns, f"{row['sources']} x {row['draws']}", f"{row['mean']:.4f}",
        f"{row['sd']:.4f}", *(against if row["low"] < row["high"] else ("", "", "")),
    )  # fmt: skip


def by_likeness(world: World) -> Iterator[Sweep]:
    """Damage against likeness to the training text (claim B14) or to a named reference, of natural sources; r is
    positive as expected.
    """
    head = ("measure", "natural sources", "Spearman's r", "interval", "detectable")
    for view in neutral_views(world):
        for method in view.panel.calibrated:
            rows = []
            for measure, held in sorted(similarities(view, method, MADE).items()):
                sign = MEASURES.get(measure.partition(" to ")[0])
                if sign and len(held) >= FEWEST and len(set(held.values())) > 1:
                    damage = [float(view.means(method, source).mean()) for source in held]
                    found = rank_association([sign * value for value in held.values()], [-d for d in damage])
                    values = {"likeness": list(held.values()), "damage": damage}
                    rows.append({"method": method, "measure": measure, **values, **found._asdict()})
            if rows:
                title = f"{view.panel.name}: {method}"
                yield Sweep("similarity", title, head, tuple(map(_likeness_line, rows)), tuple(rows))


def _likeness_line(row: dict[str, Any]) -> tuple[str, ...]:
    interval = f"{row['low']:.2f} to {row['high']:.2f}"
    return row["measure"], str(len(row["damage"])), f"{row['r']:.2f}", interval, f"{row['detectable']:.2f}"


def self_written(world: World) -> Iterator[Sweep]:
    """Damage by what the model wrote: prefix length t, share k dropped; beside real sources and the training text."""
    for view in neutral_views(world):
        methods = [
            m for m in sorted(view.panel.calibrated) if any(s.startswith(WRITTEN) for s in view.panel.sources([m]))
        ]
        found: dict[str, dict[str, np.ndarray]] = {}
        for method in methods:
            for source in view.panel.sources([method]):
                plain = not re.search(r"[(~+*]", source)
                if plain or source.startswith(WRITTEN) or re.fullmatch(BESIDE, source):
                    found.setdefault(source, {})[method] = view.means(method, source)
        if len(found) < SOURCES:
            continue
        rows = tuple(
            {"source": source, **written(source), "damage": found[source]} for source in sorted(found, key=_order)
        )
        lines = tuple((row["source"], *(_spread(row["damage"].get(m)) for m in methods)) for row in rows)
        yield Sweep("self-written", view.panel.name, ("calibrated on", *methods), lines, rows)


def written(source: str) -> dict[str, Any]:
    """Kind of text, and of ``selfgen`` its prefix source, length ``t`` and share ``k``.

    >>> written("selfgen(web,t=4)")
    {'kind': 'selfgen', 'prefix': 'web', 't': 4, 'k': 20.0}
    """
    if not source.startswith(WRITTEN):
        return {"kind": "real"}
    if not (match := re.fullmatch(r"selfgen\((.+?)((?:,\w+=[\d.]+)*)\)", source)):
        return {"kind": source.partition("(")[0]}
    settings = dict(re.findall(r"(\w+)=([\d.]+)", match[2]))
    return {"kind": WRITTEN, "prefix": match[1], "t": int(settings.get("t", 2)), "k": float(settings.get("k", 20))}


def _order(source: str) -> tuple[Any, ...]:
    found = written(source)
    place = ("real", WRITTEN).index(found["kind"]) if found["kind"] in ("real", WRITTEN) else 2
    return place, found.get("prefix", ""), found.get("t", 0), found.get("k", 0), source


def _spread(values: np.ndarray | None) -> str:
    return "" if values is None else f"{values.mean():.4f} ±{values.std(ddof=1):.4f}"


def reconstructed(world: World) -> Iterator[Sweep]:
    """Mean squared error of the last block on calibration and on held-out text, step by step (2406.15524)."""
    head = ("method", "source", "draws", "calibration text", "held-out text", "held out / calibration", "damage")
    for panel in world.panels:
        rows = []
        for method, source in panel.cells if ordinary(panel.case) else ():
            held = panel.cells[method, source]
            entries = [entry for seed in sorted(held) if (entry := final(held[seed]))]
            if entries and len(entries) == len(held) and is_calibrated(method):
                rows.append({"method": method, "source": source, "draws": len(entries), **_errors(entries)})
                rows[-1]["damage"] = _damage(panel, method, source)
        if rows:
            ordered = tuple(sorted(rows, key=lambda row: (row["source"], row["method"])))
            lines = tuple(map(_error_line, ordered))
            yield Sweep("reconstruction", panel.name, head, lines, ordered)


def _errors(entries: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    return {
        text: {
            stage: float(np.mean([entry[stage][text] for entry in entries])) for stage in ("pruned", "reconstructed")
        }
        for text in ("calibration", "held_out")
        if all(text in entry[stage] for entry in entries for stage in ("pruned", "reconstructed"))
    }


def _damage(panel: Panel, method: str, source: str) -> float | None:
    try:
        return float(panel.view(OUTCOME).means(method, source).mean())
    except NoEvidence:
        return None


def _error_line(row: dict[str, Any]) -> tuple[str, ...]:
    def change(text: str) -> str:
        held = row.get(text)
        return f"{held['pruned']:.3g} to {held['reconstructed']:.3g}" if held else ""

    ratio = ""
    if row.get("held_out"):
        ratio = f"{row['held_out']['reconstructed'] / row['calibration']['reconstructed']:.2f}"
    damage = "" if row["damage"] is None else f"{row['damage']:.4f}"
    return row["method"], row["source"], str(row["draws"]), change("calibration"), change("held_out"), ratio, damage


MAKERS = (by_sparsity, by_amount, by_likeness, self_written, reconstructed)
