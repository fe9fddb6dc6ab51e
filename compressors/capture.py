"""How the model calls its decoder blocks: the first block's inputs, and every block's other arguments, whole.

A model may hand different arguments to different blocks (a sliding-window mask to some), so each block's are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors.models import Block
from compressors.offload import HostStates, States, Visits
from compressors.report import CompressionError


class Call(NamedTuple):
    """The arguments of one call of a block, less the hidden states; ``keyword`` names those if they came by keyword."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    keyword: str | None


class Captured(NamedTuple):
    """``hidden[batch]`` [sequences, length, width] enter the first block; ``calls[batch][block]`` go with them."""

    hidden: States
    calls: list[list[Call]]


class _Finished(Exception):
    """Raised in the last block: what follows (norm, head) is not needed."""


def run_block(block: nn.Module, hidden: Tensor, call: Call) -> Tensor:
    """The hidden states that a block hands on: its output, or the first entry if that is a tuple."""
    if call.keyword is None:
        output = block(hidden, *call.args, **call.kwargs)
    else:
        output = block(*call.args, **{call.keyword: hidden}, **call.kwargs)
    return output[0] if isinstance(output, tuple) else output


def capture(
    model: nn.Module, blocks: list[Block], batches: list[Tensor], device: torch.device, *, offload: bool = False
) -> Captured:
    """Run the model up to its blocks on each batch of token ids [sequences, length].

    The blocks are passed through, not run, but for one sequence that shows what kind of output each has. Raises
    ``CompressionError`` if the model does not call its blocks one after the other. With ``offload`` the hidden states
    stay in host memory; else they are on the device.
    """
    tails: list[tuple[Any, ...] | None] = []
    with _replaced(blocks, partial(_show, tails=tails, blocks=blocks, visits=Visits(device))):
        _run(model, batches[0][:1])
    if len(tails) != len(blocks):
        raise CompressionError(f"{blocks[len(tails)].name} was not called; blocks must be called once each, in order")
    hidden: States = HostStates(device) if offload else []
    calls: list[list[Call]] = []
    for batch in batches:
        found: list[tuple[Tensor, Call]] = []
        with _replaced(blocks, partial(_pass, found=found, tails=tails)):
            _run(model, batch)
        hidden.append(found[0][0] if offload else found[0][0].to(device))
        known: dict[int, Any] = {}
        first = calls[0] if calls else None
        kept = []
        for index, (_, call) in enumerate(found):
            old = first[index] if first else call
            kept.append(Call(*(_share(new, like, known, device) for new, like in zip(call, old, strict=True))))
        calls.append(kept)
    return Captured(hidden, calls)


def _run(model: nn.Module, batch: Tensor) -> None:
    with suppress(_Finished):
        model(input_ids=batch.to(next(model.parameters()).device), use_cache=False)


@contextmanager
def _replaced(blocks: list[Block], make: Callable[[int, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
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


def _show(
    index: int, real: Callable[..., Any], tails: list[tuple[Any, ...] | None], blocks: list[Block], visits: Visits
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        _in_order(index, len(tails))
        home = next(blocks[index].module.parameters()).device
        with visits.at(blocks[index], changes=False):
            output = _moved(real(*_moved(args, visits.device), **_moved(kwargs, visits.device)), home)
        tails.append(output[1:] if isinstance(output, tuple) else None)
        if len(tails) == len(blocks):
            raise _Finished
        return output

    return forward


def _pass(
    index: int, real: Callable[..., Any], found: list[tuple[Tensor, Call]], tails: list[tuple[Any, ...] | None]
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        _in_order(index, len(found))
        if args:
            hidden, call = args[0], Call(args[1:], kwargs, None)
        else:
            keyword = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
            hidden = kwargs[keyword]
            call = Call((), {name: value for name, value in kwargs.items() if name != keyword}, keyword)
        found.append((hidden, call))
        if index == len(tails) - 1:
            raise _Finished
        tail = tails[index]
        return hidden if tail is None else (hidden, *tail)

    return forward


def _moved(value: Any, device: torch.device) -> Any:
    """The value with each tensor in it on the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_moved(item, device) for item in value)
    return value


def _in_order(index: int, expected: int) -> None:
    if index != expected:
        raise CompressionError(
            f"block {index} was called when block {expected} was due; blocks must run once each, in order"
        )


def _share(new: Any, old: Any, known: dict[int, Any], device: torch.device) -> Any:
    """``new`` on the device, with each tensor that equals the first batch's replaced by that one, so that masks and
    rotary tables are kept once and not once a batch. ``known`` remembers tensors met before in this batch.
    """
    if isinstance(new, Tensor):
        if id(new) not in known:
            here = new.to(device)
            same = isinstance(old, Tensor) and (old.device, old.shape, old.dtype) == (
                here.device, here.shape, here.dtype,
            )  # fmt: skip
            # The tensor is kept beside its stand-in: an id must not be reused while the table is alive.
            known[id(new)] = (old if same and torch.equal(old, here) else here, new)
        return known[id(new)][0]
    if isinstance(new, dict):
        old = old if isinstance(old, dict) else {}
        return {name: _share(value, old.get(name), known, device) for name, value in new.items()}
    if type(new) in (tuple, list):
        olds = old if isinstance(old, tuple | list) and len(old) == len(new) else [None] * len(new)
        return type(new)(_share(value, like, known, device) for value, like in zip(new, olds, strict=True))
    return new
