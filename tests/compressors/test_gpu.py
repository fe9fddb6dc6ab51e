"""Whole compressions on a GPU against the same on the CPU: every method, experts, reconstruction. Skipped without a
CUDA device.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import GptOssConfig, MixtralConfig

import compressors
from tests.helpers_compressors import random_model, tiny_llama, tokens

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

METHODS = (
    "rtn-w4g16", "nf4", "gptq-w4g16", "gptq-w3g16:actorder=true,groups=static", "spqr-w3g16", "awq-w4g16",
    "magnitude-0.5", "wanda-0.5", "wanda-4of8", "sparsegpt-0.5", "sparsegpt-2of4-w4g16", "ria-0.5",
    "ria-2of4:permute=assign", "dsnot(wanda)-0.5", "dsnot(sparsegpt)-2of4", "owl(sparsegpt)-0.5", "prunerzero-0.5",
)  # fmt: skip
SUFFIXED = ("wanda-0.5:epochs=2+br", "sparsegpt-2of4:epochs=2+br+gp", "wanda-2of4:epochs=2+br+gp+cr")
# Of a linear's relative error, and of their mean. Bfloat16 activations flip single codes and mask entries: the CPU's
# own float64 and bfloat16 differ by up to 10 % in one linear of 64 x 64.
NEAR = {torch.float32: (0.05, 0.02), torch.bfloat16: (0.2, 0.05)}


def both(make, method, dtype, **options):
    """The reports of a compression on the GPU and of the same on the CPU, and the model on the GPU."""
    ids = tokens(sequences=16)
    on_cpu, on_gpu = (make().to(torch.bfloat16).to(dtype).to(device) for device in ("cpu", "cuda"))
    return compressors.compress(on_gpu, ids, method, **options), compressors.compress(on_cpu, ids, method), on_gpu


def assert_near(found, expected, dtype):
    each, mean = NEAR[dtype]
    assert [linear.name for linear in found.linears] == [linear.name for linear in expected.linears]
    assert found.sparsity == pytest.approx(expected.sparsity, abs=1e-3)
    assert found.bits == pytest.approx(expected.bits, abs=0.05)
    errors = [[linear.relative_error for linear in report.linears] for report in (found, expected)]
    assert errors[0] == pytest.approx(errors[1], rel=each)
    assert sum(errors[0]) == pytest.approx(sum(errors[1]), rel=mean)


@pytest.mark.parametrize("dtype", NEAR, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_a_gpu_is_that_on_the_cpu(method, dtype):
    found, expected, _ = both(tiny_llama, method, dtype)
    assert_near(found, expected, dtype)


@pytest.mark.parametrize("method", SUFFIXED)
def test_reconstruction_on_a_gpu_is_that_on_the_cpu(method):
    found, expected, model = both(tiny_llama, method, torch.float32)
    assert_near(found, expected, torch.float32)
    for mine, theirs in zip(*(report.details["reconstruction"] for report in (found, expected)), strict=True):
        for name in ("pruned", "reconstructed"):
            assert mine[name] == pytest.approx(theirs[name], rel=0.02)
    for name, linear in compressors.linears(model):
        report = next(report for report in found.linears if report.name == name)
        assert float((linear.weight == 0).double().mean()) == pytest.approx(report.sparsity), "masks are fixed"


def moe(family):
    shape = {
        "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "num_local_experts": 6, "num_experts_per_tok": 2,
    }  # fmt: skip
    if family == "mixtral":
        return random_model(MixtralConfig(**shape, intermediate_size=96))
    types = ["full_attention"] * 2
    return random_model(GptOssConfig(**shape, intermediate_size=64, head_dim=16, layer_types=types))


@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g16", "sparsegpt-2of4", "awq-w4g16"])
@pytest.mark.parametrize("family", ["mixtral", "gpt-oss"])
def test_experts_on_a_gpu_are_those_on_the_cpu(family, method):
    found, expected, _ = both(lambda: moe(family), method, torch.float32)
    assert_near(found, expected, torch.float32)
    # Later blocks may send a token elsewhere, since single codes of the first may differ.
    first = [[linear.tokens for linear in report.linears if ".0.mlp." in linear.name] for report in (found, expected)]
    assert first[0] == first[1]
    assert sum(linear.tokens for linear in found.linears) == sum(linear.tokens for linear in expected.linears)


@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g16", "owl(wanda)-0.5", "wanda-0.5:epochs=1+br"])
def test_a_model_on_the_host_is_compressed_on_the_gpu_and_stays_there(method):
    model, whole = tiny_llama().bfloat16(), tiny_llama().bfloat16().cuda()
    first = compressors.compress(model, tokens(), method, device="cuda")
    second = compressors.compress(whole, tokens(), method)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert_near(first, second, torch.bfloat16)


@pytest.mark.parametrize("offload", [False, True], ids=["resident", "offloaded"])
@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g16", "sparsegpt-0.5", "spqr-w3g16"])
def test_a_sweep_of_amounts_on_a_gpu_gives_what_each_gives_alone(method, offload):
    """Bit for bit where only norms count; else single codes and mask entries may differ."""
    ids, home = tokens(sequences=16), "cpu" if offload else "cuda"
    swept = compressors.compress_prefixes(tiny_llama().bfloat16().to(home), ids, method, [4, 8, 16], batch_size=4,
                                          offload=offload)  # fmt: skip
    for prefix in swept:
        alone = tiny_llama().bfloat16().cuda()
        report = compressors.compress(alone, ids[: prefix.sequences], method, propagation="dense", batch_size=4)
        if method == "wanda-0.5":  # errors are products in TF32, summed in another order
            for one, other in zip(prefix.report.linears, report.linears, strict=True):
                assert replace(one, relative_error=None) == replace(other, relative_error=None)
                assert one.relative_error == pytest.approx(other.relative_error, rel=2e-3)
        assert_near(prefix.report, report, torch.bfloat16)
        for name, linear in compressors.linears(alone):
            same = (prefix.weights[name] == linear.weight.cpu()).double().mean()
            assert same == 1 if method == "wanda-0.5" else same > 0.95, name


def test_experts_on_the_host_are_compressed_on_the_gpu():
    model, whole = moe("mixtral").float(), moe("mixtral").float().cuda()
    first = compressors.compress(model, tokens(), "gptq-w4g16", device="cuda")
    assert_near(first, compressors.compress(whole, tokens(), "gptq-w4g16"), torch.float32)
