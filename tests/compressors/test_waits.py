"""No host wait within a block: what a solver reads of the device is read a block later, a failed factorization too."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import compressors
from compressors import CompressionError, compress_prefixes, factor, prefixes, walker
from tests.helpers_compressors import same_weights, tiny_llama, tokens, weights_of

METHODS = ("wanda-0.5", "gptq-w4g16", "sparsegpt-0.5", "sparsegpt-2of4", "spqr-w3g16")
MORE = ("gptq-w3g16:actorder=true", "sparsegpt-0.5-w4g16", "dsnot(sparsegpt)-2of4")
# Of what a GPU must be asked for before the host can go on: a number, a shape that depends on values.
ASKING = {
    "aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero",
    "aten::masked_select", "aten::_unique2", "aten::repeat_interleave", "aten::allclose", "aten::bincount",
}  # fmt: skip
FEW = tokens(sequences=2, length=16)  # 32 tokens for 64 and 128 columns: no Hessian has full rank
SINGULAR = ("gptq-w4g16:damp=0", "sparsegpt-0.5:damp=0", "sparsegpt-2of4:damp=0", "spqr-w3g16:damp=0")


class NoQuestions(TorchDispatchMode):
    """Raises where the host would wait for the device, and for tables made of Python numbers, which it copies there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        masked = name == "aten::index" and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        copied = name == "aten::lift_fresh" and args[0].ndim > 0
        if name in ASKING or masked or copied:
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def queued(monkeypatch):
    """The CPU is treated as a device that works behind the host."""
    monkeypatch.setattr(factor, "QUEUED", ("cpu", "cuda"))


@pytest.fixture
def watched(monkeypatch):
    """Blocks are walked and swept under ``NoQuestions``; the numbers of those that were are in the list."""
    done = []

    def watch(where, name):
        real = getattr(where, name)

        def block(self, index, *args, **kwargs):
            with NoQuestions():
                real(self, index, *args, **kwargs)
            done.append(index)

        monkeypatch.setattr(where, name, block)

    watch(walker._Walk, "_block")
    watch(prefixes._Sweep, "block")
    return done


@pytest.mark.parametrize("method", [*METHODS, *MORE])
def test_a_block_is_walked_without_a_question_to_the_device(method, queued, watched):
    model = tiny_llama(num_hidden_layers=3).float()
    compressors.compress(model, tokens(sequences=16), method)
    compressors.compress(model, tokens(sequences=16), method, propagation="dense")
    assert watched == [0, 1, 2] * 2


@pytest.mark.parametrize("method", METHODS)
def test_a_block_is_swept_without_a_question_to_the_device(method, queued, watched):
    compress_prefixes(tiny_llama().float(), tokens(sequences=16), method, [8, 12, 16])
    assert watched == [0, 1]


@pytest.mark.parametrize("method", [METHODS[1], METHODS[2], METHODS[4]])
def test_waiting_for_a_factorization_would_be_noticed(method, watched):
    with pytest.raises(AssertionError, match="waits for the device"):
        compressors.compress(tiny_llama(), tokens(), method)
    assert not watched


@pytest.mark.parametrize("method", [*METHODS, *SINGULAR])
def test_the_same_bits_and_reports_as_waiting_for_each(method, monkeypatch):
    def found():
        model, seen = tiny_llama(num_hidden_layers=3), []
        report = compressors.compress(model, FEW, method, progress=lambda done, total, stage: seen.append(stage))
        return weights_of(model), report, seen.count("capture")

    waiting, report, once = found()
    monkeypatch.setattr(factor, "QUEUED", ("cpu",))
    weights, again, walks = found()
    assert same_weights(weights, waiting)
    assert again.linears == report.linears
    failed = sum(linear.fallbacks for linear in report.linears) > 0
    assert failed == (method in SINGULAR)
    assert (once, walks) == (1, 2 if failed else 1), "begun again if and only if a factorization failed"


@pytest.mark.parametrize("method", ["gptq-w4g16", "sparsegpt-0.5", "gptq-w4g16:damp=0", "spqr-w3g16:damp=0"])
def test_a_sweep_gives_what_waiting_for_each_gives(method, monkeypatch):
    def found():
        return compress_prefixes(tiny_llama(), FEW, method, [1, 2], batch_size=1)

    waiting = found()
    monkeypatch.setattr(factor, "QUEUED", ("cpu",))
    for prefix, other in zip(found(), waiting, strict=True):
        for name, weight in prefix.weights.items():
            torch.testing.assert_close(weight, other.weights[name], rtol=1e-6, atol=1e-9)
        assert [linear.fallbacks for linear in prefix.report.linears] == [
            linear.fallbacks for linear in other.report.linears
        ]


def test_the_cause_is_named_and_the_model_comes_back(queued):
    model = tiny_llama(num_hidden_layers=3)
    model.model.layers[1].input_layernorm.weight.data[0] = 1e200
    before = weights_of(model)
    with pytest.raises(CompressionError, match=r"layers\.1.*(NaN|infinite)"):
        compressors.compress(model, tokens(), "gptq-w4g16")
    assert same_weights(before, weights_of(model))


def test_a_solver_of_its_own_is_told_at_once():
    singular = torch.ones(8, 8)
    assert factor.factorize(singular, 0.0).raised > 0
    assert factor.outcomes() == []


def test_the_outcomes_of_a_walk_are_taken_once():
    def work():
        seen.append(factor.factorize(torch.ones(8, 8), 0.0).raised)
        good = factor.outcomes()
        if good and not bool(good[0]):
            raise factor.Unfactored
        return len(good), factor.outcomes()

    seen: list[int] = []
    assert factor.without_waiting(work, torch.device("cpu")) == (0, [])
    assert factor.without_waiting(work, torch.device("cuda")) == (0, [])
    assert [raised > 0 for raised in seen] == [True, False, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_cuda_sees_no_synchronising_call_within_a_block(method, monkeypatch):
    """From the second block on: tables that depend on shapes alone are made in the first. The thread that copies the
    original weights to the host waits for its own stream, which keeps nobody else.
    """
    model = tiny_llama(num_hidden_layers=4).bfloat16().cuda()
    compressors.compress(model, tokens(sequences=16), method)  # compiles kernels
    asked, real = [], walker._Walk._block
    main = threading.get_ident()

    def note(message, category, filename, lineno, *rest):
        if threading.get_ident() == main and "called a synchronizing" in str(message):
            asked.append(f"{filename}:{lineno}: {message}")

    def block(self, index, *args, **kwargs):
        torch.cuda.set_sync_debug_mode("warn" if index else "default")
        try:
            real(self, index, *args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(walker._Walk, "_block", block)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", note)
        torch.cuda.set_sync_debug_mode("warn")
        torch.ones(1, device="cuda").item()
        torch.cuda.set_sync_debug_mode("default")
        assert len(asked) == 1, "the mode does not say what it is there to say"
        asked.clear()
        compressors.compress(model, tokens(sequences=16), method)
    assert not asked
