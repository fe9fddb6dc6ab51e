"""What the probes share: reading a study's images, training networks on them, and the facts of a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    networks: tuple[str, ...] = ()  # for the probe of that name; all if empty

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

    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.npz")):
        table = path.with_suffix(".json")
        if not table.exists():  # images of a study that has not come to its networks yet
            continue
        rows = json.loads(table.read_text(encoding="utf-8"))["rows"]
        cells = {row["cell"]: row for row in rows if row["loss"] == "ce"}
        runs = [Run(*pair) for pair in dict.fromkeys((row["seed"], row["mdt"]) for row in rows)]
        runs.sort(key=lambda run: (list(dict.fromkeys(r["mdt"] for r in rows)).index(run.mdt), run.seed))
        with np.load(path, allow_pickle=False) as arrays:
            pixels = torch.tensor(arrays["pixels"].astype(np.float32), device=device)
        for name, row in cells.items():
            part = [k for k, run in enumerate(runs) if run.mdt == row["mdt"]]
            labels = class_labels(pixels.shape[1] // row["ipc"], row["ipc"], device)
            mine = tuple(runs[k] for k in part)
            made = Distilled(row["backbone"], mine, pixels[part], labels, row["share"], torch.empty(0), 0.0)
            found[name] = together(found[name], made) if name in found else made
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"{folder}: no images of {', '.join(missing)}; it has {', '.join(found) or 'none'}")
    return found


def together(first: Any, second: Any) -> Any:
    """The sets of one cell out of two files; those of a seed that is in both are taken from the first."""
    import torch

    seeds = [run.seed for run in first.runs]
    new = [k for k, run in enumerate(second.runs) if run.seed not in seeds]
    if new and first.share != second.share:
        raise ValueError(f"sets of one cell were made with different budgets: {first.share:.2%}, {second.share:.2%}")
    runs = (*first.runs, *(second.runs[k] for k in new))
    return replace(first, runs=runs, pixels=torch.cat([first.pixels, second.pixels[new]]))


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
