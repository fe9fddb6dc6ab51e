"""Family A, inputs perturbed at evaluation: does the choice of source matter more, or otherwise, for noisy inputs?"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.claims.amounts import OUTCOMES, shared_methods, stack
from benchmarks.claims.common import Settings, gather, shown
from benchmarks.claims.evidence import Cell
from benchmarks.claims.panels import NoEvidence, Panel
from benchmarks.claims.sourcewise import interaction_of
from benchmarks.claims.world import World
from fixtures.records import label


def robustness(world: World, settings: Settings) -> list[Cell]:
    """A16: source x inputs interaction of the damage, clean inputs against each perturbation, on the same draws.

    Damage is above the dense model on the same inputs: what noise costs the dense model is no merit of a source.
    """

    def cells() -> Iterator[Cell]:
        for clean, noisy in _pairs(world):
            for method in shared_methods([clean, noisy], settings):
                for outcome in OUTCOMES:
                    try:
                        table, sources = stack([clean, noisy], method, outcome)
                    except NoEvidence:
                        continue
                    if len(sources) < 3:
                        continue
                    name = f"{label(clean.model)} {method} clean, {noisy.case['evaluation']['inputs']}"
                    unit = clean.view(outcome).unit
                    yield Cell(
                        name, outcome, interaction_of(table), unit, 0.0, ", ".join(sources), None, shown(outcome)
                    )

    return gather(cells())


def _pairs(world: World) -> Iterator[tuple[Panel, Panel]]:
    """What is perturbed to see what that does; masks are there to fit temperatures on (X3)."""
    return ((clean, other) for clean, other in perturbed_twins(world) if not _inputs(other).startswith("mask"))


def _inputs(panel: Panel) -> str:
    return str(panel.case["evaluation"].get("inputs", ""))


def perturbed_twins(world: World) -> Iterator[tuple[Panel, Panel]]:
    """Panels that differ in the perturbation of their inputs alone: without it, and with it."""
    groups: dict[str, dict[str, Panel]] = {}
    for panel in world.panels:
        evaluation = dict(panel.case["evaluation"])
        evaluation.pop("inputs", "")
        draw = {k: v for k, v in panel.case["draw"].items() if k not in ("source", "seed", "slices")}
        settings = [panel.case[name] for name in ("propagation", "batch_size", "dtype", "device")]
        groups.setdefault(repr((panel.model, panel.weights, draw, evaluation, settings)), {}).setdefault(
            _inputs(panel), panel
        )
    for panels in groups.values():
        if "" in panels:
            yield from ((panels[""], panels[inputs]) for inputs in sorted(panels) if inputs)
