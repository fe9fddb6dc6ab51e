"""SpQR: GPTQ in small groups whose scales and zero points are quantized too; weights that would cost too much are kept.

Dettmers et al., arXiv 2306.03078, algorithm 1. A weight is an outlier if rounding it costs more than ``threshold``
times the mean of var(column) / U_jj^2. Likely outliers, found by leaving out one weight of a group at a time, do not
take part in fitting the group's grid; whether a weight is kept is decided as its column is reached.

Deviations from the reference code: damping (``compressors/factor.py``); groups whose entries are all alike, and
statistics that are, are stored exactly, where it spans -1 to 1 about them; the last group of statistics may be
shorter. ``grid=gptq`` gives integer zero points and ranges that include 0: with that, ``threshold=inf`` and
``statbits=16`` the result is ``gptq`` with ``groups=fresh``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from compressors import grid as grids
from compressors import kernels
from compressors.columns import COLUMN_BLOCK, edges
from compressors.factor import Factor, factorize_all, stacked
from compressors.kernels import spqr as fused
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics, full_precision

OUTLIER_BITS = 32  # a 16-bit value and where it is
PLAIN_BITS = 16  # a statistic that is not quantized; also each end of the range of those that are


class Quantized(NamedTuple):
    """``weight`` [out, in], ``outliers`` [out, in] (true where kept); damping used and how often it was raised."""

    weight: Tensor
    outliers: Tensor
    damping: float
    raised: int


def quantize(
    weight: Tensor,
    hessian: Tensor,
    *,
    bits: int,
    group_size: int = 16,
    threshold: float = 0.2,
    statbits: int = 3,
    statgroup: int = 16,
    grid: str = "free",
    actorder: bool = True,
    damp: float = 1.0,
    heights: list[int] | None = None,
) -> Quantized:
    """Quantize ``weight`` [out, in] given the ``hessian`` [in, in] of its inputs.

    ``heights`` are the rows of the linears stacked in ``weight``: each has a threshold of its own. Rows are otherwise
    independent but for runs of ``statgroup`` of them, whose statistics are quantized together.
    """
    return quantize_all(
        weight, [hessian], bits=bits, group_size=group_size, threshold=threshold, statbits=statbits,
        statgroup=statgroup, grid=grid, actorder=actorder, damp=damp, heights=heights,
    )[0]  # fmt: skip


def quantize_all(
    weight: Tensor,
    hessians: list[Tensor],
    *,
    bits: int,
    group_size: int = 16,
    threshold: float = 0.2,
    statbits: int = 3,
    statgroup: int = 16,
    grid: str = "free",
    actorder: bool = True,
    damp: float = 1.0,
    heights: list[int] | None = None,
) -> list[Quantized]:
    """``quantize`` for each of several Hessians; on a GPU in about as many launches as one takes."""
    size = weight.shape[1] if group_size == -1 else group_size
    orders = [h.diagonal().argsort(descending=True, stable=True) if actorder else None for h in hessians]
    with full_precision():
        factors = factorize_all(hessians, damp, orders)
        works, limits = [], []
        for factor, order in zip(factors, orders, strict=True):
            works.append((weight.T if order is None else weight.T[order]).masked_fill(factor.dead[:, None], 0))
            limit = _outlier_scale(works[-1], factor.diagonal, heights or [weight.shape[0]])  # [out]
            limits.append(torch.full_like(limit, torch.inf) if math.isinf(threshold) else limit * threshold)
        quantized = statbits < PLAIN_BITS
        if kernels.usable(weight) and fused.fits(size, statgroup, quantized):
            rows = torch.cat([work.T for work in works])
            outliers = fused.run(
                rows, *stacked(factors), torch.cat(limits), bits=bits, size=size,
                levels=2**statbits - 1 if quantized else 0, statgroup=statgroup, integer=grid == "gptq",
            )  # fmt: skip
            works, kept = ([part.T for part in stack.split(len(weight))] for stack in (rows, outliers))
        else:
            kept = [
                _round_columns(work, factor, limit, size, bits, statbits, statgroup, grid)
                for work, factor, limit in zip(works, factors, limits, strict=True)
            ]
    found = []
    for work, outlier, factor, order in zip(works, kept, factors, orders, strict=True):
        back = slice(None) if order is None else order.argsort()
        found.append(Quantized(work[back].T, outlier[back].T, factor.damping, factor.raised))
    return found


def _round_columns(
    work: Tensor, factor: Factor, limit: Tensor, size: int, bits: int, statbits: int, statgroup: int, grid: str
) -> Tensor:
    """Round ``work`` [columns, out] in place; returns the outliers [columns, out]."""
    kept = torch.zeros_like(work, dtype=torch.bool)
    lattice = grids.Grid(work, work, 2**bits - 1)
    for start, end in edges(work.shape[0], COLUMN_BLOCK, size):
        if start % size == 0:
            group = slice(start, start + size)
            lattice = _fit(work[group], factor.diagonal[group], limit, bits, statbits, statgroup, grid)
        unit = factor.unit[start:end]
        allowed = factor.diagonal[start:end, None] * limit.sqrt()  # [columns, out], the largest error rounded off
        work[start:end], errors, kept[start:end] = _solve_block(
            work[start:end].clone(), unit[:, start:end], lattice, allowed
        )
        work[end:].addmm_(unit[:, end:].T, errors, alpha=-1)
    return kept


def _outlier_scale(work: Tensor, diagonal: Tensor, heights: list[int]) -> Tensor:
    """Mean over columns of var(column) / U_jj^2, [out]: one value for a linear's rows. ``work`` is [columns, out]."""
    parts = [part.var(1, correction=int(part.shape[1] > 1)) for part in work.split(heights, dim=1)]
    scales = torch.stack([(part / diagonal.square()).mean() for part in parts])
    return torch.cat([scale.expand(height) for scale, height in zip(scales, heights, strict=True)])


