"""How good advice is, before compressing and after a pilot: from finished records that scored several domains."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.advice import Hit, judge
from benchmarks.claims.replays import BY_MODEL
from fixtures.packing import DrawError
from fixtures.records import canonical_json

FAR = 2.0  # nats a token above the best domain: text that the dense model does not model is no target


def found_hits(stores: Sequence[str], measure: str) -> tuple[list[Hit], list[str]]:
    """One ``Hit`` a (model, method, amount, target domain), for the known-corpus models of the stores; and, in words,
    what was left out: models whose weights are not here, what they write or choose, and draws that cannot be made again
    as they were.

    The target's own text is no candidate, nor are controls; a cell needs two sources with two draws.
    """
    damages, draws = gather(_records(stores))
    likeness = _Likeness(measure)
    hits, lost = [], {}
    for cell, found in damages.items():
        if cell.weights and cell.weights != weights_here(cell.model):
            lost[cell.model, cell.weights] = f"the weights of {cell.model} that its records are of are not here"
            continue
        damage, like = {}, {}
        for source, by in found.items():
            if BY_MODEL.search(source):
                lost[cell.model, BY_MODEL.pattern] = (
                    f"text that {cell.model} writes or chooses: another machine's is another"
                )
                continue
            try:
                seen = [likeness(cell.model, cell.domain, draws[cell, source, seed]) for seed in by]
            except DrawError as error:
                lost[cell.model, source] = f"the draw cannot be made again: {cell.model}, {source}: {error}"
                continue
            if len(by) > 1:
                damage[source], like[source] = list(by.values()), seen
        if len(damage) > 1:
            hits.append(judge(cell.name, like, damage, cell.method))
    return hits, list(lost.values())


def pilot_hits(stores: Sequence[str], draws: int) -> list[Hit]:
    """One ``Hit`` a cell as in ``found_hits``: what a pilot of each source's first ``draws`` draws would have advised,
    judged by its other draws, of which there must be two. Nothing is compressed.
    """
    damages, _ = gather(_records(stores))
    hits = []
    for cell, found in damages.items():
        held = {source: list(by.values()) for source, by in found.items() if len(by) >= draws + 2}
        if len(held) > 1:
            pilot = {source: values[:draws] for source, values in held.items()}
            rest = {source: values[draws:] for source, values in held.items()}
            hits.append(judge(cell.name, pilot, rest, cell.method))
    return hits


def weights_here(model: str) -> str | None:
    """Content hash of the weights of a known-corpus model; None if it has not been trained here. Trains nothing."""
    from fixtures.known_corpus import weights_folder
    from fixtures.models import content_hash
    from fixtures.recipes import named

    recipe = named(model)
    folder = weights_folder(recipe) if recipe else None
    return content_hash(folder) if folder and folder.is_dir() else None


def provenance(stores: Sequence[str], hits: Iterable[Hit]) -> dict[str, Any]:
    """Where the records behind the hits come from: models, days they were made, devices, versions of torch."""
    judged = {hit.cell.split(" ")[0] for hit in hits}
    found: dict[str, set[str]] = {"models": set(), "made": set(), "devices": set(), "torch": set()}
    for record in _records(stores):
        if record.case["model"] not in judged:
            continue
        environment = record.environment
        found["models"].add(record.case["model"])
        found["made"].add(record.created[:10])
        found["devices"].add(str(environment.get("gpu") or environment.get("processor") or environment.get("device")))
        found["torch"].add(str(environment.get("versions", {}).get("torch")))
    return {name: sorted(values) for name, values in found.items()}


@dataclass(frozen=True, order=True)
class TargetCell:
    """What one advice is about; ``setting`` tells evaluations and ways to compute apart, which are never mixed."""

    model: str
    method: str
    amount: str
    domain: str
    setting: str
    weights: str = ""  # content hash of the dense model

    @property
    def name(self) -> str:
        return f"{self.model} {self.method} {self.amount} {self.domain}"


Damages = dict[TargetCell, dict[str, dict[int, float]]]


def gather(records: Iterable[Any]) -> tuple[Damages, dict[tuple[TargetCell, str, int], dict[str, Any]]]:
    """Damage (nats a token) by cell, then source, then seed, all in order; and the manifest of every draw.

    A source that holds text of the domain is no candidate for it.
    """
    from reports.groups import CONTROLS, is_calibrated

    dense: dict[tuple[str, str, str], dict[str, float]] = {}
    found: dict[TargetCell, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    draws: dict[tuple[TargetCell, str, int], dict[str, Any]] = {}
    for record in records:
        case, spec, weights = record.case, record.case["draw"], str(record.keys.get("model_hash", ""))
        setting = canonical_json([case[name] for name in ("evaluation", "dtype", "device")])
        loss = {domain: scores.mean_of_tokens for domain, scores in record.nll.items()}
        if case["method"] == "dense":
            dense[case["model"], weights, setting] = loss
        elif spec is not None and spec["source"] not in CONTROLS and is_calibrated(case["method"]):
            amount = f"{spec['n_sequences']}x{spec['sequence_length']}"
            how = [spec["packing"], spec["bos"], spec["loader"], case["propagation"], case["batch_size"]]
            for domain, value in loss.items():
                if not _holds(spec["source"], domain, case["model"]):
                    place = case["model"], case["method"], amount, domain
                    cell = TargetCell(*place, canonical_json([setting, how]), weights)
                    found[cell][spec["source"]][spec["seed"]] = value
                    draws[cell, spec["source"], spec["seed"]] = {**spec, "sha256": record.draw.get("sha256")}
    return _damages(found, dense), draws


def _damages(found: Damages, dense: dict[tuple[str, str, str], dict[str, float]]) -> Damages:
    """The losses less those of the dense model, where it has them and models the domain at all."""
    made: Damages = {}
    for cell in sorted(found):
        losses = dense.get((cell.model, cell.weights, json.loads(cell.setting)[0]), {})
        if cell.domain in losses and losses[cell.domain] <= min(losses.values()) + FAR:
            made[cell] = {
                source: {seed: by[seed] - losses[cell.domain] for seed in sorted(by)}
                for source, by in sorted(found[cell].items())
            }
    return made


def _records(stores: Sequence[str]) -> Iterator[Any]:
    """The records of known-corpus models that scored a domain as it is: no perturbed inputs, null controls, traces."""
    import fixtures

    for store in stores:
        for record in fixtures.Store(store).records():
            case = record.case
            asked = case["evaluation"]
            plain = not (case.get("control") or asked.get("inputs") or asked.get("trace"))
            if case["model"].startswith("known-corpus-") and record.nll and plain:
                yield record


def _holds(source: str, domain: str, model: str) -> bool:
    """Whether a source is made of the domain's own text, whatever was done to it."""
    from fixtures.recipes import named

    recipe = named(model)
    if source == "corpus" and recipe is not None:
        return domain in recipe.sources
    return re.search(rf"(?<![\w-]){re.escape(domain)}(?![\w-])", source) is not None


