"""What several amounts of calibration data make of one linear, as stacks [amounts, ...]: solved, judged and counted in
as many launches as one amount takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from compressors import masks, wanda
from compressors.method import Method
from compressors.report import LinearReport
from compressors.results import Ledger
from compressors.solving import Solved
from compressors.statistics import Statistics, precision, ratio


class Stack(NamedTuple):
    """``Statistics`` of the same linears' inputs by several amounts: ``norms`` [amounts, in], ``hessian`` [amounts, in,
    in] and ``sample`` [amounts, rows, in], where ``rows`` tells how many of each are meant: zeros follow.
    """

    tokens: list[int]
    norms: Tensor | None
    hessian: Tensor | None
    sample: Tensor | None
    rows: list[int]

    def apart(self, seen: Sequence[Statistics]) -> list[Statistics]:
        """``seen``, of which this was made, with the Hessians of the stack."""
        if self.hessian is None:
            return list(seen)
        return [one._replace(hessian=hessian) for one, hessian in zip(seen, self.hessian, strict=True)]

    @property
    def error_tokens(self) -> list[int]:
        """How many rows of inputs the errors of each amount are measured over."""
        return self.tokens if self.hessian is not None else self.rows


def stack(seen: Sequence[Statistics], half: bool = False) -> Stack:
    """Several amounts' statistics as one; of a single one nothing is copied. ``half``: only the upper triangles of the
    Hessians are filled in, of which the others are made here.
    """
    norms = [one.norms for one in seen if one.norms is not None]
    hessians = [one.hessian for one in seen if one.hessian is not None]
    samples = [one.sample for one in seen if one.sample is not None]
    rows = [len(sample) for sample in samples] or [0] * len(seen)
    hessian = _together(hessians)
    if hessian is not None and half:
        upper = hessian.triu(1)
        hessian.triu_().add_(upper.mT)
    squares = _together(norms) if hessian is None else hessian.diagonal(dim1=-2, dim2=-1)
    return Stack([one.tokens for one in seen], squares, hessian, _padded(samples), rows)


def _together(parts: list[Tensor]) -> Tensor | None:
    if not parts:
        return None
    return parts[0][None] if len(parts) == 1 else torch.stack(parts)


def _padded(samples: list[Tensor]) -> Tensor | None:
    """[samples, rows, columns]; zeros fill up the shorter ones."""
    if not samples:
        return None
    most = max(map(len, samples))
    zeros = samples[0].new_zeros(most - min(map(len, samples)), samples[0].shape[1])
    parts = [part for sample in samples for part in (sample, zeros[: most - len(sample)]) if len(part)]
    return (torch.cat(parts) if len(parts) > 1 else samples[0]).view(len(samples), most, -1)


def wanda_by_all(weights: list[Tensor], seen: list[Statistics], method: Method) -> list[list[Solved]]:
    """What ``wanda.solve`` gives for each of several statistics, bit for bit, in as many launches as one takes: rows do
    not depend on each other. Used by sweeps alone, and so kept out of the file that every Wanda record is a result of.
    """
    target, norms = method.target, _together([one.norms for one in seen if one.norms is not None])
    assert norms is not None
    solved: list[list[Solved]] = [[] for _ in seen]
    for weight in weights:
        metric = wanda.importance(weight, norms[:, None])  # [amounts, out, in]
        if target.keep is not None and target.group is not None:
            mask = masks.pattern(metric, target.keep, target.group)
        else:
            mask = masks.smallest(metric.flatten(0, 1), target.sparsity or 0.0).view(metric.shape)
        for found, new in zip(solved, torch.where(mask, 0.0, weight), strict=True):
            found.append(Solved(new, masks.mask_bits(target.keep, target.group), mask=True))
    return solved


def error_sums(weight: Tensor, news: Tensor, seen: Stack) -> list[Tensor]:
    """What ``statistics.error_sums`` gives for each of ``news`` [amounts, out, in], but for rounding: two tensors
    [amounts] in float64, or none if nothing was seen. ``weight`` is [out, in].
    """
    parts = (news - weight, weight.expand_as(news))
    with precision("high" if weight.is_cuda else "highest"):
        if seen.hessian is not None:
            products = [torch.bmm(part, seen.hessian).mul_(part) for part in parts]
        elif seen.sample is not None:
            products = [torch.bmm(seen.sample, part.mT).square_() for part in parts]
        else:
            return []
    return [product.sum((1, 2), dtype=torch.float64) for product in products]


class Tally(Ledger):
    """A ledger of several amounts: what becomes of a linear is noted for all that were solved together, at once."""

    def __init__(self, ends: Sequence[int]) -> None:
        super().__init__()
        self.by_amount: dict[int, list[LinearReport]] = {end: [] for end in ends}

    def put(self, end: int, report: LinearReport) -> None:
        """A report of one amount that is known by now."""
        self._open.append((torch.zeros(0, dtype=torch.float64), lambda numbers: self.by_amount[end].append(report)))

    def note_all(
        self, ends: list[int], name: str, weight: Tensor, news: Tensor, solved: list[Solved], seen: Stack
    ) -> None:
        """What happened to ``weight`` [out, in], which became ``news`` [amounts, out, in], in the model's dtype."""
        shape, size, bits = (weight.shape[0], weight.shape[1]), weight.numel(), 8 * news.element_size()
        counts = {"kept": (news != 0).sum((1, 2))}
        if seen.norms is not None:
            counts["dead"] = (seen.norms == 0).sum(1)
        extras = [one.extra for one in solved if isinstance(one.extra, Tensor)]
        if extras:
            counts["extra"] = torch.stack(extras)
        sums = error_sums(weight, news.to(weight.dtype), seen)
        stored = [one._replace(weight=torch.empty(shape, device="meta")) for one in solved]

        def reports(numbers: list[float]) -> None:
            found = [numbers[first :: len(ends)] for first in range(len(ends))]
            for end, one, tokens, errors, mine in zip(ends, stored, seen.tokens, seen.error_tokens, found, strict=True):
                whole = {what: int(number) for what, number in zip(counts, mine, strict=False)}
                zeros = 1 - whole["kept"] / size
                extra = whole.get("extra", one.extra)
                self.by_amount[end].append(
                    LinearReport(
                        name=name,
                        shape=shape,
                        sparsity=zeros,
                        bits=one._replace(extra=extra).bits(bits, zeros),
                        relative_error=ratio(*mine[-2:]) if sums else None,
                        error_tokens=errors,
                        damping=one.damping,
                        fallbacks=one.fallbacks,
                        dead_columns=whole.get("dead", 0),
                        tokens=tokens,
                    )
                )

        numbers = [count.double() for count in counts.values()] + sums
        self._open.append((torch.stack(numbers).flatten(), reports))
