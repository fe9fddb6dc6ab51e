"""Where the decoder blocks and linears of a causal language model are; which models and tokens are refused.

Blocks and linears are found by what they are, not by a family's name; blocks of several classes in one list (Jamba) are
blocks. Experts kept as 3-D parameters are read as slices. What else has rows and columns in a block (routers that are
bare parameters, block-diagonal gates and linears, state matrices; not convolutions along the sequence, which stay dense
like norms) stays dense and is named in the report, unless it is more than a tenth of the block: then the model is
refused, since calling it compressed would misreport it (DBRX and XLNet, whose linears are bare parameters). Refused
too: blocks sharing weights (Zamba), where what is put in for one block's inputs would be undone by the next, and what
``compressors/rehearsal.py`` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors.experts import ExpertSlice, one_by_one, slices
from compressors.report import CompressionError


class Block(NamedTuple):
    """A decoder block, its name in the model, its linears by full name, and the number of entries of each parameter
    with rows and columns that is no linear's weight and stays dense, by name in the block.
    """

    name: str
    module: nn.Module
    linears: dict[str, nn.Module]
    dense: Mapping[str, int] = MappingProxyType({})


def decoder_blocks(model: nn.Module) -> list[Block]:
    """The decoder blocks: of all lists of modules that hold linears, the one with the most parameters.

    Embeddings and the head lie outside of it and stay dense. Raises ``CompressionError`` if there is none, if two
    linears share one weight or if much of a block would stay dense.
    """
    candidates: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and any(_is_linear(inner) for inner in module.modules()):
            candidates[name] = module
    if not candidates:
        raise CompressionError(f"{type(model).__name__} has no list of decoder blocks with linears in it")
    path = max(candidates, key=lambda name: sum(p.numel() for p in candidates[name].parameters()))
    blocks = []
    for index, module in enumerate(candidates[path].children()):
        prefix = f"{path}.{index}"
        found = {name: inner for name, inner in module.named_modules() if _is_linear(inner)}
        named = {f"{prefix}.{name}": inner for name, inner in {**found, **slices(module)}.items()}
        _refuse_odd_weights(named)
        blocks.append(Block(prefix, module, named, _dense(module, list(named.values()))))
    _refuse_shared_weights(blocks)
    _refuse_mostly_dense(blocks)
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
    # Of a grouped linear (DeepSeek V4) each run of rows has inputs of its own: no one statistic is that of all.
    return (isinstance(module, nn.Linear) and getattr(module, "n_groups", 1) == 1) or _is_transposed(module)


def _is_transposed(module: nn.Module) -> bool:
    # By name: this room does without transformers.
    return any(
        kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers") for kind in type(module).__mro__
    )


_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _refuse_odd_weights(linears: dict[str, nn.Module]) -> None:
    for name, linear in linears.items():
        weight = linear.fused if isinstance(linear, ExpertSlice) else linear.weight
        if not isinstance(weight, nn.Parameter):
            raise CompressionError(
                f"{name}.weight is computed from other parameters (weight norm, torch.nn.utils.prune, an adapter); "
                "merge them into plain weights first"
            )
        if weight.dtype not in _DTYPES:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
            raise CompressionError(f"{name} has weights of {weight.dtype}; expected one of {known}")


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


def _dense(module: nn.Module, linears: list[nn.Module]) -> dict[str, int]:
    """Sizes of the parameters under a block with more than one dimension that are no linear's and no convolution's."""
    known = {id(parameter_of(linear)) for linear in linears}
    known |= {id(inner.weight) for inner in module.modules() if isinstance(inner, nn.Conv1d)}
    return {
        name: parameter.numel()
        for name, parameter in module.named_parameters()
        if id(parameter) not in known and parameter.numel() > max(parameter.shape, default=1)
    }


MOST = 0.1  # of a block's entries may stay dense


def _refuse_mostly_dense(blocks: list[Block]) -> None:
    for block in blocks:
        total = sum(parameter.numel() for parameter in block.module.parameters())
        if sum(block.dense.values()) > MOST * total:
            name = max(block.dense, key=lambda name: block.dense[name])
            shape = list(block.module.get_parameter(name).shape)
            raise CompressionError(
                f"{block.name}.{name} {shape} is no linear (fused experts, say) and not known to be used as one; "
                f"{sum(block.dense.values()) / total:.0%} of the block would stay dense"
            )


def stays_dense(blocks: list[Block]) -> dict[str, dict[str, int]]:
    """What stays dense in the blocks, by name in a block: in how many blocks, and how many entries in all."""
    found: dict[str, dict[str, int]] = {}
    for block in blocks:
        for name, size in block.dense.items():
            entry = found.setdefault(name, {"blocks": 0, "entries": 0})
            entry["blocks"] += 1
            entry["entries"] += size
    return found


def refuse_nonfinite(model: nn.Module, blocks: list[Block]) -> None:
    """Raise ``CompressionError`` naming the first linear of a block, else the first parameter of the model, with a NaN
    or infinite weight, or with none at all.
    """
    linears = {name: linear for block in blocks for name, linear in block.linears.items()}
    seen = {id(parameter_of(linear)) for linear in linears.values()}
    weights = {name: matrix(linear) for name, linear in linears.items()}
    others = {name: p.detach() for name, p in model.named_parameters() if id(p) not in seen and p.is_floating_point()}
    for name, weight in {**weights, **others}.items():
        # Least and largest are NaN or infinite if any entry is; a CPU finds them ten times as fast as isfinite.
        if weight.is_meta:
            raise CompressionError(f"{name} is on the meta device, without values; load the model's weights first")
        if weight.numel() and not all(torch.isfinite(bound) for bound in torch.aminmax(weight)):
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
    if ids.numel() == 0:
        raise CompressionError(f"token_ids: the calibration set is empty (shape {list(ids.shape)})")
    if ids.ndim != 2 or ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool:
        raise CompressionError(
            f"token_ids: expected integers [n_sequences, sequence_length], got {ids.dtype} {list(ids.shape)}"
        )
    ids = ids.to("cpu", torch.int64)  # of unsigned integers (uint16, as token files have them) torch finds no least
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    spellings = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")  # MPT has the third
    positions = next((value for name in spellings if (value := getattr(text, name, None)) is not None), None)
    # XLNet says -1, for as many as you like.
    if positions is not None and 0 < positions < ids.shape[1]:
        raise CompressionError(f"token_ids: sequences of {ids.shape[1]} tokens; the model has {positions} positions")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary:
        worst = low if low < 0 else high
        raise CompressionError(f"token_ids: token {worst} is outside the model's vocabulary of {vocabulary}")
    return ids


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
