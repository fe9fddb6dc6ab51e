"""``python -m benchmarks.published CSV``: how much of an ordering of calibration sources is the draw?

For any table of one figure a draw (published ones, or the ``records.csv`` of a run): for each model and method the SD
over draws of every source, the gap between the best and the worst source, and for every pair the difference and
P(A > B), the chance that one draw of A beats one draw of B, ties counted half, all with 95 % intervals. One draw a
source, which is what most papers report, orders a pair rightly with that chance.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fixtures.records import fingerprint
from reports import statistics
from reports.statistics import Interval

CONFIDENCE = 0.95
KEYS = ("model", "method")
NOT_VALUES = (*KEYS, "id", "source", "draw", "seed")
Table = dict[tuple[str, ...], dict[str, np.ndarray]]


class TableError(ValueError):
    """A table that cannot be read; the message names the file, the column and the line."""


def read(path: Path, value: str | None = None) -> tuple[str, Table]:
    """The value's column and ``{(model, method): {source: values [n_draws]}}``. Raises :class:`TableError`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or []), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    if "source" not in columns:
        raise TableError(f"{path} has no column 'source'; its columns: {', '.join(columns) or 'none'}")
    name = _value_column(path, columns, rows, value)
    groups: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for line, row in enumerate(rows, 2):
        if not row["source"] or not row.get(name):
            continue  # the dense model has no source; a row without the figure says nothing
        key = tuple(row[column] for column in KEYS if column in columns)
        groups.setdefault(key, {}).setdefault(row["source"], []).append(_number(path, line, name, row[name]))
    if not groups:
        raise TableError(f"{path} has no row with a source and a {name}")
    return name, {key: {s: np.array(v) for s, v in found.items()} for key, found in groups.items()}


def _value_column(path: Path, columns: list[str], rows: list[dict[str, str]], wanted: str | None) -> str:
    """The one asked for, else the only column that is neither a key nor a count of draws."""
    candidates = [c for c in columns if c not in NOT_VALUES]
    if wanted is not None:
        if wanted in columns:
            return wanted
        close = get_close_matches(wanted, columns, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise TableError(f"--value: {path} has no column {wanted!r}{hint} Its columns: {', '.join(columns)}")
    if len(candidates) != 1:
        raise TableError(f"{path}: which column holds the figure? Say --value NAME: {', '.join(candidates) or 'none'}")
    return candidates[0]


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TableError(f"{path}, line {line}: {name} is {text!r}, expected a number")
    return value


def analyse(sources: dict[str, np.ndarray], label: str = "", lower: bool = False) -> dict[str, Any]:
    """One model and method: ``sources``, ``gap`` and ``pairs`` as JSON. ``lower``: smaller figures are better."""
    order = sorted(sources, key=lambda s: float(sources[s].mean()), reverse=not lower)
    found: dict[str, Any] = {"label": label, "sources": [_spread(s, sources[s]) for s in order], "pairs": []}
    for a, b in combinations(order, 2):
        chance = statistics.superiority(*((sources[b], sources[a]) if lower else (sources[a], sources[b])), CONFIDENCE)
        pair = {"a": a, "b": b, "a_better": chance.estimate, "low": chance.low, "high": chance.high}
        found["pairs"].append({**pair, **_difference(sources[a], sources[b])})
    adjusted = statistics.holm([pair["p"] for pair in found["pairs"]])
    found["pairs"] = [{**pair, "p_adjusted": p} for pair, p in zip(found["pairs"], adjusted, strict=True)]
    if len(order) > 1:
        generator = np.random.default_rng(int(fingerprint(label)[:15], 16))
        gap = statistics.source_range([sources[s] for s in order], generator)
        ends = next(pair for pair in found["pairs"] if (pair["a"], pair["b"]) == (order[0], order[-1]))
        # Welch's interval of these two; that they are the ends was seen in the same draws, which `p` allows for.
        bounds = [
            None if x is None else (-x if lower else x) for x in (ends["difference_low"], ends["difference_high"])
        ]
        low, high = bounds[::-1] if lower else bounds
        alone = gap.expected if math.isfinite(gap.expected) else None
        found["gap"] = {"estimate": gap.gap, "low": low, "high": high, "by_draws_alone": alone, "p": gap.p}
    return found


def _spread(source: str, values: np.ndarray) -> dict[str, Any]:
    """Mean, and the SD over draws with its chi-square interval (normal draws); None with one draw."""
    row: dict[str, Any] = {"source": source, "draws": int(values.size), "mean": float(values.mean())}
    if values.size < 2:
        return {**row, "sd": None, "low": None, "high": None}
    from scipy.stats import chi2

    sd, df = float(values.std(ddof=1)), values.size - 1
    bounds = (float(sd * math.sqrt(df / chi2.ppf(q, df))) for q in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2))
    return {**row, "sd": sd, **dict(zip(("low", "high"), bounds, strict=True))}


