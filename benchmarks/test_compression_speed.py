"""How fast does a compressor turn a model and calibration tokens into a compressed model?

On a GPU four blocks of LLaMA-7B's shape, else a small model; ``--shape`` and ``--blocks`` choose others. Weights are
random: no outliers, no dead columns. Run alone: ``pytest benchmarks/test_compression_speed.py -m speed``.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.speed import METHODS, SHAPES, Cost, build, cost, randomize, two_passes

pytestmark = pytest.mark.speed


@pytest.fixture(scope="module")
def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def dense(request: pytest.FixtureRequest, device: str) -> Any:
    """The shape, its model, calibration tokens and the floor."""
    name = request.config.getoption("shape", None) or ("7b" if device == "cuda" else "small")
    if name not in SHAPES:
        raise pytest.UsageError(f"--shape {name}: there are {', '.join(SHAPES)}")
    shape = SHAPES[name]
    blocks = request.config.getoption("blocks", None) or min(4, shape.blocks)
    model, ids = build(shape, blocks, device)
    return shape, model, ids, two_passes(model, ids, device)


@pytest.mark.parametrize("spelling", METHODS)
def test_compression_speed(spelling: str, dense: Any, device: str, benchmark: Any, capsys: Any) -> None:
    shape, model, ids, floor = dense
    method = spelling.format(group_size=shape.group_size)
    costs: list[Cost] = []
    benchmark.group = method.split("-")[0]
    # The first run compiles kernels: it is not counted.
    benchmark.pedantic(
        lambda: costs.append(cost(model, ids, method, floor)),
        setup=lambda: randomize(model), warmup_rounds=1, rounds=3 if device == "cuda" else 1,
    )  # fmt: skip
    best = min(costs[1:], key=lambda found: found.seconds["total"])
    benchmark.extra_info.update(method=method, floor=floor, peak_memory=best.peak_memory, **best.seconds)
    with capsys.disabled():
        print(f"\n{method:>16}: {best}")
    accounted = sum(best.seconds[name] for name in ("forward", "statistics", "solve")) / best.seconds["total"]
    assert 0.5 < accounted < 1.01, "stages overlap, or most of the time is in none"