def _fit(
    cells: Tensor, diagonal: Tensor, limit: Tensor, bits: int, statbits: int, statgroup: int, grid: str
) -> grids.Grid:
    """The grid of one group ``cells`` [size, out]: scale and zero [out], likely outliers left out, statistics
    quantized.
    """
    if cells.shape[0] > 1:
        gain = leave_one_out(cells, diagonal, bits, grid)
        inside = gain <= limit
        mean = (cells * inside).sum(0) / inside.sum(0).clamp(min=1)
        cells = torch.where(inside, cells, mean)
    found = _range(cells.amin(0), cells.amax(0), bits, grid)
    if statbits >= PLAIN_BITS:
        return found
    return found._replace(
        scale=_rounded(found.scale, statbits, statgroup), zero=_rounded(found.zero, statbits, statgroup)
    )


def leave_one_out(cells: Tensor, diagonal: Tensor, bits: int, grid: str) -> Tensor:
    """How much the error of a group ``cells`` [size, out], weighted by 1 / ``diagonal``^2 [size], falls if one entry is
    left out of fitting and rounding, for each entry.

    Only leaving out the smallest or the largest changes the range, so three grids do where the reference fits one an
    entry.
    """
    weight = 1 / diagonal.square()[:, None]
    low, high = cells.amin(0), cells.amax(0)
    base = _errors(cells, low, high, bits, grid) * weight
    gain = base.clone()  # for the others, what is saved is their own error
    for extreme in ("low", "high"):
        at = (cells.argmin(0) if extreme == "low" else cells.argmax(0))[None]
        # A stand-in on the other end leaves the range of the rest.
        rest = cells.scatter(0, at, (high if extreme == "low" else low)[None])
        errors = (_errors(rest, rest.amin(0), rest.amax(0), bits, grid) * weight).scatter(0, at, 0.0)
        gain.scatter_(0, at, (base.sum(0) - errors.sum(0))[None])
    return gain


def _errors(cells: Tensor, low: Tensor, high: Tensor, bits: int, grid: str) -> Tensor:
    lattice = _range(low, high, bits, grid)
    return (cells - _round(cells, lattice)).square_()


def _range(low: Tensor, high: Tensor, bits: int, grid: str) -> grids.Grid:
    """The grid from ``low`` to ``high`` [out]; a range of one value is stretched to 0, so that its end is exact."""
    if grid == "gptq":
        found = grids.fit(torch.stack([low, high], dim=-1), bits)
        return grids.Grid(found.scale.squeeze(-1), found.zero.squeeze(-1), found.top)
    alike = low == high
    low, high = torch.where(alike, low.clamp(max=0), low), torch.where(alike, high.clamp(min=0), high)
    scale = torch.where(high == low, 1.0, (high - low) / (2**bits - 1))
    return grids.Grid(scale, -low / scale, 2**bits - 1)


