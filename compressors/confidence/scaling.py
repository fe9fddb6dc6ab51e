"""Calibrators with more freedom than a temperature, which may change the arg max: vector scaling and isotonic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compressors.confidence.temperature import checked, log_softmax


class Vector(NamedTuple):
    """``weight`` and ``bias`` ``[classes]``; calibrated logits are ``weight * logits + bias``."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    converged: bool

    def __call__(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Calibrated log-probabilities ``[n, classes]``."""
        return log_softmax(np.asarray(logits, np.float64) * self.weight + self.bias)


def vector(logits: ArrayLike, labels: ArrayLike, limit: float = 100.0) -> Vector:
    """Vector scaling (arXiv 1706.04599, section 4.2) of one network: least NLL, convex, by L-BFGS-B.

    ``logits [n, classes]``. Entries are bounded by ``limit``, which matters where the set is fitted perfectly.
    """
    from scipy.optimize import minimize

    z, y = checked(logits, labels)
    n, classes = z.shape
    one_hot = np.eye(classes)[y]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, bias = np.split(parameters, 2)
        found = log_softmax(z * weight + bias)
        error = (np.exp(found) - one_hot) / n
        return -(found * one_hot).sum() / n, np.concatenate([(error * z).sum(0), error.sum(0)])

    start = np.concatenate([np.ones(classes), np.zeros(classes)])
    bounds = [(0.0, limit)] * classes + [(-limit, limit)] * classes
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000})
    return Vector(result.x[:classes], result.x[classes:], bool(result.success))


class Isotonic(NamedTuple):
    """A rising step function a class, one against the rest: ``edges[k]`` (probabilities) and ``levels[k]``."""

    edges: list[NDArray[np.float64]]
    levels: list[NDArray[np.float64]]

    def __call__(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Calibrated log-probabilities ``[n, classes]``; where every class is at zero, all are equal."""
        given = np.exp(log_softmax(logits))
        columns = [np.interp(given[:, k], self.edges[k], self.levels[k]) for k in range(given.shape[1])]
        found = np.maximum(np.stack(columns, 1), 1e-12)
        return np.log(found / found.sum(1, keepdims=True))


def isotonic(logits: ArrayLike, labels: ArrayLike) -> Isotonic:
    """Isotonic regression of each class's probability on being right (Zadrozny and Elkan, KDD 2002), one network."""
    from scipy.optimize import isotonic_regression

    z, y = checked(logits, labels)
    given = np.exp(log_softmax(z))
    edges, levels = [], []
    for k in range(z.shape[1]):
        # Ties first become one point each: a function has one value there.
        at, inverse, counts = np.unique(given[:, k], return_inverse=True, return_counts=True)
        share = np.bincount(inverse, weights=(y == k).astype(float)) / counts
        edges.append(at)
        levels.append(isotonic_regression(share, weights=counts.astype(float)).x)
    return Isotonic(edges, levels)
