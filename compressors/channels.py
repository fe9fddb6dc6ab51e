"""Channel permutation: an order of the input columns in which an n:m pattern keeps more of what matters.

Zhang et al., "Plug-and-Play", ICLR 2024 (openreview Tr0lPx9woF), section 4.2. All rows share one order, since the
columns are the layer's input.
"""

from __future__ import annotations

import torch
from torch import Tensor

_CELLS = 1 << 24  # entries held at once while options are scored (64 MiB in float32)


def order(metric: Tensor, keep: int, group: int, *, how: str = "none") -> Tensor:
    """Column indices [columns]: each run of ``group`` of them is one n:m group of ``metric`` [out, columns] (``group``
    divides columns).

    ``none``: as they are. ``sort``: dealt out by falling column sum, first to last group, then back (section 4.2,
    channel reallocation). ``assign``: ``sort``, then for each slot its columns are dealt out anew by linear sum
    assignment, so that the sum of the kept entries is largest given the other slots. The sum never falls below that of
    the start, and the better of start and result is returned.
    """
    columns = metric.shape[1]
    identity = torch.arange(columns, device=metric.device)
    if how == "none" or columns == group:
        return identity
    found = _deal(metric, group)
    if how == "assign":
        for slot in range(group):
            found = _reassign(metric, found, slot, keep, group)
    better = retained(metric[:, found], keep, group) > retained(metric, keep, group)
    return found if better else identity


def retained(metric: Tensor, keep: int, group: int) -> float:
    """The sum of the ``keep`` largest entries of each run of ``group`` in ``metric`` [out, columns]."""
    return float(metric.unflatten(1, (-1, group)).topk(keep, dim=-1).values.sum(dtype=torch.float64))


def _deal(metric: Tensor, group: int) -> Tensor:
    ranked = metric.sum(0).argsort(descending=True, stable=True)
    dealt = ranked.reshape(group, -1)  # [slot, group index]
    dealt[1::2] = dealt[1::2].flip(1)  # every other round goes back, so that no group gets the larger column each time
    return dealt.T.flatten()


def _reassign(metric: Tensor, found: Tensor, slot: int, keep: int, group: int) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    table = found.reshape(-1, group).clone()  # [groups, slot]
    candidates = metric[:, table[:, slot]]  # [out, groups]
    others = metric[:, table[:, [s for s in range(group) if s != slot]].flatten()].unflatten(1, (-1, group - 1))
    # With the keep largest of the others ranked, a candidate displaces the last of them if it is larger.
    ranked = others.topk(keep, dim=-1).values if keep < group else others
    last = ranked[..., keep - 1] if keep < group else torch.zeros_like(candidates)
    gains = _gains(candidates, last)
    # Assignments often tie (a dead column gains nothing anywhere): rounding must not decide, so it is rounded away.
    gains = (gains / gains.amax().clamp(min=torch.finfo(gains.dtype).tiny) * 2**30).round()
    rows, chosen = linear_sum_assignment(gains.cpu().numpy(), maximize=True)
    table[torch.as_tensor(rows), slot] = table[torch.as_tensor(chosen), slot]
    return table.flatten()


def _gains(candidates: Tensor, last: Tensor) -> Tensor:
    """[groups, groups]: how much candidate c adds to group g's kept sum: sum over rows of max(0, candidate - last)."""
    out, groups = candidates.shape
    step = max(1, _CELLS // (out * groups))
    parts = [
        (candidates.unsqueeze(1) - last[:, start : start + step].unsqueeze(2)).clamp_(min=0).sum(0, dtype=torch.float64)
        for start in range(0, groups, step)
    ]
    return torch.cat(parts)
