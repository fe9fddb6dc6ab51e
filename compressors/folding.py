"""Scales of input columns folded into what comes before, so that the model stays a plain model with the same function.

A linear's columns are multiplied by s; whatever made its input is divided by s. What made it is found by trying: a
candidate's output is divided by a known scale and the block is run. Only if its output stays the same is the candidate
the predecessor, so no family has to be known by name, and a block where nothing can be folded says so.

::

    norm -> q, k, v     the norm's weight and bias         v -> o          rows of v (shared by the heads of a group)
    norm -> gate, up    the same                           up -> down      rows of up; through ReLU, rows of the first

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors import models
from compressors.experts import ExpertSlice
from compressors.statistics import working_dtype

TOLERANCE = 1e-3  # of what the block adds; the scales tried are powers of two, which change no rounding


class Predecessor(NamedTuple):
    """What a scale is folded into: ``divide(s)`` divides its output by s [width], in place; ``width`` divides the
    consumers' columns, whose scale is s with each run of ``span`` entries repeated ``repeats`` times (grouped-query
    attention).
    """

    name: str
    parameters: list[nn.Parameter]
    divide: Callable[[Tensor], None]
    width: int
    span: int = 0
    repeats: int = 1

    def expand(self, scale: Tensor) -> Tensor:
        """The scale of the consumers' columns from that of this one's output."""
        if self.repeats == 1:
            return scale
        return scale.reshape(-1, 1, self.span).expand(-1, self.repeats, -1).flatten()

    def reduce(self, sizes: Tensor) -> Tensor:
        """Column sizes [in] averaged over those that share a scale, [width]."""
        return sizes if self.repeats == 1 else sizes.reshape(-1, self.repeats, self.span).mean(1).flatten()


def find(
    block: models.Block, consumers: list[str], norms: dict[int, str], source: int, run: Callable[[], Tensor],
    entered: Tensor, heads: tuple[int, int] | None,
) -> Predecessor | None:  # fmt: skip
    """The predecessor of linears that share one input, or None.

    ``norms`` maps the id of each norm's output to the norm's name and ``source`` is the id of the consumers' input;
    ``run`` gives the block's output for the hidden states ``entered``; ``heads`` is (query heads, key-value heads).
    """
    modules = dict(block.module.named_modules())
    columns = models.matrix(block.linears[consumers[0]]).shape[1]
    if source in norms:
        name = norms[source]
        found = [change(name, modules[name]) for change in (_times, _one_plus)]
        candidates = [item for item in found if item is not None and item.width == columns]
    else:
        others = [(name, linear) for name, linear in block.linears.items() if name not in consumers]
        consumer = block.linears[consumers[0]]
        if isinstance(consumer, ExpertSlice):  # only the expert itself can precede it
            others = [(n, e) for n, e in others if isinstance(e, ExpertSlice) and e.index == consumer.index]
        candidates = [item for name, linear in others for item in _rows_of(name, linear, columns, heads)]
    dense = run()
    size = (dense - entered).float().norm().clamp(min=torch.finfo(torch.float32).tiny)

    def moved(candidate: Predecessor, *, fully: bool) -> float:
        trial = torch.tensor([0.5, 1.0, 2.0, 1.0, 4.0], device=dense.device)
        scale = trial.repeat(-(-candidate.width // 5))[: candidate.width]
        with _undone(candidate, block, consumers):
            fold(candidate if fully else candidate._replace(divide=lambda _: None), scale, block, consumers)
            return float((run() - dense).float().norm() / size)

    for candidate in candidates:
        # Half a fold must show: an expert that none of these tokens reached would let any candidate pass.
        if moved(candidate, fully=True) < TOLERANCE < moved(candidate, fully=False):
            return candidate
    return None


def fold(predecessor: Predecessor, scale: Tensor, block: models.Block, consumers: list[str]) -> None:
    """Divide the predecessor's output by ``scale`` [width] and multiply the consumers' columns; in place."""
    columns = predecessor.expand(scale)
    for name in consumers:
        weight = models.matrix(block.linears[name])
        weight.copy_(weight * columns.to(weight.dtype))
    predecessor.divide(scale)


@contextmanager
def _undone(predecessor: Predecessor, block: models.Block, consumers: list[str]) -> Iterator[None]:
    touched: list[Any] = [*predecessor.parameters, *(block.linears[name].weight for name in consumers)]
    before = [parameter.detach().clone() for parameter in touched]
    try:
        yield
    finally:
        for parameter, old in zip(touched, before, strict=True):
            parameter.detach().copy_(old)


def _times(name: str, norm: nn.Module) -> Predecessor | None:
    """A norm that multiplies by its weight (and may add a bias)."""
    parameters = _affine(norm)
    if parameters is None:
        return None

    def divide(scale: Tensor) -> None:
        for parameter in parameters:
            parameter.detach().div_(scale.to(parameter.dtype))

    return Predecessor(name, parameters, divide, parameters[0].numel())


def _one_plus(name: str, norm: nn.Module) -> Predecessor | None:
    """A norm that multiplies by 1 + its weight (Gemma)."""
    parameters = _affine(norm)
    if parameters is None or len(parameters) > 1:
        return None
    weight = parameters[0]

    def divide(scale: Tensor) -> None:
        weight.detach().copy_((1 + weight.detach().to(working_dtype(weight.dtype))) / scale - 1)

    return Predecessor(name, parameters, divide, weight.numel())


def is_norm(module: nn.Module) -> bool:
    """Whether a module ends in a product with a weight for each entry (layer norm, RMS norm)."""
    return _affine(module) is not None


def _affine(norm: nn.Module) -> list[nn.Parameter] | None:
    found = [getattr(norm, name, None) for name in ("weight", "bias")]
    parameters = [item for item in found if isinstance(item, nn.Parameter) and item.ndim == 1]
    return parameters if isinstance(found[0], nn.Parameter) and found[0].ndim == 1 else None


def _rows_of(name: str, linear: nn.Module, columns: int, heads: tuple[int, int] | None) -> Iterator[Predecessor]:
    """A linear of which all rows, the last third (a fused q, k, v) or half (gate and up) feed ``columns`` inputs."""
    rows = models.matrix(linear).shape[0]
    bias = getattr(linear, "bias", None)
    parameters = [linear.weight, *([bias] if bias is not None else [])]

    def divide_from(first: int) -> Callable[[Tensor], None]:
        def divide(scale: Tensor) -> None:
            weight = models.matrix(linear)[first:]
            weight.div_(scale[:, None].to(weight.dtype))
            if bias is not None:
                bias.detach()[first:].div_(scale.to(bias.dtype))

        return divide

    if rows == columns:
        yield Predecessor(name, parameters, divide_from(0), columns)
    elif rows in (2 * columns, 3 * columns):
        yield Predecessor(name, parameters, divide_from(rows - columns), columns)
    elif heads is not None and rows * heads[0] == columns * heads[1]:
        span, repeats = columns // heads[0], heads[0] // heads[1]
        yield Predecessor(name, parameters, divide_from(0), rows, span, repeats)
