"""Families A and M, from samples of norms, weights and outputs that cases keep on request (`fixtures.trace`).

A11: draws that differ more in their input norms differ more in the weights that are chosen, and those that differ more
in weights differ more in the output. M6: where weights of a 2:4 group tie, the draw decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from benchmarks.claims.common import Settings, gather, generator
from benchmarks.claims.evidence import Cell, Effect, Rank
from benchmarks.claims.world import World, weights
from fixtures.records import Record, label
from fixtures.trace import unpacked
from reports.statistics import Interval
from reports.statistics.mantel import mantel

Traces = dict[tuple[str, int], dict[str, np.ndarray]]


def chain(world: World, settings: Settings) -> list[Cell]:
    """A11: Mantel correlations of distances, norms against weights and weights against outputs; over all pairs of
    draws and over pairs of one source.
    """

    def cells() -> Iterator[Cell]:
        for (model, method), held in _traced(world).items():
            if len(held) < 6:
                continue
            groups = np.array([source for source, _ in held])
            distances = {name: _matrix(list(held.values()), of) for name, of in DISTANCES.items()}
            for cause, effect in (("norms", "weights"), ("weights", "outputs")):
                for within in (False, True):
                    rng = generator("A11", model, method, cause, within)
                    try:
                        found = mantel(distances[cause], distances[effect], rng, groups if within else None)
                    except ValueError:
                        continue
                    pairs = "pairs of one source" if within else "all pairs"
                    name = f"{label(model)} {method} {cause} to {effect}, {pairs}"
                    detail = f"{len(held)} draws of {len(set(groups))} sources"
                    yield Cell(name, "", Rank(found), "Mantel's r", 0.0, detail)

    return gather(cells())


def _traced(world: World) -> dict[tuple[str, str], Traces]:
    """By model and method; of a name with several sets of weights, those of the largest panel among what has traces."""
    kept = [
        record
        for record in world.records
        if record.case["draw"] and record.case.get("control", "") == "" and record.checks.get("trace")
    ]
    order = {panel.weights: place for place, panel in reversed(list(enumerate(world.panels)))}
    main: dict[str, str] = {}
    for record in sorted(kept, key=lambda r: (order.get(weights(r), len(order)), weights(r))):
        main.setdefault(record.case["model"], weights(record))
    found: dict[tuple[str, str], Traces] = defaultdict(dict)
    for record in kept:
        if weights(record) == main[record.case["model"]]:
            draw = record.case["draw"]
            found[record.case["model"], record.case["method"]][draw["source"], draw["seed"]] = _arrays(record)
    return {key: dict(sorted(held.items())) for key, held in sorted(found.items())}


def _arrays(record: Record) -> dict[str, np.ndarray]:
    return {name: unpacked(value).astype(float) for name, value in record.checks["trace"].items()}


def norm_distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Root mean square of the difference of log norms, a common factor aside: that would change no choice."""
    difference = np.log(np.maximum(a["norms"], 1e-4)) - np.log(np.maximum(b["norms"], 1e-4))
    return float((difference - difference.mean()).std())


def weight_distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Share of the sampled places that one draw has pruned and the other has not; of quantized weights, whose scales
    may differ too, the mean square of the difference over that of the weights.
    """
    first, second = a["weights"], b["weights"]
    pruned = ((first == 0).mean() + (second == 0).mean()) / 2 > 0.2
    return float(((first == 0) != (second == 0)).mean()) if pruned else _relative(first, second)


def _relative(first: np.ndarray, second: np.ndarray) -> float:
    return float(((first - second) ** 2).mean() / ((first**2).mean() + (second**2).mean()) * 2)


def output_distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Symmetric Kullback-Leibler divergence (nats a token) of the outcomes that the trace tells apart."""
    first, second = a["outputs"], b["outputs"]
    return float(((np.exp(first) - np.exp(second)) * (first - second)).sum(axis=1).mean() / 2)


DISTANCES: dict[str, Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], float]] = {
    "norms": norm_distance,
    "weights": weight_distance,
    "outputs": output_distance,
}


def _matrix(traces: list[dict[str, np.ndarray]], distance: Callable[..., float]) -> np.ndarray:
    found = np.zeros((len(traces), len(traces)))
    for i, j in combinations(range(len(traces)), 2):
        found[i, j] = found[j, i] = distance(traces[i], traces[j])
    return found


def ties(world: World, settings: Settings) -> list[Cell]:
    """M6: share of 2:4 groups whose mask two draws choose differently, tied minus untied groups. The untied ones of
    models with unquantized weights stand beside it.
    """
    found = {key: held for key, held in _traced(world).items() if key[1].endswith("-2of4") and len(held) >= 4}
    changes = {key: _changes(held) for key, held in found.items()}

    def cells() -> Iterator[Cell]:
        for (model, method), (differ, tied) in changes.items():
            if tied.mean() < settings["least"] or tied.sum() < 10:
                continue  # a model whose weights do not tie is what the others are held against
            others = [
                f"{label(name)} {_rate(held[0][:, :, ~held[1]]):.3f}"
                for (name, of), held in changes.items()
                if of == method and name != model
            ]
            rates = [_rate(differ[:, :, tied]), _rate(differ[:, :, ~tied])]
            made = tied.mean() * rates[0] / max(1e-12, _rate(differ))
            detail = f"{tied.mean():.1%} of the groups are tied: {rates[0]:.3f} of them change, {rates[1]:.3f} of the "
            detail += (
                f"others; they make {made:.0%} of the changes. Untied elsewhere: {', '.join(others) or 'no record'}"
            )
            evidence = Effect(_tied_minus_untied(differ, tied))
            yield Cell(f"{label(model)} {method}", "", evidence, "share of groups", 0.0, detail)

    return gather(cells())


def _changes(held: Traces) -> tuple[np.ndarray, np.ndarray]:
    """Whether two draws mask a group differently ``[n_draws, n_draws, groups]``, and which groups are tied."""
    masks = np.stack([trace["weights"] == 0 for trace in held.values()])
    return (masks[:, None] != masks[None]).any(axis=3), next(iter(held.values()))["tied"] > 0


def _rate(differ: np.ndarray) -> float:
    """Mean over pairs of different draws, and over groups."""
    n = len(differ)
    return float(differ.sum() / (n * (n - 1) * max(1, differ.shape[2])))


def _tied_minus_untied(differ: np.ndarray, tied: np.ndarray) -> Interval:
    """Draws and groups are both samples: the jackknife over draws, and the spread of groups, of which each adds."""
    n = len(differ)

    def difference(kept: np.ndarray) -> float:
        held = differ[np.ix_(kept, kept)]
        return _rate(held[:, :, tied]) - _rate(held[:, :, ~tied])

    everything = np.arange(n)
    left_out = np.array([difference(np.delete(everything, k)) for k in range(n)])
    of_draws = (n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum())
    each = differ.sum(axis=(0, 1)) / (n * (n - 1))
    of_groups = float(each[tied].var(ddof=1) / tied.sum() + each[~tied].var(ddof=1) / (~tied).sum())
    total = of_draws + of_groups
    parts = of_draws**2 / (n - 1) + of_groups**2 / (min(int(tied.sum()), int((~tied).sum())) - 1)
    return Interval.of_t(difference(everything), total**0.5, total**2 / parts if parts else n - 1)
