"""Models, tokens and devices that cannot be compressed: our words, by name, and the model as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import compressors
from benchmarks.tiny_families import tiny
from compressors import CompressionError, models
from compressors.observe import Observer
from tests.helpers_compressors import same_weights, tiny_llama, tokens, weights_of


def refused(model, words, method="wanda-0.5", ids=None, **options):
    before = weights_of(model)
    with pytest.raises(CompressionError, match=words):
        compressors.compress(model, tokens() if ids is None else ids, method, **options)
    after = weights_of(model)
    assert same_weights(*({name: value.nan_to_num(7.0) for name, value in state.items()} for state in (before, after)))


def test_weights_that_are_computed_are_refused():
    model = tiny_llama()
    torch.nn.utils.parametrizations.weight_norm(model.model.layers[1].mlp.up_proj)
    refused(model, r"layers\.1\.mlp\.up_proj\.weight is computed from other parameters")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_weights_of_other_dtypes_are_refused(dtype):
    model = tiny_llama()
    linear = model.model.layers[0].mlp.up_proj
    linear.weight = torch.nn.Parameter(linear.weight.detach().to(dtype), requires_grad=False)
    with pytest.raises(CompressionError, match=rf"mlp\.up_proj has weights of {dtype}; expected one of float16"):
        compressors.compress(model, tokens(), "rtn-w4g16")


def test_sequences_longer_than_mpt_can_run():
    refused(tiny("mpt", max_seq_len=16), "sequences of 32 tokens; the model has 16 positions")


@pytest.mark.parametrize("method", ["wanda-0.5", "wanda-0.5+br", "rtn-w4g-1"])
@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"])
def test_a_value_that_is_not_finite_outside_the_blocks_is_named(method, name):
    model = tiny_llama()
    model.get_parameter(name).data.view(-1)[3] = float("nan")
    refused(model, rf"{name} has NaN or infinite weights", method)


def test_training_is_not_blamed_for_what_overflows_before_it():
    model = tiny_llama().half()
    model.model.embed_tokens.weight.data.fill_(6e4)
    model.model.layers[0].self_attn.o_proj.weight.data.fill_(6e4)
    refused(model, r"model\.layers\.\d.* NaN or infinite", "wanda-0.5+br")


@pytest.mark.parametrize(
    ("device", "words"),
    [("cuda:99", r"device 'cuda:99': torch finds .* CUDA device"), ("tpo", "device 'tpo': ")],
)
@pytest.mark.parametrize("offload", [False, True])
def test_a_device_that_is_not_there(device, words, offload):
    refused(tiny_llama(), words, device=device, offload=offload)


def test_no_cuda_at_all(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(tiny_llama(), r"device 'cuda': torch finds no CUDA devices; try device='cpu'", device="cuda")


def test_experts_that_no_token_is_seen_to_reach_are_an_error():
    """Some expert gets every token: what is seen of none is run in a way that is not known, and is no idle expert."""
    model = tiny("llama4_text")
    block = models.decoder_blocks(model)[0]
    observer = Observer(dict.fromkeys(block.linears, 1), "norms", 1, None)
    with pytest.raises(CompressionError, match=r"gate_up_proj\.0: no token was seen to reach it or any expert"):
        observer.refuse_unreached(block.linears)


def test_the_peak_of_memory_is_not_that_of_the_program_before():
    """Linux hands the peak of a process on to the program that it is replaced by: ``ru_maxrss`` begins there."""
    child = "import torch; from compressors.clock import peak_memory; print(peak_memory(torch.device('cpu')))"
    parent = f"import os, sys; held = b'x' * 2**30; os.execv(sys.executable, [sys.executable, '-c', {child!r}])"
    told = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True, timeout=900)
    assert 2**25 < int(told.stdout) < 2**30
