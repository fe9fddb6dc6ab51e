"""Family M and A24: what must hold bit for bit, what another batch size does, and how sure published orders are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from benchmarks.claims import outcomes
from benchmarks.claims.amounts import TOLERANCE
from benchmarks.claims.common import Settings, gather, shown, twins
from benchmarks.claims.evidence import Cell, Effect, Exact
from benchmarks.claims.panels import NoEvidence
from benchmarks.claims.world import World, weights
from fixtures.records import Record, fingerprint, label
from reports.groups import CONTROLS, is_calibrated
from reports.statistics import paired_difference, superiority

GAMMA = 0.75  # Bouthillier et al. 2021 (arXiv 2103.03098): P(A > B) that is worth calling better


def null(world: World, settings: Settings) -> list[Cell]:
    """M2: calibration-free methods give one set of weights and scores; a repeated draw gives the same bits.

    Records are compared with those of the same machine and versions: no others promise equal bits.
    """

    def cells() -> Iterator[Cell]:
        for panel in world.panels:
            for method in (m for m in panel.methods if not is_calibrated(m)):
                records = [r for (m, _), held in panel.cells.items() if m == method for r in held.values()]
                made: dict[str, list[str]] = defaultdict(list)
                for record in records:
                    made[_machine(record)].append(_bits(record))
                checked = sum(len(bits) - 1 for bits in made.values())
                if not checked:
                    continue
                broken = sum(one != bits[0] for bits in made.values() for one in bits[1:])
                detail = f"{len(records)} draws"
                yield Cell(f"{panel.name} {method}", "", Exact(checked, broken), "draws that differ", 0.0, detail)
        yield from _repeats(world)

    return gather(cells())


def _bits(record: Record) -> str:
    scores = {name: [s.correct, s.loglikelihoods] for name, s in sorted(record.tasks.items())}
    losses = {name: s.nll for name, s in sorted(record.nll.items())}
    return fingerprint([record.keys["weights_hash"], scores, losses])


def _machine(record: Record) -> str:
    return fingerprint([record.environment.get(name) for name in ("processor", "device", "threads", "versions")])


def _repeats(world: World) -> Iterator[Cell]:
    pairs: dict[str, list[bool]] = defaultdict(list)
    for twin, again in twins(world, "repeat"):
        if _machine(twin) == _machine(again):
            pairs[label(twin.case["model"])].append(_bits(twin) != _bits(again))
    for model, broken in pairs.items():
        yield Cell(f"{model}, the same draw again", "", Exact(len(broken), sum(broken)), "draws that differ")


def batch_size(world: World, settings: Settings) -> list[Cell]:
    """M3: result in another batch size minus result, case by case; the margin is half the smallest in use.

    A mean over cases would hide what it asks: shifts of either sign cancel.
    """

    def cells() -> Iterator[Cell]:
        for twin, again in twins(world, "batch"):
            same = (twin.case["model"], weights(twin))
            panel = next((p for p in world.panels if (p.model, p.weights) == same and p.dense), None)
            if panel is None or panel.dense is None:
                continue
            for outcome in ("nll", "bpb", "acc9"):
                rows = [outcomes.vector(r, panel.dense, outcome, panel.neutral) for r in (again, twin)]
                if rows[0] is None or rows[1] is None:
                    continue
                evidence = Effect(paired_difference(rows[0], rows[1]))
                draw = twin.case["draw"]
                name = f"{label(panel.model)} {twin.case['method']} {draw['source']}-s{draw['seed']}"
                detail = f"batch size {twin.case['batch_size']} and {again.case['batch_size']}"
                margin = TOLERANCE[outcome] / 2
                yield Cell(name, outcome, evidence, outcomes.unit(outcome), margin, detail, None, shown(outcome))

    return gather(cells())


def coin_flips(world: World, settings: Settings) -> list[Cell]:
    """M4: .75 minus P(winner > loser) of each adjacent pair of an order; positive: a coin flip more or less."""

    def cells() -> Iterator[Cell]:
        for name, groups in (world.published or {}).items():
            yield from _adjacent(f"published, {name}", groups, higher=True)
        for panel in world.some(settings.get("models", "")):
            try:
                view = panel.view("acc9")
            except NoEvidence:
                continue
            for method in panel.calibrated:
                groups = {s: view.means(method, s) for s in panel.real([method])}
                yield from _adjacent(f"{panel.name} {method}", groups, higher=False)

    return gather(cells())


def _adjacent(name: str, groups: dict[str, np.ndarray], higher: bool) -> Iterator[Cell]:
    order = sorted(groups, key=lambda source: -np.mean(groups[source]) if higher else np.mean(groups[source]))
    for best, next_best in pairwise(order):
        a, b = (groups[best], groups[next_best]) if higher else (groups[next_best], groups[best])
        if min(len(a), len(b)) < 5:
            continue
        found = superiority(a, b)
        from reports.statistics import Interval

        interval = Interval(
            GAMMA - found.estimate, GAMMA - found.high, GAMMA - found.low, found.error, found.df, found.confidence
        )
        detail = f"P({best} > {next_best}) = {found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"
        yield Cell(f"{name} {best} > {next_best}", "", Effect(interval), f"{GAMMA} - P(A > B)", 0.0, detail)


def draws_disjoint(world: World, settings: Settings) -> list[Cell]:
    """M5: every seed gives other tokens, draws of a source share no document, and no window is out of reach: those of
    a stream leave no gap, and that of a document may start at every token that leaves room for it.
    """

    def cells() -> Iterator[Cell]:
        groups: dict[tuple[str, str, str], dict[int, Record]] = defaultdict(dict)
        for record in world.records:
            draw = record.case["draw"]
            if draw and draw["loader"] == "calibench" and record.draw.get("document_ids"):
                rest = {k: v for k, v in draw.items() if k != "seed"}
                key = label(record.case["model"]), draw["source"], fingerprint([weights(record), rest])
                groups[key][draw["seed"]] = record
        totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (model, _, _), held in groups.items():
            seen: dict[str, int] = {}
            tokens: set[str] = set()
            for seed, record in held.items():
                shared = [d for d in record.draw["document_ids"] if seen.setdefault(d, seed) != seed]
                totals[model][0] += 1
                totals[model][1] += bool(shared) or record.draw["sha256"] in tokens
                tokens.add(record.draw["sha256"])
        for model, (checked, broken) in totals.items():
            yield Cell(f"{model}, draws by source and shape", "", Exact(checked, broken), "draws that overlap")
            made = [record for key, held in groups.items() if key[0] == model for record in held.values()]
            gaps = _gaps(made)
            if gaps.checked:
                yield Cell(f"{model}, windows of a stream", "", gaps, "windows after a gap")
        if groups:
            yield Cell("any model, windows of a document", "", _out_of_reach(), "starts that no seed draws")

    return gather(cells())


def _gaps(records: list[Record]) -> Exact:
    """Windows of one document that follow each other in a stream: each begins where the last ended."""
    checked = broken = 0
    for record in records:
        draw, windows = record.case["draw"], record.draw.get("windows") or []
        if draw["packing"] != "stream":
            continue
        for (owner, start), (after, begin) in pairwise(windows):
            if owner == after:
                checked += 1
                broken += begin - start != draw["sequence_length"] - draw["bos"]
    return Exact(checked, broken)


def _out_of_reach(length: int = 32, spare: int = 7, seeds: int = 400) -> Exact:
    """Of a document with ``spare`` tokens more than a window: starts that none of the seeds draws."""
    from fixtures.packing import window_offset

    digest = fingerprint("a document")
    drawn = {window_offset(seed, digest, length + spare, length) for seed in range(seeds)}
    return Exact(spare + 1, len(set(range(spare + 1)) - drawn) + len(drawn - set(range(spare + 1))))


def reproduced(world: World, settings: Settings) -> list[Cell]:
    """A24: records of one draw made in different processes agree in documents, offsets and tokens; and in weights if
    the method and the machine are the same. And draws made again here from their manifests (``--replay``) are the same.
    """

    def cells() -> Iterator[Cell]:
        draws: dict[tuple[str, str], list[Record]] = defaultdict(list)
        again: dict[str, list[Record]] = defaultdict(list)
        for record in world.records:
            case = record.case
            if case["draw"] and record.draw.get("sha256"):
                draws[label(case["model"]), fingerprint([weights(record), case["draw"]])].append(record)
                work = [case["model"], record.keys.get("weights_key"), _machine(record)]
                again[fingerprint(work)].append(record)
        totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (model, _), held in draws.items():
            made = {fingerprint([r.draw.get(k) for k in ("sha256", "document_ids", "windows")]) for r in held}
            totals[model][0] += len(held) - 1
            totals[model][1] += len(made) - 1
        for model, (checked, broken) in totals.items():
            if checked and model not in CONTROLS:
                yield Cell(f"{model}, draws made again", "", Exact(checked, broken), "draws that differ")
        for model, (checked, broken) in world.replays.items():
            yield Cell(f"{label(model)}, manifests replayed here", "", Exact(checked, broken), "draws that differ")
        pairs = [held for held in again.values() if len(held) > 1]
        if pairs:
            broken = sum(len({r.keys["weights_hash"] for r in held}) - 1 for held in pairs)
            yield Cell("weights made again", "", Exact(sum(len(h) - 1 for h in pairs), broken), "weights that differ")

    return gather(cells())


__all__ = ["batch_size", "coin_flips", "draws_disjoint", "null", "reproduced"]
