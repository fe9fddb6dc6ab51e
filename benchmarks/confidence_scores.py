"""Calibration errors of many networks at once, on the device that holds their logits.

The same figures as `reports.statistics`, which a test holds them to; there for a record, here for hundreds of
networks x temperatures.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressors.confidence.temperature import Losses

COLUMNS = ("accuracy", "nll", "brier", "gap", "ece10", "ece15", "classwise")


def calibration_error(confidence: Tensor, right: Tensor, bins: int, closed: str) -> Tensor:
    """ECE ``[nets]`` of ``confidence`` and ``right [nets, n]``; bins closed on the ``right`` or ``left``."""
    number = (confidence * bins).ceil() - 1 if closed == "right" else (confidence * bins).floor()
    number = number.long().clamp(0, bins - 1)
    gaps = torch.zeros(len(confidence), bins, dtype=confidence.dtype, device=confidence.device)
    gaps.scatter_add_(1, number, right.to(confidence.dtype) - confidence)
    return gaps.abs().sum(1) / confidence.shape[1]


def binned(logits: Tensor, labels: Tensor, bins: int = 10) -> Tensor:
    """``[nets, bins, 4]`` of ``logits [nets, n, classes]``: items, and sums of confidence, of right answers and of the
    variance ``c (1 - c)`` of a right answer at confidence ``c``; bins closed on the left.
    """
    confidence, guess = logits.double().softmax(-1).max(-1)
    number = (confidence * bins).floor().long().clamp(0, bins - 1)
    right = (guess == labels).to(confidence.dtype)
    parts = [torch.ones_like(confidence), confidence, right, confidence * (1 - confidence)]
    empty = torch.zeros(len(confidence), bins, dtype=confidence.dtype, device=confidence.device)
    return torch.stack([empty.scatter_add(1, number, part) for part in parts], -1)


def scores(logits: Tensor, labels: Tensor, temperature: Tensor) -> Tensor:
    """``[nets, COLUMNS]`` of ``logits [nets, n, classes]`` and ``labels [n]`` at ``temperature [nets]``.

    ``gap`` is mean confidence minus accuracy; bins of ``ece10`` are closed on the left, of the others on the right.
    """
    log_p = (logits.double() / temperature.double()[:, None, None]).log_softmax(-1)
    p = log_p.exp()
    confidence, guess = p.max(-1)
    right = guess == labels
    hot = torch.nn.functional.one_hot(labels, p.shape[-1]).to(p.dtype)
    each = [calibration_error(p[..., k], labels.expand(len(p), -1) == k, 15, "right") for k in range(p.shape[-1])]
    columns = [
        right.double().mean(-1),
        -(log_p * hot).sum(-1).mean(-1),
        (p - hot).square().sum(-1).mean(-1),
        confidence.mean(-1) - right.double().mean(-1),
        calibration_error(confidence, right, 10, "left"),
        calibration_error(confidence, right, 15, "right"),
        torch.stack(each).mean(0),
    ]
    return torch.stack(columns, -1)


def losses(logits: Tensor, labels: Tensor) -> Losses:
    """For ``compressors.confidence.temperature.bisect``: loss and derivative of ``logits [nets, n, classes]``."""
    z = logits.double() - logits.double().amax(-1, keepdim=True)
    right = z.gather(-1, labels.expand(len(z), -1)[..., None])[..., 0].mean(-1)

    def at(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        warm = torch.as_tensor(t, device=z.device)
        scaled = z / warm[:, None, None]
        normal = scaled.logsumexp(-1)
        expected = ((scaled - normal[..., None]).exp() * z).sum(-1).mean(-1)
        return (normal.mean(-1) - right / warm).cpu().numpy(), ((right - expected) / warm**2).cpu().numpy()

    return at
