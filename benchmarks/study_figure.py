"""The rows of `benchmarks.distillation_study` as figures: ``python -m benchmarks.study_figure FOLDER -o FOLDER``.

``<network>-masking.svg``: ECE over the mask ratio, by what was calibrated on and how. ``<network>-accuracy.svg``:
over-confidence over accuracy, distilled images beside random real ones. ``<network>-reliability.svg``: accuracy over
confidence, of studies whose rows have bins. ``<network>-mdt.svg``: ECE and accuracy over the ratio of masked
distillation. Points; means over distilled sets with their SD.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims.distilled import MDT, _after, studies
from benchmarks.claims.distilled_ratios import by_ratio
from benchmarks.claims.distilled_sets import REAL, Row, Sets
from benchmarks.claims.proper import ACCURACY, ECE, GAP
from benchmarks.claims.world import World
from benchmarks.study_records import read_studies, to_records
from fixtures.files import StoreError, write_bytes
from reports.drawing import WIDTH, fitted
from reports.reliability import Line, pages
from reports.statistics.calibration_error import Bin
from reports.svg import PLACES, canvas, series, standalone, to_svg

ACROSS = 4
APART = 0.05  # names beside a panel, of its height
FEWEST = 25  # answers of a bin that is drawn: the share right of fewer is anything
CURVES = {  # name: source and fit
    "the images trained on, exact": ("distilled", "exact"),
    "the images trained on, legacy": ("distilled", "legacy"),
    "as many held out, exact": ("real-matched", "exact"),
}


def _spread(sets: Sets, of: Callable[[Row], float]) -> tuple[float, float]:
    values = sets.values(of)
    return float(values.mean()), float(values.std(ddof=1))


def _none(column: int) -> Callable[[Row], float]:
    return lambda row: 100 * float(row["none"][column])


def masking(found: Sequence[Sets], title: str) -> str:
    """A panel a cell: test ECE over the mask ratio; dashed: uncalibrated, dotted: at the best temperature."""
    down = -(-len(found) // ACROSS)
    with canvas(WIDTH, 0.6 + 1.9 * down, down, ACROSS, sharex=True, sharey=True) as (figure, axes):
        for ax in axes.flat[len(found) :]:
            ax.set_visible(False)
        for ax, sets in zip(axes.flat, found, strict=False):
            for k, (source, fit) in enumerate(CURVES.values()):
                if sets.has(source):
                    _curve(ax, sets, source, fit, k)
            for of, dashes in ((_none(ECE), (4, 3)), (lambda row: 100 * row["oracle"][ECE], (1, 2))):
                ax.axhline(_spread(sets, of)[0], color=PLACES["soft"], linewidth=0.9, linestyle=(0, dashes))
            ax.set_title(fitted(short(sets), WIDTH / ACROSS - 0.2), fontsize=8.5)
            ax.grid(True, axis="y")
        axes[0, 0].set_ylim(bottom=0)  # of all: they share it
        for ax in axes.flat[max(0, len(found) - ACROSS) : len(found)]:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("share masked")
        for ax in axes[:, 0]:
            ax.set_ylabel("ECE, points")
        handles = axes.flat[0].get_lines()[: len(CURVES)]
        figure.legend(handles, list(CURVES), loc="outside upper left", ncols=len(CURVES), handlelength=1.6)
        return to_svg(figure, title)


def short(sets: Sets) -> str:
    """``dc-ipc10 (2 %)``: the share of the published iterations, where they were cut."""
    return sets.label.split(" ", 1)[1].replace(" of the iterations", "")


def _names(ax: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Names of the points ``(name, x, y)`` in a column beside the panel, a thin line from each to its own."""
    low, high = ax.get_ylim()
    ranked = sorted(points, key=lambda point: -point[2])
    rest = APART * np.arange(len(ranked))  # nothing overlaps if what is added to this only falls
    at = np.minimum.accumulate([(y - low) / (high - low) for _, _, y in ranked] + rest) - rest if ranked else rest
    at = at + max(0.0, -float(at.min(initial=0.0)))
    line = {"arrowstyle": "-", "color": PLACES["line"], "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
    for (name, x, y), place in zip(ranked, at, strict=True):
        where = {"xytext": (1.03, place), "textcoords": "axes fraction", "va": "center"}
        ax.annotate(name, (x, y), fontsize=7.5, color=PLACES["ink"], arrowprops=line, annotation_clip=False, **where)


def _curve(ax: Any, sets: Sets, source: str, fit: str, k: int) -> None:
    count = len(sets.first["sources"][source][fit]["test"])
    at = [_spread(sets, partial(_after, source=source, fit=fit, index=index)) for index in range(count)]
    mean, sd = np.transpose(at)
    ratios, (colour, marker) = np.arange(count) / 10, series(k)
    ax.plot(ratios, mean, color=colour, marker=marker, markersize=3, linewidth=1.3)
    ax.fill_between(ratios, mean - sd, mean + sd, color=colour, alpha=0.18, linewidth=0)


def accuracy(found: Sequence[Sets], title: str) -> str:
    """Confidence minus accuracy over accuracy, with SDs over sets; random real images, named by how many a class, are
    joined by a line. Cells that were trained in as many epochs share a panel: a control is one of equal training.
    """
    kinds = sorted({sets.first["epochs"] for sets in found})
    named: list[tuple[Any, list[tuple[str, float, float]]]] = []
    with canvas(WIDTH, 4.2, 1, len(kinds), sharex=True, sharey=True) as (figure, axes):
        for ax, epochs in zip(axes.flat, kinds, strict=True):
            held = [sets for sets in found if sets.first["epochs"] == epochs]
            real = sorted(
                (s for s in held if s.first["backbone"] == "random" and s.first["loss"] == "ce"),
                key=lambda s: s.accuracy,
            )
            points = {sets.label: (_spread(sets, _none(ACCURACY)), _spread(sets, _none(GAP))) for sets in held}
            for a, b in pairwise(real):
                ends = [points[s.label] for s in (a, b)]
                ax.plot([e[0][0] for e in ends], [e[1][0] for e in ends], color=PLACES["soft"], linewidth=0.9)
            for sets in held:
                (x, dx), (y, dy) = points[sets.label]
                colour = PLACES["soft" if sets in real else "c1" if sets.first["mdt"] else "c0"]
                ax.errorbar(x, y, dy, dx, fmt="o", color=colour, markersize=4, linewidth=0.8)
            for sets in real:
                place = points[sets.label][0][0], points[sets.label][1][0]
                count = {"fontsize": 7.5, "color": PLACES["soft"], "ha": "right"}
                ax.annotate(str(sets.first["ipc"]), place, (-3, -9), textcoords="offset points", **count)
            named.append(
                (ax, [(short(s), points[s.label][0][0], points[s.label][1][0]) for s in held if s not in real])
            )
            ax.axhline(0, color=PLACES["line"], linewidth=0.8)
            ax.set_title(f"networks trained {epochs} epochs")
            ax.set_xlabel("accuracy, %")
            ax.grid(True, axis="y")
        axes[0, 0].set_ylabel("confidence − accuracy, points")
        for ax, held_names in named:  # once the scale is that of all panels
            _names(ax, held_names)
        return to_svg(figure, title)


def reliability(found: Sequence[Sets], title: str) -> list[str]:
    """Accuracy over confidence, sets and networks pooled; none of studies whose rows have no bins. A bin of fewer than
    ``FEWEST`` answers is not drawn; the ECE has them all.
    """
    lines = []
    for sets in found:
        rows = [row for rows in sets.rows.values() for row in rows]
        if all("bins" in row for row in rows):
            total = np.sum([row["bins"] for row in rows], 0)
            bins = [Bin(c / n, right / n, round(n)) for n, c, right, _ in total.tolist() if n >= FEWEST]
            ece = sum(abs(c - right) for _, c, right, _ in total.tolist()) / total[:, 0].sum()
            epochs = "" if sets.first["backbone"] not in REAL else f", {sets.first['epochs']} epochs"
            lines.append(Line(short(sets) + epochs, bins, float(ece)))
    return [drawing.svg for drawing in pages(title, "reliability", lines, "")] if lines else []


def while_distilled(found: Sequence[Sequence[Sets]], title: str) -> str:
    """ECE and accuracy, uncalibrated, over the share masked while images were distilled."""
    with canvas(WIDTH, 2.6, 1, 2, sharex=True) as (figure, axes):
        for ax, column, name in zip(axes.flat, (ECE, ACCURACY), ("ECE, points", "accuracy, %"), strict=True):
            for k, cells in enumerate(found):
                mean, sd = np.transpose([_spread(sets, _none(column)) for sets in cells])
                colour, marker = series(k)
                ratios = [sets.first["mdt"] for sets in cells]
                ax.errorbar(ratios, mean, sd, color=colour, marker=marker, markersize=3, linewidth=1.3)
            ax.set_xlabel("share masked while distilled")
            ax.set_ylabel(name)
            ax.grid(True, axis="y")
        names = [short(cells[0]) for cells in found]
        figure.legend(axes.flat[0].containers, names, loc="outside upper left", ncols=ACROSS, handlelength=1.6)
        return to_svg(figure, title)


def figures(found: Sequence[Sets]) -> dict[str, str]:
    """{name: SVG} of the cells of one network and image set."""
    model = found[0].first["model"]
    plain = [sets for sets in found if sets.first["loss"] == "ce"]
    # All images are no control of a few; ratios of MDT would cover each other.
    some = [s for s in found if s.first["backbone"] != "full" and s.first["mdt"] in (0, MDT)] or found
    masked = [s for s in plain if s in some and s.first["backbone"] not in REAL and len(_tests(s)) > 1]
    made = {f"{model}-accuracy": accuracy(some, f"{model}: confidence minus accuracy over accuracy")}
    if masked:
        made[f"{model}-masking"] = masking(masked, f"{model}: ECE over the share masked")
    if ratios := list(by_ratio([s for s in plain if s.first["backbone"] not in REAL])):
        made[f"{model}-mdt"] = while_distilled(
            ratios, f"{model}: ECE and accuracy over the share masked while distilled"
        )
    pages_ = reliability(some, f"{model}: confidence against accuracy")
    return made | {f"{model}-reliability{f'-{k + 1}' if k else ''}": svg for k, svg in enumerate(pages_)}


def _tests(sets: Sets) -> list[Any]:
    tests: list[Any] = sets.first["sources"]["distilled"]["exact"]["test"]
    return tests


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_figure", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        found = studies(World([record for study in read_studies(options.folder) for record in to_records(study)]))
        for model in dict.fromkeys(sets.first["model"] for sets in found):
            for name, svg in figures([sets for sets in found if sets.first["model"] == model]).items():
                print(write_bytes(options.out / f"{name}.svg", standalone(svg).encode()))
    except (ValueError, OSError, StoreError) as error:  # NoEvidence among them
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
