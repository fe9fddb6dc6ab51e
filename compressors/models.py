"""Where the decoder blocks and linears of a causal language model are; which models and tokens are refused.

Blocks and linears are found by what they are, not by a family's name. Refused, by the name of the layer: blocks that
use a linear's weight without calling it (``dt_proj`` of Mamba and Jamba, RWKV), experts and gates in 3-D parameters
outside the interface that ``transformers`` has for experts (Llama 4, JetMoe, RecurrentGemma), blocks sharing weights;
and models whose blocks are of several classes in one list (OLMo Hybrid). Convolutions along the sequence stay dense,
like norms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors.experts import ExpertSlice, one_by_one, slices
from compressors.report import CompressionError


class Block(NamedTuple):
    """A decoder block, its name in the model, and its linears by full name."""

    name: str
    module: nn.Module
    linears: dict[str, nn.Module]


def decoder_blocks(model: nn.Module) -> list[Block]:
    """The decoder blocks: of all lists of same-class modules that hold linears, the one with the most parameters.

    Embeddings and the head lie outside of it and stay dense. Raises ``CompressionError`` if there is none, or if two
    linears share one weight.
    """
    candidates: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        alike = isinstance(module, nn.ModuleList) and len({type(item) for item in module}) == 1
        if alike and any(_is_linear(inner) for inner in module.modules()):
            candidates[name] = module
    if not candidates:
        raise CompressionError(f"{type(model).__name__} has no list of decoder blocks with linears in it")
    path = max(candidates, key=lambda name: sum(p.numel() for p in candidates[name].parameters()))
    blocks = []
    for index, module in enumerate(candidates[path].children()):
        prefix = f"{path}.{index}"
        found = {name: inner for name, inner in module.named_modules() if _is_linear(inner)}
        named = {f"{prefix}.{name}": inner for name, inner in {**found, **slices(module)}.items()}
        blocks.append(Block(prefix, module, named))
    _refuse_shared_weights(blocks)
    _refuse_fused_experts(blocks)
    return blocks


def linears(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(full name, module) of every linear that ``compress`` would replace."""
    for block in decoder_blocks(model):
        yield from block.linears.items()


def matrix(linear: nn.Module) -> Tensor:
    """The weight as [out, in]; a view (GPT-2's Conv1D keeps it as [in, out])."""
    weight = linear.weight
    assert isinstance(weight, Tensor)
    return weight.detach().T if _is_transposed(linear) else weight.detach()


def heads(model: nn.Module) -> tuple[int, int] | None:
    """(query heads, key-value heads) of a model whose configuration says so."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    query = getattr(text, "num_attention_heads", None)
    return None if not query else (query, getattr(text, "num_key_value_heads", None) or query)


def oriented(linear: nn.Module, tensor: Tensor) -> Tensor:
    """A tensor of the parameter's shape (its gradient, say) as the weight's [out, in]; a view."""
    if isinstance(linear, ExpertSlice):
        return linear.part(tensor)
    return tensor.T if _is_transposed(linear) else tensor


def parameter_of(linear: nn.Module) -> nn.Parameter:
    """The parameter that holds a linear's weight; experts share one."""
    parameter = linear.fused if isinstance(linear, ExpertSlice) else linear.weight
    assert isinstance(parameter, nn.Parameter)
    return parameter


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _is_transposed(module)


def _is_transposed(module: nn.Module) -> bool:
    # By name: this room does without transformers.
    return any(
        kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers") for kind in type(module).__mro__
    )


def _refuse_shared_weights(blocks: list[Block]) -> None:
    owner: dict[tuple[int, int], str] = {}
    for block in blocks:
        for name, linear in block.linears.items():
            index = linear.index if isinstance(linear, ExpertSlice) else -1
            first = owner.setdefault((id(parameter_of(linear)), index), name)
            if first != name:
                raise CompressionError(
                    f"{name} and {first} share one weight; blocks that share weights are not supported"
                )


def _refuse_fused_experts(blocks: list[Block]) -> None:
    """Refuse 3-D parameters that are not known to be run expert by expert."""
    for block in blocks:
        known = {id(parameter_of(linear)) for linear in block.linears.values()}
        # A convolution along the sequence is no linear; like norms it stays as it is.
        known |= {id(m.weight) for m in block.module.modules() if isinstance(m, nn.Conv1d)}
        for name, parameter in block.module.named_parameters():
            if parameter.ndim == 3 and id(parameter) not in known:
                raise CompressionError(
                    f"{block.name}.{name} holds fused experts {list(parameter.shape)}; these are not supported yet, "
                    "and leaving them dense unsaid would misreport the model"
                )


def refuse_nonfinite(blocks: list[Block]) -> None:
    """Raise ``CompressionError`` naming the first linear with a NaN or infinite weight."""
    for block in blocks:
        for name, linear in block.linears.items():
            # Least and largest are NaN or infinite if any entry is; a CPU finds them ten times as fast as isfinite.
            if not all(torch.isfinite(bound) for bound in torch.aminmax(matrix(linear))):
                raise CompressionError(f"{name} has NaN or infinite weights")


def checked_tokens(model: nn.Module, token_ids: Any) -> Tensor:
    """Token ids as an int64 tensor [n_sequences, sequence_length] on the host.

    Raises ``CompressionError`` if there are none, if they are not such a table, if one is outside the vocabulary or
    if the sequences are longer than the model's positions.
    """
    try:
        ids = token_ids.clone() if isinstance(token_ids, Tensor) else torch.tensor(token_ids)
    except (TypeError, ValueError, RuntimeError) as error:  # None, text, rows of unequal lengths
        what = f"{type(token_ids).__name__} ({error})"
        raise CompressionError(f"token_ids: expected integers [n_sequences, sequence_length], got {what}") from None
    if ids.ndim != 2 or ids.dtype.is_floating_point or ids.dtype == torch.bool:
        raise CompressionError(
            f"token_ids: expected integers [n_sequences, sequence_length], got {ids.dtype} {list(ids.shape)}"
        )
    if ids.numel() == 0:
        raise CompressionError(f"token_ids: the calibration set is empty (shape {list(ids.shape)})")
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    positions = getattr(text, "max_position_embeddings", None)
    if positions is not None and ids.shape[1] > positions:
        raise CompressionError(f"token_ids: sequences of {ids.shape[1]} tokens; the model has {positions} positions")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary:
        worst = low if low < 0 else high
        raise CompressionError(f"token_ids: token {worst} is outside the model's vocabulary of {vocabulary}")
    return ids.to("cpu", torch.int64)


@contextmanager
def for_inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, no key-value cache; each module's own mode is put back afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), one_by_one(model):
            yield
    finally:
        for module in training:
            module.training = True
