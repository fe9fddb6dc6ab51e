"""Random models of known shapes, and what compressing them costs. Imports torch when called."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
BATCH_SIZE = 8


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one compression. ``floor`` is the time of two forward passes through the dense blocks."""

    blocks: int
    seconds: dict[str, float]
    peak_memory: int
    floor: float

    def __str__(self) -> str:
        total = self.seconds["total"]
        shares = ", ".join(f"{name} {self.seconds[name] / total:.0%}" for name in ("forward", "statistics", "solve"))
        return (
            f"{total:.2f} s, {total / self.blocks:.3f} s a block ({shares}), "
            f"peak {self.peak_memory / 1e9:.2f} GB, {total / self.floor:.2f} x floor of {self.floor:.2f} s"
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
    tokens = torch.Generator().manual_seed(0)
    ids = torch.randint(0, shape.vocabulary, (shape.sequences, shape.length), generator=tokens)
    return model.eval(), ids


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


def cost(model: Any, ids: Any, method: str, floor: float) -> Cost:
    """Compress ``model`` in place."""
    from compressors import compress

    report = compress(model, ids, method, batch_size=BATCH_SIZE)
    return Cost(report.blocks, report.seconds, report.peak_memory, floor)
