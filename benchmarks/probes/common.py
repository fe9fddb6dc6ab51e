"""What the probes share: reading a study's images, training networks on them, and the facts of a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.distillation_study import parse_cell, predictions

Row = dict[str, Any]


@dataclass
class Context:
    """What every probe needs: the images, the networks' shape, how they are trained and how many a set."""

    model: str
    splits: Any
    shape: Any
    image_set: Any
    nets: int
    epochs: int
    device: str

    def recipe(self) -> Any:
        from compressors.distillation.training import Recipe

        return Recipe(self.epochs)

    def seeds(self, runs: Sequence[Any]) -> list[int]:
        return [1000 * run.seed + k for run in runs for k in range(self.nets)]


def read_cells(folder: Path, wanted: Sequence[str], device: str) -> dict[str, Any]:
    """{cell: distilled images} of the study in a folder. Raises ``ValueError`` for one that is not there."""
    import torch

    from compressors.distillation.backbones import Distilled
    from compressors.distillation.images import class_labels
    from compressors.distillation.masking import Run

    found = {}
    for path in sorted(folder.glob("*.npz")):
        rows = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
        cells = {row["cell"]: row for row in rows if row["loss"] == "ce"}
        runs = [Run(*pair) for pair in dict.fromkeys((row["seed"], row["mdt"]) for row in rows)]
        runs.sort(key=lambda run: (list(dict.fromkeys(r["mdt"] for r in rows)).index(run.mdt), run.seed))
        with np.load(path, allow_pickle=False) as arrays:
            pixels = torch.tensor(arrays["pixels"].astype(np.float32), device=device)
        for name, row in cells.items():
            part = [k for k, run in enumerate(runs) if run.mdt == row["mdt"]]
            labels = class_labels(pixels.shape[1] // row["ipc"], row["ipc"], device)
            mine = tuple(runs[k] for k in part)
            found[name] = Distilled(row["backbone"], mine, pixels[part], labels, row["share"], torch.empty(0), 0.0)
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"{folder}: no images of {', '.join(missing)}; it has {', '.join(found) or 'none'}")
    return found


def train(context: Context, pixels: Any, labels: Any, seeds: Sequence[int]) -> tuple[Any, Any]:
    """(parameters, test logits) of networks, one a seed, each on its own ``pixels [nets, n, ...]``."""
    import torch

    from compressors.distillation.training import Trainer

    parameters = Trainer(context.shape, pixels, labels, seeds, context.recipe()).run()
    test = torch.tensor(context.splits["test"].pixels, device=context.device)[None]
    return parameters, predictions(parameters, test, context.shape)


def answers(context: Context) -> Any:
    import torch

    return torch.tensor(context.splits["test"].labels, device=context.device)


def facts(probe: str, cell: str, sets: Any, context: Context, k: int) -> Row:
    """What says which network of which set a row is about."""
    run = sets.runs[k // context.nets]
    backbone, ipc, _, _ = parse_cell(cell)
    return {
        "probe": probe, "cell": cell, "backbone": backbone, "ipc": ipc, "mdt": run.mdt, "seed": run.seed,
        "net": k % context.nets, "share": sets.share, "loss": "ce", "epochs": context.epochs,
    }  # fmt: skip
