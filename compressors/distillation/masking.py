"""Masked distillation training (MDT, after arXiv 2307.12463): synthetic images lose pixels inside every matching step.

Re-derived: no code or formula of it has been published. Here a fresh mask is drawn in each step, images are multiplied
by it after augmentation and before the network, zeros are in normalised space, and nothing is rescaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compressors.confidence.masked import UNITS, bernoulli, check_ratio
from compressors.distillation.streams import stream


@dataclass(frozen=True)
class Run:
    """One distilled set to be made: its seed, and the share of its images masked while it is made (0: none)."""

    seed: int
    mdt: float = 0.0
    unit: str = "pixel"

    def __post_init__(self) -> None:
        check_ratio(self.mdt)
        if self.unit not in UNITS:
            raise ValueError(f"unknown mask unit {self.unit!r}; there are {', '.join(UNITS)}")

    def stream(self, device: str | torch.device) -> torch.Generator:
        return stream(self.seed, "masks", device)


def masks(generators: Sequence[torch.Generator], runs: Sequence[Run], shape: Sequence[int], like: Tensor) -> Tensor:
    """One mask a run ``[runs, *shape]``; ones for runs without MDT, which draw nothing."""
    found = [
        bernoulli(shape, run.mdt, run.unit, g) if run.mdt else torch.ones(*shape, device=like.device)
        for g, run in zip(generators, runs, strict=True)
    ]
    return torch.stack(found).to(like.dtype)
