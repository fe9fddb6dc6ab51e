"""Write the report: one self-contained HTML page, Markdown, CSV, JSON and the plots, each file whole or not at all."""

from __future__ import annotations

import base64
import gzip
import json
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fixtures.records import PERPLEXITIES, Record, Verdict
from reports import distilled
from reports.components import components_csv
from reports.context import Context, gather
from reports.costs import costs_csv
from reports.drawing import to_csv
from reports.figures import cells_csv
from reports.groups import chosen
from reports.likeness import Correlation
from reports.markdown import markdown
from reports.numbers import number, percent, plain, signed, significant
from reports.perplexities import WORDS
from reports.svg import DARK, LIGHT, standalone, unique_ids
from reports.terminal import ORDER, mark

TEMPLATES = Path(__file__).parent / "templates"
BYTES_OF_PLAIN_DATA = 100_000  # beyond, a table's data is gzipped within the page


def write_all(manifest: dict[str, Any], records: Sequence[Record], verdicts: Sequence[Verdict], folder: Path) -> Path:
    """The path of report.html. Raises ``OSError`` naming the file that could not be written."""
    context = gather(manifest, records, verdicts)
    drawings = [d for section in context.sections for d in section.drawings] + context.dispersion + context.reliability
    drawings += context.distilled_drawings
    for drawing in drawings:
        write_text(folder / "plots" / f"{_slug(drawing.name)}.svg", standalone(drawing.svg))
    write_text(folder / "records.csv", records_csv(records))
    write_text(folder / "report.json", json.dumps(as_json(context), indent=1, allow_nan=False, default=_builtin) + "\n")
    write_text(folder / "report.md", markdown(context))
    path = folder / "report.html"
    write_text(path, html(context))
    return path


def write_text(path: Path, text: str) -> None:
    """Beside its place first, then moved: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def html(context: Context) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        unique_ids=unique_ids,
        data_link=_data_link,
        components_csv=components_csv,
        costs_csv=costs_csv,
        verdicts_csv=verdicts_csv,
        correlations_csv=correlations_csv,
        mark=mark,
        number=number,
        plain=plain,
        signed=signed,
        cells_csv=cells_csv,
        significant=significant,
        perplexity_words=WORDS,
        percent=percent,
        points=distilled.percent,
        between=distilled.between,
        ece_note=distilled.NOTE,
        light=LIGHT,
        dark=DARK,
        gate_order=sorted(context.verdicts, key=lambda v: (ORDER.index(v.outcome), v.gate)),
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
    )
    return environment.get_template("report.html").render(c=context)


def _data_link(name: str, text: str) -> Any:
    """A link that holds the data itself; much of it is compressed, so that the page stays small."""
    from markupsafe import Markup

    data, kind, suffix = text.encode(), "text/csv;charset=utf-8", "csv"
    if len(data) > BYTES_OF_PLAIN_DATA:
        data, kind, suffix = gzip.compress(data, mtime=0), "application/gzip", "csv.gz"
    href = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return Markup('<a class="get" download="{}.{}" href="{}">data (CSV)</a>').format(_slug(name), suffix, href)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in name)


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no infinity: a perplexity beyond every number is null there, and "infinite" for people."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _builtin(value: Any) -> Any:
    """JSON of numpy scalars."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in the report")


def records_csv(records: Iterable[Record]) -> str:
    """One row a record; columns of domains and tasks are the union over the records.

    ``nll_D`` is nats a token as every table has it, the mean over documents; ``nll_of_all_tokens_D`` that of the text
    as a whole, in which long documents count for more.
    """
    records = list(records)
    domains = sorted({d for r in records for d in r.nll})
    tasks = sorted({t for r in records for t in r.tasks})
    head = [
        "id",
        "model",
        "method",
        "source",
        "seed",
        "weights_hash",
        "model_hash",
        "compress_s",
        "total_s",
        "peak_memory",
    ]
    texts = [(name, metric) for name in sorted({t for r in records for t in r.perplexity}) for metric in PERPLEXITIES]
    header = head + [f"{name}_{d}" for name in ("nll", "nll_of_all_tokens") for d in domains]
    header += [f"accuracy_{t}" for t in tasks]
    header += [f"{metric}_{name}" for name, metric in texts]

    def row(record: Record) -> list[Any]:
        draw = record.case.get("draw") or {}
        cells = [record.id, record.case["model"], record.case["method"], draw.get("source", ""), draw.get("seed", "")]
        cells += [record.keys.get("weights_hash", ""), record.keys.get("model_hash", "")]
        cells += [record.seconds.get("compress", ""), record.seconds.get("total", ""), record.peak_memory]
        cells += [record.nll[d].mean if d in record.nll else "" for d in domains]
        cells += [record.nll[d].mean_of_tokens if d in record.nll else "" for d in domains]
        for task in tasks:
            right = chosen(record.tasks[task]) if task in record.tasks else []
            cells.append(sum(right) / len(right) if right else "")
        for name, metric in texts:
            cells.append(record.perplexity[name].metrics[metric] if name in record.perplexity else "")
        return cells

    return to_csv(header, map(row, records))


def verdicts_csv(verdicts: Sequence[Verdict]) -> str:
    names = ["gate", "subject", "outcome", "reason", "estimate", "low", "high", "p", "p_adjusted", "margin"]
    names += ["detectable", "unit"]
    flips = (v.flips or ("", "") for v in verdicts)
    rows = ([*(getattr(v, n) for n in names), *f] for v, f in zip(verdicts, flips, strict=True))
    return to_csv([*names, "lost", "gained"], rows)


def correlations_csv(found: Sequence[Correlation]) -> str:
    names = list(Correlation.__dataclass_fields__)
    return to_csv(names, ([getattr(row, name) for name in names] for row in found))


def as_json(context: Context) -> dict[str, Any]:
    """The numbers of the page, for programs."""
    return {
        "profile": context.manifest.get("profile"),
        "records": context.records,
        "planned": context.planned,
        "answer": [str(line) for line in context.headlines],
        "answers": [vars(answer) for section in context.sections for answer in section.answers],
        "tables": [
            {
                "model": t.model,
                "outcome": t.outcome,
                "unit": t.unit,
                "dense": t.dense,
                "cells": [
                    {"method": row.group.method, "label": row.group.label, **vars(cell)}
                    for row in t.rows
                    for cell in row.cells.values()
                ],
            }
            for t in (section.table for section in context.sections)
        ],
        "components": [
            {"model": s.table.model, "outcome": s.table.outcome, **vars(p)}
            for s in context.sections
            for p in s.components
        ],
        "similarity": [
            {"model": s.table.model, "outcome": s.table.outcome, **vars(p)}
            for s in context.sections
            for p in s.correlations
        ],
        "perplexities": [
            {"model": t.model, "text": t.text, "texts": t.texts, **vars(row), "mean": _finite(row.mean)}
            for t in context.perplexities
            for row in t.rows
        ],
        "mean_accuracies": [
            {
                "model": t.model,
                "method": row.method,
                "draws": {s: v.tolist() for s, v in row.draws.items()},
                "sd": row.sd,
                "range": row.range,
            }
            for t in context.accuracies
            for row in t.rows
        ],
        "costs": [vars(cost) for cost in context.costs],
        "distilled": [asdict(row) | {"model": t.model} for t in context.distilled for row in t.rows],
        "confidence": [vars(row) | {"model": t.model} for t in context.confidence for row in [*t.overall, *t.rows]],
        "verdicts": [verdict.to_dict() for verdict in context.verdicts],
        "notes": context.notes,
        "provenance": dict(context.provenance),
        "licences": context.licences,
    }
