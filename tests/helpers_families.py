"""Tiny random models of the families of ``transformers``: sizes by the names that configurations have for them."""

from __future__ import annotations

import copy
from typing import Any

import torch

from tests.helpers_compressors import random_model

LINEAR, FULL, SLIDING = "linear_attention", "full_attention", "sliding_attention"
HYBRID = [LINEAR, FULL]

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
    "attn_layer_period": 2, "attn_layer_offset": 1, "hidden_size_per_layer_input": 16, "laurel_rank": 8,
    "altup_num_inputs": 2, "attention_hidden_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

GEMMA4 = {"num_hidden_layers": 6, "layer_types": [SLIDING, FULL] * 3, "num_kv_shared_layers": 2}
ALL_HEADS = {"num_key_value_heads": 4}
OWN: dict[str, dict[str, Any]] = {
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


def tiny(kind: str, **changes: Any) -> Any:
    """A tiny random model of the family ``kind`` (a ``model_type``), float64, with norms that are not all ones."""
    from transformers import CONFIG_MAPPING

    default = CONFIG_MAPPING[kind]()
    known = default.to_dict()
    sizes = {name: size for name, size in SIZES.items() if isinstance(known.get(name), int)}
    model = random_model(type(default)(**copy.deepcopy({**sizes, **OWN.get(kind, {}), **changes})))
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=source, dtype=parameter.dtype)
            if not bool(torch.isfinite(parameter).all()) or not bool(parameter.any()):  # unset, or begun at zero
                parameter.copy_(0.02 * noise)
            elif parameter.ndim == 1:
                parameter.add_(0.02 * noise)
    return model
