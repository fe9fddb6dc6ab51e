"""GPTQ: round column after column, each error made up for by the columns not yet rounded.

Frantar et al., arXiv 2210.17323, algorithm 1. Deviations from the reference code: damping (see
``compressors/factor.py``), symmetric grids (``compressors/grid.py``); dead columns are zeroed before every grid is
fitted, where the reference zeroes them after the grid of a whole row (``g-1``) was.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressors import grid as grids
from compressors import kernels
from compressors.columns import COLUMN_BLOCK, edges, solve_block
from compressors.factor import Factor, factorize_all, stacked
from compressors.kernels.columns import Grids, Plan, fits, run
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics, full_precision


class Quantized(NamedTuple):
    """``weight`` [out, in]; ``scale`` and ``zero`` [out, groups], column j in group ``group_of[j]``; damping used and
    how often it was raised.
    """

    weight: Tensor
    scale: Tensor
    zero: Tensor
    group_of: Tensor
    damping: float
    raised: int


def quantize(
    weight: Tensor,
    hessian: Tensor,
    *,
    bits: int,
    group_size: int = -1,
    sym: bool = False,
    groups: str = "block",
    actorder: bool = False,
    damp: float = 0.01,
    column_block: int = COLUMN_BLOCK,
) -> Quantized:
    """Quantize ``weight`` [out, in] given the ``hessian`` [in, in] of its inputs; rows do not depend on each other.

    ``groups``: a group's grid is fitted to the original weights (``static``), to those as of the last finished column
    block (``block``, the reference), or to those with every update so far (``fresh``). With ``actorder`` static
    groups are of the original columns, others of the reordered ones.
    """
    return quantize_all(
        weight, [hessian], bits=bits, group_size=group_size, sym=sym, groups=groups, actorder=actorder, damp=damp,
        column_block=column_block,
    )[0]  # fmt: skip


def quantize_all(
    weight: Tensor,
    hessians: list[Tensor],
    *,
    bits: int,
    group_size: int = -1,
    sym: bool = False,
    groups: str = "block",
    actorder: bool = False,
    damp: float = 0.01,
    column_block: int = COLUMN_BLOCK,
) -> list[Quantized]:
    """``quantize`` for each of several Hessians; on a GPU in about as many launches as one takes."""
    columns = weight.shape[1]
    plan = Plan(bits, columns if group_size == -1 else group_size, sym, groups)
    orders = [h.diagonal().argsort(dim=0, descending=True, stable=True) if actorder else None for h in hessians]
    with full_precision():
        factors = factorize_all(hessians, damp, orders)
        jobs = [_job(weight, factor, order, plan) for factor, order in zip(factors, orders, strict=True)]
        if kernels.usable(weight) and column_block == COLUMN_BLOCK and fits(columns, plan):
            _round_fused(jobs, plan)
        else:
            for job in jobs:
                _round(job.work, job.factor, job.lattice, job.group_of, plan, column_block)
    return [_quantized(job, order) for job, order in zip(jobs, orders, strict=True)]


class _Job(NamedTuple):
    """A weight to be rounded, ``work`` [columns, out] in the order of its ``factor``, its grids as ``Quantized``'s."""

    work: Tensor
    factor: Factor
    lattice: grids.Grid
    group_of: Tensor