def _round(cells: Tensor, lattice: grids.Grid) -> Tensor:
    codes = torch.round(cells / lattice.scale + lattice.zero).clamp_(0, lattice.top)
    return (codes - lattice.zero) * lattice.scale


def _rounded(values: Tensor, bits: int, group: int) -> Tensor:
    """``values`` [out], each run of ``group`` of them rounded to 2^bits evenly spaced levels from its least to its
    largest.
    """
    short = -len(values) % group
    cells = torch.cat([values, values[-1:].expand(short)]).reshape(-1, group)  # a repeated last value adds no level
    low, high = cells.amin(1, keepdim=True), cells.amax(1, keepdim=True)
    step = torch.where(high == low, 1.0, (high - low) / (2**bits - 1))
    return (low + ((cells - low) / step).round_() * step).flatten()[: len(values)]


def _solve_block(block: Tensor, unit: Tensor, lattice: grids.Grid, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """New weights, errors and outliers, all [columns, out]; ``block`` is used up. See ``compressors/columns.py``."""
    new, errors = torch.empty_like(block), torch.empty_like(block)
    kept = torch.empty_like(block, dtype=torch.bool)
    for i in range(block.shape[0]):
        column = block[i]
        value = _round(column, lattice)
        torch.gt((column - value).abs_(), allowed[i], out=kept[i])
        torch.where(kept[i], column, value, out=new[i])
        torch.sub(column, new[i], out=errors[i])
        block[i + 1 :].addr_(unit[i, i + 1 :], errors[i], alpha=-1)
    return new, errors, kept


def bits_a_weight(shape: tuple[int, int], bits: int, size: int, statbits: int, statgroup: int) -> float:
    """Realised bits a weight (section 4.3), but for outliers: codes, two statistics a group, their own ranges."""
    out, columns = shape
    groups = columns / size
    stored = float(bits * out * columns)
    if statbits >= PLAIN_BITS:
        stored += out * groups * 2 * PLAIN_BITS
    else:
        stored += out * groups * 2 * statbits + -(-out // statgroup) * groups * 4 * PLAIN_BITS
    return stored / (out * columns)


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    return solve_all(weights, [seen], method)[0]


def solve_all(weights: list[Tensor], seen: list[Statistics], method: Method) -> list[list[Solved]]:
    """``solve`` for each of several statistics of these linears' inputs."""
    target, settings = method.target, method.all_settings
    hessians = [one.hessian for one in seen if one.hessian is not None]
    assert len(hessians) == len(seen)
    assert target.bits is not None
    assert target.group_size is not None
    heights = [weight.shape[0] for weight in weights]
    # Linears with one input are solved as one tall matrix, unless runs of rows would straddle two of them.
    if int(settings["statbits"]) < PLAIN_BITS and any(height % int(settings["statgroup"]) for height in heights[:-1]):
        apart = [solve_all([weight], seen, method) for weight in weights]
        return [[one[i][0] for one in apart] for i in range(len(seen))]
    found = quantize_all(
        torch.cat(weights), hessians, bits=target.bits, group_size=target.group_size, heights=heights,
        **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    return [_solved(done, heights, method) for done in found]


def _solved(done: Quantized, heights: list[int], method: Method) -> list[Solved]:
    target, settings = method.target, method.all_settings
    assert target.bits is not None
    statbits, statgroup, columns = int(settings["statbits"]), int(settings["statgroup"]), done.weight.shape[1]
    size = columns if target.group_size in (-1, None) else target.group_size
    solved = []
    for new, kept in zip(done.weight.split(heights), done.outliers.split(heights), strict=True):
        stored = bits_a_weight((len(new), columns), target.bits, size, statbits, statgroup)
        index = 32 / len(new) if settings["actorder"] and size != columns else 0.0  # a group number for each column
        extra = kept.sum() * OUTLIER_BITS
        solved.append(Solved(new, stored - target.bits + index, target.bits, False, done.damping, done.raised, extra))
    return solved
