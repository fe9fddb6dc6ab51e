"""How fast, and how equally, are tasks scored beside lm-eval's own ``hf`` model?

``python -m benchmarks.scoring_speed --model smollm2-135m --tasks arc_easy,piqa,boolq --items 64 --dtype float32
--device cpu --hf-batch-sizes 1,4,16``. Both run in this process on the same rows; times are wall and processor seconds.
``--agree`` compares log-likelihoods, item by item, under the rule for float32: within 1e-4 nats or twice the
difference that the ``hf`` model shows between two of its own batch sizes, whichever is larger.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TASKS = (
    "arc_easy", "arc_challenge", "boolq", "hellaswag", "lambada_openai", "openbookqa", "piqa", "winogrande", "rte",
)  # fmt: skip
AGREEMENT = 1e-4  # nats


@dataclass(frozen=True)
class Run:
    """One way through the tasks: log-likelihoods [requests] (nats) by task, and its cost in seconds."""

    name: str
    loglikelihoods: dict[str, np.ndarray]
    accuracy: dict[str, float]
    wall: float
    processor: float

    def __str__(self) -> str:
        accuracy = " ".join(f"{name} {value:.4f}" for name, value in self.accuracy.items())
        return f"{self.name:>12}: {self.wall:8.2f} s wall {self.processor:8.2f} s processor   {accuracy}"


def timed(work: Callable[[], Any], device: str) -> tuple[Any, float, float]:
    """Result, wall seconds and processor seconds, with the GPU's work done."""
    import torch

    def settle() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    settle()
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    settle()
    return found, time.perf_counter() - wall, time.process_time() - processor


def ours(model: Any, tokenizer: Any, tasks: Sequence[str], items: int | None, batch_size: int) -> Run:
    """The suite's scorer; call it twice to have the tokenization in memory, as from the second case on."""
    import fixtures

    found, wall, processor = timed(
        lambda: fixtures.evaluate(model, tokenizer, tasks, items=items, batch_size=batch_size), str(model.device)
    )
    values = {name: np.concatenate(found[name].scores.loglikelihoods) for name in tasks}
    return Run("shared", values, {name: found[name]["acc"] for name in tasks}, wall, processor)


def stock(model: Any, tokenizer: Any, tasks: Sequence[str], items: int | None, batch_size: int) -> Run:
    """lm-eval's ``hf`` model on the same requests, tokenization included: it does that every time."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from fixtures.encoding import prepends_bos
    from fixtures.evaluation import task_scores
    from fixtures.task_items import load_items

    bos = prepends_bos(tokenizer)  # the scorer does as the tokenizer does by itself
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, add_bos_token=bos)
    asked = {name: load_items(name, items) for name in tasks}

    def work() -> dict[str, list[tuple[float, bool]]]:
        return {
            name: lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in asked[name].pairs], True)
            for name in tasks
        }

    found, wall, processor = timed(work, str(model.device))
    values = {name: np.array([value for value, _ in found[name]], dtype=float) for name in tasks}
    accuracy = {}
    for name, one in asked.items():
        starts = np.cumsum([0, *(len(pairs) for pairs in one.requests)])[:-1]
        greedy = np.array([is_greedy for _, is_greedy in found[name]])[starts]
        accuracy[name] = float(np.mean(task_scores(one, np.split(values[name], starts[1:]), greedy).correct))
    return Run(f"hf, batch {batch_size}", values, accuracy, wall, processor)


def largest_difference(a: Run, b: Run) -> float:
    """Most nats by which two runs differ on any request."""
    return max(float(np.abs(a.loglikelihoods[name] - b.loglikelihoods[name]).max()) for name in a.loglikelihoods)


def agreement(mine: Run, theirs: Sequence[Run]) -> dict[str, Any]:
    """Differences (nats) of the scorer from each of two or more runs of the ``hf`` model, and the bound for them."""
    own = max(largest_difference(a, b) for i, a in enumerate(theirs) for b in theirs[:i])
    bound = max(AGREEMENT, 2 * own)
    found = [largest_difference(mine, run) for run in theirs]
    return {"hf_to_hf": own, "bound": bound, "shared_to_hf": found, "within": max(found) <= bound}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring_speed", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--items", type=int, help="items a task (default: all)")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--hf-batch-sizes", default="", help="batch sizes of lm-eval's hf model, separated by commas")
    parser.add_argument("--repeats", type=int, default=2, help="runs of the scorer; the first one also tokenizes")
    parser.add_argument("--agree", action="store_true", help="judge the agreement; needs two --hf-batch-sizes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    asked = parser.parse_args(arguments)
    sizes = [int(size) for size in asked.hf_batch_sizes.split(",") if size]
    if asked.agree and len(sizes) < 2:
        parser.error("--agree needs two or more --hf-batch-sizes, to see how much the hf model differs from itself")
    return _report(asked, sizes)


def _report(asked: argparse.Namespace, sizes: list[int]) -> int:
    import torch

    import fixtures

    torch.set_num_threads(asked.threads)
    model, tokenizer = fixtures.load_model(asked.model, dtype=asked.dtype, device=asked.device)
    tasks = asked.tasks.split(",")
    fixtures.evaluate(model, tokenizer, tasks[:1], items=1)  # warm: libraries load, kernels compile
    runs = []
    for _ in range(asked.repeats):
        runs.append(ours(model, tokenizer, tasks, asked.items, asked.batch_size))
        print(runs[-1], flush=True)
    theirs = []
    for size in sizes:
        theirs.append(stock(model, tokenizer, tasks, asked.items, size))
        print(theirs[-1], flush=True)
    figures: dict[str, Any] = {
        "runs": [
            {"name": run.name, "wall": run.wall, "processor": run.processor, "acc": run.accuracy}
            for run in [*runs, *theirs]
        ]
    }
    if theirs:
        best, mine = min(theirs, key=lambda run: run.wall), runs[-1]
        faster = {"wall": best.wall / mine.wall, "processor": best.processor / mine.processor}
        figures["faster"] = {"than": best.name, **faster}
        print(f"{faster['wall']:.2f} x as fast as {best.name} ({faster['processor']:.2f} x by processor time)")
    if asked.agree:
        figures["agreement"] = agreement(runs[-1], theirs)
        print(figures["agreement"])
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if figures.get("agreement", {}).get("within", True) else 1


if __name__ == "__main__":
    raise SystemExit(main())
