"""Family B, text that the model writes itself: how much to drop, how long a prefix, and whether it holds elsewhere."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.claims import rules
from benchmarks.claims.amounts import TOLERANCE
from benchmarks.claims.common import SHARE, Settings, chosen_methods, gather, shown, views
from benchmarks.claims.contrasts import better
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.panels import View
from benchmarks.claims.world import World
from reports.statistics.group_contrast import group_contrast
from reports.statistics.heterogeneity import heterogeneity

WORDS = {rules.REPLICATES: "equal", rules.DOES_NOT: "not equal", rules.CANNOT_TELL: "cannot tell"}


def _selfgen(view: View, method: str, **fixed: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(name, prefix source, settings written in it) of every ``selfgen`` source of two draws; ``t`` is 2, ``k`` 20."""
    for name in view.panel.sources([method]):
        if match := re.fullmatch(r"selfgen\((.+?)((?:,\w+=[\d.]+)*)\)", name):
            written = dict(re.findall(r"(\w+)=([\d.]+)", match[2]))
            settings = {"t": "2", "k": "20", **written}
            if all(settings[key] == value for key, value in fixed.items()):
                yield name, match[1], settings


def dropping_helps(world: World, settings: Settings) -> list[Cell]:
    """B18: damage with nothing dropped minus that with 20 %; whether 10, 20 and 40 % are equal stands beside it."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
                for name, prefix, held in _selfgen(view, method):
                    found[prefix, held["t"]][held["k"]] = name
                for (prefix, t), by_share in found.items():
                    if {"0", "20"} <= set(by_share):
                        damage = view.damage(method)
                        evidence = _difference(view, method, by_share["0"], by_share["20"])
                        others = [
                            f"{k} against 20 %: {_equal(view, method, by_share[k], by_share['20'], damage)}"
                            for k in ("10", "40")
                            if k in by_share
                        ]
                        name = f"{view.panel.name} {method} selfgen({prefix},t={t}) k=0 minus k=20"
                        detail = "; ".join(others)
                        yield Cell(name, view.outcome, evidence, view.unit, 0.0, detail, damage, shown(view.outcome))

    return gather(cells())


def _difference(view: View, method: str, first: str, second: str) -> Effect:
    return Effect(group_contrast([view.means(method, first), view.means(method, second)], [1, -1]))


def _equal(view: View, method: str, first: str, second: str, damage: float) -> str:
    found = rules.no_effect(_difference(view, method, first, second), SHARE * max(0.0, damage))
    return f"{WORDS[found]} within 2 % of the damage"


def prefixes(world: World, settings: Settings) -> list[Cell]:
    """B19: no effect of the prefix source at one length; and no change over the lengths, by the slope on log t."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                margin, beside = TOLERANCE[view.outcome], shown(view.outcome)
                start = f"{view.panel.name} {method}"
                by_length: dict[str, dict[str, str]] = defaultdict(dict)
                for name, prefix, held in _selfgen(view, method, k="20"):
                    by_length[held["t"]][prefix] = name
                for t, names in by_length.items():
                    base, *rest = names
                    for other in rest:
                        evidence = _difference(view, method, names[base], names[other])
                        name = f"{start} t={t}, prefixes of {base} minus {other}"
                        yield Cell(name, view.outcome, evidence, view.unit, margin, "", None, beside)
                for prefix in dict.fromkeys(p for names in by_length.values() for p in names):
                    lengths = sorted((float(t), names[prefix]) for t, names in by_length.items() if prefix in names)
                    if len(lengths) >= 3:
                        groups = [view.means(method, name) for _, name in lengths]
                        change = Effect(group_contrast(groups, _over_the_range([t for t, _ in lengths])))
                        name = f"{start} prefixes of {prefix}, t = {lengths[0][0]:g} to {lengths[-1][0]:g} on log t"
                        yield Cell(name, view.outcome, change, view.unit, margin, "", None, beside)

    return gather(cells())


def _over_the_range(values: list[float]) -> list[float]:
    """Weights that give the fitted change from the first to the last of ``values`` on a log scale."""
    x = np.log(values)
    centred = x - x.mean()
    return list((x[-1] - x[0]) * centred / (centred**2).sum())


def everywhere(world: World, settings: Settings) -> list[Cell]:
    """B20: the contrasts of B16 at other sparsities, patterns and families, and whether they differ between cells."""
    wanted = settings["methods"]
    found = [cell for cell in better(world, settings) if any(f" {method} " in cell.name for method in wanted)]
    kept = [cell for cell in found if not cell.shown_only]
    p = heterogeneity([cell.evidence.interval for cell in kept if isinstance(cell.evidence, Effect)])
    return gather(replace(cell, detail=f"cells differ: p = {p:.2g} (Cochran's Q)") for cell in found)
