"""What the statistics share: views of the panels that a claim names, seeded generators, resampling of draws."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.evidence import Cell, Component, Effect
from benchmarks.claims.panels import NoEvidence, Panel, View
from benchmarks.claims.world import World, weights
from fixtures.records import Record, fingerprint
from reports.statistics import Interval
from reports.statistics.one_way import one_way

SHARE = 0.02  # the practical margin: this share of the damage
ROUNDS = 1000
FEWEST = 3  # draws of a source to resample
Settings = dict[str, Any]


def generator(*names: Any) -> np.random.Generator:
    """The same resamples whenever a claim is judged."""
    return np.random.default_rng(int(fingerprint([str(name) for name in names])[:15], 16))


def views(
    world: World, settings: Settings, outcomes: Sequence[str] = ("nll", "bpb", "acc9"), everywhere: bool = False
) -> Iterator[View]:
    """Views of the main panel of every model that the claim is about (of all panels; with the setting ``repeated`` of
    those that repeat it in another amount or on all items); raises :class:`NoEvidence` if there are none.
    """
    found, why = 0, ""
    models, methods = settings.get("models", ""), settings.get("methods", ())
    if everywhere:
        panels = world.all(models)
    elif settings.get("repeated"):
        panels = world.repeated(models, methods)
    else:
        panels = world.some(models, methods=methods)
    for panel in panels:
        for outcome in settings.get("outcomes", outcomes):
            try:
                view = panel.view(outcome)
            except NoEvidence as error:
                why = str(error)
                continue
            found += 1
            yield view
    if not found:
        of = f"of a model {models!r} " if models else ""
        raise NoEvidence(why or f"no records {of}with two draws of a source")


def chosen_methods(panel: Panel, settings: Settings, least: int = 1) -> list[str]:
    """The calibrated methods of a panel that the claim names (all if it names none); none if there are too few.

    A method without two draws of any source, as a run that was stopped leaves it, is left out.
    """
    wanted = settings.get("methods")
    found = [m for m in panel.calibrated if (wanted is None or m in wanted) and panel.sources([m])]
    return found if len(found) >= least else []


def shown(outcome: str) -> bool:
    """acc9 is shown beside the verdict."""
    return outcome == "acc9"


def twins(world: World, kind: str) -> Iterator[tuple[Record, Record]]:
    """(case, the same made again): ``kind`` is how its control begins."""
    by_id: dict[str, list[Record]] = {}
    for record in world.records:
        by_id.setdefault(record.id, []).append(record)
    for record in world.records:
        control = record.case.get("control") or ""
        if control.startswith(kind):
            for twin in by_id.get(record.id.removesuffix(f"-{control}"), []):
                same = all(twin.case[name] == record.case[name] for name in ("evaluation", "draw"))
                if same and weights(twin) == weights(record):
                    yield twin, record


def machine_noise(world: World, view: View, method: str) -> float | None:
    """SD of one result of a method that another batch size alone makes; None if no case was made in two.

    Of a panel that has no such cases it is that of the model's main panel: in fewer items it is no smaller.
    """
    asked = re.escape(view.panel.model)
    for panel in (view.panel, *world.some(f"^{asked}$")):
        squares = []
        for twin, again in twins(world, "batch"):
            if (twin.case["model"], twin.case["method"]) == (panel.model, method):
                try:
                    here = panel.view(view.outcome)
                    squares.append((here.of(again) - here.of(twin)) ** 2)
                except NoEvidence:
                    continue
        if squares:
            return float(np.sqrt(np.mean(squares) / 2))
    return None


def gather(parts: Iterator[Cell]) -> list[Cell]:
    """The cells; raises :class:`NoEvidence` if there are none."""
    cells = list(parts)
    if not cells:
        raise NoEvidence("no model has the methods and sources that the claim compares, with two draws each")
    return cells


def source_component(view: View, method: str, sources: Sequence[str]) -> Component:
    found = one_way([view.means(method, source) for source in sources])
    return Component(found.between, found.low, found.high, found.p, found.detectable, found.p_below)


def component_of(table: np.ndarray) -> float:
    """Unbiased variance of the sources' means; ``table`` ``[n_sources, n_draws]``, may come out below 0."""
    return float(table.mean(axis=1).var(ddof=1) - table.var(axis=1, ddof=1).mean() / table.shape[1])


def resampled(
    table: np.ndarray, statistic: Callable[[np.ndarray], float], rng: np.random.Generator, rounds: int = ROUNDS
) -> Effect:
    """Pivots over draws within sources; ``table`` ``[..., n_sources, n_draws]``: a draw is one for all methods.

    Raises ``ValueError`` below ``FEWEST`` draws, of which resampling makes hardly anything new.
    """
    sources, draws = table.shape[-2:]
    if draws < FEWEST:
        raise ValueError(f"{FEWEST} draws a source are needed to resample them; there are {draws}")
    samples = np.empty(rounds)
    for k in range(rounds):
        picks = rng.integers(0, draws, (sources, draws))
        index = np.broadcast_to(picks, table.shape)
        samples[k] = statistic(np.take_along_axis(table, index, axis=-1))
    return of_samples(float(statistic(table)), samples, draws, sources * (draws - 1))


def of_samples(estimate: float, samples: np.ndarray, units: int, df: int) -> Effect:
    """A t interval from bootstrap samples: their SD is too small by the root of (n - 1) / n, and is itself estimated.

    Quantiles of the samples cover far less than they say with three to five units (85 % for 95 %).
    """
    good = samples[np.isfinite(samples)]
    error = float(good.std(ddof=1)) * (units / (units - 1)) ** 0.5 if good.size > 1 else math.inf
    return Effect(Interval.of_t(estimate, error, df))


def enough(table: np.ndarray) -> bool:
    """Whether there are draws enough to resample."""
    return table.shape[-1] >= FEWEST
