"""How the model calls its decoder blocks: the first block's inputs, and every block's other arguments, whole.

A model may hand different arguments to different blocks (a sliding-window mask to some), so each block's are kept.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors.models import Block
from compressors.offload import HostStates, States
from compressors.rehearsal import Call, apply, leading, passing, rehearse, replaced, run
from compressors.report import CompressionError

__all__ = ["Call", "Captured", "capture", "run_block"]


class Captured(NamedTuple):
    """``hidden[batch]`` [sequences, length, width] enter the first block; ``calls[batch][block]`` go with them.
    ``direct`` names the linears whose weight is used without a call.
    """

    hidden: States
    calls: list[list[Call]]
    direct: frozenset[str] = frozenset()


def run_block(block: nn.Module, hidden: Tensor, call: Call) -> Tensor:
    """The hidden states that a block hands on: its output, or the first entry if that is a tuple or list."""
    return leading(apply(block, hidden, call))


def capture(
    model: nn.Module, blocks: list[Block], batches: list[Tensor], device: torch.device, *, offload: bool = False,
    by_sequence: str = "",
) -> Captured:  # fmt: skip
    """Run the model up to its blocks on each batch of token ids [sequences, length].

    The blocks are passed through, not run, but for one sequence that shows what they do (``compressors/rehearsal.py``).
    Raises ``CompressionError`` if running them one after the other is not what the model does. With ``offload`` the
    hidden states stay in host memory; else they are on the device. ``by_sequence`` names a method that needs the
    hidden states' first dimension to be the sequences; it is refused if they are not (Gemma 3n).
    """
    tails, direct = rehearse(model, blocks, batches[0][:1], device)
    hidden: States = HostStates(device) if offload else []
    calls: list[list[Call]] = []
    for batch in batches:
        found: list[tuple[Tensor, Call]] = []
        with replaced(blocks, partial(passing, blocks=blocks, found=found, tails=tails)):
            run(model, batch)
        entering = found[0][0]
        if by_sequence and entering.shape[0] != batch.shape[0]:
            raise CompressionError(
                f"{by_sequence} picks sequences, but the hidden states of {batch.shape[0]} sequences that enter "
                f"{blocks[0].name} are {list(entering.shape)}; methods that see linears alone work on this model"
            )
        hidden.append(entering if offload else entering.to(device))
        known: dict[int, Any] = {}
        first = calls[0] if calls else None
        kept = []
        for index, (_, call) in enumerate(found):
            old = first[index] if first else call
            kept.append(Call(*(_share(new, like, known, device) for new, like in zip(call, old, strict=True))))
        calls.append(kept)
    return Captured(hidden, calls, direct)


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
        if id(new) not in known:  # one for all blocks: some write keys and values into it that others read
            here = {name: _share(value, old.get(name), known, device) for name, value in new.items()}
            known[id(new)] = (here, new)
        return known[id(new)][0]
    if type(new) in (tuple, list):
        olds = old if isinstance(old, tuple | list) and len(old) == len(new) else [None] * len(new)
        return type(new)(_share(value, like, known, device) for value, like in zip(new, olds, strict=True))
    return new
