"""Reconstruction of pruned blocks: with the masks fixed, the kept weights are trained to give the dense block's output.

Shin et al., arXiv 2406.15524, sections 3 and 4. ``+br``: one block at a time, on the inputs that the compressed model
gives it. ``+gp`` (global propagation): towards the output of the dense block on the dense model's inputs, so that
earlier errors are made up for. ``+cr`` (cross-block): pairs of blocks that overlap, each block being trained in two of
them.

::

+br, +br+gp        [0] [1] [2] [3]            +br+gp+cr        [0] [0 1] [1 2] [2 3] [3]

Everything in a block is trained (norms and biases too, as in the reference code), with AdamW and a learning rate that
falls to 0 in a line. A share of the sequences is held out, from the statistics of the pruning method too: the paper
finds that errors on calibration and on other text part ways, so both are recorded.

Deviations from the reference code: a mask is chosen once, where ``+cr`` there prunes a block again for its second pair;
gradients are not clipped (there at a norm of 1000); training is in float32 (float64 for a float64 model) without a loss
scaler; ten epochs, as in the paper (there five, and ten for OPT).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from compressors import models
from compressors.blockwise import choose
from compressors.capture import Call, Captured, capture, run_block
from compressors.clock import Clock
from compressors.method import Method
from compressors.offload import States, Visits, held
from compressors.rehearsal import leading
from compressors.report import CompressionError
from compressors.statistics import sampling_stride, working_dtype


class Walk(Protocol):
    """What is needed of the walker: the blocks, and pruning one of them given its inputs."""

    model: nn.Module
    blocks: list[models.Block]
    method: Method
    device: torch.device
    clock: Clock
    visits: Visits
    offload: bool
    progress: Callable[[int, int, str], None]

    def look_ahead(self, ids: Tensor, batch_size: int) -> None: ...

    def prune(self, index: int, captured: Captured, stride: int) -> None: ...

    def remember(self, parameter: nn.Parameter) -> None: ...


class Stream:
    """Some sequences on their way through the compressed and the dense model, by batch.

    ``hidden`` are the inputs of the first block that still may change, ``dense`` those of the next block in the dense
    model and ``target`` what the blocks in training are to put out; all [sequences, length, width].
    """

    def __init__(self, captured: Captured) -> None:
        self.calls, self.direct = captured.calls, captured.direct
        self.hidden, self.dense, self.target = (held(captured.hidden, captured.hidden) for _ in range(3))

    def run(self, index: int, block: models.Block, inputs: States) -> States:
        """The outputs of a block as it is."""
        outputs = (run_block(block.module, x, calls[index]) for x, calls in zip(inputs, self.calls, strict=True))
        return held(inputs, outputs)

    def sequences(self) -> list[tuple[int, int]]:
        """(batch, place in it) of every sequence."""
        return [(batch, place) for batch, x in enumerate(self.hidden) for place in range(x.shape[0])]


class Schedule(NamedTuple):
    """How a block (or pair) is trained."""

    epochs: int
    lr: float
    batch: int


def hold_out(n_sequences: int, share: float) -> tuple[list[int], list[int]]:
    """Numbers of the sequences to calibrate on and to hold out: ``round(share * n)`` evenly spaced ones, at least one
    of two or more if the share is not 0.
    """
    count = min(round(share * n_sequences), n_sequences - 1)
    if share > 0 and n_sequences > 1:
        count = max(count, 1)
    held = {(2 * i + 1) * n_sequences // (2 * count) for i in range(count)}
    return [i for i in range(n_sequences) if i not in held], sorted(held)


def reconstruct(walk: Walk, ids: Tensor, batch_size: int, seed: int) -> list[dict[str, Any]]:
    """Prune and reconstruct block after block; what is returned is one entry a block, of builtins, for the report.

    ``ids`` [n_sequences, sequence_length]. Errors are mean squared differences an entry of the hidden states (the
    paper's normalised reconstruction error) from the dense model's, as ``pruned`` and as ``reconstructed``.
    """
    settings = walk.method.all_settings
    schedule = Schedule(int(settings["epochs"]), float(settings["lr"]), int(settings["batch"]))
    gp, cr = "gp" in walk.method.suffixes, "cr" in walk.method.suffixes
    generator = torch.Generator().manual_seed(seed)
    parts = hold_out(ids.shape[0], float(settings["holdout"]))
    streams = [
        Stream(capture(
            walk.model, walk.blocks, list(ids[part].split(batch_size)), walk.device, offload=walk.offload,
            by_sequence=str(walk.method),
        ))
        for part in parts
        if part
    ]  # fmt: skip
    walk.look_ahead(ids[parts[0]], batch_size)
    stride = sampling_stride(len(parts[0]), ids.shape[1])
    found: list[dict[str, Any]] = []
    for index, block in enumerate(walk.blocks):
        pair = cr and index > 0
        window = [index - 1, index] if pair else [index]
        with ExitStack() as stack:
            for i in window:
                stack.enter_context(walk.visits.at(walk.blocks[i]))
            with walk.clock.stage("forward"):
                inputs = [s.run(index - 1, walk.blocks[index - 1], s.hidden) if pair else s.hidden for s in streams]
                after = [stream.run(index, block, stream.dense) for stream in streams]
                for stream, entering, dense in zip(streams, inputs, after, strict=True):
                    stream.target = dense if gp else stream.run(index, block, entering)
            walk.prune(index, Captured(inputs[0], streams[0].calls, streams[0].direct), stride)
            errors = [_error(s, index, block, x, y) for s, x, y in zip(streams, inputs, after, strict=True)]
            found.append({"block": block.name, "pruned": _named(errors), "sequences": [len(part) for part in parts]})
            walk.progress(index, len(walk.blocks), "reconstruct")
            with walk.clock.stage("solve"):
                _train(walk, window, streams[0], schedule, generator)
            if pair:
                _finish(found[index - 1], streams, index - 1, walk.blocks[index - 1], [s.dense for s in streams])
            for stream, dense in zip(streams, after, strict=True):
                stream.dense = dense
            if cr and index == len(walk.blocks) - 1:
                for stream in streams:
                    stream.target = stream.dense
                with walk.clock.stage("solve"):
                    _train(walk, [index], streams[0], schedule, generator)
            if not cr or index == len(walk.blocks) - 1:
                _finish(found[index], streams, index, block, after)
        walk.progress(index + 1, len(walk.blocks), "done")
    return found


def _finish(entry: dict[str, Any], streams: list[Stream], index: int, block: models.Block, dense: list[States]) -> None:
    """Hand on the outputs of a block that will not change any more, and note their error."""
    errors = []
    for stream, wanted in zip(streams, dense, strict=True):
        errors.append(_error(stream, index, block, stream.hidden, wanted))
        stream.hidden = stream.run(index, block, stream.hidden)
    entry["reconstructed"] = _named(errors)


def _error(stream: Stream, index: int, block: models.Block, inputs: States, wanted: States) -> float:
    sums, count = [], 0
    for x, y, calls in zip(inputs, wanted, stream.calls, strict=True):
        output = run_block(block.module, x, calls[index])
        sums.append((output.double() - y.double()).square().sum())
        count += y.numel()
    error = float(torch.stack(sums).sum()) / count
    if not math.isfinite(error):
        raise CompressionError(f"{block.name} puts out NaN or infinite activations")
    return error


def _named(errors: list[float]) -> dict[str, float]:
    return dict(zip(("calibration", "held_out"), errors, strict=False))


def _train(walk: Walk, window: list[int], stream: Stream, schedule: Schedule, generator: torch.Generator) -> None:
    """Train copies of the window's parameters towards the stream's target, then write them back."""
    blocks = [walk.blocks[index] for index in window]
    dtype = working_dtype(stream.hidden[0].dtype)
    copies = [
        {name: p.detach().to(dtype, copy=True) for name, p in block.module.named_parameters() if p.is_floating_point()}
        for block in blocks
    ]
    kept = [_kept(block) for block in blocks]
    trained = [(k.get(name), p) for k, copy in zip(kept, copies, strict=True) for name, p in copy.items()]
    every = stream.sequences()
    steps = schedule.epochs * -(-len(every) // schedule.batch)
    optimizer = torch.optim.AdamW(
        [p for _, p in trained], lr=schedule.lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0
    )
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / max(steps, 1))
    for _ in range(schedule.epochs):
        order = torch.randperm(len(every), generator=generator).tolist()
        for start in range(0, len(every), schedule.batch):
            picked = [every[i] for i in order[start : start + schedule.batch]]
            gradients = _gradients(blocks, window, copies, stream, picked, [p for _, p in trained])
            for (keep, parameter), gradient in zip(trained, gradients, strict=True):
                parameter.grad = gradient if keep is None else gradient.mul_(keep)
            optimizer.step()
            falling.step()
    if steps == 0:
        return
    for block, copy in zip(blocks, copies, strict=True):
        for name, parameter in block.module.named_parameters():
            if name in copy:
                if not bool(torch.isfinite(copy[name]).all()):
                    raise CompressionError(
                        f"reconstruction of {block.name} made NaN or infinite values of {name}; try a lower lr"
                    )
                walk.remember(parameter)
                parameter.detach().copy_(copy[name])


def _kept(block: models.Block) -> dict[str, Tensor]:
    """For each parameter that holds linears' weights, by name in the block, where it is not zero: pruned entries stay
    so.
    """
    owners = {id(models.parameter_of(linear)) for linear in block.linears.values()}
    return {name: p.detach() != 0 for name, p in block.module.named_parameters() if id(p) in owners}


def _gradients(
    blocks: list[models.Block], window: list[int], copies: list[dict[str, Tensor]], stream: Stream,
    picked: list[tuple[int, int]], parameters: list[Tensor],
) -> list[Tensor]:  # fmt: skip
    """Gradients of the mean squared error over the picked sequences; those of one batch are run together, and what
    they add is the same whatever batch they are in."""
    total = [torch.zeros_like(parameter) for parameter in parameters]
    entries = len(picked) * stream.target[0][0].numel()
    for batch in sorted({batch for batch, _ in picked}):
        places = [place for where, place in picked if where == batch]
        dtype = parameters[0].dtype
        with torch.enable_grad():
            state = stream.hidden[batch][places].to(dtype)
            for parameter in parameters:
                parameter.requires_grad_(True)
            for index, block, copy in zip(window, blocks, copies, strict=True):
                call = choose(stream.calls[batch][index], stream.hidden[batch].shape[0], places)
                state = _apply(block.module, copy, state, call, dtype)
            error = (state - stream.target[batch][places].to(dtype)).square().sum() / entries
            found = torch.autograd.grad(error, parameters, allow_unused=True)
        for parameter, sums, gradient in zip(parameters, total, found, strict=True):
            parameter.requires_grad_(False)
            if gradient is not None:  # an expert that none of these tokens reached
                sums += gradient
    return total


def _apply(module: nn.Module, parameters: dict[str, Tensor], hidden: Tensor, call: Call, dtype: torch.dtype) -> Tensor:
    """A block's output with other parameters; what else it is called with is cast along."""

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(dtype) if value.is_floating_point() else value
        if isinstance(value, dict):
            return {name: cast(item) for name, item in value.items()}
        if type(value) in (tuple, list):
            return type(value)(cast(item) for item in value)
        return value

    args, kwargs = cast(call.args), cast(call.kwargs)
    if call.keyword is None:
        output = functional_call(module, parameters, (hidden, *args), kwargs)
    else:
        output = functional_call(module, parameters, args, {call.keyword: hidden, **kwargs})
    return leading(output)