def _difference(a: np.ndarray, b: np.ndarray) -> dict[str, float | None]:
    """Difference of means with Welch's interval and two-sided p value; without them if a side has one draw."""
    estimate = float(a.mean() - b.mean())
    if min(a.size, b.size) < 2:
        return {"difference": estimate, "difference_low": None, "difference_high": None, "p": None}
    parts = [float(x.var(ddof=1)) / x.size for x in (a, b)]
    total = sum(parts)
    df = total**2 / sum(p**2 / (x.size - 1) for p, x in zip(parts, (a, b), strict=True)) if total else 1.0
    interval = Interval.of_t(estimate, math.sqrt(total), df, CONFIDENCE)
    return {
        "difference": estimate,
        "difference_low": interval.low,
        "difference_high": interval.high,
        "p": interval.p_two_sided(),
    }


def text(found: dict[str, Any]) -> str:
    """One model and method as plain text."""
    lines = [found["label"]]
    if gap := found.get("gap"):
        between = f" ({gap['low']:.3f} to {gap['high']:.3f})" if gap["low"] is not None else ""
        alone = f"; draws alone make {gap['by_draws_alone']:.3f}" if gap["by_draws_alone"] is not None else ""
        lines.append(f"  best minus worst source: {gap['estimate']:.3f}{between}{alone}, p {gap['p']:.2g}")
    width = max(len(row["source"]) for row in found["sources"])
    for row in found["sources"]:
        sd = f"SD {row['sd']:.3f} ({row['low']:.3f} to {row['high']:.3f})" if row["sd"] is not None else "one draw"
        lines.append(f"  {row['source']:<{width}}  mean {row['mean']:.3f}  {sd}, {row['draws']} draws")
    for pair in found["pairs"]:
        line = f"  P({pair['a']} > {pair['b']}) = {pair['a_better']:.3f} ({pair['low']:.3f} to {pair['high']:.3f})"
        line += f"; difference {pair['difference']:+.3f}"
        if pair["p"] is not None:
            line += f" ({pair['difference_low']:+.3f} to {pair['difference_high']:+.3f}), p {pair['p_adjusted']:.2g}"
        lines.append(line)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 with a message if the table cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published", description=__doc__.split("\n\n")[1])
    parser.add_argument("csv", type=Path, help="columns source, draw, the figure, and if there are any model, method")
    parser.add_argument("--value", metavar="COLUMN", help="the figure, where the table has several")
    parser.add_argument("--lower", action="store_true", help="smaller figures are better (a loss)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args(arguments)
    try:
        name, table = read(options.csv, options.value)
    except TableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = [analyse(sources, " ".join(key) or name, options.lower) for key, sources in table.items()]
    print(f"{name}, {sum(row['draws'] for group in found for row in group['sources'])} draws; intervals of 95 %")
    print("\n".join(text(group) for group in found))
    if options.json:
        from reports.pages import write_text

        try:
            write_text(options.json, json.dumps(found, indent=1, allow_nan=False) + "\n")
        except OSError as error:
            print(f"error: --json: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