def _job(weight: Tensor, factor: Factor, order: Tensor | None, plan: Plan) -> _Job:
    columns, size, bits = weight.shape[1], plan.group_size, plan.bits or 0
    work = weight.T if order is None else weight.T[order]
    work = work.masked_fill(factor.dead[:, None], 0)
    group_of = torch.arange(columns, device=weight.device) // size
    if plan.groups != "static":
        return _Job(work, factor, _empty(columns // size, work, bits), group_of)
    natural = work if order is None else torch.empty_like(work).index_copy_(0, order, work)
    lattice = fit_groups(natural, size, bits, plan.sym)
    return _Job(work, factor, lattice, group_of if order is None else group_of[order])


def _quantized(job: _Job, order: Tensor | None) -> Quantized:
    work, group_of = job.work, job.group_of
    if order is not None:
        back = order.argsort()
        work, group_of = work[back], group_of[back]
    return Quantized(
        work.T, job.lattice.scale.T, job.lattice.zero.T, group_of, job.factor.damping, job.factor.raised
    )  # fmt: skip


def _round(work: Tensor, factor: Factor, lattice: grids.Grid, group_of: Tensor, plan: Plan, column_block: int) -> None:
    """Round ``work`` [columns, out] in place; ``lattice`` [groups, out] is filled in, unless it is static."""
    size, bits = plan.group_size, plan.bits or 0
    for start, end in edges(work.shape[0], column_block, size if plan.groups == "fresh" else None):
        if plan.groups != "static":
            first, last = -(-start // size), -(-end // size)  # the groups that begin in this block
            fitted = fit_groups(work[first * size : last * size], size, bits, plan.sym)
            lattice.scale[first:last], lattice.zero[first:last] = fitted.scale, fitted.zero
        here = group_of[start:end]
        grid = grids.Grid(lattice.scale[here], lattice.zero[here], lattice.top)
        unit = factor.unit[start:end]
        work[start:end], errors = solve_block(work[start:end].clone(), unit[:, start:end], grid=grid)
        work[end:].addmm_(unit[:, end:].T, errors, alpha=-1)


def _round_fused(jobs: list[_Job], plan: Plan) -> None:
    """The same on a GPU, by the kernels, for all at once."""
    rows = torch.cat([job.work.T for job in jobs])
    scale, zero = (torch.cat([getattr(job.lattice, name).T for job in jobs]) for name in ("scale", "zero"))
    group_of = torch.stack([job.group_of for job in jobs]).to(torch.int32)
    unit, diagonal = stacked([job.factor for job in jobs])
    out = jobs[0].work.shape[1]
    run(rows, [out] * len(jobs), unit, diagonal, plan, Grids(scale, zero, group_of))
    for job, *found in zip(jobs, rows.split(out), scale.split(out), zero.split(out), strict=True):
        for old, new in zip((job.work, job.lattice.scale, job.lattice.zero), found, strict=True):
            old.copy_(new.T)


def fit_groups(work: Tensor, size: int, bits: int, sym: bool) -> grids.Grid:
    """Grids of ``work`` [columns, out] (transposed), one for each ``size`` columns: scale and zero [groups, out]."""
    if work.shape[0] == 0:
        return _empty(0, work, bits)
    cells = work.unflatten(0, (-1, size)).transpose(1, 2)  # [groups, out, size]
    found = grids.fit(cells, bits, sym)
    return grids.Grid(found.scale.squeeze(-1), found.zero.squeeze(-1), found.top)


def _empty(groups: int, work: Tensor, bits: int) -> grids.Grid:
    scale, zero = work.new_zeros(2, groups, work.shape[1])
    return grids.Grid(scale, zero, 2**bits - 1)


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    return solve_all(weights, [seen], method)[0]


def solve_all(weights: list[Tensor], seen: list[Statistics], method: Method) -> list[list[Solved]]:
    """``solve`` for each of several statistics of these linears' inputs."""
    target, settings = method.target, method.all_settings
    bits, size = target.bits, target.group_size
    hessians = [one.hessian for one in seen if one.hessian is not None]
    assert len(hessians) == len(seen)
    assert bits is not None
    assert size is not None
    # Rows are independent, so linears with one input are solved as one tall matrix.
    found = quantize_all(torch.cat(weights), hessians, bits=bits, group_size=size, **settings)  # type: ignore[arg-type]
    heights = [weight.shape[0] for weight in weights]
    stored = grids.bits_a_weight(weights[0].shape[1], bits, size, bool(settings["sym"]))
    scattered = bool(settings["actorder"]) and settings["groups"] != "static" and size != -1
    solved = []
    for done in found:
        parts = done.weight.split(heights)
        index = [32 / height if scattered else 0.0 for height in heights]  # a group number for each column
        solved.append(
            [
                Solved(part, stored - bits + more, bits, False, done.damping, done.raised)
                for part, more in zip(parts, index, strict=True)
            ]
        )
    return solved
