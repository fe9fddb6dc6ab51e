"""DSnoT: start from another method's mask and swap entries, row by row, until the expected error of the output is
small. No training.

Zhang et al., arXiv 2310.08915, section 3.2: of the pruned entries of a row, the one whose return lowers the row's
expected error E[e] = E[(w - w')x] most relative to the variance of its input grows back; of the kept ones whose loss
lowers it too, the one with the smallest |w| ||x|| goes.

As in the reference code an entry moves at most once, and 2:4-like patterns keep their groups: what goes is then the
kept entry of the same group that the metric ranks lowest, and a row also stops before its error would change sign.

Deviations from the reference code:

- all linears are refined, where it leaves those of the MLP alone unless told otherwise;
- it takes from SparseGPT only the metric, summed over no data; here the start is the base's own result, updated weights
  included, an entry that grows back has its dense value, and 0 cycles are the base exactly;
- the error is a sum over 2,048 tokens whatever the length of the sequences, so that the threshold means one thing;
- a row with nothing left to swap stays as it is, where it goes on to kept entries.

Without ``samesign`` (the reference's default) a row whose error has changed sign goes on swapping until its 50 cycles
are used up. Of 4,096 columns that is little; rows of a few hundred are better off with ``samesign=true``.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from compressors.codehash import module_name
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics

SEQUENCE = 2048  # tokens an error is summed over: the paper's sequence length


class Swapped(NamedTuple):
    """``weight`` [out, in] with as many zeros a row as before, and how many swaps each row [out] made."""

    weight: Tensor
    swaps: Tensor


def refine(
    dense: Tensor,
    start: Tensor,
    pruned: Tensor,
    mean: Tensor,
    norms: Tensor,
    *,
    cycles: int = 50,
    threshold: float = 0.1,
    power: float = 1.0,
    same_sign: bool = False,
    group: int | None = None,
) -> Swapped:
    """Swap entries of ``start`` [out, in], whose entries ``pruned`` are zero, towards the output of ``dense`` [out,
    in].

    ``mean`` and ``norms`` [in] are the means and mean squares of the inputs; ``group`` is that of an n:m pattern. Rows
    are independent.
    """
    rows = torch.arange(start.shape[0], device=start.device)
    lost = SEQUENCE * dense * mean  # what an entry adds to the output's sum
    kept = SEQUENCE * start * mean
    error = (lost - kept).sum(1)
    variance = (norms.double() - mean.double().square()).clamp_(min=0).to(mean.dtype)
    gain = torch.where(lost == 0, 0.0, lost / variance.pow(power))
    growing = _Growing(gain, pruned)
    cost = (start.abs() * norms.sqrt()).masked_fill(pruned, torch.inf)
    going = _Going(cost, kept) if group is None else _InGroup(cost, group)
    mask, swaps = pruned.clone(), torch.zeros_like(rows)
    active = torch.ones_like(rows, dtype=torch.bool)
    sign = error.sign()
    for _ in range(cycles):
        active = active & (error.abs() > threshold)
        back, some_back = growing.next(error > 0)
        gone, some_gone = going.next(error > 0, back)
        after = error + kept[rows, gone] - lost[rows, back]
        found = some_back & some_gone
        if same_sign or group is not None:
            active = active & (~found | (after.sign() == sign))
        swap = active & found
        mask[rows, back] = torch.where(swap, False, mask[rows, back])
        mask[rows, gone] = torch.where(swap, True, mask[rows, gone])
        error = torch.where(swap, after, error)
        swaps += swap
    weight = torch.where(pruned & ~mask, dense, start).masked_fill(mask, 0)
    return Swapped(weight, swaps)


class _Growing:
    """Pruned entries of each row, best first for an error of either sign."""

    def __init__(self, gain: Tensor, pruned: Tensor) -> None:
        # Kept entries are ranked behind every candidate; an entry is one for the sign of its gain only.
        self.falling = gain.masked_fill(~pruned | (gain <= 0), -torch.inf).sort(dim=1, descending=True, stable=True)
        self.rising = gain.masked_fill(~pruned | (gain >= 0), torch.inf).sort(dim=1, stable=True)
        self.next_falling = torch.zeros(gain.shape[0], dtype=torch.long, device=gain.device)
        self.next_rising = torch.zeros_like(self.next_falling)

    def next(self, positive: Tensor) -> tuple[Tensor, Tensor]:
        """The next entry [out] of each row for its error's sign, and whether there is one."""
        at = torch.where(positive, self.next_falling, self.next_rising)
        column = torch.where(positive, _at(self.falling.indices, at), _at(self.rising.indices, at))
        value = torch.where(positive, _at(self.falling.values, at), _at(self.rising.values, at))
        inside = at < self.falling.values.shape[1]
        self.next_falling += positive
        self.next_rising += ~positive
        # An infinite gain (an input that never varies) is a candidate too: only the fillers' sign tells them.
        return column, inside & torch.where(positive, value > 0, value < 0)


class _Going:
    """Kept entries of each row by rising cost, those with a positive and those with a negative share of the output
    apart.
    """

    def __init__(self, cost: Tensor, share: Tensor) -> None:
        self.negative = cost.masked_fill(share >= 0, torch.inf).sort(dim=1, stable=True)
        self.positive = cost.masked_fill(share <= 0, torch.inf).sort(dim=1, stable=True)
        self.next_negative = torch.zeros(cost.shape[0], dtype=torch.long, device=cost.device)
        self.next_positive = torch.zeros_like(self.next_negative)

    def next(self, positive: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        """Losing a negative share lowers a positive error, and the other way round."""
        at = torch.where(positive, self.next_negative, self.next_positive)
        column = torch.where(positive, _at(self.negative.indices, at), _at(self.positive.indices, at))
        value = torch.where(positive, _at(self.negative.values, at), _at(self.positive.values, at))
        inside = at < self.negative.values.shape[1]
        self.next_negative += positive
        self.next_positive += ~positive
        return column, inside & torch.isfinite(value)


class _InGroup:
    """Kept entries by cost, within the n:m group of the entry that grows back."""

    def __init__(self, cost: Tensor, group: int) -> None:
        self.cost, self.group = cost.clone(), group
        self.rows = torch.arange(cost.shape[0], device=cost.device)

    def next(self, positive: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        first = back - back % self.group
        members = first[:, None] + torch.arange(self.group, device=back.device)
        value, place = self.cost.gather(1, members).min(1)
        column = first + place
        self.cost[self.rows, column] = torch.inf
        return column, torch.isfinite(value)


def _at(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(1, index.clamp(max=table.shape[1] - 1)[:, None]).squeeze(1)


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    base = method.base_method
    started = import_module(module_name(base.algorithm)).solve(weights, seen, base)
    settings = method.all_settings
    if int(settings["cycles"]) == 0:
        return started
    assert seen.mean is not None
    assert seen.norms is not None
    solved = []
    for weight, start in zip(weights, started, strict=True):
        # A kept weight that is exactly zero would count as pruned and could only be traded for another zero.
        done = refine(
            weight, start.weight, start.weight == 0, seen.mean, seen.norms, cycles=int(settings["cycles"]),
            threshold=float(settings["threshold"]), power=float(settings["power"]),
            same_sign=bool(settings["samesign"]), group=method.target.group,
        )  # fmt: skip
        solved.append(start._replace(weight=done.weight))
    return solved
