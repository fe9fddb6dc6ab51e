"""How fast does a compressor turn a model and calibration tokens into a compressed model?

On a GPU four blocks of LLaMA-7B's shape, else a small model; ``--shape`` and ``--blocks`` choose others. Weights and
tokens are random (no outliers, no dead columns), unless ``--weights`` names a model and ``--text`` a file of text. Run
alone: ``pytest benchmarks/test_compression_speed.py -m speed``; ``--benchmark-json`` keeps what ``python -m
benchmarks.speed`` makes the table of.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.speed import (
    BATCH_SIZE,
    METHODS,
    MORE,
    SHAPES,
    SLOW,
    Cost,
    build,
    cost,
    load,
    random_tokens,
    randomize,
    to_host,
    tokenized,
    two_passes,
    warm,
)

pytestmark = pytest.mark.speed
OFFLOADED = ("wanda-0.5", "gptq-w4g{group_size}", "sparsegpt-0.5", "spqr-w4g16")
MEMORY = 12 * 2**30  # bytes of a GPU that a model of 7 billion weights is to be compressed on


@pytest.fixture(scope="module")
def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


# First, so that the model of the other cases is not on the GPU yet.
@pytest.mark.gpu
@pytest.mark.parametrize("spelling", OFFLOADED)
def test_an_offloaded_model_takes_12_gib(
    spelling: str, device: str, benchmark: Any, capsys: Any, request: pytest.FixtureRequest
) -> None:
    if device == "cpu":
        pytest.skip("no CUDA device")
    import torch

    shape = SHAPES[request.config.getoption("shape", None) or "7b"]
    blocks = request.config.getoption("blocks", None) or min(4, shape.blocks)
    method = spelling.format(group_size=shape.group_size)
    model, ids = build(shape, blocks, device)
    warm(model, ids, method)
    randomize(model)
    to_host(model)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(MEMORY / torch.cuda.get_device_properties(0).total_memory)
    costs: list[Cost] = []
    benchmark.group = "offload"
    try:
        benchmark.pedantic(lambda: costs.append(cost(model, ids, method, 0.0, offload=True)), rounds=1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    (found,) = costs
    reserved = torch.cuda.max_memory_reserved()
    benchmark.extra_info.update(
        method=method, blocks=found.blocks, floor=0, peak_memory=found.peak_memory, reserved=reserved, offload=True,
        sequences=shape.sequences, length=shape.length, fallbacks=found.fallbacks, **found.seconds,
    )  # fmt: skip
    with capsys.disabled():
        print(f"\n{method:>24}, offloaded: {found}, {reserved / 1e9:.2f} GB reserved", flush=True)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert reserved <= MEMORY


@pytest.fixture(scope="module")
def dense(request: pytest.FixtureRequest, device: str) -> Any:
    """The shape, its model, how its weights are put back, calibration tokens and the floor."""
    chosen = {name: request.config.getoption(name, None) for name in ("shape", "blocks", "weights", "text")}
    shape = SHAPES[chosen["shape"] or ("7b" if device == "cuda" else "small")]
    blocks = chosen["blocks"] or min(4, shape.blocks)
    if chosen["text"] and not chosen["weights"]:
        pytest.exit("--text needs a tokenizer: name its model with --weights", pytest.ExitCode.USAGE_ERROR)
    if chosen["weights"]:
        try:
            model, tokenizer, weights = load(chosen["weights"], device)
            ids = tokenized(chosen["text"], tokenizer, shape) if chosen["text"] else random_tokens(shape)
        except ValueError as error:
            pytest.exit(f"--weights, --text: {error}", pytest.ExitCode.USAGE_ERROR)
    else:
        model, ids = build(shape, blocks, device)

    def restore() -> None:
        if chosen["weights"]:
            model.load_state_dict(weights)
        else:
            randomize(model)

    return shape, model, restore, ids, two_passes(model, ids, device)


@pytest.mark.parametrize("spelling", [*METHODS, *MORE])
def test_compression_speed(
    spelling: str, dense: Any, device: str, benchmark: Any, capsys: Any, request: pytest.FixtureRequest
) -> None:
    if spelling in MORE and device == "cpu" and not request.config.getoption("shape"):
        pytest.skip("on a CPU only with --shape: it takes minutes there")
    shape, model, restore, ids, floor = dense
    method = spelling.format(group_size=shape.group_size)
    costs: list[Cost] = []
    benchmark.group = method.split("-")[0]
    restore()
    warm(model, ids, method)
    long = shape.hidden * len(model.model.layers) > 2**15 or any(part in method for part in SLOW)
    rounds = 1 if device == "cpu" or long else 2
    benchmark.pedantic(lambda: costs.append(cost(model, ids, method, floor)), setup=restore, rounds=rounds)
    best = min(costs, key=lambda found: found.seconds["total"])
    benchmark.extra_info.update(
        method=method, blocks=best.blocks, floor=floor, peak_memory=best.peak_memory, sequences=shape.sequences,
        length=shape.length, fallbacks=best.fallbacks, **best.seconds,
    )  # fmt: skip
    with capsys.disabled():
        print(f"\n{method:>24}: {best}", flush=True)
    accounted = sum(best.seconds[name] for name in ("forward", "statistics", "solve")) / best.seconds["total"]
    assert 0.5 < accounted < 1.01, "stages overlap, or most of the time is in none"


@pytest.mark.parametrize("times", [1, 4, 16])
@pytest.mark.parametrize("spelling", ["wanda-0.5", "gptq-w4g{group_size}", "sparsegpt-0.5"])
def test_a_sweep_of_amounts(
    spelling: str, times: int, dense: Any, device: str, benchmark: Any, capsys: Any, request: pytest.FixtureRequest
) -> None:
    """1, 2, 4 ... sequences of one set in one pass, and the largest amount alone: how much more is the whole sweep?

    The largest amount is ``times`` the shape's sequences (128, 512 and 2,048 of 2,048 tokens), the same ones again.
    """
    if device == "cpu" and not request.config.getoption("shape"):
        pytest.skip("on a CPU only with --shape")
    from compressors import compress, compress_prefixes

    shape, model, restore, ids, _ = dense
    method = spelling.format(group_size=shape.group_size)
    ids = ids.repeat(times, 1)
    amounts = [1 << power for power in range(len(ids).bit_length())]
    restore()
    warm(model, ids, method)
    restore()
    swept = benchmark.pedantic(
        lambda: compress_prefixes(model, ids, method, amounts, batch_size=BATCH_SIZE)[-1].report, rounds=1
    )
    largest = compress(model, ids, method, propagation="dense", batch_size=BATCH_SIZE)
    seconds, alone = swept.seconds["total"], largest.seconds["total"]
    benchmark.group = "sweep"
    benchmark.extra_info.update(
        method=method, amounts=amounts, blocks=largest.blocks, length=ids.shape[1], sweep=swept.seconds,
        largest=largest.seconds,
    )  # fmt: skip
    with capsys.disabled():
        parts = ", ".join(f"{name} {swept.seconds[name]:.2f}" for name in ("forward", "statistics", "solve"))
        print(
            f"\n{method:>24}: {len(amounts)} amounts to {amounts[-1]} {seconds:.2f} s ({parts}), the largest alone "
            f"{alone:.2f} s: {seconds / alone:.2f} x", flush=True,
        )  # fmt: skip
    errors = [[linear.relative_error for linear in report.linears] for report in (swept, largest)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02), "the sweep's largest amount is not what it is alone"
    assert seconds < alone * len(amounts)
