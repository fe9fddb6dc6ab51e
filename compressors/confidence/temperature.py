"""Temperature scaling (arXiv 1706.04599, section 4.2), solved exactly, and as published baselines have fitted it.

Dividing logits by T changes confidence and never the arg max. The negative log-likelihood is convex in b = 1/T with the
derivative ``E[z under softmax(b z)] - z of the answer``, so that bisection finds its minimum to machine precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

COOLEST, HOTTEST = 1e-2, 1e2
STEPS = 60  # halvings of log T: to 1e-17 of its range

Losses = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


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


def nll(logits: ArrayLike, labels: ArrayLike, temperature: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Mean negative log-likelihood at ``temperature [...]``, nats ``[...]``."""
    z, y = checked(logits, labels)
    return -np.take_along_axis(log_softmax(z, temperature), y[..., None], -1)[..., 0].mean(-1)


def _losses(z: NDArray[np.float64], y: NDArray[np.int64]) -> Losses:
    """Loss and its derivative for T, ``[...]`` each, as a function of T ``[...]``."""
    z = z - z.max(-1, keepdims=True)  # so that what is surely right adds nothing, and no rounding
    right = np.take_along_axis(z, y[..., None], -1)[..., 0].mean(-1)

    def at(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        found = log_softmax(z, t)
        loss = -np.take_along_axis(found, y[..., None], -1)[..., 0].mean(-1)
        return loss, (right - (np.exp(found) * z).sum(-1).mean(-1)) / t**2

    return at


def exact(logits: ArrayLike, labels: ArrayLike) -> Temperature:
    """The temperature of least NLL for every leading index of ``logits [..., n, classes]`` and ``labels [..., n]``."""
    z, y = checked(logits, labels)
    return bisect(_losses(z, y), z.shape[:-2])


def bisect(at: Losses, shape: tuple[int, ...]) -> Temperature:
    """:func:`exact` for losses that are computed elsewhere, such as on a GPU; ``shape`` is that of T."""
    cool, hot = np.full(shape, np.log(COOLEST)), np.full(shape, np.log(HOTTEST))
    clamped = (at(np.exp(cool))[1] >= 0) | (at(np.exp(hot))[1] <= 0)
    for _ in range(STEPS):
        middle = (cool + hot) / 2
        falling = at(np.exp(middle))[1] < 0
        cool, hot = np.where(falling, middle, cool), np.where(falling, hot, middle)
    return Temperature(np.exp((cool + hot) / 2), clamped)


def legacy(logits: ArrayLike, labels: ArrayLike, rate: float = 0.01, steps: int = 50) -> Temperature:
    """The fit that published baselines used: torch's LBFGS from T = 1.5, ``rate`` .01, 50 steps, no line search.

    It stops near T = 1.8 where the optimum is 3 to 10, and can end below 0, which turns every answer round. Here to
    compare with them; use :func:`exact`.
    """
    z, y = checked(logits, labels)
    return secant(_losses(z, y), z.shape[:-2], rate, steps)


def secant(at: Losses, shape: tuple[int, ...], rate: float = 0.01, steps: int = 50) -> Temperature:
    """:func:`legacy` for losses that are computed elsewhere. In one dimension LBFGS is the secant method, so that all
    fits run at once; the rules to stop are torch's.
    """
    t = np.full(shape, 1.5)
    loss, slope = at(t)
    move = -slope * rate * np.minimum(1.0, 1 / np.maximum(np.abs(slope), 1e-300))
    inverse, active, before = np.ones_like(t), np.abs(slope) > 1e-7, slope
    for step in range(steps):
        if step:
            bend = slope - before
            inverse = np.where(bend * move > 1e-10, move / np.where(bend == 0, 1.0, bend), inverse)
            direction = -slope * inverse
            active = active & (slope * direction <= -1e-9)
            move = rate * direction
        before, last = slope, loss
        t = np.where(active, t + move, t)
        loss, slope = at(t)
        active = active & (np.abs(slope) > 1e-7) & (np.abs(move) > 1e-9) & (np.abs(loss - last) >= 1e-9)
    return Temperature(t, np.zeros(shape, bool))
