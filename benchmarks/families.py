"""``python -m benchmarks.families``: which model types of ``transformers`` can be compressed?

Of every type that the installed ``transformers`` maps to a causal language model, a tiny random model of four
blocks, in float64 (float32 if it runs in nothing else): its blocks are run one after the other beside the model itself,
then it is compressed by Wanda and by rounding. A type is

- *compressed*: the blocks give the model's states, every linear is compressed, and the logits are finite and others;
- *refused*: by name, the weights as they were;
- *not built*: no tiny model with the sizes of ``benchmarks/tiny_families.py``, or it does not run on token ids alone;
- *wrong*: none of these, which is a fault of this suite, and the exit status is 1.

Each type has a process of its own, with limits on time and memory.
"""

from __future__ import annotations

import argparse
import datetime
import difflib
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from fixtures.processes import ended_together, ending_with_parent

METHODS = ("wanda-0.5", "rtn-w4g-1")
OUTCOMES = ("compressed", "refused", "not built", "wrong")
# Of the largest state, by precision; a block given another argument is off by far more. Some types need float32.
CLOSE = {"float64": 1e-9, "float32": 1e-5}
DEPTH = 4  # some types share something between every second or third block
SECONDS, GIGABYTES = 120.0, 4.0


class Found(NamedTuple):
    """What became of a type: linears compressed, experts without a token among them, parameters that stay dense in
    the blocks, the largest difference of the states (as a share of the largest), the list of blocks; else the words.
    """

    kind: str
    outcome: str
    words: str = ""
    linears: int = 0
    idle: int = 0
    dense: int = 0
    difference: float = 0.0
    precision: str = "float64"
    blocks: str = ""

    def row(self) -> str:
        if self.outcome != "compressed":
            return f"| `{self.kind}` | {self.outcome} | | | | | | {self.words} |"
        difference = f"{self.difference:.0e}" if self.difference else "0"
        if self.precision != "float64":
            difference += f" ({self.precision})"
        counts = f"{self.linears} | {self.idle or ''} | {self.dense or ''} | {difference}"
        return f"| `{self.kind}` | {self.outcome} | `{self.blocks}` | {counts} | |"


def words_of(error: BaseException) -> str:
    """An error in one line of a table."""
    said = " ".join(str(error).split()).replace("|", "\\|")
    return f"{type(error).__name__}: {said}"[:300]


def examine(kind: str) -> Found:
    """Build, run and compress one type; only what transformers cannot build or run is caught as *not built*."""
    import torch

    from benchmarks.tiny_families import NotBuilt, tiny

    try:
        tiny(kind, DEPTH)
    except NotBuilt as error:
        return Found(kind, "not built", str(error))
    except Exception as error:  # each type has errors of its own
        return Found(kind, "not built", words_of(error))
    ids = torch.randint(3, 128, (6, 32), generator=torch.Generator().manual_seed(0))
    for precision in CLOSE:
        model = tiny(kind, DEPTH).to(getattr(torch, precision))
        try:
            logits = logits_of(model, ids)
        except Exception as error:
            said = words_of(error)
        else:
            return judged(kind, model, ids, logits, precision)
    return Found(kind, "not built", f"the model itself fails on token ids: {said}")


def judged(kind: str, model: Any, ids: Any, logits: Any, precision: str) -> Found:
    """What became of a model that runs."""
    from benchmarks.tiny_families import chain, tiny
    from compressors import CompressionError, models

    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        difference = chain(model, ids).difference
        reports = [compressed(tiny(kind, DEPTH).to(logits.dtype), ids, method, logits) for method in METHODS]
    except CompressionError as error:
        return refusal(kind, model, ids, before, str(error))
    except Exception as error:
        return Found(kind, "wrong", words_of(error))
    if not difference <= CLOSE[precision]:
        return Found(kind, "wrong", f"blocks one after the other are off by {difference:.1e} of the largest state")
    linears = reports[0].linears
    dense = len(reports[0].details.get("kept_dense", {}))
    idle = sum(bool(linear.skipped) for linear in linears)
    blocks = [block.name for block in models.decoder_blocks(model)]
    where = f"{blocks[0].removesuffix('.0')} x {len(blocks)}"
    return Found(kind, "compressed", "", len(linears), idle, dense, difference, precision, where)


def logits_of(model: Any, ids: Any) -> Any:
    """The logits [sequences, length, words] as ``compress`` runs a model: experts one by one, so in float64 too."""
    from compressors import models

    with models.for_inference(model):
        return model(ids, use_cache=False).logits


def compressed(model: Any, ids: Any, method: str, logits: Any) -> Any:
    """The report of compressing a model in place. Raises ``AssertionError`` if what comes out cannot be right."""
    import torch

    import compressors

    report = compressors.compress(model, ids, method, batch_size=2)
    names = {name for name, _ in compressors.linears(model)}
    after = logits_of(model, ids)
    if {linear.name for linear in report.linears} != names:
        raise AssertionError(f"{method} reports other linears than the model has")
    if not bool(torch.isfinite(after).all()):
        raise AssertionError(f"{method} leaves logits that are not finite")
    if torch.equal(after, logits):
        raise AssertionError(f"{method} changes nothing")
    return report


