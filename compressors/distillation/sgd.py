"""Gradient descent on many networks at once: plain steps in place, as PyTorch's SGD makes them."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def step(
    value: Tensor, gradient: Tensor, velocity: Tensor, rate: float | Tensor, momentum: float, decay: float = 0.0
) -> None:
    """One step, in place: ``velocity = momentum * velocity + gradient``, ``value -= rate * velocity``."""
    if decay:
        gradient = gradient + decay * value
    velocity.mul_(momentum).add_(gradient)
    value.sub_(rate * velocity)
