"""Tiny random models of the types that ``transformers`` maps to a causal language model, and whether they are a chain.

Sizes are set by the names that configurations have for them, in sub-configurations too; ``OWN`` has what a type needs
beside. ``python -m benchmarks.families`` compresses them all, ``tests/compressors/test_families.py`` some in detail.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

MOST_PARAMETERS = 20_000_000  # of what is called tiny; sizes that no name here reaches make billions

LINEAR, FULL, SLIDING = "linear_attention", "full_attention", "sliding_attention"
HYBRID = [LINEAR, FULL]

DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "num_decoder_layers")
SIZES: dict[str, Any] = {
    "vocab_size": 128, "vocab_size_per_layer_input": 128, "max_position_embeddings": 64, "n_positions": 64,
    "hidden_size": 64, "n_embd": 64, "d_model": 64, "word_embed_proj_dim": 64, "lru_width": 64, "hidden_dim": 64,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "kv_channels": 16,
    "intermediate_size": 96, "ffn_dim": 96, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 48,
    "intermediate_size_mlp": 96, "expert_ffn_hidden_size": 48, "shared_intermediate_size": 48,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_topk": 2,
    "moe_num_experts": 4, "moe_k": 2,
    "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "num_dense_layers": 1, "zero_expert_num": 1,
    "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16,
    "sliding_window": 8, "attention_window_size": 8, "attention_chunk_size": 8, "global_head_dim": 16,
    "state_size": 8, "time_step_rank": 4, "chunk_size": 8, "n_groups": 1, "mamba_dt_rank": 4, "mamba_d_state": 8,
    "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_n_groups": 1, "mamba_chunk_size": 8, "mamba_d_ssm": 128,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "index_n_heads": 2, "index_head_dim": 32, "index_topk": 8,
    "n_embed": 64, "emb_dim": 64, "dim_model": 64, "embed_dim": 64, "embedding_size": 64, "encoder_layers": 2,
    "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "attention_heads": 4,
    "num_decoder_layers": 2, "num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4,
    "decoder_ffn_dim": 96, "encoder_ffn_dim": 96, "dff": 96, "dim_ff": 96, "d_inner": 96, "depth": 2,
    "moe_shared_expert_intermediate_size": 48, "moe_top_k": 2, "experts_top_k": 2, "n_shared_experts": 1,
    "max_source_positions": 64, "max_target_positions": 64, "o_lora_rank": 16, "o_groups": 2, "hc_mult": 2,
    "ssm_state_size": 8, "mamba_num_heads": 4, "mamba_head_dim": 32, "num_nextn_predict_layers": 0,
    "attn_layer_period": 2, "attn_layer_offset": 1, "hidden_size_per_layer_input": 16, "laurel_rank": 8,
    "altup_num_inputs": 2, "attention_hidden_size": 64, "is_decoder": True,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

GEMMA4 = {"num_hidden_layers": 6, "layer_types": [SLIDING, FULL] * 3, "num_kv_shared_layers": 2}
ALL_HEADS = {"num_key_value_heads": 4}
OWN: dict[str, dict[str, Any]] = {
    "axk1": ALL_HEADS,
    "axk2": ALL_HEADS,
    "bailing_hybrid": {
        **ALL_HEADS, "head_dim": 16, "num_experts_per_token": 2, "n_group": 1, "topk_group": 1, "num_hidden_layers": 4,
        "layer_group_size": 2, "num_mtp_layers": 0,
    },
    "cohere_compass_text": {
        "layer_types": [SLIDING, FULL],
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": 1e4} for kind in (SLIDING, FULL)},
    },
    "cpmant": {"vocab_size": 1024, "prompt_types": 32, "segment_types": 32},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v32": ALL_HEADS,
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "dots3_note_text": {
        **ALL_HEADS, "shared_experts_intermediate_size": 48, "layer_types": ["indexed_attention", SLIDING],
    },
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "ministral": {"head_dim": 16},
    "mllama_text_model": {"cross_attention_layers": [1]},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 16},
    "gemma4_unified_text": GEMMA4,
    "glm4_moe_lite": ALL_HEADS,
    "kimi_linear": {
        **ALL_HEADS, "num_experts_per_tok": 2, "num_experts_per_token": 2, "linear_head_dim": 16, "linear_num_heads": 4,
    },
    "lfm2_moe": {"layer_types": ["conv", FULL]},
    "minicpm3": ALL_HEADS,
    "qwen4_exp_text": {
        "layer_types": [LINEAR] * 2, "hc_lowrank": 8, "heads_per_ngram": 2, "ngram_vocab_size_base": 64,
        "split_ngram_parts": 1, "ple_embed_dim": 16, "hc_count": 2,
    },
    "reformer": {"axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 48]},
    "xmod": {"default_language": "en_XX"},
    "youtu": ALL_HEADS,
    "zamba2": {
        "num_hidden_layers": 4, "layers_block_type": [LINEAR, "hybrid"] * 2, "layer_types": [LINEAR, "hybrid"] * 2,
        "attention_head_dim": 32, "attention_hidden_size": 128, "n_mamba_heads": 4, "mamba_headdim": 32,
    },
    "bamba": {"attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 8},
    "deepseek_v2": {**ALL_HEADS, "num_experts_per_tok": 2},
    "deepseek_v3": ALL_HEADS,
    "falcon_mamba": {"intermediate_size": 128},
    "gemma3n_text": {
        **GEMMA4, "intermediate_size": [96] * 6, "activation_sparsity_pattern": [0.5] + [0.0] * 5,
    },
    "gemma4_text": GEMMA4,
    "glm_moe_dsa": ALL_HEADS,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gptj": {"rotary_dim": 8},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "hrm_text": {},
    "hy_v4": ALL_HEADS,
    "lfm2": {"layer_types": ["conv", FULL]},
    "longcat_flash": ALL_HEADS,
    "mamba": {"intermediate_size": 128},
    "mamba2": {"num_heads": 4, "head_dim": 32},
    "mllama": {},
    "nemotron_h": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "attention", "moe", "mlp"]},
    "olmo_hybrid": {"layer_types": HYBRID},
    "qwen3_5_text": {"layer_types": HYBRID},
    "qwen3_next": {"layer_types": HYBRID},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "zamba": {"num_hidden_layers": 6, "attention_hidden_size": 128, "attention_head_dim": 32},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip


class NotBuilt(ValueError):
    """There is no tiny model of a type, and why."""


def types() -> list[str]:
    """Every ``model_type`` that this ``transformers`` maps to a class for causal language models."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def small(default: Any, changes: dict[str, Any], depth: int = 2) -> Any:
    """A configuration of the kind of ``default`` with small sizes, and so are the configurations in it."""
    known = default.to_dict()
    every = SIZES | dict.fromkeys(DEPTHS, depth)
    sizes = {name: size for name, size in every.items() if isinstance(known.get(name), int)}
    inner = {
        name: small(value, own(value.model_type, depth), depth).to_dict()
        for name, value in vars(default).items()
        if hasattr(value, "to_dict")
    }
    return type(default)(**copy.deepcopy({**inner, **sizes, **changes}))


