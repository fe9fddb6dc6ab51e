"""``python -m benchmarks.fleet``: the cases of a profile over several processes and GPUs, until the time is up.

For machines that are lent by the minute. Each process takes the next case that has no record yet, so that all stop at
about the same time; a later call goes on. Nothing is asserted or judged here: ``pytest benchmarks --profile P --store
S`` afterwards finds every record, checks each case, and judges. Draws of the same seed are made one after the other
through the whole grid, so that what a short call leaves is fewer draws of everything. A profile may say which claims
its grids decide (``claims = ["A6"]`` in a grid) and which of them come first::

    [fleet]
    first = ["A7", "A6"]   # cases of A7, then those of A6, then the rest
    draws = 5              # five draws of all of them before any other draw: a short call leaves no claim without

``--claims A6,B10`` makes the cases of these claims alone, in that order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import gpus, judging
from benchmarks.controls import with_controls
from benchmarks.devices import missing_device
from benchmarks.fleet_order import first_draws, in_order, listed, ranks
from benchmarks.grid import GridError, Overrides, build_cases, build_claims, load_profile, parse_seeds, split_list
from benchmarks.measures import left_out
from fixtures.processes import ended_together, ending_with_parent, stop
from fixtures.records import Case
from fixtures.store import Store

GRACE = 90.0  # seconds that a case at work is waited for after the time is up


@dataclass(frozen=True)
class Finished:
    """What a process says of a case: seconds by stage, or what went wrong."""

    case: str
    seconds: dict[str, float]
    problem: str = ""


def pending(
    profile: dict[str, Any], overrides: Overrides, store: Store, file: Path | None = None, claims: Sequence[str] = ()
) -> tuple[list[Case], int]:
    """Cases without a current record, in the order in which they are made, and the number of all.

    First those of the claims that come first, by seed; then model by model, by seed (dense first). With ``claims`` only
    cases of these, with a file of case ids only those, in its order. Raises ``GridError`` for unknown ones.
    """
    cases = with_controls(profile, build_cases(profile, overrides), overrides != Overrides())
    named = build_claims(profile, overrides)
    if file is not None:
        cases = listed(cases, file)
    places = ranks(profile, cases, named, claims)
    if claims:
        cases = [case for case in cases if case.id in places]
    _, missing = judging.find_records(store, cases)
    left = [case for case in cases if case.id in missing]
    if file is not None:
        return left, len(cases)
    return in_order(left, cases, places, first_draws(profile)), len(cases)


def work(cases: list[Case], counter: Any, root: Path, deadline: float, results: Any, at: Any, place: int) -> None:
    """One process: the next case that nobody has taken, until none is left or the time is up.

    ``at[place]`` is the number of the case at work, -1 before the first one and at the end.
    """
    from fixtures.runner import Runner

    runner = Runner(Store(root))
    while time.monotonic() < deadline:
        with counter.get_lock():
            number = counter.value
            counter.value += 1
        if number >= len(cases):
            break
        at[place] = number
        try:
            record, _ = runner.run(cases[number])
            results.put(Finished(cases[number].id, record.seconds))
        except Exception as error:  # one case must not stop the others; the message is printed at the end
            results.put(Finished(cases[number].id, {}, f"{type(error).__name__}: {error}"))
    at[place] = -1


def run(cases: list[Case], root: Path, processes: int, seconds: float, target: Any = work) -> list[Finished]:
    """Runs until all cases are done or ``seconds`` have passed; what was finished, in the order of finishing.

    A process that is killed costs the case it was at, which is named; the others go on. All end with this one.
    """
    context = multiprocessing.get_context("spawn")
    counter, results = context.Value("i", 0), context.Queue()
    at = context.Array("i", [-1] * processes, lock=False)
    deadline = time.monotonic() + seconds
    finished: list[Finished] = []
    with ended_together():
        given = [(target, cases, counter, root, deadline, results, at, number) for number in range(processes)]
        workers = _started([context.Process(target=ending_with_parent, args=one, daemon=True) for one in given])
        while any(worker.is_alive() for worker in workers) and time.monotonic() < deadline + GRACE:
            _drain(results, finished, len(cases))
        _drain(results, finished, len(cases))
    for worker, number in zip(workers, at, strict=True):
        if worker.exitcode:  # not None (it is stopped below) and not 0
            name = cases[number].id if number >= 0 else "between two cases"
            finished.append(Finished(name, {}, _died(worker.exitcode)))
    stop(workers)
    return finished


def _started(workers: list[Any]) -> list[Any]:
    """Starts the processes, each seeing one GPU in turn."""
    devices = gpus.visible()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    for number, worker in enumerate(workers):
        if devices:  # before the process starts, so that it sees no other
            os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        worker.start()
    if given is None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = given
    return workers


def _died(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed by the system, as one is that runs out of memory: fewer --processes"
    return f"its process ended with status {status}"


def _drain(results: Any, finished: list[Finished], total: int) -> None:
    try:
        while True:
            finished.append(results.get(timeout=0.5))
            if len(finished) % 25 == 0 or finished[-1].problem:
                print(f"{len(finished)}/{total} {finished[-1].case} {finished[-1].problem}", flush=True)
    except queue.Empty:
        pass


def summary(finished: list[Finished], left: int, seconds: float, processes: int) -> str:
    """How many cases a minute, where a process's seconds went, and what went wrong."""
    good = [one for one in finished if not one.problem]
    lines = [f"{len(good)} cases in {seconds:.0f} s by {processes} processes, {left - len(good)} left"]
    if good:
        stages = sorted({name for one in good for name in one.seconds})
        means = ", ".join(f"{name} {sum(one.seconds.get(name, 0) for one in good) / len(good):.2f}" for name in stages)
        lines.append(f"{60 * len(good) / seconds:.0f} cases a minute; mean seconds of a case: {means}")
    problems = [one for one in finished if one.problem]
    return "\n".join(lines + [f"failed: {one.case}: {one.problem}" for one in problems[:10]])


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 if nothing failed, 1 if a case did, 2 for a profile or device that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", required=True)
    parser.add_argument("--store", type=Path, default=Path("reports/out"))
    parser.add_argument("--processes", type=int, default=2, help="at least 1 (default: 2)")
    parser.add_argument("--seconds", type=float, default=540, help="start no case after so many (default: 540)")
    for name in ("device", "dtype"):
        parser.add_argument(f"--{name}", help="instead of the profile's")
    for name in ("models", "methods", "sources"):
        parser.add_argument(f"--{name}", type=split_list)
    parser.add_argument("--seeds", help="a count (5) or a list (0,1,2)")
    parser.add_argument("--items", type=int, help="items a task")
    parser.add_argument("--claims", type=split_list, default=(), help="only what decides these, first things first")
    parser.add_argument("--cases", type=Path, metavar="FILE", help="only these case ids, one a line, in this order")
    options = parser.parse_args(arguments)
    names = ("models", "methods", "sources", "device", "dtype", "seeds", "items")
    chosen = {name: getattr(options, name) for name in names}
    if options.processes < 1:
        parser.error(f"--processes {options.processes}: expected 1 or more")
    try:
        if options.seeds is not None:
            chosen["seeds"] = parse_seeds(options.seeds)
        held = Store(options.store)
        profile, wanted = load_profile(options.profile), Overrides(**chosen)
        cases, total = pending(profile, wanted, held, options.cases, options.claims)
        if problem := missing_device(cases):
            raise GridError(problem)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, why in left_out(profile, wanted).items():
        print(f"not scored: {name}: {why}")
    print(f"{total} cases, {total - len(cases)} have their record", flush=True)
    start = time.monotonic()
    finished = run(cases, options.store, options.processes, options.seconds)
    print(summary(finished, len(cases), time.monotonic() - start, options.processes))
    return int(any(one.problem for one in finished))


if __name__ == "__main__":
    sys.exit(main())
