"""What is refused of a linear and its inputs, and what is reported of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from compressors import models
from compressors.factor import Unfactored, outcomes
from compressors.method import Method, MethodError
from compressors.report import CompressionError, LinearReport
from compressors.solving import Solved, misfit
from compressors.statistics import Statistics, error_sums, ratio


class Ledger:
    """What becomes of linears, noted on the device and read later, so that the host need not wait within a block."""

    def __init__(self) -> None:
        self.reports: list[LinearReport] = []
        self._open: list[tuple[Tensor, Callable[[list[float]], LinearReport | None]]] = []
        self._sent: list[tuple[Any, list[Tensor], list[Callable[[list[float]], LinearReport | None]]]] = []

    def expect(self, good: Tensor, otherwise: str) -> None:
        """Raise ``CompressionError`` when read, if a boolean turns out false."""

        def check(numbers: list[float]) -> None:
            if not numbers[0]:
                raise CompressionError(otherwise)

        self._open.append((good.double().reshape(1), check))

    def add(self, report: LinearReport) -> None:
        self._open.append((torch.zeros(0, dtype=torch.float64), lambda numbers: report))

    def note(self, name: str, weight: Tensor, new: Tensor, solved: Solved, seen: Statistics) -> None:
        """What happened to ``weight`` [out, in], which became ``new``, in the model's dtype."""
        shape, size, bits = (weight.shape[0], weight.shape[1]), new.numel(), 8 * new.element_size()
        counts = {"kept": new.count_nonzero()}
        if seen.norms is not None:
            counts["dead"] = (seen.norms == 0).sum()
        if isinstance(solved.extra, Tensor):
            counts["extra"] = solved.extra
        sums = error_sums(weight, new.to(weight.dtype), seen)
        tokens, stored = seen.tokens, solved._replace(weight=torch.empty(shape, device="meta"))
        error_tokens = tokens if seen.hessian is not None else 0 if seen.sample is None else seen.sample.shape[0]

        def report(numbers: list[float]) -> LinearReport:
            found = {what: int(number) for what, number in zip(counts, numbers, strict=False)}
            zeros = 1 - found["kept"] / size
            return LinearReport(
                name=name,
                shape=shape,
                sparsity=zeros,
                bits=stored._replace(extra=found.get("extra", stored.extra)).bits(bits, zeros),
                relative_error=None if sums is None else ratio(*numbers[-2:]),
                error_tokens=error_tokens,
                damping=stored.damping,
                fallbacks=stored.fallbacks,
                dead_columns=found.get("dead", 0),
                tokens=tokens,
            )

        numbers = torch.stack([count.double() for count in counts.values()])
        self._open.append((numbers if sums is None else torch.cat([numbers, sums]), report))

    def send(self) -> None:
        """Copy what was noted to the host without waiting, and read what was sent before.

        Factorizations that nobody waited for are read first: what failed of one explains the rest.
        """
        earlier = len(self._sent)
        self._open[:0] = [(good.double().reshape(1), _factorized) for good in outcomes()]
        tensors, makers = [numbers for numbers, _ in self._open], [make for _, make in self._open]
        self._open = []
        away = [numbers for numbers in tensors if numbers.is_cuda]
        event = None
        if away:
            together = torch.cat(away).to("cpu", non_blocking=True)  # pinned, so that this returns at once
            event = torch.cuda.Event()
            event.record()
            parts = iter(together.split([numbers.numel() for numbers in away]))
            tensors = [next(parts) if numbers.is_cuda else numbers for numbers in tensors]
        self._sent.append((event, tensors, makers))
        self._read(earlier)

    def read(self) -> list[LinearReport]:
        """All reports, in the order in which they were noted."""
        self.send()
        self._read(len(self._sent))
        return self.reports

    def _read(self, count: int) -> None:
        for _ in range(count):
            event, tensors, makers = self._sent.pop(0)
            if event is not None:
                event.synchronize()
            for numbers, make in zip(tensors, makers, strict=True):
                if (report := make(numbers.tolist())) is not None:
                    self.reports.append(report)


def _factorized(numbers: list[float]) -> None:
    if not numbers[0]:
        raise Unfactored


def refuse_uncalled(names: list[str], seen: Statistics) -> None:
    """Raise ``CompressionError`` for linears that nothing was seen of, unless they are experts."""
    if seen.tokens == 0 and not all("expert" in name for name in names):
        raise CompressionError(f"{names[0]} was never called, so there is nothing to calibrate it on")


def expect_finite(ledger: Ledger, names: list[str], seen: Statistics) -> None:
    """Note that the inputs of these linears must turn out finite."""
    if seen.norms is not None:
        ledger.expect(torch.isfinite(seen.norms).all(), f"the inputs of {names[0]} are NaN or infinite")


def untouched(name: str, linear: nn.Module, weight: Tensor) -> LinearReport:
    """What is said of an expert that stays dense."""
    zeros = 1 - int(weight.count_nonzero()) / weight.numel()
    bits = 8.0 * models.matrix(linear).element_size()
    return LinearReport(name, (weight.shape[0], weight.shape[1]), zeros, bits, skipped="no token reached this expert")


def refuse_misfits(blocks: list[models.Block], method: Method) -> None:
    """Raise ``MethodError`` naming the first linear that the method's target does not fit."""
    for block in blocks:
        for name, linear in block.linears.items():
            if why := misfit(method.target, models.matrix(linear).shape[1]):
                raise MethodError(f"{method} does not fit {name}: {why}")
