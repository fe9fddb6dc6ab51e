"""Labelled images on one device, and draws of them class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


class DistillationError(ValueError):
    """Data or settings that cannot be distilled; the message says what was expected."""


@dataclass(frozen=True)
class Images:
    """``pixels [n, channels, size, size]`` (normalised float) and ``labels [n]`` (int64, 0 to ``classes - 1``).

    Raises :class:`DistillationError` for fewer than two classes, a class without images or pixels that are not finite.
    """

    pixels: Tensor
    labels: Tensor
    classes: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise DistillationError(f"one class cannot be told apart from nothing: {self.classes} classes given")
        if self.pixels.dim() != 4 or self.labels.shape != self.pixels.shape[:1]:
            raise DistillationError(
                f"expected pixels [n, channels, size, size] and labels [n], not {tuple(self.pixels.shape)} and "
                f"{tuple(self.labels.shape)}"
            )
        if not bool(self.pixels.isfinite().all()):
            raise DistillationError("pixels hold NaN or infinity")
        if self.labels.numel() and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise DistillationError(f"labels must lie between 0 and {self.classes - 1}")
        empty = [k for k, n in enumerate(self.counts) if n == 0]
        if empty:
            raise DistillationError(f"no image of class {', '.join(map(str, empty))}")

    @cached_property
    def counts(self) -> list[int]:
        """Images of each class."""
        return torch.bincount(self.labels, minlength=self.classes).tolist()

    @cached_property
    def table(self) -> Tensor:
        """Indices of each class's images ``[classes, most]``, filled up with -1."""
        found = torch.full((self.classes, max(self.counts)), -1, dtype=torch.long)
        labels = self.labels.cpu()
        for k in range(self.classes):
            found[k, : self.counts[k]] = (labels == k).nonzero().squeeze(1)
        return found.to(self.pixels.device)

    def check_count(self, count: int, what: str) -> None:
        """Raises :class:`DistillationError` if a class holds fewer than ``count`` images."""
        if count < 1:
            raise DistillationError(f"{what} must be at least 1, not {count}")
        least = min(self.counts)
        if count > least:
            k = self.counts.index(least)
            raise DistillationError(f"{what} is {count}, but class {k} has only {least} images")

    def draw(self, count: int, generators: Sequence[torch.Generator]) -> Tensor:
        """``count`` different images of each class: indices ``[generators, classes, count]``."""
        unit = torch.stack(
            [torch.rand(self.table.shape, generator=g, device=self.table.device) for g in generators]
        ).masked_fill(self.table < 0, -1.0)
        order = unit.topk(count, dim=-1).indices
        return self.table.expand(len(generators), -1, -1).gather(-1, order)


def class_labels(classes: int, ipc: int, device: str | torch.device = "cpu") -> Tensor:
    """Labels of a distilled set, class by class: ``[classes * ipc]``."""
    return torch.arange(classes, device=device).repeat_interleave(ipc)
