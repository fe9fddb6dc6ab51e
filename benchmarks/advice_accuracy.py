"""How good advice is, before compressing and after a pilot: from finished records that scored several domains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks.advice import Hit, judge

FAR = 2.0  # nats a token above the best domain: text that the dense model does not model is no target


def found_hits(stores: Sequence[str], measure: str) -> list[Hit]:
    """One ``Hit`` a (model, method, target domain), for the known-corpus models of the stores.

    The target's own source is no candidate, nor are controls; a cell needs two sources with two draws.
    """
    import fixtures

    damages, specs = gather(record for store in stores for record in fixtures.Store(store).records())
    likeness = _Likeness(measure)
    hits = []
    for (model, method, domain, amount), found in sorted(damages.items()):
        damage = {source: list(draws.values()) for source, draws in sorted(found.items()) if len(draws) > 1}
        if len(damage) < 2:
            continue
        like = {
            source: [likeness(model, domain, specs[model, amount, source, seed]) for seed in sorted(found[source])]
            for source in damage
        }
        hits.append(judge(f"{model} {method} {domain}", like, damage, method))
    return hits


def pilot_hits(stores: Sequence[str], draws: int) -> list[Hit]:
    """One ``Hit`` a cell as in ``found_hits``: what a pilot of each source's first ``draws`` draws would have advised,
    judged by its other draws, of which there must be two. Nothing is compressed.
    """
    import fixtures

    damages, _ = gather(record for store in stores for record in fixtures.Store(store).records())
    hits = []
    for (model, method, domain, _), found in sorted(damages.items()):
        held = {source: [by[seed] for seed in sorted(by)] for source, by in sorted(found.items())}
        held = {source: values for source, values in held.items() if len(values) >= draws + 2}
        if len(held) > 1:
            pilot = {source: values[:draws] for source, values in held.items()}
            rest = {source: values[draws:] for source, values in held.items()}
            hits.append(judge(f"{model} {method} {domain}", pilot, rest, method))
    return hits


def provenance(stores: Sequence[str]) -> dict[str, Any]:
    """Where the records of the stores come from: models, days they were made, devices, versions of torch."""
    import fixtures

    found: dict[str, set[str]] = {"models": set(), "made": set(), "devices": set(), "torch": set()}
    for record in (record for store in stores for record in fixtures.Store(store).records()):
        if not record.case["model"].startswith("known-corpus-") or not record.nll:
            continue
        environment = record.environment
        found["models"].add(record.case["model"])
        found["made"].add(record.created[:10])
        found["devices"].add(str(environment.get("gpu") or environment.get("processor") or environment.get("device")))
        found["torch"].add(str(environment.get("versions", {}).get("torch")))
    return {name: sorted(values) for name, values in found.items()}


def gather(records: Any) -> tuple[dict[tuple, dict[str, dict[int, float]]], dict[tuple, dict[str, Any]]]:
    """Damage (nats a token) by (model, method, domain, amount), then source, then seed; and the draws' manifests."""
    from reports.groups import CONTROLS, is_calibrated

    dense: dict[str, dict[str, float]] = {}
    losses: dict[tuple, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    specs: dict[tuple, dict[str, Any]] = {}
    for record in records:
        model, method, spec = record.case["model"], record.case["method"], record.case["draw"]
        if not model.startswith("known-corpus-") or not record.nll:
            continue
        loss = {domain: sum(scores.nll) / sum(scores.tokens) for domain, scores in record.nll.items()}
        if method == "dense":
            dense[model] = loss
        elif spec is not None and is_calibrated(method) and spec["source"] not in CONTROLS:
            amount = (spec["n_sequences"], spec["sequence_length"], spec["packing"], spec["bos"])
            specs[model, amount, spec["source"], spec["seed"]] = spec
            for domain, value in loss.items():
                if domain != spec["source"]:
                    losses[model, method, domain, amount][spec["source"]][spec["seed"]] = value
    damages = {
        key: {
            source: {seed: value - dense[key[0]][key[2]] for seed, value in draws.items()}
            for source, draws in by.items()
        }
        for key, by in losses.items()
        if key[0] in dense and key[2] in dense[key[0]] and _is_near(dense[key[0]], key[2])
    }
    return damages, specs


def _is_near(losses: dict[str, float], domain: str) -> bool:
    return losses[domain] <= min(losses.values()) + FAR


class _Likeness:
    """The measure of a draw against a domain; each draw is seen once a domain, models are loaded one at a time."""

    def __init__(self, measure: str) -> None:
        self.measure = measure
        self._values: dict[tuple, float] = {}
        self._model: tuple[str, Any, Any] | None = None
        self._references: dict[tuple[str, str], Any] = {}
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
        if (model, domain) not in self._references:
            tokens = spec["n_sequences"] * spec["sequence_length"]
            self._references[model, domain] = target_reference(domain, tokenizer, tokens, spec["sequence_length"])
        key = tuple(sorted(spec.items()))
        if key not in self._draws:
            drawn = fixtures.draw_calibration_set(**{**spec, "tokenizer": tokenizer, "model": model})
            self._draws[key] = Reference("", drawn.token_ids)
        found = similarity(self._draws[key], self._references[model, domain], loaded, [self.measure])
        return -MEASURES[self.measure] * found.values[self.measure]
