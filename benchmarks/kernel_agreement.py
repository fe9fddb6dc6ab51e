"""``python -m benchmarks.kernel_agreement --shape 7b``: do the GPU's kernels give what float64 gives, and how fast?

One block of a shape (``benchmarks/speed.py``), observed as the walk observes it. Its weights and Hessians are solved by
the kernels, by eager float32 and by eager float64. Then what the tensor cores' Hessians cost: their distance from those
summed in float64, and the loss of weights solved with them against that of weights solved with float64's, both judged
by the latter. On a CPU, where there are no kernels, eager float32 is all that is compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

METHODS = ("gptq-w4g{group_size}", "sparsegpt-0.5", "sparsegpt-2of4", "spqr-w4g16")
CLOSE = 1e-3  # of the largest entry: a code or a mask entry that differs, differs by more


class Group(NamedTuple):
    """Weights [out, in] that share an input, the Hessian [in, in] of the walk and the one summed in float64."""

    names: list[str]
    weights: list[Any]
    walked: Any
    exact: Any


class Agreement(NamedTuple):
    """Least share of entries alike, and least and largest ratio of losses, over a block's linears."""

    alike: float
    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.alike:.2%} alike, loss {self.least:.5f} to {self.largest:.5f}"


def observed(shape: Any, sequences: int, device: str) -> list[Group]:
    """The linears of one random block of a shape, by input, after ``sequences`` sequences."""
    import torch

    from benchmarks.speed import BATCH_SIZE, build
    from compressors import models
    from compressors.capture import capture, run_block
    from compressors.clock import Clock
    from compressors.observe import Observer

    model, ids = build(shape, 1, device)
    (block,) = models.decoder_blocks(model)
    where = torch.device(device)
    columns = {name: linear.weight.shape[1] for name, linear in block.linears.items()}
    observer, exact = Observer(columns, "hessian", 1, Clock(where)), dict[str, Any]()

    def add(name: str, rows: Any) -> None:
        if observer.leader.get(name, name) == name:
            rows = rows.flatten(0, -2).double()
            exact[name] = exact.get(name, 0) + rows.T @ rows / ids[:sequences].numel()

    with models.for_inference(model):
        captured = capture(model, [block], list(ids[:sequences].split(BATCH_SIZE)), where)
        with observer.watching(block.linears):
            handles = [
                linear.register_forward_pre_hook(lambda module, inputs, name=name: add(name, inputs[0]))
                for name, linear in block.linears.items()
            ]
            for batch, calls in enumerate(captured.calls):
                observer.next_pass()
                run_block(block.module, captured.hidden[batch], calls[0])
        for handle in handles:
            handle.remove()
        return [
            Group(
                names, [models.matrix(block.linears[name]).float() for name in names],
                observer.accumulators[leader].result().hessian, exact[leader],
            )
            for leader, names in observer.groups().items()
        ]  # fmt: skip


@contextmanager
def eager() -> Iterator[None]:
    """The kernels are out of use."""
    from compressors import kernels

    before, kernels.usable = kernels.usable, lambda tensor: False
    try:
        yield
    finally:
        kernels.usable = before


def solved(method: str, group: Group, hessian: Any, dtype: Any) -> list[Any]:
    """The group's weights [out, in] as the method makes them, in float64."""
    from compressors import parse
    from compressors.codehash import module_name
    from compressors.statistics import Statistics

    parsed, hessian = parse(method), hessian.to(dtype, copy=True)
    solve = import_module(module_name(parsed.algorithm)).solve
    found = solve([weight.to(dtype) for weight in group.weights], Statistics(1, hessian.diagonal(), hessian), parsed)
    return [one.weight.double() for one in found]


def compared(found: list[Any], best: list[Any], group: Group, hessian: Any) -> Agreement:
    """What was found against float64's, the loss being that of the ``hessian``."""

    def loss(weight: Any, new: Any) -> float:
        change, second = new - weight.double(), hessian.double()
        return float((change @ second).mul_(change).sum())

    ratios, alike = [], []
    for weight, new, exact in zip(group.weights, found, best, strict=True):
        ratios.append(loss(weight, new) / loss(weight, exact))
        alike.append(float(((new - exact).abs() <= CLOSE * exact.abs().max()).double().mean()))
    return Agreement(min(alike), min(ratios), max(ratios))


def over(parts: list[Agreement]) -> Agreement:
    """The worst of several."""
    return Agreement(min(p.alike for p in parts), min(p.least for p in parts), max(p.largest for p in parts))


class Row(NamedTuple):
    """A method: its kernels (on a GPU) and eager float32 against float64, weights solved with the walk's Hessians
    against those with float64's, and the seconds that kernels and eager float32 take to solve the block.
    """

    method: str
    kernels: Agreement
    eager: Agreement
    statistics: Agreement
    seconds: tuple[float, float]


def seconds(work: Callable[[], list[Any]]) -> tuple[list[Any], float]:
    """What the work gives and how long it takes, once it has been done before (kernels are compiled)."""
    import torch

    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begin = time.perf_counter()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found, time.perf_counter() - begin


def row(method: str, groups: list[Group]) -> Row:
    """Solve a block in every way."""
    import torch

    parts: list[tuple[Agreement, Agreement, Agreement]] = []
    fused = plain = 0.0
    for group in groups:
        here, took = seconds(lambda g=group: solved(method, g, g.walked, torch.float32))  # type: ignore[misc]
        fused += took
        with eager():
            by_torch, took = seconds(lambda g=group: solved(method, g, g.walked, torch.float32))  # type: ignore[misc]
            plain += took
            best, ideal = (solved(method, group, hessian, torch.float64) for hessian in (group.walked, group.exact))
        parts.append(
            (
                compared(here, best, group, group.walked),
                compared(by_torch, best, group, group.walked),
                compared(best, ideal, group, group.exact),
            )
        )
    first, second, third = (over(list(column)) for column in zip(*parts, strict=True))
    return Row(method, first, second, third, (fused, plain))


def distances(groups: list[Group]) -> str:
    """How far the walk's Hessians are from float64's."""
    norms = [float((g.walked.double() - g.exact).norm() / g.exact.norm()) for g in groups]
    diagonals = [float((g.walked.diagonal() / g.exact.diagonal() - 1).mean()) for g in groups]
    return (
        f"Hessians of the walk against float64: {min(norms):.1e} to {max(norms):.1e} (Frobenius norm), "
        f"diagonals {min(diagonals):+.1e} to {max(diagonals):+.1e}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    import torch

    from benchmarks.speed import SHAPES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel_agreement", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, help="default: 7b on a GPU, else small")
    parser.add_argument("--sequences", type=int, default=32, help="of the shape's length (default 32)")
    given = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = SHAPES[given.shape or ("7b" if device == "cuda" else "small")]
    groups = observed(shape, given.sequences, device)
    machine = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(
        f"{machine}, one block, hidden {shape.hidden}, {given.sequences} x {shape.length} tokens\n{distances(groups)}\n"
    )
    columns = ("kernels against float64", "eager float32 against float64", "solved with the walk's Hessian", "solve, s")
    print("| method | " + " | ".join(columns) + " |")
    print("|---|---|---|---|---|")
    for method in METHODS:
        found = row(method.format(group_size=shape.group_size), groups)
        kernels, took = "–", f"{found.seconds[1]:.2f}"
        if device == "cuda":
            kernels, took = str(found.kernels), f"{found.seconds[0]:.2f} (eager {took})"
        print(f"| `{found.method}` | {kernels} | {found.eager} | {found.statistics} | {took} |", flush=True)


if __name__ == "__main__":
    main()
