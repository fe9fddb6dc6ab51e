"""Families A and B, data against method: which of the two matters more, and what is lost to magnitude or to bits?"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from benchmarks.claims.common import (
    Settings,
    chosen_methods,
    component_of,
    enough,
    gather,
    generator,
    resampled,
    shown,
    views,
)
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.panels import Panel, View
from benchmarks.claims.world import World
from reports.statistics.group_contrast import group_contrast


def data_over_method(world: World, settings: Settings) -> list[Cell]:
    """B2: log of the SD between sources over the SD between methods; with random tokens too, shown beside."""

    def ratio(table: np.ndarray) -> float:
        sources = max(1e-12, float(np.mean([component_of(held) for held in table])))
        methods = max(1e-12, float(table.mean(axis=(1, 2)).var(ddof=1)))
        return 0.5 * float(np.log(sources / methods))

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            methods = chosen_methods(view.panel, settings, 3)
            if not methods:
                continue
            for controls in (False, True):
                sources = view.panel.real(methods, controls)
                if len(sources) < 4 or (controls and sources == view.panel.real(methods)):
                    continue
                table = view.table(methods, sources)
                if not enough(table):
                    continue
                name = f"{view.panel.name}, {len(methods)} methods x {len(sources)} sources"
                name += ", random tokens" * controls
                evidence = resampled(table, ratio, generator("B2", name, view.outcome))
                beside = shown(view.outcome) or controls
                detail = ", ".join(methods)
                yield Cell(name, view.outcome, evidence, "log ratio of SDs", 0.0, detail, None, beside)

    return gather(cells())


def bad_data_cancels(world: World, settings: Settings) -> list[Cell]:
    """B3: the best method on its worst source minus the worst method on its best; chosen on even draws, read on odd."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            methods = chosen_methods(view.panel, settings, 2)
            if not methods:
                continue
            sources = view.panel.real(methods)
            table = view.table(methods, sources)
            if table.shape[2] < 6 or len(sources) < 2:
                continue
            chosen, read = table[:, :, ::2], table[:, :, 1::2]
            means = chosen.mean(axis=2)
            best, worst = int(means.mean(axis=1).argmin()), int(means.mean(axis=1).argmax())
            bad, good = int(means[best].argmax()), int(means[worst].argmin())
            evidence = Effect(group_contrast([read[best, bad], read[worst, good]], [1, -1]))
            detail = f"{methods[best]} on {sources[bad]} minus {methods[worst]} on {sources[good]}"
            yield Cell(view.panel.name, view.outcome, evidence, view.unit, 0.0, detail, None, shown(view.outcome))

    return gather(cells())


def worse_than_magnitude(world: World, settings: Settings) -> list[Cell]:
    """B7: Wanda on its worst real source minus magnitude pruning at the same sparsity; source chosen on other draws.

    Not of the packaged SmolLM2, whose weights were restored from four bits and break magnitude's ties by position.
    """

    def cells() -> Iterator[Cell]:
        for panel in (panel for panel in world.panels if re.search(settings.get("models", ""), panel.model)):
            for method in panel.calibrated:
                target = method.removeprefix("wanda-")
                free = _free_panel(world, panel, f"magnitude-{target}")
                if method == target or target not in settings["targets"] or free is None:
                    continue
                sources = panel.real([method])
                view, base = panel.view("nll"), free.view("nll")
                table = view.table([method], sources)[0]
                if table.shape[1] < 4 or len(sources) < 3:
                    continue
                worst = int(table[:, ::2].mean(axis=1).argmax())
                level: float = base.damage(f"magnitude-{target}")
                interval = group_contrast([table[worst, 1::2] - level], [1.0])
                detail = f"magnitude {level:.3g}, {method} on {sources[worst]}"
                yield Cell(f"{panel.name} {method}", "nll", Effect(interval), view.unit, 0.0, detail, level)

    return gather(cells())


def _free_panel(world: World, panel: Panel, method: str) -> Panel | None:
    """A panel of the same model and evaluation that has a calibration-free method."""
    same = (p for p in world.panels if (p.model, p.weights) == (panel.model, panel.weights) and method in p.methods)
    return next((p for p in same if p.case["evaluation"] == panel.case["evaluation"]), None)


def quantization_wins(world: World, settings: Settings) -> list[Cell]:
    """A20: the best pruned model minus the worst quantized one of at most as many bits a weight."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            pruned = [m for m in view.panel.calibrated if m in settings["pruned"]]
            quantized = [m for m in view.panel.calibrated if m in settings["quantized"]]
            if not pruned or not quantized:
                continue
            best = min(pruned, key=view.damage)
            worst = max(quantized, key=view.damage)
            yield _difference(view, best, worst)

    return gather(cells())


def _difference(view: View, first: str, second: str) -> Cell:
    sources = view.panel.real([first, second])
    table = view.table([first, second], sources)
    paired = table[0] - table[1]
    interval = group_contrast(list(paired), [1 / len(sources)] * len(sources))
    detail = f"{first} ({bits(first):.2f} bits) minus {second} ({bits(second):.2f} bits)"
    damage = view.damage(first)
    return Cell(view.panel.name, view.outcome, Effect(interval), view.unit, 0.0, detail, damage, shown(view.outcome))


def bits(method: str) -> float:
    """Bits a weight with masks and scales: 16-bit values, a bit a mask entry (3 for each four of 2:4), 16-bit scale and
    offset a group.
    """
    import compressors

    target = compressors.parse(method).target
    if target.bits is not None:
        group = target.group_size if target.group_size and target.group_size > 0 else 4096
        return target.bits + 32 / group * (0.5 if target.bits < 8 else 1)
    if target.keep is not None and target.group is not None:
        return 16 * target.keep / target.group + 3 / 4
    return 16 * (1 - (target.sparsity or 0)) + 1
