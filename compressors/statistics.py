"""Statistics of a linear's inputs, streamed batch by batch; nothing of the size of the inputs is kept.

Every sum is over tokens: a statistic does not depend on how sequences are batched, ordered or cut (but for rounding).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from compressors.kernels import gram

SAMPLE_TOKENS = 256  # rows kept to measure the error of methods that have no Hessian


class Statistics(NamedTuple):
    """What was seen of the inputs X [tokens, columns] of one linear (or of several that share their input).

    ``norms`` [columns] is the mean over tokens of x_j^2, ``hessian`` [columns, columns] is X'X / tokens or None;
    ``sample`` [<= 256, columns] are evenly spaced rows of X or None; ``mean`` [columns] is the mean over tokens or
    None. All in float32, or float64 for a float64 model. ``tokens`` is 0 if nothing was seen. ``gradients`` are of the
    weights that are solved together, [out, in] each (from a pre-pass, see ``compressors/prepass.py``), ``names`` those
    of their linears in the model.
    """

    tokens: int
    norms: Tensor | None = None
    hessian: Tensor | None = None
    sample: Tensor | None = None
    mean: Tensor | None = None
    size: Tensor | None = None
    gradients: tuple[Tensor, ...] | None = None
    names: tuple[str, ...] | None = None

    @property
    def dead(self) -> Tensor | None:
        """[columns], true where an input was zero for every token."""
        return None if self.norms is None else self.norms == 0


def sampling_stride(sequences: int, length: int) -> int:
    """The distance in tokens between sampled rows: about 256 rows in all, at every position of a sequence alike.

    A stride that shares a factor with the length would visit the same positions of each sequence, such as the first
    token, whose activations are often by far the largest.
    """
    stride = max(1, -(-sequences * length // SAMPLE_TOKENS))
    while math.gcd(stride, length) > 1:
        stride += 1
    return stride


class Accumulator:
    """Sums over the inputs of one linear.

    ``wants`` is ``none``, ``norms``, ``hessian`` or, with the mean too, ``moments`` or ``hessian+moments``. ``every``
    is the distance in tokens between the rows that are sampled (or several, to sample for each). The Hessian is summed
    in float32 (float64 for float64 inputs) from exact or float32 products (``kernels/gram.py``), never TF32, and
    divided by the number of tokens once, at the end: the reference codes keep a running mean over sequences, whose
    rounding grows with their number. A constant factor of the Hessian changes no algorithm here, since damping is
    relative to its diagonal.
    """

    def __init__(self, columns: int, wants: str, every: int | Sequence[int] = 1) -> None:
        self.columns, self.wants = columns, wants
        self._rows: dict[int, list[Tensor]] = {max(1, n): [] for n in ([every] if isinstance(every, int) else every)}
        self.tokens = 0
        self._squares: Tensor | None = None
        self._sum: Tensor | None = None
        self._size: Tensor | None = None
        self._hessian: Tensor | None = None
        self._one_triangle = False

    def add(self, inputs: Tensor) -> None:
        """Count ``inputs`` [..., columns] of any floating dtype."""
        rows = inputs.detach().reshape(-1, self.columns)
        if rows.shape[0] == 0:
            return
        if "moments" in self.wants:
            total = rows.sum(0, dtype=torch.float64)
            self._sum = total if self._sum is None else self._sum.add_(total)
        if "size" in self.wants:
            total = rows.abs().sum(0, dtype=torch.float64)
            self._size = total if self._size is None else self._size.add_(total)
        if "hessian" in self.wants:
            self._add_hessian(rows)
        else:
            self._add_squares(rows)
        self.tokens += rows.shape[0]

    def _add_squares(self, rows: Tensor) -> None:
        dtype = working_dtype(rows.dtype)
        for every, sampled in self._rows.items():
            sampled.append(rows[-self.tokens % every :: every].to(dtype, copy=True))
        if rows.is_cuda:  # one pass over the inputs; nothing of their size is made
            squares = torch.linalg.vector_norm(rows, dim=0, dtype=dtype).double().square()
        else:
            squares = rows.to(dtype).square().sum(0).double()
        self._squares = squares if self._squares is None else self._squares.add_(squares)

    def _add_hessian(self, rows: Tensor) -> None:
        dtype = working_dtype(rows.dtype)
        if self._hessian is None:
            self._hessian = torch.zeros(self.columns, self.columns, dtype=dtype, device=rows.device)
        if gram.applies(rows):
            gram.add(self._hessian, rows)
            self._one_triangle = True
        else:
            rows = rows.to(dtype)
            with precision("highest"):
                self._hessian.addmm_(rows.T, rows)

    def so_far(self, every: int) -> Statistics:
        """The statistics so far, with the rows sampled at this distance; more can be added afterwards."""
        hessian = self._hessian
        try:
            self._hessian = None if hessian is None else hessian.clone()
            return self.result(every)
        finally:
            self._hessian = hessian

    def forget(self, every: int) -> None:
        """Sample no more rows at this distance, and drop those there are."""
        self._rows.pop(max(1, every), None)

    def result(self, every: int | None = None) -> Statistics:
        """The statistics so far. The accumulator is spent: the Hessian is divided in place."""
        if self.tokens == 0:
            return Statistics(0)
        mean = None if self._sum is None else self._sum / self.tokens
        size = None if self._size is None else self._size / self.tokens
        if self._hessian is not None:
            hessian = self._hessian.div_(self.tokens)
            if self._one_triangle:
                gram.mirror(hessian)
            return Statistics(
                self.tokens, hessian.diagonal(), hessian, mean=_to(mean, hessian), size=_to(size, hessian)
            )
        assert self._squares is not None
        sample = torch.cat(self._rows[next(iter(self._rows)) if every is None else max(1, every)])
        return Statistics(
            self.tokens, _to(self._squares / self.tokens, sample), None, sample, _to(mean, sample), _to(size, sample)
        )


def _to(values: Tensor | None, like: Tensor) -> Tensor | None:
    return None if values is None else values.to(like.dtype)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """What is computed in: float64 for a float64 model, else float32."""
    return torch.promote_types(dtype, torch.float32)


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Float32 products at ``highest`` (float32) or ``high`` (TF32 on a GPU), whatever the caller has set; that is put
    back afterwards.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def full_precision() -> AbstractContextManager[None]:
    return precision("highest")


def error_sums(weight: Tensor, new: Tensor, seen: Statistics) -> Tensor | None:
    """||(W' - W) X||^2 and ||W X||^2 over the calibration inputs, [2] in float64; both weights [out, in] in float32.

    From the Hessian if there is one (all tokens), else over the sampled rows. None if nothing was seen. They are only
    reported, so a GPU computes them with TF32 products: to about three digits.
    """
    parts = (new - weight, weight)
    with precision("high" if weight.is_cuda else "highest"):
        if seen.hessian is not None:
            hessian = seen.hessian
            return torch.stack([(part @ hessian).mul_(part).sum(dtype=torch.float64) for part in parts])
        if seen.sample is not None:
            sample = seen.sample
            return torch.stack([(sample @ part.T).square_().sum(dtype=torch.float64) for part in parts])
    return None


def ratio(lost: float, whole: float) -> float | None:
    """The relative error from the two sums; None if W X is zero."""
    # Rounding can leave a tiny negative number where the change is nothing.
    return max(0.0, lost / whole) if whole > 0 else None


def relative_error(weight: Tensor, new: Tensor, seen: Statistics) -> float | None:
    """||(W' - W) X||^2 / ||W X||^2, from ``error_sums``; None if nothing was seen or W X is zero."""
    sums = error_sums(weight, new, seen)
    return None if sums is None else ratio(*sums.tolist())
