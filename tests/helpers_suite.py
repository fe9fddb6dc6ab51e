"""A miniature `pytest benchmarks` in a process of its own, and what its store holds afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROFILE = """
[[grid]]
models = ["{model}"]
methods = ["rtn-w3g32", "wanda-0.5"]
sources = ["jsonl:{first}#text", "text:{second}"]
seeds = 2
sequences = 4
length = 32
slices = 2
[grid.evaluation]
domains = ["jsonl:{first}#text"]
documents = 6
document_tokens = 32
[gates]
alpha = 0.05
"""


def run_suite(mini: Path, store: Path, *arguments: str, env: dict[str, str] | None = None):
    # xdist gives its workers the width of a terminal, which a run of the suite in a log does not have.
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        command(mini, store, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**inherited, "CALIBENCH_CACHE": str(mini / "cache"), **(env or {})},
    )


def command(mini: Path, store: Path, *arguments: str) -> list[str]:
    profile = [] if "--profile" in arguments else ["--profile", str(mini / "mini.toml")]
    base = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), "-p", "no:cacheprovider", "--benchmark-disable"]
    return [*base, *profile, "--store", str(store), *arguments]


def records(store: Path) -> dict[str, dict]:
    """Every record of a store by the id of its case, without what may differ between two runs of the same."""
    from fixtures.store import Store

    found = {}
    for record in Store(store).records():
        value = record.to_dict()
        for volatile in ("seconds", "created", "peak_memory"):
            value.pop(volatile)
        for volatile in ("seconds", "peak_memory"):
            value["compression"].pop(volatile, None)
        value["checks"].pop("scored_by", None)
        for scores in value["nll"].values():
            scores.pop("seconds")
        found[record.id] = value
    return found


def wait_for(reached: Callable[[], bool], process: subprocess.Popen) -> None:
    """Until something is so, or the process has ended: then what it left is judged."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None and not reached():
        time.sleep(0.02)


def model_hashes(store: Path) -> set[str]:
    from fixtures.store import Store

    return {record.keys["model_hash"] for record in Store(store).records()}


def counts(output: str) -> dict[str, int]:
    line = output.strip().splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", line)}


def killed_at_the_second(cases, counter, root, deadline, results, at, place):
    """A process of a fleet that finishes one case and is killed at the next, as by a system out of memory."""
    from benchmarks.fleet import Finished

    at[place] = 0
    results.put(Finished(cases[0].id, {"score": 1.0}))
    results.close()
    results.join_thread()
    at[place] = 1
    os.kill(os.getpid(), signal.SIGKILL)
