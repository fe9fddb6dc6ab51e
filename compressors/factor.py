"""The factor of the inverse Hessian that GPTQ and SparseGPT work with, and its damping."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from compressors.report import CompressionError

FIRST_RAISE = 0.01
MOST_RAISES = 16
LEAF = 1024  # columns; above, a triangular matrix is inverted by halves
TOGETHER = 2048  # columns up to which several matrices are factorized in one batch
QUEUED = ("cuda",)  # devices that work behind the host, so that it should not wait for them

_Result = TypeVar("_Result")
_unread: ContextVar[list[Tensor] | None] = ContextVar("unread", default=None)


class Factor(NamedTuple):
    """H^-1 = U'U with U upper triangular.

    ``unit`` [in, in] is U with each row divided by its diagonal entry, ``diagonal`` [in] those entries. ``dead`` [in]
    are columns whose input was always zero. ``damping`` is the share of the mean diagonal that was added at last,
    after ``raised`` failures.
    """

    unit: Tensor
    diagonal: Tensor
    dead: Tensor
    damping: float
    raised: int


class Unfactored(Exception):
    """A factorization that nobody waited for has failed: what was made with it is void."""


def without_waiting(work: Callable[[], _Result], device: torch.device) -> _Result:
    """``work()``, in which each factorization is taken to succeed at the first damping, so that the host need not wait
    for the device. ``work`` must take the ``outcomes`` and raise ``Unfactored``, all undone, if one is false; then it
    is done once more, waiting for each. On a device that the host need not wait for, it is done so at once.
    """
    if device.type not in QUEUED:
        return work()
    token = _unread.set([])
    try:
        return work()
    except Unfactored:
        pass  # begun again below, when what this exception holds has been freed
    finally:
        _unread.reset(token)
    return work()


def outcomes() -> list[Tensor]:
    """Whether the factorizations since the last call succeeded: booleans on their device, as far as not known yet."""
    found = _unread.get()
    if found is None:
        return []
    taken = found[:]
    found.clear()
    return taken


def factorize(hessian: Tensor, damp: float, order: Tensor | None = None) -> Factor:
    """Factorize a Hessian [in, in] (float32 or float64), damped by ``damp`` times its mean diagonal, columns in
    ``order``.

    If the damped Hessian is not positive definite, the damping is raised to 0.01, then doubled until it is; how often
    is in the result. Raises ``CompressionError`` if that never helps. Within ``without_waiting`` the first damping is
    all that is tried, and what came of it is in ``outcomes``. The reference codes (arXiv 2210.17323,
    2301.00774) factorize, invert and factorize again; factorizing the reversed matrix gives the same U in one go,
    with less rounding. Deviation: the mean is over the live columns, where the reference counts 1 for each dead one,
    so that scaling the inputs scales the damping too.
    """
    share, raised, unread = damp, 0, _unread.get()
    while True:
        unit, diagonal, dead, good = _attempt(_reordered(hessian, order), share)
        if unread is not None:
            unread.append(good)
            break
        if bool(good):
            break
        raised += 1
        if raised > MOST_RAISES:
            raise CompressionError(f"the Hessian has no Cholesky factor, even with a damping of {share:g}")
        share = max(2 * share, FIRST_RAISE)
    return Factor(unit, diagonal, dead, share, raised)


def factorize_all(hessians: list[Tensor], damp: float, orders: list[Tensor | None]) -> list[Factor]:
    """``factorize`` for several Hessians of one size, on a GPU all at once, up to ``TOGETHER`` columns: as many
    launches as one takes, but other rounding (the library's routines for batches).
    """
    size, device = hessians[0].shape[0], hessians[0].device
    if len(hessians) == 1 or size > TOGETHER or device.type not in QUEUED:
        return [factorize(hessian, damp, order) for hessian, order in zip(hessians, orders, strict=True)]
    ordered = [_reordered(hessian, order) for hessian, order in zip(hessians, orders, strict=True)]
    unit, diagonal, dead, good = _attempt(torch.stack(ordered), damp)
    unread = _unread.get()
    if unread is not None:
        unread.append(good.all())
    succeeded = [True] * len(hessians) if unread is not None else good.tolist()
    return [
        Factor(unit[i], diagonal[i], dead[i], damp, 0) if succeeded[i] else factorize(hessians[i], damp, orders[i])
        for i in range(len(hessians))
    ]


def stacked(factors: list[Factor]) -> tuple[Tensor, Tensor]:
    """``unit`` [factors, in, in] and ``diagonal`` [factors, in]; of one factor nothing is copied."""
    if len(factors) == 1:
        return factors[0].unit[None], factors[0].diagonal[None]
    return torch.stack([one.unit for one in factors]), torch.stack([one.diagonal for one in factors])


def _reordered(hessian: Tensor, order: Tensor | None) -> Tensor:
    return hessian if order is None else hessian[order][:, order]


def _attempt(hessian: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``Factor``'s first three entries for ``hessian`` [..., in, in], and whether they are any good [...]."""
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    dead = diagonal == 0
    mean = (diagonal.sum(-1) / (~dead).sum(-1).clamp(min=1))[..., None]
    # A dead column is tied to no other: any positive entry leaves the others' solution as it is.
    rest = torch.where(dead, torch.where(mean > 0, mean, 1.0), 0.0)
    damped = hessian.flip(-2, -1)
    damped.diagonal(dim1=-2, dim2=-1).add_((rest + share * mean).flip(-1))
    lower, info = torch.linalg.cholesky_ex(damped)
    del damped
    scale = lower.diagonal(dim1=-2, dim2=-1).clone()
    good = (info == 0) & torch.isfinite(scale).all(-1)
    # H = L L' reversed, so U is the reversed inverse of L. Scaling the columns of L scales the rows of U.
    unit = _inverse(lower.div_(scale[..., None, :])).flip(-2, -1)
    return unit, 1 / scale.flip(-1), dead, good


def _inverse(lower: Tensor) -> Tensor:
    """The inverse of unit lower triangular matrices [..., n, n], by halves: nearly all of the work is products."""
    n, like = lower.shape[-1], {"dtype": lower.dtype, "device": lower.device}
    if n <= LEAF:
        return torch.linalg.solve_triangular(lower, torch.eye(n, **like).expand_as(lower), upper=False)
    half = n // 2
    inverse = torch.zeros(lower.shape, **like)
    first, last = _inverse(lower[..., :half, :half]), _inverse(lower[..., half:, half:])
    inverse[..., :half, :half], inverse[..., half:, half:] = first, last
    inverse[..., half:, :half] = (last @ (lower[..., half:, :half] @ first)).neg_()
    return inverse
