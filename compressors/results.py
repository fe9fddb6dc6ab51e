"""What is refused of a linear and its inputs, and what is reported of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressors import models
from compressors.method import Method, MethodError
from compressors.report import CompressionError, LinearReport
from compressors.solving import Solved, misfit
from compressors.statistics import Statistics, relative_error


def refuse_unseen(names: list[str], seen: Statistics, *, observed: bool) -> None:
    """Raise ``CompressionError`` for linears that share inputs which nothing or nothing finite was seen of."""
    if observed and seen.tokens == 0 and not all("expert" in name for name in names):
        raise CompressionError(f"{names[0]} was never called, so there is nothing to calibrate it on")
    if seen.norms is not None and not bool(torch.isfinite(seen.norms).all()):
        raise CompressionError(f"the inputs of {names[0]} are NaN or infinite")


def linear_report(name: str, weight: Tensor, new: Tensor, solved: Solved, seen: Statistics) -> LinearReport:
    """What happened to ``weight`` [out, in], which became ``new``, in the model's dtype."""
    zeros = 1 - int(new.count_nonzero()) / new.numel()
    return LinearReport(
        name=name,
        shape=(weight.shape[0], weight.shape[1]),
        sparsity=zeros,
        bits=solved.bits(8 * new.element_size(), zeros),
        relative_error=relative_error(weight, new.to(weight.dtype), seen),
        error_tokens=seen.tokens if seen.hessian is not None else _rows(seen.sample),
        damping=solved.damping,
        fallbacks=solved.fallbacks,
        dead_columns=0 if seen.norms is None else int((seen.norms == 0).sum()),
        tokens=seen.tokens,
    )


def _rows(sample: Tensor | None) -> int:
    return 0 if sample is None else sample.shape[0]


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
