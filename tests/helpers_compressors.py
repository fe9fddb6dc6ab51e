"""What the compressor tests share: layers with seeded weights and inputs, statistics of inputs, tiny random models."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.tiny_families import random_model as random_model  # of the suites that import it from here
from compressors import Method, parse
from compressors.codehash import module_name
from compressors.solving import Solved
from compressors.statistics import Accumulator, Statistics, sampling_stride

# Conformance tests are inherited and use fixtures of a class: both are sound here, since no test keeps state.
few = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow]
)

KINDS = ("independent", "correlated", "rank deficient", "duplicated", "dead")


class Layer(NamedTuple):
    """A linear and its calibration inputs, both float64: weight [out, in], inputs [tokens, in]."""

    weight: Tensor
    inputs: Tensor


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_layer(seed: int, rows: int, columns: int, kind: str = "correlated", tokens: int = 0) -> Layer:
    """A seeded layer; ``kind`` is one of ``KINDS``. Correlated inputs mix a quarter as many hidden ones, plus noise."""
    source = generator(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    tokens = tokens or 4 * columns
    if kind == "rank deficient":
        tokens = max(2, columns // 4)
    inputs = normal(tokens, columns)
    if kind != "independent":
        inputs = 0.3 * inputs + normal(tokens, columns // 4) @ normal(columns // 4, columns)
        inputs *= torch.exp(normal(columns))
    if kind == "duplicated":
        inputs[:, 1::2] = inputs[:, ::2]
    if kind == "dead":
        inputs[:, [0, columns // 2]] = 0
    return Layer(normal(rows, columns), inputs)


@st.composite
def layers(draw: Any, multiple: int = 16, kinds: tuple[str, ...] = KINDS, least_rows: int = 1) -> Layer:
    """Layers of at most 24 rows whose columns are a multiple of ``multiple`` (about 16 to 160)."""
    rows = draw(st.integers(least_rows, 24))
    columns = multiple * draw(st.integers(1, max(1, 160 // multiple)))
    return make_layer(draw(st.integers(0, 2**20)), rows, columns, draw(st.sampled_from(kinds)))


def observe(inputs: Tensor, wants: str, batches: int = 1) -> Statistics:
    """The statistics of inputs [tokens, in], added in ``batches`` parts."""
    accumulator = Accumulator(inputs.shape[1], wants, every=sampling_stride(1, inputs.shape[0]))
    for part in inputs.chunk(batches):
        accumulator.add(part)
    return accumulator.result()


def solve(method: str | Method, weights: list[Tensor], inputs: Tensor, batches: int = 1) -> list[Solved]:
    """What an algorithm makes of linears that share their inputs, which are seen in ``batches`` parts.

    Gradients, where it asks for them, are those of half the mean squared output, W X'X / tokens.
    """
    method = parse(method)
    seen = observe(inputs, method.statistics, batches)
    if "gradients" in method.statistics:
        second = inputs.T @ inputs / inputs.shape[0]
        seen = seen._replace(gradients=tuple(weight @ second.to(weight.dtype) for weight in weights))
    return solver(method)(weights, seen, method)


def solver(method: Method) -> Any:
    """The function ``solve`` of a method's file."""
    return import_module(module_name(method.algorithm)).solve


def compress_layer(method: str | Method, layer: Layer) -> Tensor:
    return solve(method, [layer.weight], layer.inputs)[0].weight


def loss(layer: Layer, new: Tensor) -> float:
    """||(W' - W) X||^2 over the calibration inputs, float64."""
    return float((layer.inputs @ (new - layer.weight).T.double()).square().sum())


def tiny_llama(seed: int = 0, **changes: Any) -> Any:
    """A random Llama of two blocks, hidden 64; its random state is its own."""
    from transformers import LlamaConfig

    shape: dict[str, Any] = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 128, "max_position_embeddings": 64,
    }  # fmt: skip
    return random_model(LlamaConfig(**(shape | changes)), seed)


def tokens(seed: int = 0, sequences: int = 6, length: int = 32, vocabulary: int = 128) -> Tensor:
    return torch.randint(0, vocabulary, (sequences, length), generator=generator(seed))


def weights_of(model: Any) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
