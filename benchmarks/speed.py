"""Random models of known shapes, and what compressing them costs. Imports torch when called."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A LLaMA-like model of random weights: what to time, without a download."""

    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    blocks: int
    group_size: int = 128  # divides both widths
    vocabulary: int = 32000
    sequences: int = 128
    length: int = 2048


SHAPES = {
    "7b": Shape(4096, 11008, 32, 32, 32),
    "smollm2-135m": Shape(576, 1536, 9, 3, 30, 64, 49152),
    "small": Shape(256, 768, 4, 4, 2, 128, 512, 16, 64),
}
METHODS = ("wanda-0.5", "wanda-2of4", "gptq-w4g{group_size}", "sparsegpt-0.5", "sparsegpt-2of4", "spqr-w4g16")
MORE = (
    "ria-0.5",
    "dsnot(wanda)-0.5",
    "owl(wanda)-0.7",
    "awq-w4g{group_size}",
    "prunerzero-0.5",
    "wanda-0.5:epochs=1+br",
)
SLOW = ("awq", "prunerzero", "+br")  # timed once: they search or train
BATCH_SIZE = 8


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one compression. ``floor`` is the time of two forward passes through the dense blocks, or 0
    if it was not measured.
    """

    blocks: int
    seconds: dict[str, float]
    peak_memory: int
    floor: float
    fallbacks: int = 0  # Cholesky factorizations that failed and were damped more

    def __str__(self) -> str:
        total, times = self.seconds["total"], ""
        if self.floor:
            times = f", {total / self.floor:.2f} x floor of {self.floor:.2f} s"
        shares = ", ".join(f"{name} {self.seconds[name] / total:.0%}" for name in ("forward", "statistics", "solve"))
        return (
            f"{total:.2f} s, {total / self.blocks:.3f} s a block ({shares}), "
            f"peak {self.peak_memory / 1e9:.2f} GB{times}"
        )


def build(shape: Shape, blocks: int, device: str) -> tuple[Any, Any]:
    """A model of seeded random weights on ``device`` (bfloat16 on a GPU, else float32) and calibration tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=shape.hidden, intermediate_size=shape.intermediate, num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads, num_hidden_layers=blocks, vocab_size=shape.vocabulary,
        max_position_embeddings=shape.length,
    )  # fmt: skip
    with torch.device(device), torch.random.fork_rng():
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16 if device != "cpu" else torch.float32)
    randomize(model)
    return model.eval(), random_tokens(shape)


def random_tokens(shape: Shape) -> Any:
    """Seeded calibration tokens [sequences, length]."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, shape.vocabulary, (shape.sequences, shape.length), generator=generator)


def load(name: str, device: str) -> tuple[Any, Any, Any]:
    """A model with its own weights (what ``fixtures.load_model`` knows, or a folder), its tokenizer and a copy of the
    weights on the host.
    """
    import fixtures

    model, tokenizer = fixtures.load_model(name, dtype="bfloat16" if device != "cpu" else "float32", device=device)
    return model, tokenizer, {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def tokenized(path: str, tokenizer: Any, shape: Shape) -> Any:
    """The first tokens of a text file, [sequences, length]. Raises ``ValueError`` if there are too few."""
    import torch

    text = Path(path).read_text()[: 12 * shape.sequences * shape.length]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) < shape.sequences * shape.length:
        raise ValueError(f"{path}: {len(ids)} tokens; the shape asks for {shape.sequences} x {shape.length}")
    return torch.tensor(ids[: shape.sequences * shape.length]).view(shape.sequences, shape.length)


def warm(model: Any, ids: Any, method: str) -> None:
    """Compress the first block alone, so that kernels are compiled and chosen before the clock starts."""
    from compressors import compress

    blocks = model.model.layers
    try:
        model.model.layers = blocks[:1]
        compress(model, ids[: 2 * BATCH_SIZE], method, batch_size=BATCH_SIZE)
    finally:
        model.model.layers = blocks


def to_host(model: Any) -> None:
    """Move a model's weights from a GPU to the host, faster than ``model.cpu()``."""
    import torch

    from compressors.originals import staged_copy

    copy, ready = staged_copy(model.device), torch.cuda.Event()
    ready.record()
    for parameter in model.parameters():
        parameter.data = copy(parameter.data, ready)
    model.cpu()  # buffers


