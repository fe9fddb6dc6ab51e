"""SparseGPT: prune column after column, each error made up for by the columns that follow.

Frantar and Alistarh, arXiv 2301.00774, algorithm 1. The mask of 128 columns is chosen at once, jointly over all rows,
by (w / U_jj)^2, and that of an n:m pattern as its columns are reached, on the updated weights. Kept weights can be
quantized in the same pass (section 3.5). Deviations from the reference code: exactly ``round(s * n)`` entries a block
of 128 columns, where its ``<=`` prunes one more or all that tie; groups in joint quantization, where it has one grid
a row; for n:m, blocks of the largest multiple of m up to 128 columns; damping (``compressors/factor.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressors import grid as grids
from compressors import kernels, masks
from compressors.columns import COLUMN_BLOCK, Pattern, edges, solve_block
from compressors.factor import Factor, factorize_all, stacked
from compressors.gptq import fit_groups
from compressors.kernels.columns import Grids, Plan, fits, run
from compressors.method import Method, Target
from compressors.solving import Solved
from compressors.statistics import Statistics, full_precision


class Pruned(NamedTuple):
    """``weight`` [out, in]; ``scale`` and ``zero`` [out, groups], or None if nothing was quantized."""

    weight: Tensor
    scale: Tensor | None = None
    zero: Tensor | None = None


def prune(
    weight: Tensor,
    factor: Factor,
    *,
    sparsity: float = 0.0,
    pattern: Pattern | None = None,
    bits: int | None = None,
    group_size: int = -1,
    sym: bool = False,
    groups: str = "block",
    column_block: int = COLUMN_BLOCK,
) -> Pruned:
    """Prune ``weight`` [out, in] given the ``factor`` of its inputs' Hessian; quantize what is kept if ``bits`` are
    given.

    Each block of ``column_block`` columns gets exactly ``round(sparsity * entries)`` zeros, or each row the
    ``pattern``. ``groups``: see ``gptq.quantize`` (``static`` or ``block``).
    """
    columns = weight.shape[1]
    size = columns if group_size == -1 else group_size
    work = weight.T.masked_fill(factor.dead[:, None], 0)
    lattice = None if bits is None else fit_groups(work, size, bits, sym)
    step = column_block if pattern is None else max(column_block // pattern.group, 1) * pattern.group
    with full_precision():
        for start, end in edges(columns, step):
            grid = None
            if lattice is not None and bits is not None:
                first, last = -(-start // size), -(-end // size)
                if groups == "block":
                    fitted = fit_groups(work[first * size : last * size], size, bits, sym)
                    lattice.scale[first:last], lattice.zero[first:last] = fitted.scale, fitted.zero
                here = torch.arange(start, end, device=weight.device) // size
                grid = grids.Grid(lattice.scale[here], lattice.zero[here], lattice.top)
            unit, diagonal = factor.unit[start:end], factor.diagonal[start:end]
            block = work[start:end].clone()
            pruned = None if pattern is not None else joint_mask(block, diagonal, sparsity)
            work[start:end], errors = solve_block(
                block, unit[:, start:end], grid=grid, pruned=pruned, pattern=pattern, diagonal=diagonal
            )
            work[end:].addmm_(unit[:, end:].T, errors, alpha=-1)
    if lattice is None:
        return Pruned(work.T)
    return Pruned(work.T, lattice.scale.T, lattice.zero.T)


def joint_mask(block: Tensor, diagonal: Tensor, sparsity: float) -> Tensor:
    """True where ``block`` [columns, out] is pruned: the smallest (w / U_jj)^2 of all its entries; of equal ones by
    row, then column of the weight.
    """
    metric = (block / diagonal[:, None]).square_().T  # [out, columns]
    return masks.smallest(metric.reshape(1, -1), sparsity).view(metric.shape).T


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    return solve_all(weights, [seen], method)[0]


def solve_all(weights: list[Tensor], seen: list[Statistics], method: Method) -> list[list[Solved]]:
    """``solve`` for each of several statistics of these linears' inputs; on a GPU in about as many launches as one."""
    target, settings = method.target, method.all_settings
    hessians = [one.hessian for one in seen if one.hessian is not None]
    assert len(hessians) == len(seen)
    with full_precision():
        factors = factorize_all(hessians, float(settings["damp"]), [None] * len(hessians))
    pattern = None if target.keep is None or target.group is None else Pattern(target.keep, target.group)
    sym, groups, size = bool(settings["sym"]), str(settings["groups"]), target.group_size or -1
    sparsity = None if pattern is not None else target.sparsity or 0.0
    plan = Plan(target.bits, size, sym, groups, target.keep, target.group, sparsity)
    if kernels.usable(weights[0]) and fits(weights[0].shape[1], plan):
        done = _prune_fused(weights, factors, plan)
    else:
        done = [
            [
                prune(
                    weight, factor, sparsity=sparsity or 0.0, pattern=pattern, bits=target.bits, group_size=size,
                    sym=sym, groups=groups,
                ).weight
                for weight in weights
            ]
            for factor in factors
        ]  # fmt: skip
    stored = _overhead(target, weights[0].shape[1], sym)
    return [
        [Solved(new, stored, target.bits, True, factor.damping, factor.raised) for new in found]
        for found, factor in zip(done, factors, strict=True)
    ]


def _prune_fused(weights: list[Tensor], factors: list[Factor], plan: Plan) -> list[list[Tensor]]:
    """The weights of ``prune`` for each factor, on a GPU by the kernels, as one stack: masks are joint over the rows of
    each.
    """
    whole = torch.cat(weights)
    work = torch.cat([whole.masked_fill(factor.dead, 0) for factor in factors])
    unit, diagonal = stacked(factors)
    heights = [len(weight) for weight in weights]
    columns, grid = work.shape[1], None
    with full_precision():
        if plan.bits is not None and plan.groups == "static":
            size = columns if plan.group_size == -1 else plan.group_size
            lattice = fit_groups(work.T, size, plan.bits, plan.sym)
            group_of = torch.arange(columns, device=work.device, dtype=torch.int32) // size
            group_of = group_of.expand(len(factors), -1).contiguous()
            grid = Grids(lattice.scale.T.contiguous(), lattice.zero.T.contiguous(), group_of)
        run(work, heights * len(factors), unit, diagonal, plan, grid)
    return [list(found.split(heights)) for found in work.split(len(whole))]


def _overhead(target: Target, columns: int, sym: bool) -> float:
    stored = masks.mask_bits(target.keep, target.group)
    if target.bits is not None and target.group_size is not None:
        stored += grids.bits_a_weight(columns, target.bits, target.group_size, sym) - target.bits
    return stored