class _Likeness:
    """The measure of a draw against a domain; each draw is seen once a domain, models are loaded one at a time."""

    def __init__(self, measure: str) -> None:
        self.measure = measure
        self._values: dict[tuple, float] = {}
        self._model: tuple[str, Any, Any] | None = None
        self._references: dict[tuple[str, int, int], Any] = {}
        self._draws: dict[tuple, Any] = {}

    def __call__(self, model: str, domain: str, spec: dict[str, Any]) -> float:
        key = (model, domain, tuple(sorted((k, v) for k, v in spec.items())))
        if key not in self._values:
            self._values[key] = self._measured(model, domain, spec)
        return self._values[key]

    def _measured(self, model: str, domain: str, spec: dict[str, Any]) -> float:
        import fixtures
        from benchmarks.advise import target_reference
        from fixtures.similarity import MEASURES, Reference, similarity

        if self._model is None or self._model[0] != model:
            self._model, self._references, self._draws = (model, *fixtures.load_model(model)), {}, {}
        loaded, tokenizer = self._model[1:]
        length = spec["sequence_length"]
        place = domain, spec["n_sequences"] * length, length
        if place not in self._references:
            self._references[place] = target_reference(domain, tokenizer, *place[1:])
        key = tuple(sorted(spec.items()))
        if key not in self._draws:
            wanted = {name: value for name, value in spec.items() if name != "sha256"}
            drawn = fixtures.draw_calibration_set(**wanted, tokenizer=tokenizer, model=model)
            if spec["sha256"] not in (None, drawn.sha256):
                raise DrawError("its text, the tokenizer or the drawing code changed since")
            self._draws[key] = Reference("", drawn.token_ids)
        found = similarity(self._draws[key], self._references[place], loaded, [self.measure])
        return -MEASURES[self.measure] * found.values[self.measure]
