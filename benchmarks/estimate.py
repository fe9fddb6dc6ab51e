"""How long cases would take and how much disk they need, from measured rates (``benchmarks/rates.toml``)."""

from __future__ import annotations

import contextlib
import functools
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fixtures.records import Case

RATES = Path(__file__).with_name("rates.toml")
UNITS = {"k": 1e3, "m": 1e6, "b": 1e9}
ITEMS = 3000  # of a task that rates.toml has no number of, where a profile asks for all


@dataclass(frozen=True)
class Estimate:
    """``hours`` of one GPU, ``core_hours`` of one CPU core and ``disk`` in bytes for ``cases``; ``unknown``: models
    whose size is not in their name.
    """

    cases: int
    hours: float
    disk: float
    unknown: tuple[str, ...]
    core_hours: float = 0.0

    @property
    def work(self) -> str:
        """``0.2 GPU hours and 7 core hours``; only what there is."""
        kinds = ((self.hours, "GPU hours"), (self.core_hours, "core hours"))
        shown = [f"{hours:,.0f} {unit}" if hours >= 10 else f"{hours:.2g} {unit}" for hours, unit in kinds if hours]
        return " and ".join(shown) or "nothing known"

    def __str__(self) -> str:
        machines = [rates()["gpu"]] * bool(self.hours) + [rates()["cpu"]["core"]] * bool(self.core_hours)
        work = f"about {self.work} on {' and '.join(machines)}, and " if machines else "time unknown; "
        text = f"{work}{self.disk / 1e9:.3g} GB of disk for {self.cases:,} cases"
        return text + (f"; not counted, since their size is unknown: {', '.join(self.unknown)}" if self.unknown else "")


@functools.cache
def rates() -> dict[str, Any]:
    return tomllib.loads(RATES.read_text(encoding="utf-8"))


def parameters(model: str) -> float | None:
    """From a name such as ``meta-llama/Llama-3.2-1B`` or ``smollm2-135m``; None if it does not say.

    >>> parameters("facebook/opt-6.7b"), parameters("smollm2-135m"), parameters("org/thing")
    (6700000000.0, 135000000.0, None)
    """
    found = re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)([kmb])(?![a-z])", model.lower().replace("_", "-").replace("-", " "))
    return float(found[-1][0]) * UNITS[found[-1][1]] if found else None


def size_of(model: str) -> float | None:
    """Parameters of a model: of a folder what the headers of its files say, else what the name says; None if nothing
    does.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        with contextlib.suppress(OSError, SafetensorError):
            return float(sum(map(_entries, folder.glob("*.safetensors")))) or None
    return parameters(model)


def _entries(file: Path) -> int:
    """Entries of the tensors of a safetensors file; reads its header alone."""
    with safe_open(file, framework="numpy") as held:
        return sum(math.prod(held.get_slice(name).get_shape()) for name in held.keys())  # noqa: SIM118


def compress_seconds(case: Case, size: float) -> float:
    """On a GPU through both measured shapes of the algorithm in a straight line, on a CPU in proportion to the one;
    SparseGPT's where it was not measured.
    """
    if case.draw is None:
        return 0.0
    amount = case.draw.n_sequences * case.draw.sequence_length
    if not on_gpu(case):
        cpu = rates()["cpu"]
        name = next((name for name in cpu["seconds"] if name in case.method), "sparsegpt")
        return cpu["seconds"][name] * size / cpu["parameters"] * amount / cpu["tokens"]
    table = rates()["compress"]
    name = next((name for name in table["seconds"] if name in case.method), "sparsegpt")
    small, large = table["seconds"][name]
    each = (large - small) / ((table["large"] - table["small"]) * table["tokens"])
    start = small - each * table["small"] * table["tokens"]
    return start + each * size * amount


def on_gpu(case: Case) -> bool:
    return case.device.startswith("cuda")


def score_seconds(case: Case, size: float) -> float:
    table, spec = rates()["score"], case.evaluation
    items = sum(min(spec.items or math.inf, table["items"].get(name, spec.items or ITEMS)) for name in spec.tasks)
    tokens = items * table["item_tokens"] + len(spec.domains) * spec.documents * spec.document_tokens
    if not on_gpu(case):
        return size * tokens / rates()["cpu"]["forward"]
    return items * table["item_seconds"] + size * tokens / table["forward"]


def estimate(cases: Iterable[Case]) -> Estimate:
    """Calibration-free methods are scored once a model; models of unknown size are left out and named."""
    import compressors

    seconds, disk, count = {True: 0.0, False: 0.0}, 0.0, 0
    unknown: dict[str, None] = {}
    sizes: dict[str, float | None] = {}
    held: set[str] = set()
    scored: set[tuple[Any, ...]] = set()
    for case in cases:
        if case.model not in sizes:
            sizes[case.model] = size_of(case.model)
        size = sizes[case.model]
        count += 1
        disk += rates()["disk"]["record"]
        if size is None:
            unknown[case.model] = None
            continue
        if case.model not in held and "/" in case.model and not Path(case.model).expanduser().is_dir():
            disk += 2 * size  # bfloat16
        held.add(case.model)
        seconds[on_gpu(case)] += compress_seconds(case, size)
        free = case.draw is None or not compressors.parse(case.method).calibrated
        key = (case.model, case.method, case.evaluation, case.batch_size)
        if not (free and key in scored):
            seconds[on_gpu(case)] += score_seconds(case, size)
        scored.add(key)
    return Estimate(count, seconds[True] / 3600, disk, tuple(unknown), seconds[False] / 3600)
