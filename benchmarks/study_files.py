"""A study's files: images are kept as soon as they are distilled, rows cell by cell, so that a study can go on.

``<backbone>-ipc<n>[-mdt]-s<seed>.npz`` holds ``pixels [sets, images, channels, size, size]`` and the facts that they
were made by; the ``.json`` beside it the rows. What was made by other facts, other code included, is made again.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


@dataclass(frozen=True)
class StudyFiles:
    """The two files of one backbone and number of images; ``stem`` is their path without an ending."""

    stem: Path
    facts: dict[str, Any]

    def path(self, ending: str) -> Path:
        return self.stem.with_name(self.stem.name + ending)

    def keep(self, made: Any) -> None:
        """Writes distilled images, all at once."""
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        facts = json.dumps({**self.facts, "share": made.share, "seconds": made.seconds})
        part = self.path(".npz.part")
        with part.open("wb") as file:
            np.savez_compressed(file, pixels=made.pixels.float().cpu().numpy(), facts=np.array(facts))
        os.replace(part, self.path(".npz"))

    def kept(self, backbone: str, runs: Sequence[Any], device: str) -> Any:
        """The distilled images that are there; None if there are none, or they were made in another way."""
        import torch

        from compressors.distillation.backbones import Distilled
        from compressors.distillation.images import class_labels

        try:
            with np.load(self.path(".npz"), allow_pickle=False) as arrays:
                facts, pixels = json.loads(str(arrays["facts"])), arrays["pixels"]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None
        share, seconds = facts.pop("share", None), facts.pop("seconds", 0.0)
        if facts != self.facts:
            return None
        labels = class_labels(self.facts["classes"], pixels.shape[1] // self.facts["classes"], device)
        found = torch.tensor(pixels, device=device)
        return Distilled(backbone, tuple(runs), found, labels, share, torch.empty(0), seconds)

    def rows(self, made: Any) -> list[Row]:
        """The rows that are there of these images."""
        try:
            study = json.loads(self.path(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return study["rows"] if study.get("facts") == self.facts and study["seconds"] == made.seconds else []

    def write(self, made: Any, rows: Sequence[Row]) -> None:
        text = json.dumps({"model": self.facts["model"], "seconds": made.seconds, "facts": self.facts, "rows": rows})
        part = self.path(".json.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, self.path(".json"))


def of(made: Any, ratio: float) -> Any:
    """The sets of one mask ratio."""
    part = [k for k, run in enumerate(made.runs) if run.mdt == ratio]
    return replace(made, runs=tuple(made.runs[k] for k in part), pixels=made.pixels[part])
