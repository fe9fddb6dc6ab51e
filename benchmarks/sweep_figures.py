"""Drawings of the tables of ``benchmarks.sweep_tables``, one a kind of sweep and group of tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.sweep_tables import MEASURES, WRITTEN, Sweep
from reports.drawing import WIDTH, fitted, panels
from reports.svg import PLACES, canvas, series, to_svg

NATS = "damage, nats a token"
WIDE = 50  # largest over smallest of a measure, from which its axis is logarithmic


def figure(sweeps: Sequence[Sweep]) -> str:
    """One ``<svg>`` of the sweeps of one kind; each has a panel (those by sparsity, or by t and k, two)."""
    kind = sweeps[0].kind
    makers = MAKERS[kind]
    drawn_of = [sweep for sweep in sweeps if _drawable(sweep)]
    each = [(sweep, make) for sweep in drawn_of for make in makers]
    down, across = (len(drawn_of), len(makers)) if len(makers) > 1 else panels(len(each))
    with canvas(WIDTH, 2.9 * down, down, across) as (drawn, axes):
        for ax in axes.flat[len(each) :]:
            ax.set_visible(False)
        for ax, (sweep, make) in zip(axes.flat, each, strict=False):
            ax.grid(True, axis="y")
            make(ax, sweep)
        return to_svg(drawn, f"{kind}: {', '.join(sweep.title for sweep in drawn_of)}")


def drawable(sweeps: Sequence[Sweep]) -> bool:
    """Whether one of them has points enough for a figure."""
    return any(map(_drawable, sweeps))


def _drawable(sweep: Sweep) -> bool:
    if sweep.kind == "self-written":
        written = [row for row in sweep.rows if row["kind"] == WRITTEN]
        return any(len(rows) > 2 for name in ("t", "k") for rows in _varying(written, name).values())
    if sweep.kind == "reconstruction":
        return sum("held_out" in row for row in sweep.rows) > 1
    return True


def _line(ax: Any, x: Any, y: Any, number: int, label: str, error: Any = None) -> None:
    colour, marker = series(number)
    look = {"color": colour, "marker": marker, "markersize": 4.2, "linewidth": 1.3, "elinewidth": 0.9}
    ax.errorbar(x, y, yerr=error, label=label, **look)


def _levels(ax: Any, sweep: Sweep) -> None:
    """Mean damage of the best, the mean and the worst source, and of magnitude, which needs none."""
    names = [row["target"] for row in sweep.rows]
    x = np.arange(len(names))
    low, high = ([pick(row["means"].values()) for row in sweep.rows] for pick in (min, max))
    for part in _parts(names):
        band = {"color": PLACES["c0"], "alpha": 0.2, "linewidth": 0, "label": "best to worst source"}
        ax.fill_between(x[part], low[part], high[part], **band)
        _line(ax, x[part], [row["damage"] for row in sweep.rows[part]], 0, "mean of the sources")
        free = [np.nan if row["magnitude"] is None else row["magnitude"] for row in sweep.rows[part]]
        if np.isfinite(free).any():
            ax.plot(x[part], free, color=PLACES["ink"], linestyle="--", linewidth=1.1, label="magnitude")
    _dress(ax, sweep.title, NATS, x, names)


def _between(ax: Any, sweep: Sweep) -> None:
    """SD between sources with its interval, raw; and what the largest gap of sources that are alike would be."""
    names = [row["target"] for row in sweep.rows]
    x = np.arange(len(names))
    sds = np.array([row["sd"] for row in sweep.rows])
    ends = np.array([[row["sd"] - row["low"], row["high"] - row["sd"]] for row in sweep.rows]).T
    alone = [row["alone"] for row in sweep.rows]
    for part in _parts(names):
        _line(ax, x[part], sds[part], 1, "SD between sources, 95 %", np.maximum(ends[:, part], 0))
        ax.plot(x[part], alone[part], color=PLACES["soft"], linestyle=":", label="its 95 % by draws alone")
    ax.plot(x, [row["gap"] for row in sweep.rows], "D", color=PLACES["c2"], markersize=4, label="best minus worst")
    _dress(ax, sweep.title, "nats a token", x, names)
    ax.set_ylim(0, 1.15 * max(max(row["gap"] for row in sweep.rows), *sds))


def _parts(names: Sequence[str]) -> list[slice]:
    """Shares of zeros and patterns: no line leads from the one to the other."""
    cut = next((k for k, name in enumerate(names) if "of" in name), len(names))
    return [part for part in (slice(0, cut), slice(cut, len(names))) if part.start < part.stop]


def _mean(ax: Any, sweep: Sweep) -> None:
    """Mean over sources and draws, with its SD over draws, by tokens."""
    rows = sweep.rows
    x = np.arange(len(rows))
    _line(ax, x, [row["mean"] for row in rows], 0, "mean ± SD over draws", [row["sd"] for row in rows])
    _dress(ax, sweep.title, NATS, x, [row["draw"].partition(" x ")[0] for row in rows])
    ax.set_xlabel(f"sequences of {rows[0]['draw'].partition(' x ')[2]}")


def _prefixes(ax: Any, sweep: Sweep) -> None:
    _of_setting(ax, sweep, "t", "tokens of real text before it (t)")


def _dropped(ax: Any, sweep: Sweep) -> None:
    _of_setting(ax, sweep, "k", "% dropped by perplexity (k)")


def _of_setting(ax: Any, sweep: Sweep, name: str, axis: str) -> None:
    """Damage by one setting of ``selfgen``; dashed, the least damage of any real source."""
    written = [row for row in sweep.rows if row["kind"] == WRITTEN]
    real = [row for row in sweep.rows if row["kind"] == "real"]
    groups = _varying(written, name)
    values = sorted({row[name] for rows in groups.values() for row in rows})
    for number, method in enumerate(sweep.head[1:]):
        for rows in groups.values():
            held = [row for row in rows if method in row["damage"]]
            if len(held) < 2:
                continue
            x = [values.index(row[name]) for row in held]
            means, sds = ([pick(row["damage"][method]) for row in held] for pick in (np.mean, _sd))
            _line(ax, x, means, number, method, sds)
            if known := [row["damage"][method].mean() for row in real if method in row["damage"]]:
                ax.axhline(min(known), color=series(number)[0], linestyle="--", linewidth=0.9)
    _dress(ax, f"{sweep.title}: {axis[-2]}", NATS, np.arange(len(values)), [f"{value:g}" for value in values])
    ax.set_xlabel(axis)
    ax.set_ylim(top=ax.get_ylim()[1] + 0.3 * (ax.get_ylim()[1] - ax.get_ylim()[0]))  # the legend stands there


def _varying(rows: Sequence[dict[str, Any]], name: str) -> dict[Any, list[dict[str, Any]]]:
    """Rows that differ in this setting alone, the longest such series."""
    other = "k" if name == "t" else "t"
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["prefix"], row[other]), []).append(row)
    most = max(found, key=lambda key: len({row[name] for row in found[key]}), default=None)
    once = {} if most is None else {row[name]: row for row in found[most]}
    return {most: [once[value] for value in sorted(once)]} if once else {}


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1))


def _errors(ax: Any, sweep: Sweep) -> None:
    """Held-out against calibration error of the last block; on the line both are equal."""
    rows = [row for row in sweep.rows if row.get("held_out")]
    for number, source in enumerate(dict.fromkeys(row["source"] for row in rows)):
        mine = [row for row in rows if row["source"] == source]
        points = [(row["calibration"]["pruned"], row["held_out"]["pruned"]) for row in mine[:1]]
        points += [(row["calibration"]["reconstructed"], row["held_out"]["reconstructed"]) for row in mine]
        calibration, held_out = zip(*points, strict=True)
        _line(ax, calibration, held_out, number, source)
    ends = [min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])]
    ax.plot(ends, ends, color=PLACES["soft"], linestyle=":", linewidth=0.9)
    ax.set_title(_fitting(ax, sweep.title))
    ax.set_xlabel("error on calibration text")
    ax.set_ylabel("error on held-out text")
    ax.legend(fontsize=7)


def _likeness(number: int, ax: Any, sweep: Sweep) -> None:
    """Damage by one measure, a mark a source."""
    if number >= len(sweep.rows):
        ax.set_visible(False)
        return
    row = sweep.rows[number]
    colour, marker = series(number)
    ax.plot(row["likeness"], row["damage"], ls="none", marker=marker, color=colour, markersize=4.2)
    if min(row["likeness"]) > 0 and max(row["likeness"]) > WIDE * min(row["likeness"]):
        ax.set_xscale("log")
        ax.minorticks_off()
    else:
        ax.locator_params(axis="x", nbins=5)
    ax.set_title(f"{row['method']}: r {row['r']:.2f} ({row['low']:.2f} to {row['high']:.2f})")
    ax.set_xlabel(row["measure"])
    ax.set_ylabel(NATS)


def _fitting(ax: Any, title: str) -> str:
    """On two lines where one is wider than the panel."""
    return fitted(title, WIDTH / ax.get_subplotspec().get_gridspec().ncols - 0.6)


def _dress(ax: Any, title: str, unit: str, places: Any, names: Sequence[str]) -> None:
    ax.set_title(_fitting(ax, title))
    ax.set_ylabel(unit)
    ax.set_xticks(places, names)
    ax.axhline(0, color=PLACES["line"], linewidth=0.8)
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), fontsize=7)


MAKERS: dict[str, tuple[Callable[[Any, Sweep], None], ...]] = {
    "sparsity": (_levels, _between),
    "amount": (_mean,),
    "similarity": tuple(partial(_likeness, number) for number in range(len(MEASURES))),
    "self-written": (_prefixes, _dropped),
    "reconstruction": (_errors,),
}
