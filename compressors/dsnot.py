"""DSnoT: start from another method's mask and swap entries, row by row, until the expected error of the output is
small. No training.

Zhang et al., arXiv 2310.08915, section 3.2: of the pruned entries of a row, the one whose return lowers the row's
expected error E[e] = E[(w - w')x] most relative to the variance of its input grows back; of the kept ones whose loss
lowers it too, the one with the smallest |w| ||x|| goes.

As in the reference code an entry moves at most once, and 2:4-like patterns keep their groups: what goes is then the
kept entry of the same group that the metric ranks lowest, and a row also stops before its error would change sign.

Deviations from the reference code:

- all linears are refined, where it leaves those of the MLP alone unless told otherwise (``only=attention`` does);
- it takes from SparseGPT only the metric, summed over no data; here the start is the base's own result, updated weights
  included, an entry that grows back has its dense value, and 0 cycles are the base exactly;
- the error is a sum over 2,048 tokens whatever the length of the sequences, so that the threshold means one thing;
- the variance of an input is that over all tokens, where it takes the mean of the variances within sequences;
- a row with nothing left to swap stays as it is, where it goes on to kept entries.

Else the masks are the reference's. Its two constants are made for wide rows. One swap moves a row's error by far more
than the threshold, so that without ``samesign`` (its default) hardly a row stops before its 50 cycles are used up, and
each swap brings back an entry that ranks lower and takes one that ranks higher than the one before. Of 4,096 columns
50 swaps are 2 % of what is pruned, which helps; of 128 columns they are most of it, which destroys the layer: there
``cycles`` should shrink with the columns, or ``samesign=true`` be set, with which rows stop after a few swaps.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from compressors.codehash import module_name
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics

STACKED = 2**24  # entries that are refined at once; ten times as much is held meanwhile
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
    lost = SEQUENCE * dense * mean  # what an entry adds to the output's sum
    kept = SEQUENCE * start * mean
    error = (lost - kept).sum(1)
    variance = (norms.double() - mean.double().square()).clamp_(min=0).to(mean.dtype)
    gain = torch.where(lost == 0, 0.0, lost / variance.pow(power))
    cost = (start.abs() * norms.sqrt()).masked_fill(pruned, torch.inf)
    cycles = min(cycles, 2 * start.shape[1])  # by then either list is at its end
    growing = _growing(gain, pruned, cycles)
    if group is None:
        mask = _swap(error, growing, _going(cost, kept, cycles), lost, kept, pruned, threshold, same_sign)
    else:
        mask = _swap_in_groups(error, growing, _InGroup(cost, group), lost, kept, pruned, threshold)
    weight = torch.where(pruned & ~mask, dense, start).masked_fill(mask, 0)
    return Swapped(weight, (pruned & ~mask).sum(1))


class _Ranked(NamedTuple):
    """Columns of each row in the order in which they are candidates, [out, 2 * cycles], and whether they are any: first
    those for an error that is not positive, then those for a positive one.
    """

    columns: Tensor
    valid: Tensor


def _ranked(keys: tuple[Tensor, Tensor], depth: int) -> _Ranked:
    """The ``depth`` columns with the least keys [out, in], those of an infinite key being no candidates."""
    columns, valid = [], []
    for key in keys:
        ranked = key.sort(dim=1, stable=True)
        short = (0, max(0, depth - key.shape[1]))
        columns.append(pad(ranked.indices[:, :depth], short))
        valid.append(pad(ranked.values[:, :depth] != torch.inf, short))
    return _Ranked(torch.cat(columns, 1), torch.cat(valid, 1))


def _growing(gain: Tensor, pruned: Tensor, depth: int) -> _Ranked:
    """Pruned entries, best first. An infinite gain (an input that never varies) is a candidate too."""
    rising, falling = ((gain * -sign).masked_fill_(~pruned | (gain * sign <= 0), torch.inf) for sign in (-1, 1))
    return _ranked((rising, falling), depth)


def _going(cost: Tensor, share: Tensor, depth: int) -> _Ranked:
    """Kept entries by rising cost: losing a positive share of the output raises a negative error, and the other way
    round.
    """
    return _ranked((cost.masked_fill(share <= 0, torch.inf), cost.masked_fill(share >= 0, torch.inf)), depth)


def _swap(
    error: Tensor, growing: _Ranked, going: _Ranked, lost: Tensor, kept: Tensor, pruned: Tensor,
    threshold: float, same_sign: bool,
) -> Tensor:  # fmt: skip
    """The mask [out, in] after the swaps. Both lists are gone through at one pace, so that their k-th entries are a
    pair.
    """
    cycles = growing.columns.shape[1] // 2
    back, gone = lost.gather(1, growing.columns), kept.gather(1, going.columns)  # [out, 2 * cycles]
    valid, made = growing.valid & going.valid, torch.zeros_like(growing.valid)
    positives = torch.zeros_like(error, dtype=torch.long)  # how often the error was positive so far
    active, sign = torch.ones_like(error, dtype=torch.bool), error.sign()
    for cycle in range(cycles):
        active = active & (error.abs() > threshold)
        positive = error > 0
        at = torch.where(positive, positives + cycles, cycle - positives)[:, None]
        after = error + gone.gather(1, at).squeeze(1) - back.gather(1, at).squeeze(1)
        found = valid.gather(1, at).squeeze(1)
        if same_sign:
            active = active & (~found | (after.sign() == sign))
        swap = active & found
        made.scatter_(1, at, swap[:, None])
        error = torch.where(swap, after, error)
        positives += positive
    # Summed, since a column may be in both lists, as a candidate in one of them.
    regrown, removed = (
        torch.zeros_like(pruned, dtype=torch.int32).scatter_add_(1, ranked.columns, made.int()) > 0
        for ranked in (growing, going)
    )
    return (pruned & ~regrown) | removed


def _swap_in_groups(
    error: Tensor, growing: _Ranked, going: _InGroup, lost: Tensor, kept: Tensor, pruned: Tensor, threshold: float
) -> Tensor:
    """The same for an n:m pattern, where what goes depends on what comes back; no error changes its sign."""
    cycles = growing.columns.shape[1] // 2
    rows, mask = torch.arange(len(error), device=error.device), pruned.clone()
    positives = torch.zeros_like(rows)
    active, sign = torch.ones_like(error, dtype=torch.bool), error.sign()
    for cycle in range(cycles):
        active = active & (error.abs() > threshold)
        at = torch.where(error > 0, positives + cycles, cycle - positives)
        positives += error > 0
        back, some_back = growing.columns[rows, at], growing.valid[rows, at]
        gone, some_gone = going.next(back)
        after = error + kept[rows, gone] - lost[rows, back]
        found = some_back & some_gone
        active = active & (~found | (after.sign() == sign))
        swap = active & found
        mask[rows, back] = torch.where(swap, False, mask[rows, back])
        mask[rows, gone] = torch.where(swap, True, mask[rows, gone])
        error = torch.where(swap, after, error)
    return mask


class _InGroup:
    """Kept entries by cost, within the n:m group of the entry that grows back."""

    def __init__(self, cost: Tensor, group: int) -> None:
        self.cost, self.group = cost.clone(), group
        self.rows = torch.arange(cost.shape[0], device=cost.device)

    def next(self, back: Tensor) -> tuple[Tensor, Tensor]:
        first = back - back % self.group
        members = first[:, None] + torch.arange(self.group, device=back.device)
        value, place = self.cost.gather(1, members).min(1)
        column = first + place
        self.cost[self.rows, column] = torch.inf
        return column, torch.isfinite(value)


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    base = method.base_method
    started = import_module(module_name(base.algorithm)).solve(weights, seen, base)
    settings = method.all_settings
    if int(settings["cycles"]) == 0:
        return started
    assert seen.mean is not None
    assert seen.norms is not None
    solved = list(started)
    for places in _stacks(weights, _chosen(seen.names or ("attention",) * len(weights), str(settings["only"]))):
        parts, some = [started[i] for i in places], [weights[i] for i in places]
        start = torch.cat([part.weight for part in parts])
        # A kept weight that is exactly zero would count as pruned and could only be traded for another zero.
        done = refine(
            torch.cat(some), start, start == 0, seen.mean, seen.norms, cycles=int(settings["cycles"]),
            threshold=float(settings["threshold"]), power=float(settings["power"]),
            same_sign=bool(settings["samesign"]), group=method.target.group,
        )  # fmt: skip
        news = done.weight.split([weight.shape[0] for weight in some])
        for i, part, new in zip(places, parts, news, strict=True):
            solved[i] = part._replace(weight=new)
    return solved


def _chosen(names: tuple[str, ...], only: str) -> list[int]:
    """The places of the linears to refine: all, or those with "att" in their own names or their modules'."""
    return [i for i, name in enumerate(names) if only == "all" or "att" in name.rsplit("layers.", 1)[-1]]


def _stacks(weights: list[Tensor], places: list[int]) -> list[list[int]]:
    """The places in runs of at most ``STACKED`` entries (or one weight): rows do not depend on each other."""
    runs: list[list[int]] = []
    for place in places:
        if runs and sum(weights[i].numel() for i in [*runs[-1], place]) <= STACKED:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs
