"""Compress by several amounts of one calibration set for the price of one pass over it.

Under ``propagation=dense`` a block's inputs do not depend on what was compressed before it, so that statistics of the
first n sequences are prefix sums: they are solved as they come by, and nothing is run twice.

::

    sequences   0 .. 8      8 .. 16         16 .. 32
                add         add             add
                  | copy      | copy          | copy
                Hessian     Hessian         Hessian      solved together, which on a GPU takes about as many launches
                  |           |               |          as one: a column loop is as long as a row, however many rows
                weights     weights         weights      of one block, for 8, 16 and 32 sequences

"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors import models
from compressors.amounts import Tally, wanda_by_all
from compressors.amounts import stack as stacked
from compressors.capture import Captured, capture, run_block
from compressors.clock import Clock, peak_memory
from compressors.codehash import module_name
from compressors.factor import outcomes, without_waiting
from compressors.homeward import Homeward
from compressors.method import Method, MethodError, parse
from compressors.observe import Enough
from compressors.offload import Visits, device_for
from compressors.prefix_sums import PrefixObserver, Uncut
from compressors.report import CompressionError, CompressionReport
from compressors.results import refuse_misfits, refuse_uncalled, untouched
from compressors.statistics import Statistics, working_dtype

TOGETHER = 2 * 2**30  # bytes that the amounts which are solved together may take: Hessians, factors, weights


class Prefix(NamedTuple):
    """What the first ``sequences`` of the calibration set give: the compressed ``weights`` [out, in] by linear, on the
    host in the model's dtype, and the report, whose seconds and peak memory are those of the whole sweep.
    """

    sequences: int
    weights: dict[str, Tensor]
    report: CompressionReport

    def put(self, model: nn.Module) -> None:
        """Replace the linears' weights of a model, in place."""
        with torch.no_grad():
            for name, linear in models.linears(model):
                models.matrix(linear).copy_(self.weights[name])


def compress_prefixes(
    model: nn.Module,
    token_ids: Any,
    method: str | Method,
    amounts: Iterable[int],
    *,
    batch_size: int = 8,
    device: str | torch.device | None = None,
    offload: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Prefix]:
    """What ``compress(model, token_ids[:n], method, propagation="dense")`` gives for each n of ``amounts``, in their
    order; the model stays as it is.

    ``token_ids`` [n_sequences, sequence_length]; other arguments as for ``compress``. The same weights bit for bit
    where every amount is a multiple of ``batch_size`` (or the last), else but for rounding: an amount that ends within
    a batch is summed apart, or ends the batch, in a model that mixes the sequences of a batch or where there is no room
    for as many Hessians (``TOGETHER``). Errors in the reports are summed in another order. On a GPU GPTQ, SparseGPT and
    SpQR solve amounts together, which rounds differently from one at a time.
    Raises ``CompressionError`` as ``compress`` does, for all amounts if it would for one, and for an amount that is not
    within the set; ``MethodError`` for a method that needs more than the statistics of one linear's inputs (AWQ, OWL,
    Pruner-Zero, reconstruction).
    """
    method = parse(method)
    _refuse_wider(method)
    ids = models.checked_tokens(model, token_ids)
    asked = _whole_numbers(amounts)
    ends = sorted(set(asked))
    if not ends or ends[0] < 1 or ends[-1] > len(ids):
        raise CompressionError(f"amounts {asked}; expected some of 1 to {len(ids)}, the sequences of the set")
    if type(batch_size) is not int or batch_size < 1:
        raise CompressionError(f"batch_size {batch_size!r}; expected a whole number, at least 1")
    ids = ids[: ends[-1]]
    where = device_for(model, device, offload, gradients=False)
    clock, blocks = Clock(where), models.decoder_blocks(model)
    refuse_misfits(blocks, method)
    models.refuse_nonfinite(model, blocks)
    say = progress or (lambda done, total, stage: None)

    def sweep_of(batches: list[Tensor]) -> _Sweep:
        sweep = _Sweep(method, ends, ids.shape[1], where, clock)
        say(0, len(blocks), "capture")
        with clock.stage("forward"):
            captured = capture(model, blocks, batches, where, offload=offload, by_sequence="a sweep of amounts")
        sweep.run(blocks, captured, say)
        return sweep

    def swept() -> _Sweep:
        whole = _held_within(blocks, method, ends, batch_size) <= TOGETHER
        try:
            return sweep_of(_batches(ids, ends, batch_size, whole=whole))
        except Uncut:
            outcomes()  # of what is begun again
        return sweep_of(_batches(ids, ends, batch_size, whole=False))

    with models.for_inference(model):
        sweep = without_waiting(swept, where)
    seconds, peak = clock.seconds(), peak_memory(where)
    found = {end: sweep.prefix(end, seconds, peak, blocks) for end in ends}
    return [found[amount] for amount in asked]


def _whole_numbers(amounts: Iterable[int]) -> list[int]:
    """The amounts as builtin integers, which reports hold: a caller may have NumPy's."""
    try:
        return [int(operator.index(amount)) for amount in amounts]
    except TypeError:
        raise CompressionError(f"amounts {amounts!r}; expected whole numbers of sequences, [1, 8, 64] say") from None


def _refuse_wider(method: Method) -> None:
    modules = [import_module(module_name(name)) for name in (method.algorithm, method.base) if name and name != "dense"]
    wider = method.suffixes or not modules or any(hasattr(m, "plan") or hasattr(m, "compress_block") for m in modules)
    if wider:
        raise MethodError(
            f"{method} is not made of the statistics of one linear's inputs; compress by one amount at a time"
        )


def _batches(ids: Tensor, ends: list[int], batch_size: int, *, whole: bool) -> list[Tensor]:
    """The sequences in batches, which are cut where an amount ends unless they are run ``whole``."""
    pieces = [ids] if whole else [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [batch for piece in pieces for batch in piece.split(batch_size)]


def _held_within(blocks: list[models.Block], method: Method, ends: list[int], batch_size: int) -> int:
    """Bytes, at most, of the Hessians of amounts that end within a batch, which are held until it has been run."""
    if "hessian" not in method.statistics:
        return 0
    within = Counter(end // batch_size for end in ends if end % batch_size and end != ends[-1])
    sizes = [sum(models.matrix(linear).shape[1] ** 2 for linear in block.linears.values()) for block in blocks]
    return 4 * max(sizes) * max(within.values(), default=0)


class _Waiting(NamedTuple):
    """What the first ``end`` sequences have shown of the linears ``names``, which share their inputs, of one block;
    ``half`` if only the upper triangle of the Hessian is there.
    """

    end: int
    names: list[str]
    seen: Statistics
    half: bool


class _Sweep:
    """Weights and reports by amount, block after block."""

    def __init__(self, method: Method, ends: list[int], length: int, device: torch.device, clock: Clock) -> None:
        self.method, self.device, self.clock = method, device, clock
        self.ends, self.length = ends, length
        module = import_module(module_name(method.algorithm))
        self.solve = module.solve
        self.solve_all = getattr(module, "solve_all", wanda_by_all if method.algorithm == "wanda" else None)
        self._waiting: list[_Waiting] = []
        self._held = 0  # bytes of those
        self.weights: dict[int, dict[str, Tensor]] = {end: {} for end in ends}
        self.tally, self._homeward = Tally(ends), Homeward(device)

    def run(self, blocks: list[models.Block], captured: Captured, say: Callable[[int, int, str], None]) -> None:
        visits = Visits(self.device)
        try:
            for index, block in enumerate(blocks):
                with visits.at(block, changes=False):
                    self.block(index, block, captured, last=index == len(blocks) - 1)
                if index == len(blocks) - 1:
                    self.tally.read()
                    self._homeward.settle(last=True)
                say(index + 1, len(blocks), "done")
        finally:
            self._homeward.close()

    def prefix(self, end: int, seconds: dict[str, float], peak: int, blocks: list[models.Block]) -> Prefix:
        """What came of an amount."""
        report = CompressionReport(
            str(self.method),
            tuple(self.tally.by_amount[end]),
            seconds,
            peak,
            "dense",
            len(blocks),
            end,
            end * self.length,
        )
        if dense := models.stays_dense(blocks):
            report.details["kept_dense"] = dense
        return Prefix(end, self.weights[end], report)

    def block(self, index: int, block: models.Block, captured: Captured, *, last: bool) -> None:
        columns = {name: models.matrix(linear).shape[1] for name, linear in block.linears.items()}
        observer = PrefixObserver(columns, self.method.statistics, self.ends, self.length, self.clock)
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        done = 0
        with observer.watching(block.linears, captured.direct), self.clock.stage("forward"):
            for batch, calls in enumerate(captured.calls):
                hidden = captured.hidden[batch]
                reached = observer.next_batch(done, hidden.shape[0])
                observer.stop_early = last
                done += hidden.shape[0]
                try:
                    output = run_block(block.module, hidden, calls[index])
                    finite &= torch.isfinite(output).all()
                    captured.hidden[batch] = output
                except Enough:
                    pass
                for end in reached:
                    with self.clock.stage("solve"):
                        self._take(end, block, observer)
        observer.refuse_unreached(block.linears)
        self.tally.expect(finite, f"{block.name} puts out NaN or infinite activations")
        self.tally.send()
        self._homeward.settle()

    def _take(self, end: int, block: models.Block, observer: PrefixObserver) -> None:
        """What the first sequences have shown, to be solved now or together with what more of them show."""
        before = self._held
        for leader, names in observer.groups().items():
            seen = observer.shown(end, leader)
            refuse_uncalled(names, seen)
            self._waiting.append(_Waiting(end, names, seen._replace(names=tuple(names)), observer.half(leader)))
            matrices = [models.matrix(block.linears[name]) for name in names]
            self._held += 8 * sum(matrix.numel() for matrix in matrices) + 8 * matrices[0].shape[1] ** 2
        another = self._held - before
        if end == self.ends[-1] or self._held + another > TOGETHER:
            self._solve(block)

    def _solve(self, block: models.Block) -> None:
        """The block's weights by all the amounts that wait."""
        waiting, self._waiting, self._held = self._waiting, [], 0
        order = list(block.linears)
        groups = dict.fromkeys(tuple(one.names) for one in waiting)
        for group in sorted(groups, key=lambda names: order.index(names[0])):
            alike = [one for one in waiting if tuple(one.names) == group]
            seen, unseen = ([one for one in alike if (one.seen.tokens > 0) == any_of] for any_of in (True, False))
            if unseen and self.method.calibrated:
                self._keep_dense(block, unseen)
            elif unseen:
                self._solve_group(block, unseen)
            if seen:
                self._solve_group(block, seen)

    def _solve_group(self, block: models.Block, alike: list[_Waiting]) -> None:
        """The weights of linears that share their inputs, by several amounts."""
        names, ends = alike[0].names, [one.end for one in alike]
        stack = stacked([one.seen for one in alike], alike[0].half)
        weights = [_working(block.linears[name]) for name in names]
        seen = stack.apart([one.seen for one in alike])
        if stack.norms is not None:
            self.tally.expect(torch.isfinite(stack.norms).all(), f"the inputs of {names[0]} are NaN or infinite")
        try:
            if self.solve_all is not None and len(seen) > 1:
                solved = self.solve_all(weights, seen, self.method)
            else:
                solved = [self.solve(weights, one, self.method) for one in seen]
        except Exception:
            self.tally.read()  # inputs that are not finite would explain it
            raise
        for name, weight, *found in zip(names, weights, *solved, strict=True):
            dtype = models.matrix(block.linears[name]).dtype
            news = torch.cat([one.weight for one in found]).to(dtype).view(len(ends), *weight.shape)
            self.tally.expect(torch.isfinite(news).all(), f"{self.method} made NaN or infinite weights of {name}")
            self.tally.note_all(ends, name, weight, news, found, stack)
            self._homeward.send(news, [self.weights[end] for end in ends], name)

    def _keep_dense(self, block: models.Block, alike: list[_Waiting]) -> None:
        """Experts that no token has reached by these amounts."""
        for name in alike[0].names:
            matrix = models.matrix(block.linears[name])
            report = untouched(name, block.linears[name], matrix)
            for one in alike:
                self.tally.put(one.end, report)
            homes = [self.weights[one.end] for one in alike]
            self._homeward.send(matrix.expand(len(alike), *matrix.shape), homes, name)


def _working(linear: nn.Module) -> Tensor:
    """A linear's weight [out, in] in the dtype that is computed in."""
    return models.matrix(linear).to(working_dtype(linear.weight.dtype))