def randomize(model: Any) -> None:
    """Seeded normal weights, also in place of compressed ones: arithmetic on zeros is faster than on real weights."""
    import torch

    generator = torch.Generator(model.device).manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.02, generator=generator)


def two_passes(model: Any, ids: Any, device: str) -> float:
    """Seconds of two forward passes through the decoder blocks, without the head: no calibrated method can do with
    less.
    """
    import torch

    def run(batches: Any) -> None:
        for batch in batches:
            model.model(input_ids=batch.to(device), use_cache=False)
        if device != "cpu":
            torch.cuda.synchronize()

    batches = ids.split(BATCH_SIZE)
    with torch.inference_mode():
        run(batches[:1])  # warm: kernels are chosen and loaded
        begin = time.perf_counter()
        run(batches)
        return 2 * (time.perf_counter() - begin)


def cost(model: Any, ids: Any, method: str, floor: float, **options: Any) -> Cost:
    """Compress ``model`` in place; ``options`` are those of ``compress``.

    ``total`` is what the caller waits for: the report's own clock stops before the original weights are let go, which
    takes half a second for 12.6 GiB of them.
    """
    import torch

    from compressors import compress

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    report = compress(model, ids, method, batch_size=BATCH_SIZE, **options)
    seconds = {**report.seconds, "total": time.perf_counter() - begin}
    fallbacks = sum(linear.fallbacks for linear in report.linears)
    return Cost(report.blocks, seconds, report.peak_memory, floor, fallbacks)


def table(runs: list[dict[str, Any]]) -> str:
    """The Markdown table of runs (``extra_info`` in pytest-benchmark's JSON), the best run of each method."""
    lines = [
        "| method | s | s a block | forward | statistics | solve | peak GiB | x floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for info in runs:
        total, stages = info["total"], [f"{info[name]:.2f}" for name in ("forward", "statistics", "solve")]
        name = f"`{info['method']}`" + (" offloaded" if info.get("offload") else "")
        cells = [name, f"{total:.2f}", f"{total / info['blocks']:.3f}", *stages]
        cells += [f"{info['peak_memory'] / 2**30:.1f}", f"{total / info['floor']:.2f}" if info["floor"] else "–"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sweep_table(runs: list[dict[str, Any]]) -> str:
    """The Markdown table of sweeps of amounts: seconds of all amounts, of the largest alone, and their ratio."""
    lines = ["| method | amounts | all, s | of it solve | the largest alone, s | ratio |", "|---|---|---|---|---|---|"]
    for info in runs:
        amounts, total, alone = info["amounts"], info["sweep"]["total"], info["largest"]["total"]
        cells = [f"`{info['method']}`", f"{amounts[0]} to {amounts[-1]} x {info['length']} ({len(amounts)})"]
        cells += [f"{total:.2f}", f"{info['sweep']['solve']:.2f}", f"{alone:.2f}", f"{total / alone:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(paths: list[str]) -> int:
    """Print the tables of each JSON file that ``--benchmark-json`` wrote; 2 if there is none, or one is none."""
    if not paths:
        print("python -m benchmarks.speed FILE...: files that pytest's --benchmark-json wrote", file=sys.stderr)
        return 2
    for path in paths:
        try:
            found = json.loads(Path(path).read_text())
            ran, date = [(run["name"], run["extra_info"]) for run in found["benchmarks"]], found["datetime"][:10]
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"{path} is no file of pytest's --benchmark-json: {type(error).__name__} {error}", file=sys.stderr)
            return 2
        print(f"{path}, {date}")
        sweeps, runs = ([info for _, info in ran if key in info] for key in ("sweep", "total"))
        if runs:
            floor = f"floor {runs[0]['floor']:.2f} s, " if runs[0]["floor"] else ""
            print(f"{floor}{runs[0]['blocks']} blocks\n\n{table(runs)}\n")
        if sweeps:
            print(f"{sweeps[0]['blocks']} blocks, swept\n\n{sweep_table(sweeps)}\n")
        if cut := [name for name, info in ran if not info]:
            print(f"interrupted, so without figures: {', '.join(cut)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
