"""Temperature scaling (arXiv 1706.04599, section 4.2), solved exactly, and as published baselines have fitted it.

Dividing logits by T changes confidence and never the arg max. The negative log-likelihood is convex in b = 1/T with the
derivative ``E[z under softmax(b z)] - z of the answer``, so that bisection finds its minimum to machine precision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

COOLEST, HOTTEST = 1e-2, 1e2
STEPS = 60  # halvings of log T: to 1e-17 of its range


class ConfidenceError(ValueError):
    """Logits or labels that no temperature can be fitted on."""


class Temperature(NamedTuple):
    """``value [...]``, and ``clamped [...]``: whether the optimum lies outside of 0.01 to 100, so that the bound is
    given. A calibration set that the network has learned by heart wants T = 0.
    """

    value: NDArray[np.float64]
    clamped: NDArray[np.bool_]


def checked(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits ``[..., n, classes]`` in float64 and labels ``[..., n]`` of that shape.

    Raises :class:`ConfidenceError` for an empty set, one class, logits that are not finite or labels out of range.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(labels)
    if z.ndim < 2 or z.shape[-2] == 0:
        raise ConfidenceError(f"no calibration item: logits have the shape {z.shape}, expected [..., n, classes]")
    if z.shape[-1] < 2:
        raise ConfidenceError("one class only: its probability is 1 at every temperature")
    if not np.isfinite(z).all():
        bad = int((~np.isfinite(z)).any(-1).sum())
        raise ConfidenceError(f"logits of {bad} items hold NaN or infinity: the network has diverged")
    y = np.broadcast_to(y, z.shape[:-1]).astype(np.int64)
    if y.min() < 0 or y.max() >= z.shape[-1]:
        raise ConfidenceError(f"labels lie between {y.min()} and {y.max()}, logits have {z.shape[-1]} classes")
    return z, y


def log_softmax(logits: ArrayLike, temperature: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Log-probabilities ``[..., n, classes]`` at ``temperature [...]``, nats."""
    z = np.asarray(logits, np.float64) / np.asarray(temperature, np.float64)[..., None, None]
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def exact(logits: ArrayLike, labels: ArrayLike) -> Temperature:
    """The temperature of least NLL for every leading index of ``logits [..., n, classes]`` and ``labels [..., n]``."""
    z, y = checked(logits, labels)
    z = z - z.max(-1, keepdims=True)
    right = np.take_along_axis(z, y[..., None], -1)[..., 0].mean(-1)

    def slope(b: NDArray[np.float64]) -> NDArray[np.float64]:
        weight = np.exp(z * b[..., None, None])
        expected = (weight * z).sum(-1) / weight.sum(-1)
        return expected.mean(-1) - right  # rises with b

    low = np.full(right.shape, -np.log(HOTTEST))
    high = np.full(right.shape, -np.log(COOLEST))
    clamped = (slope(np.exp(low)) > 0) | (slope(np.exp(high)) < 0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        rising = slope(np.exp(middle)) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return Temperature(np.exp(-(low + high) / 2), clamped)


def legacy(logits: ArrayLike, labels: ArrayLike, rate: float = 0.01, steps: int = 50) -> Temperature:
    """The fit that published baselines used: LBFGS from T = 1.5 with ``rate`` .01 and 50 steps, without line search.

    It stops near T = 1.8 where the optimum is 3 to 10. Here to compare with them; use :func:`exact`.
    """
    import torch

    z, y = checked(logits, labels)
    found = np.empty(z.shape[:-2])
    for index in np.ndindex(found.shape):
        given, answers = torch.tensor(z[index], dtype=torch.float32), torch.tensor(y[index])
        temperature = torch.full((1,), 1.5, requires_grad=True)
        optimiser = torch.optim.LBFGS([temperature], lr=rate, max_iter=steps)

        def closure(t=temperature, o=optimiser, g=given, a=answers):  # type: ignore[no-untyped-def]
            o.zero_grad()
            loss = torch.nn.functional.cross_entropy(g / t, a)
            loss.backward()
            return loss

        optimiser.step(closure)
        found[index] = temperature.item()
    return Temperature(found, np.zeros(found.shape, bool))
