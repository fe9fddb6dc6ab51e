"""One sequence run through the model as it is written: the kind of each block's output, and whether running the blocks
one after the other, each on the output of the one before, gives what the model computes.

Refused, by the name of the block: blocks that are run more than once (HRM) or not at all without an image or a sound
(Mllama), models that compute something between their blocks (XLM; RWKV, which halves its hidden states every six), and
blocks that take more from earlier ones than hidden states (the routing states of Zaya, the indices of HY-V4): what was
captured for them would be of other weights than those that the walk has put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors.experts import ExpertSlice, Uses
from compressors.models import Block
from compressors.offload import Visits
from compressors.report import CompressionError


class Call(NamedTuple):
    """The arguments of one call of a block, less the hidden states; ``keyword`` names those if they came by keyword."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    keyword: str | None


class Rehearsed(NamedTuple):
    """What each block puts out after its hidden states (None: nothing), and the linears whose weight is used without
    the linear being called.
    """

    tails: list[Any]
    direct: frozenset[str]


class Finished(Exception):
    """Raised where what follows is not needed."""


def rehearse(model: nn.Module, blocks: list[Block], sequence: Tensor, device: torch.device) -> Rehearsed:
    """Run one sequence [1, length]. Raises ``CompressionError`` for what the module's docstring names."""
    real = _Real(blocks, Visits(device))
    with replaced(blocks, real.wrap):
        run(model, sequence)
    if len(real.calls) != len(blocks):
        raise CompressionError(f"{blocks[len(real.calls)].name} was not called; blocks must be called once each")
    linears = {name: linear for block in blocks for name, linear in block.linears.items()}
    known = {name: linear for name, linear in linears.items() if not isinstance(linear, ExpertSlice)}
    uncalled = {name: linear for name, linear in known.items() if name not in real.called}
    direct = frozenset(_used(model, blocks, sequence, device, uncalled) if uncalled else ())
    # With nothing of what the blocks compute, they must be given the same.
    passed: list[tuple[Tensor, Call]] = []
    nothing = [_zeros(tail) for tail in real.tails]
    with replaced(blocks, partial(passing, blocks=blocks, found=passed, tails=nothing)):
        run(model, sequence)
    for block, (_, call), (hidden, given) in zip(blocks, passed, real.calls, strict=True):
        what = _difference(tuple(given), tuple(call))
        if what is not None and not real.ignores(block, hidden, given, call):
            raise CompressionError(
                f"{block.name} is given {what or 'something'} that depends on what earlier blocks compute, beside "
                "their hidden states; such blocks cannot be compressed one by one"
            )
    return Rehearsed(real.tails, direct)


