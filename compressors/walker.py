"""The walk over a model's decoder blocks: run a block, observe its linears' inputs, replace their weights, run it
again, hand its outputs on.

Written once for every algorithm; an algorithm sees weights and statistics only (``compressors/solving.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from compressors import models
from compressors.blockwise import BlockTask
from compressors.capture import Captured, capture, run_block
from compressors.clock import Clock, peak_memory
from compressors.codehash import RECONSTRUCTION, module_name
from compressors.factor import without_waiting
from compressors.method import Method, parse
from compressors.observe import Enough, Observer
from compressors.offload import States, Visits, device_for, held
from compressors.originals import Originals
from compressors.prepass import DensePass, Plan
from compressors.report import CompressionError, CompressionReport
from compressors.results import Ledger, expect_finite, refuse_misfits, refuse_uncalled, untouched
from compressors.solving import Solved
from compressors.statistics import Statistics, sampling_stride, working_dtype

PROPAGATIONS = ("sequential", "dense")
Progress = Callable[[int, int, str], None]


def compress(
    model: nn.Module,
    token_ids: Any,
    method: str | Method,
    *,
    propagation: str = "sequential",
    batch_size: int = 8,
    device: str | torch.device | None = None,
    offload: bool = False,
    progress: Progress | None = None,
    seed: int = 0,
) -> CompressionReport:
    """Compress the linears of a model's decoder blocks in place; embeddings and head stay as they are.

    ``token_ids`` is an integer tensor or array [n_sequences, sequence_length] of calibration text, or None for a
    calibration-free method. (Given to one, it changes no weight: the model is run all the same to measure
    ``relative_error``, for the cost of two forward passes.) ``propagation``: the inputs of a block are the outputs of
    the compressed blocks before it (``sequential``) or of the dense ones (``dense``). ``batch_size`` sequences are run
    at a time. ``device``: where blocks are run and solved, one at a time; None is where the model is. ``offload``: the
    model stays on the host, and so do the hidden states, in pinned memory, for a GPU too small for both (a model of 7
    billion weights takes less than 12 GiB); the device is the first GPU if there is one, unless given.
    ``progress(done_blocks, n_blocks, stage)`` is called as the walk goes on. ``seed`` orders the sequences where they
    are trained on (the suffixes ``+br`` ...); nothing else here is random.

    Raises ``MethodError`` for a method that does not exist or fit the model, ``CompressionError`` for a model or tokens
    that cannot be compressed. On any error, and on Ctrl-C, the model is as it was.
    """
    method = parse(method)
    _refuse_options(method, propagation, batch_size, seed, token_ids)
    ids = None if token_ids is None else models.checked_tokens(model, token_ids)
    where = device_for(model, device, offload, gradients="gradients" in method.statistics)
    clock = Clock(where)
    if method.target.kind == "none" and not module_name(method.algorithm):
        return CompressionReport(str(method), seconds=clock.seconds(), propagation=propagation)
    blocks = models.decoder_blocks(model)
    refuse_misfits(blocks, method)
    models.refuse_nonfinite(model, blocks)
    say = progress or (lambda done, total, stage: None)

    walk: _Walk | None = None

    def walked() -> _Walk:
        nonlocal walk
        walk = _Walk(model, blocks, method, propagation, where, clock, say, offload)
        walk.run(ids, batch_size, seed)
        return walk

    sequences, tokens = (0, 0) if ids is None else (ids.shape[0], ids.numel())
    try:
        with models.for_inference(model):
            # Reconstruction waits for the device all the time, and would train on what a failed factorization left.
            done = walked() if method.suffixes else without_waiting(walked, where)
        details = done.plan.details | ({"kept_dense": dense} if (dense := models.stays_dense(blocks)) else {})
        return CompressionReport(
            str(method), tuple(done.ledger.reports), clock.seconds(), peak_memory(where), propagation, len(blocks),
            sequences, tokens, details,
        )  # fmt: skip
    except BaseException:  # a Ctrl-C after the walk: it undoes what fails within itself
        if walk is not None:
            walk.restore()
        raise


def _refuse_options(method: Method, propagation: str, batch_size: Any, seed: Any, token_ids: Any) -> None:
    if propagation not in PROPAGATIONS:
        raise CompressionError(f"propagation {propagation!r}; expected one of {', '.join(PROPAGATIONS)}")
    if propagation == "dense" and method.suffixes:
        raise CompressionError(f"{method} trains each block on what the compressed ones before it give; use sequential")
    if type(batch_size) is not int or batch_size < 1:
        raise CompressionError(f"batch_size {batch_size!r}; expected a whole number, at least 1")
    if type(seed) is not int:
        raise CompressionError(f"seed {seed!r}; expected a whole number")
    if method.calibrated and token_ids is None:
        raise CompressionError(f"{method} needs calibration data, but token_ids is None")


class _Walk:
    """One compression of one model; keeps the original weights on the host until it has ended."""

    def __init__(
        self, model: nn.Module, blocks: list[models.Block], method: Method, propagation: str,
        device: torch.device, clock: Clock, progress: Progress, offload: bool,
    ) -> None:  # fmt: skip
        self.model, self.blocks, self.method = model, blocks, method
        self.sequential = propagation == "sequential"
        self.device, self.clock, self.progress, self.offload = device, clock, progress, offload
        module = import_module(module_name(method.algorithm))
        self.solve, self.compress_block = module.solve, getattr(module, "compress_block", None)
        self.plan = Plan()
        self.ledger = Ledger()
        self.originals, self.visits = Originals(device), Visits(device)
        self.others: dict[int, tuple[nn.Parameter, Tensor]] = {}  # norms and biases that a block compressor changes

    def run(self, ids: Tensor | None, batch_size: int, seed: int) -> None:
        try:
            with self.originals, self.visits:  # which wait for their threads at the end
                self._run(ids, batch_size, seed)
        except BaseException:
            self.restore()
            raise

    def _run(self, ids: Tensor | None, batch_size: int, seed: int) -> None:
        captured = None
        if ids is not None and self.method.suffixes:
            entries = import_module(RECONSTRUCTION).reconstruct(self, ids, batch_size, seed)
            self.plan.details["reconstruction"] = entries
            self.ledger.read()
            return
        if ids is not None:
            self.look_ahead(ids, batch_size)
            self.progress(0, len(self.blocks), "capture")
            with self.clock.stage("forward"):
                batches = list(ids.split(batch_size))
                by_sequence = str(self.method) if self.compress_block is not None else ""
                captured = capture(
                    self.model, self.blocks, batches, self.device, offload=self.offload, by_sequence=by_sequence
                )
        for index, block in enumerate(self.blocks):
            with self.visits.at(block):
                self._block(index, block, captured, 1 if ids is None else sampling_stride(*ids.shape))
            if index == len(self.blocks) - 1:
                self.ledger.read()
            self.progress(index + 1, len(self.blocks), "done")

    def look_ahead(self, ids: Tensor, batch_size: int) -> None:
        """The dense pre-passes that the algorithm and its base ask for."""
        dense = DensePass(self.model, self.blocks, ids, batch_size, self.device, self.clock, self.offload)
        for name in filter(None, (self.method.algorithm, self.method.base)):
            module = import_module(module_name(name))
            if hasattr(module, "plan"):
                self.progress(0, len(self.blocks), "plan")
                self.plan = self.plan.merged(module.plan(dense, self.method))

    def prune(self, index: int, captured: Captured, stride: int) -> None:
        """Replace the linears of a block, given its inputs, and hand nothing on."""
        self._block(index, self.blocks[index], captured, stride, hand_on=False)

    def _block(
        self, index: int, block: models.Block, captured: Captured | None, stride: int, *, hand_on: bool = True
    ) -> None:
        columns = {name: models.matrix(linear).shape[1] for name, linear in block.linears.items()}
        observer = Observer(columns, self.method.statistics, stride, self.clock)
        last = not hand_on or index == len(self.blocks) - 1
        for name, linear in block.linears.items():
            if not self.visits.keeps(models.parameter_of(linear)):
                self.originals.keep(name, models.matrix(linear))
        inputs: States = []
        if captured is not None and self.compress_block is not None:
            inputs = captured.hidden if self.sequential else held(captured.hidden, captured.hidden)
        if captured is not None:
            self.progress(index, len(self.blocks), "observe")
            with observer.watching(block.linears, captured.direct):
                self._forward(index, block, captured, observer, hand_on=not self.sequential and not last)
            observer.refuse_unreached(block.linears)
        self.progress(index, len(self.blocks), "solve")
        with self.clock.stage("solve"):
            if self.compress_block is not None and captured is not None:
                self._whole_block(index, block, inputs, captured, observer)
            else:
                self._by_input(index, block, observer, observed=captured is not None)
        if captured is not None and self.sequential and not last:
            self.progress(index, len(self.blocks), "forward")
            self._forward(index, block, captured, None, hand_on=True)
        self.ledger.send()

    def _by_input(self, index: int, block: models.Block, observer: Observer, *, observed: bool) -> None:
        method = self.plan.methods[index] if self.plan.methods else self.method
        for leader, names in observer.groups().items():
            accumulator = observer.accumulators.pop(leader, None)
            seen = accumulator.result() if accumulator else Statistics(0)
            if self.plan.gradients:
                seen = seen._replace(gradients=tuple(self.plan.gradients[name] for name in names))
            self._linears({name: block.linears[name] for name in names}, seen, method, observed=observed)

    def _whole_block(
        self, index: int, block: models.Block, inputs: States, captured: Captured, observer: Observer
    ) -> None:
        """Hand the block to an algorithm that replaces all its linears at once."""
        assert self.compress_block is not None
        groups = []
        for leader, names in observer.groups().items():
            accumulator = observer.accumulators.pop(leader, None)
            groups.append((names, accumulator.result() if accumulator else Statistics(0)))
            refuse_uncalled(names, groups[-1][1])
            expect_finite(self.ledger, names, groups[-1][1])
        for name in block.linears:
            self.originals.wait(name)
        notes = self.plan.details.setdefault(self.method.algorithm, {})
        calls = [calls[index] for calls in captured.calls]
        task = BlockTask(
            block, inputs, calls, groups, self.method, models.heads(self.model), self.remember, notes.__setitem__
        )  # fmt: skip
        with self._explained():
            replaced = self.compress_block(task)
        for done in replaced:
            linear = block.linears[done.name]
            if done.seen.tokens == 0:
                self.ledger.add(untouched(done.name, linear, done.weight))
            else:
                self._replace(done.name, linear, done.weight, done.solved, done.seen)

    def remember(self, parameter: nn.Parameter) -> None:
        """Keep a parameter as it is, once, for the case of an error."""
        if not self.visits.keeps(parameter):
            self.others.setdefault(id(parameter), (parameter, parameter.detach().cpu().clone()))

    def _forward(
        self, index: int, block: models.Block, captured: Captured, observer: Observer | None, *, hand_on: bool
    ) -> None:
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        with self.clock.stage("forward"):
            for batch, calls in enumerate(captured.calls):
                if observer is not None:
                    observer.next_pass()
                    observer.stop_early = not hand_on
                try:
                    output = run_block(block.module, captured.hidden[batch], calls[index])
                except Enough:
                    continue
                finite &= torch.isfinite(output).all()
                if hand_on:
                    captured.hidden[batch] = output
            self.ledger.expect(finite, f"{block.name} puts out NaN or infinite activations")

    def _linears(self, linears: dict[str, nn.Module], seen: Statistics, method: Method, *, observed: bool) -> None:
        """Replace the weights of linears that share one input."""
        names = list(linears)
        if observed:
            refuse_uncalled(names, seen)
        expect_finite(self.ledger, names, seen)
        weights = [models.matrix(linear).to(working_dtype(linear.weight.dtype)) for linear in linears.values()]
        if self.method.calibrated and seen.tokens == 0:
            for name, linear, weight in zip(names, linears.values(), weights, strict=True):
                self.ledger.add(untouched(name, linear, weight))
            return
        with self._explained():
            solved = self.solve(weights, seen._replace(names=tuple(names)), method)
        for name, linear, weight, new in zip(names, linears.values(), weights, solved, strict=True):
            self._replace(name, linear, weight, new, seen)

    def _replace(self, name: str, linear: nn.Module, weight: Tensor, solved: Solved, seen: Statistics) -> None:
        old = models.matrix(linear)
        new = solved.weight.to(old.dtype)
        self.ledger.expect(torch.isfinite(new).all(), f"{self.method} made NaN or infinite weights of {name}")
        self.ledger.note(name, weight, new, solved, seen)
        self.originals.wait(name)
        old.copy_(new)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Whatever fails here may fail for what was noted before, of inputs that are not finite for instance."""
        try:
            yield
        except Exception:
            self.ledger.read()
            raise

    @torch.no_grad()
    def restore(self) -> None:
        """Every weight as it was."""
        self.visits.restore()
        for parameter, original in self.others.values():
            parameter.detach().copy_(original)
        for block in self.blocks:
            for name, linear in block.linears.items():
                if (original := self.originals.get(name)) is not None:
                    models.matrix(linear).copy_(original)
