"""Offloading changes no bit, holds little on the device, and leaves the model as it was after an error."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import compressors
from compressors import CompressionError, capture, offload
from compressors.offload import HostStates, held
from tests.helpers_compressors import few, generator, same_weights, tiny_llama, tokens, weights_of

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
METHODS = (
    "magnitude-0.5", "wanda-0.5", "gptq-w4g16", "sparsegpt-2of4", "spqr-w4g16", "awq-w4g16", "dsnot(wanda)-0.5",
    "owl(wanda)-0.5", "wanda-0.5:epochs=1+br", "wanda-0.5:epochs=1+br+gp+cr",
)  # fmt: skip


@pytest.fixture
def elsewhere(monkeypatch):
    """The device counts as another one than the host, so that blocks come and go, on a CPU too."""
    monkeypatch.setattr(offload, "_same", lambda one, other: False)


def compressed(method, **options):
    model = tiny_llama()
    report = compressors.compress(model, tokens(), method, batch_size=4, **options)
    return weights_of(model), report


@pytest.mark.parametrize("method", METHODS)
def test_the_same_bits_with_and_without(method, elsewhere):
    (plain, first), (again, second) = compressed(method), compressed(method, offload=True, device="cpu")
    assert same_weights(plain, again)
    assert first.linears == second.linears
    assert first.details == second.details


@pytest.mark.parametrize("method", ["wanda-0.5", "awq-w4g16", "owl(sparsegpt)-0.5"])
def test_the_same_bits_when_the_dense_model_is_observed(method, elsewhere):
    options = {"propagation": "dense"}
    assert same_weights(compressed(method, **options)[0], compressed(method, offload=True, device="cpu", **options)[0])


@pytest.mark.parametrize("method", ["gptq-w4g16", "awq-w4g16", "wanda-0.5:epochs=1+br+gp+cr"])
def test_an_error_puts_the_model_back_where_it_was(method, elsewhere):
    model = tiny_llama(num_hidden_layers=3)
    before, places = weights_of(model), [parameter.data_ptr() for parameter in model.parameters()]

    def stop(done, total, stage):
        if done == total - 1 and stage in ("solve", "reconstruct"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compressors.compress(model, tokens(), method, offload=True, device="cpu", progress=stop)
    assert same_weights(before, weights_of(model))
    assert [parameter.data_ptr() for parameter in model.parameters()] == places


def test_what_cannot_be_offloaded_is_refused():
    with pytest.raises(CompressionError, match="gradients"):
        compressors.compress(tiny_llama(), tokens(), "prunerzero-0.5", offload=True)
    with pytest.raises(CompressionError, match="model on the host, but it is on meta"):
        compressors.compress(tiny_llama().to("meta"), tokens(), "wanda-0.5", offload=True)


def test_what_blocks_are_called_with_comes_to_the_device():
    table = torch.ones(2)
    (moved,) = capture._share((table,), (table,), {}, torch.device("meta"))
    assert moved.device.type == "meta"


def use(states, kept, steps):
    for index, write, seed in steps:
        index %= len(kept)
        if write:
            fresh = torch.randn(3, 5, generator=generator(seed)).to(states.device)
            states[index] = fresh
            kept[index] = fresh.clone()
            fresh.zero_()  # the copy must have been made, or be ahead of this
        else:
            taken = states[index]
            assert torch.equal(taken, kept[index])
            taken.zero_()


STEPS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 99)), max_size=30)


@few
@given(steps=STEPS)
def test_states_on_the_host_are_a_list(steps):
    kept = [torch.full((3, 5), float(i)) for i in range(5)]
    like = HostStates(torch.device("cpu"))
    states = held(like, kept)
    assert isinstance(states, HostStates)
    use(states, [tensor.clone() for tensor in kept], steps)


@pytest.mark.gpu
@needs_gpu
@few
@given(steps=STEPS)
def test_states_off_a_gpu_are_a_list(steps):
    kept = [torch.full((3, 5), float(i), device="cuda") for i in range(5)]
    states = HostStates(torch.device("cuda"))
    for tensor in kept:
        states.append(tensor)
    # Work on the device is still going on when states are taken: order must come from the streams.
    torch.randn(2048, 2048, device="cuda") @ torch.randn(2048, 2048, device="cuda")
    use(states, kept, [(index, write, seed) for index, write, seed in steps])
    for found, expected in zip(states, kept, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g64", "awq-w4g64", "wanda-0.5:epochs=1+br"])
def test_an_offloaded_model_takes_the_memory_of_a_few_blocks_and_batches(method):
    shape = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "max_position_embeddings": 512}
    ids = tokens(sequences=64, length=512)
    found = {}
    for away in (False, True):
        model = tiny_llama(**shape).bfloat16()
        model = model if away else model.cuda()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        report = compressors.compress(model, ids, method, batch_size=4, offload=away)
        found[away] = (report, weights_of(model.cpu()))
        del model
    (resident, plain), (offloaded, again) = found[False], found[True]
    assert same_weights(plain, again)
    block = 2 * (512 * 512 * 2 + 512 * 128 * 2 * 2 + 3 * 512 * 2048)  # bytes, less than a block has
    states = 64 * 512 * 512 * 2
    # Three blocks (one at work, one coming home, one to spare) and four of sixteen batches may be there.
    assert resident.peak_memory - offloaded.peak_memory > 9 * block + states * 12 // 16