class _Real:
    """Blocks that do what they do, observed."""

    def __init__(self, blocks: list[Block], visits: Visits) -> None:
        self.blocks, self.visits = blocks, visits
        self.calls: list[tuple[Tensor, Call]] = []
        self.tails: list[Any] = []
        self.called: set[str] = set()
        self._output: Tensor | None = None

    def wrap(self, index: int, real: Callable[..., Any]) -> Callable[..., Any]:
        block = self.blocks[index]

        def forward(*args: Any, **kwargs: Any) -> Any:
            in_order(self.blocks, index, len(self.calls))
            hidden, call = split(args, kwargs)
            if self._output is not None and not _same(hidden, self._output):
                before = self.blocks[index - 1].name
                raise CompressionError(
                    f"what enters {block.name} is not what {before} puts out: the model computes something between "
                    "them, which a walk from block to block would leave out"
                )
            home = next(block.module.parameters()).device
            with self.visits.at(block, changes=False), self._listening(block):
                output = moved(real(*moved(args, self.visits.device), **moved(kwargs, self.visits.device)), home)
            self._output = leading(output, block.name)
            self.calls.append((hidden, call))
            self.tails.append(output[1:] if isinstance(output, tuple | list) else None)
            return output

        return forward

    def ignores(self, block: Block, hidden: Tensor, one: Call, other: Call) -> bool:
        """Whether a block puts out the same for two calls (GLM-5, whose blocks find their own indices)."""
        device = self.visits.device
        with self.visits.at(block, changes=False):
            outputs = [leading(apply(block.module, *_here(hidden, call, device))) for call in (one, other)]
        return _same(*outputs)

    @contextmanager
    def _listening(self, block: Block) -> Iterator[None]:
        def hook(name: str) -> Callable[..., None]:
            return lambda module, inputs: self.called.add(name)

        handles = [linear.register_forward_pre_hook(hook(name)) for name, linear in block.linears.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def apply(block: nn.Module, hidden: Tensor, call: Call) -> Any:
    """What a block puts out."""
    if call.keyword is None:
        return block(hidden, *call.args, **call.kwargs)
    return block(*call.args, **{call.keyword: hidden}, **call.kwargs)


def _used(
    model: nn.Module, blocks: list[Block], sequence: Tensor, device: torch.device, linears: dict[str, nn.Module]
) -> set[str]:
    """Names of those of the ``linears`` whose weight a product of the model takes."""
    uses, real = Uses(linears), _Real(blocks, Visits(device))

    def wrap(index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            with uses:
                return forward(*args, **kwargs)

        return real.wrap(index, watched)

    with replaced(blocks, wrap):
        run(model, sequence)
    return uses.found


def passing(
    index: int, real: Callable[..., Any], blocks: list[Block], found: list[tuple[Tensor, Call]], tails: list[Any]
) -> Callable[..., Any]:
    """A forward that notes its arguments in ``found`` and hands its hidden states on, with a tail as rehearsed."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        in_order(blocks, index, len(found))
        hidden, call = split(args, kwargs)
        found.append((hidden, call))
        if index == len(blocks) - 1:
            raise Finished
        tail = tails[index]
        return hidden if tail is None else type(tail)((hidden, *tail))

    return forward


def run(model: nn.Module, batch: Tensor) -> None:
    """Run the model on token ids [sequences, length], up to its head if it has one that is a module."""

    def stop(module: nn.Module, inputs: Any) -> None:
        raise Finished

    head, embedding = (_embeddings(model, which) for which in ("output", "input"))
    handle = None if head is None or head is embedding else head.register_forward_pre_hook(stop)
    try:
        with suppress(Finished):
            model(input_ids=batch.to(next(model.parameters()).device), use_cache=False)
    finally:
        if handle is not None:
            handle.remove()


def _embeddings(model: nn.Module, which: str) -> nn.Module | None:
    get = getattr(model, f"get_{which}_embeddings", None)
    found = get() if callable(get) else None
    return found if isinstance(found, nn.Module) else None


@contextmanager
def replaced(blocks: list[Block], make: Callable[[int, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """The blocks' forwards are what ``make(index, forward)`` gives."""
    before = [block.module.__dict__.get("forward") for block in blocks]
    try:
        for index, block in enumerate(blocks):
            block.module.forward = make(index, block.module.forward)
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            if own is not None:
                block.module.forward = own
            else:
                block.module.__dict__.pop("forward", None)


def split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Call]:
    """The hidden states among the arguments of a block, and the rest."""
    if args:
        return args[0], Call(args[1:], kwargs, None)
    keyword = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
    return kwargs[keyword], Call((), {name: value for name, value in kwargs.items() if name != keyword}, keyword)


def leading(output: Any, name: str = "the block") -> Tensor:
    """The hidden states in what a block puts out: all of it, or the first entry of a tuple or list."""
    first = output[0] if type(output) in (tuple, list) and output else output
    if not isinstance(first, Tensor):
        raise CompressionError(
            f"{name} puts out {type(output).__name__}; expected hidden states, or a tuple or list that begins with them"
        )
    return first


def in_order(blocks: list[Block], index: int, expected: int) -> None:
    """Raise ``CompressionError`` for a block that is called when another is due."""
    if index != expected:
        due = blocks[expected].name if expected < len(blocks) else "none"
        raise CompressionError(
            f"{blocks[index].name} was called when {due} was due; blocks must be called once each, in order"
        )


def moved(value: Any, device: torch.device) -> Any:
    """The value with each tensor in it on the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: moved(item, device) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(moved(item, device) for item in value)
    return value


def _here(hidden: Tensor, call: Call, device: torch.device) -> tuple[Tensor, Call]:
    return hidden.to(device), Call(moved(call.args, device), moved(call.kwargs, device), call.keyword)


def _zeros(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.zeros_like(value)
    return type(value)(_zeros(item) for item in value) if type(value) in (tuple, list) else value


def _same(one: Tensor, other: Tensor) -> bool:
    if one is other or one.shape != other.shape:
        return one is other
    other = other.to(one.device, one.dtype)
    return bool(((one == other) | (one.isnan() & other.isnan())).all())  # overflow has an error of its own


def _difference(one: Any, other: Any) -> str | None:
    """Where a tensor of one argument differs from that of the other: its name, if it has one; None if nowhere."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return None if _same(one, other) else ""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return ""
    if isinstance(one, dict) and isinstance(other, dict):
        found = {name: _difference(one[name], other[name]) for name in one if name in other}
        return next((what or name for name, what in found.items() if what is not None), None)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list) and len(one) == len(other):
        parts = (_difference(a, b) for a, b in zip(one, other, strict=True))
        return next((what for what in parts if what is not None), None)
    return None
