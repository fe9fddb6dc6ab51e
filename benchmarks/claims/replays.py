"""Draws made again on this machine from the manifests in records: what claim A24 asks of a release of the data."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from fixtures.records import Record

KEPT = ("sha256", "document_ids", "windows")
BY_MODEL = re.compile(r"selfgen|\b(cola|covercal|lowppl)\(")  # sources whose text follows from the model's weights


def replayed(records: Iterable[Record], most: int) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """(model -> draws made again, and of those how many differ; what could not be made here and why).

    ``most`` draws a model, spread over its sources and seeds. A difference is one of documents, offsets or tokens.
    """
    import fixtures

    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    problems: list[str] = []
    for model, manifests in sorted(_manifests(records).items()):
        if not _here(model):
            problems.append(f"{model}: not trained on this machine; python -m fixtures train '{model}' does it")
            continue
        picks = np.linspace(0, len(manifests) - 1, min(most, len(manifests))).astype(int)
        for manifest in (manifests[k] for k in sorted(set(picks.tolist()))):
            try:
                tokenizer = fixtures.load_tokenizer(model)
                drawn = fixtures.replay(manifest, tokenizer, None, model).manifest()
            except fixtures.ReplayError:
                found[model][0] += 1
                found[model][1] += 1
            except (fixtures.SourceError, fixtures.ModelError, fixtures.PackageError) as error:
                problems.append(f"{manifest['source']}: {str(error).splitlines()[0]}")
            else:
                found[model][0] += 1
                found[model][1] += any(_plain(drawn[name]) != _plain(manifest[name]) for name in KEPT)
    return {model: (checked, broken) for model, (checked, broken) in found.items()}, list(dict.fromkeys(problems))


def _here(model: str) -> bool:
    """Whether a model that is trained here has been: its tokenizer is not worth minutes of training."""
    from fixtures.known_corpus import weights_folder
    from fixtures.recipes import RecipeError, named

    try:
        recipe = named(model)
    except RecipeError:
        return False
    return recipe is None or weights_folder(recipe).is_dir()


def _manifests(records: Iterable[Record]) -> dict[str, list[dict[str, Any]]]:
    """Manifests by model, one a draw, in the order of source and seed. What a model writes or chooses is not replayed:
    one that was trained again on this machine has other weights.
    """
    found: dict[str, dict[Any, dict[str, Any]]] = defaultdict(dict)
    for record in records:
        manifest = record.draw
        if record.case.get("draw") and manifest.get("sha256") and not BY_MODEL.search(str(manifest["source"])):
            found[record.case["model"]][manifest["source"], manifest["seed"], manifest["sha256"]] = manifest
    return {model: [held[key] for key in sorted(held)] for model, held in found.items()}


def _plain(value: Any) -> Any:
    return [list(v) if isinstance(v, tuple) else v for v in value] if isinstance(value, list | tuple) else value