def own(kind: str, depth: int) -> dict[str, Any]:
    """What a type needs beside the sizes; kinds of two blocks are repeated up to ``depth``, an even number."""
    found = dict(OWN.get(kind, {}))
    for name in ("layer_types", "layers_block_type"):
        if len(found.get(name, ())) == 2:
            found[name] = found[name] * (depth // 2)
    if "attention_types" in found:
        found["attention_types"] = [[pattern, depth // 2] for pattern, _ in found["attention_types"]]
    return found


def random_model(config: Any, seed: int = 0) -> Any:
    """A causal language model with seeded random weights in float64; the global generator is put back."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).double().eval()


def tiny(kind: str, depth: int = 2, **changes: Any) -> Any:
    """A tiny random model of the type ``kind`` with ``depth`` blocks, float64, norms that are not all ones.

    Raises ``NotBuilt`` if it would have more than ``MOST_PARAMETERS``, and whatever ``transformers`` raises.
    """
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = small(CONFIG_MAPPING[kind](), {**own(kind, depth), **changes}, depth)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
    if size > MOST_PARAMETERS:
        raise NotBuilt(f"{size:,} parameters with these sizes")
    model = random_model(config)
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=source, dtype=parameter.dtype)
            if not bool(torch.isfinite(parameter).all()) or not bool(parameter.any()):  # unset, or begun at zero
                parameter.copy_(0.02 * noise)
            elif parameter.ndim == 1:
                parameter.add_(0.02 * noise)
    return model


class Chain(NamedTuple):
    """What the last block puts out [sequences, length, width]: in the model, and if blocks are run one by one."""

    model: Any
    walked: Any

    @property
    def difference(self) -> float:
        """The largest, as a share of the largest entry."""
        return float((self.walked - self.model).abs().max() / self.model.abs().max())


def chain(model: Any, ids: Any) -> Chain:
    """Run token ids [sequences, length] through the model and through its blocks alone.

    Raises ``CompressionError`` as ``compressors.compress`` does.
    """
    import torch

    from compressors import models
    from compressors.capture import capture, run_block

    blocks, found = models.decoder_blocks(model), dict[str, Any]()
    with models.for_inference(model):
        handle = blocks[-1].module.register_forward_hook(lambda module, inputs, output: found.update(last=output))
        model(ids, use_cache=False)
        handle.remove()
        captured = capture(model, blocks, [ids], torch.device("cpu"))
        hidden = captured.hidden[0]
        for block, call in zip(blocks, captured.calls[0], strict=True):
            hidden = run_block(block.module, hidden, call)
    last = found["last"] if isinstance(found["last"], torch.Tensor) else found["last"][0]
    return Chain(last, hidden)