def refusal(kind: str, model: Any, ids: Any, before: dict[str, Any], words: str) -> Found:
    """A refusal, if every method refuses too and the weights are as they were."""
    import torch

    import compressors

    for method in METHODS:
        try:
            compressors.compress(model, ids, method, batch_size=2)
        except compressors.CompressionError as error:
            words = str(error)
        else:
            return Found(kind, "wrong", f"{method} compresses what is refused otherwise: {words}")
    after = model.state_dict()
    if not all(torch.equal(value, after[name]) for name, value in before.items()):
        return Found(kind, "wrong", f"refused, and weights changed: {words}")
    return Found(kind, "refused", " ".join(words.split()).replace("|", "\\|"))


def worker(kind: str, gigabytes: float, sender: Any) -> None:
    """In a process of its own: send what became of a type."""
    import resource
    import warnings

    import torch
    from transformers import logging

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.set_verbosity(logging.CRITICAL)
    sizes = Path("/proc/self/statm")
    if sizes.exists():  # elsewhere than on Linux what is in use is not known, and time alone is limited
        used = int(sizes.read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + int(gigabytes * 2**30), hard))
    sender.send(examine(kind))


def confined(kind: str, seconds: float, gigabytes: float, context: Any) -> Found:
    """Examine a type in a process that is ended after ``seconds``."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=ending_with_parent, args=(worker, kind, gigabytes, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return Found(kind, "not built", f"not done after {seconds:g} seconds")
        return receiver.recv()
    except EOFError:
        process.join()
        return Found(kind, "not built", f"its process ended with status {process.exitcode} (memory?)")
    finally:
        process.kill()
        process.join()
        receiver.close()


def scan(kinds: Sequence[str], *, jobs: int = 2, seconds: float = SECONDS, gigabytes: float = GIGABYTES) -> list[Found]:
    """What became of each type, in their order; ``jobs`` at a time, a line to standard error as each is done."""
    import multiprocessing

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto"])

    def one(kind: str) -> Found:
        found = confined(kind, seconds, gigabytes, context)
        print(f"{kind}: {found.outcome} {found.words}".rstrip(), file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(jobs) as pool, ended_together():
        return list(pool.map(one, kinds))


def table(found: Sequence[Found], command: str) -> str:
    """Markdown: the counts, versions, the command and a row for each type."""
    import torch
    import transformers

    counts = Counter(one.outcome for one in found)
    said = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    today = datetime.datetime.now(tz=datetime.UTC).date()
    methods = " and ".join(f"`{method}`" for method in METHODS)
    worst = max((one.difference for one in found), default=0.0)
    return "\n".join(
        [
            "# Model types that can be compressed",
            "",
            f"{len(found)} model types that transformers {transformers.__version__} maps to a causal language model: "
            f"**{said}**.",
            f"Tiny random models of {DEPTH} blocks where the type allows, {methods}, "
            f"torch {torch.__version__}, {today}:",
            "",
            f"    {command}",
            "",
            "*Difference*: of the states after the last block, between the model and its blocks run one after the "
            "other, as a share of the largest state, in float64 if the model runs in it; "
            f"at most {worst:.1g}. *No token*: experts that saw none and stay dense. *Dense*: parameters with rows "
            "and columns in the blocks that are no linears and stay dense (routers). *Not built* is no verdict: these "
            "sizes make no tiny model, or it does not run on token ids. Of a model with towers for images or sound "
            "the list of blocks with the most parameters is taken, which at these sizes may be a tower's.",
            "",
            "| type | outcome | blocks | linears | no token | dense | difference | why |",
            "|---|---|---|---:|---:|---:|---:|---|",
            *(one.row() for one in found),
            "",
        ]
    )


def chosen(given: str | None, known: Sequence[str]) -> list[str]:
    """The types asked for. Raises ``ValueError`` naming the nearest for one that is not known."""
    names = [name.strip() for name in given.split(",") if name.strip()] if given is not None else list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; nearest: {near[0]}" if near else ""
            raise ValueError(f"--types: {name!r} is no type mapped to a causal language model{hint}")
    if not names:
        raise ValueError("--types names no type; expected some, separated by commas")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the table; 1 if a type is *wrong*, 2 for a type that does not exist."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--types", help="model types, separated by commas (default: all)")
    parser.add_argument("--out", type=Path, help="file for the table (default: standard output)")
    parser.add_argument("--jobs", type=int, default=2, help="types at a time (default 2)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"limit for a type (default {SECONDS:g})")
    parser.add_argument("--gigabytes", type=float, default=GIGABYTES, help=f"memory a type (default {GIGABYTES:g})")
    given = parser.parse_args(arguments)
    from benchmarks.tiny_families import types
    from fixtures.files import StoreError, write_bytes

    try:
        kinds = chosen(given.types, types())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    found = scan(kinds, jobs=given.jobs, seconds=given.seconds, gigabytes=given.gigabytes)
    command = "python -m benchmarks.families" + (f" --types {','.join(kinds)}" if given.types else "")
    command += f" --out {given.out}" if given.out else ""
    if given.out:
        try:
            write_bytes(given.out, table(found, command).encode())
        except StoreError as error:
            print(error, file=sys.stderr)
            return 2
    else:
        print(table(found, command))
    return int(any(one.outcome == "wrong" for one in found))


if __name__ == "__main__":
    sys.exit(main())
