"""On a GPU that is not number 0, events and kernels go there too. (What comes of it takes two GPUs: `-m gpu`.)"""

from __future__ import annotations

import contextlib
import inspect
import pickle

import pytest
import torch

import compressors
from compressors import prefixes, walker
from compressors.current import current, on_its_gpu
from tests.helpers_compressors import tiny_llama, tokens, weights_of

TWO = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="takes two GPUs")


@pytest.fixture
def chosen(monkeypatch):
    """The devices that were made current, on a machine that has two GPUs by its own account."""
    found = []

    @contextlib.contextmanager
    def make_current(device):
        found.append(str(device))
        yield

    monkeypatch.setattr(torch.cuda, "device", make_current)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return found


@pytest.mark.parametrize("device", ["cuda:1", torch.device("cuda", 1)])
def test_a_numbered_gpu_is_current(chosen, device):
    with current(device):
        assert chosen == ["cuda:1"]


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:2", "no such device", None, torch.device("meta")])
def test_all_else_changes_nothing(chosen, device):
    with current(device):
        pass
    assert chosen == []


def test_of_a_call_it_is_the_device_asked_for_or_else_the_models(chosen):
    class Model:
        @staticmethod
        def parameters():
            return iter([torch.nn.Parameter(torch.zeros(1))])

    seen = []
    run = on_its_gpu(lambda model, ids, *, device=None: seen.append((ids, device, list(chosen))))
    run(Model, 1, device="cuda:1")
    run(Model, 2)
    assert seen == [(1, "cuda:1", ["cuda:1"]), (2, None, ["cuda:1"])]


@pytest.mark.parametrize("function", [walker.compress, prefixes.compress_prefixes], ids=lambda f: f.__name__)
def test_what_is_exported_does_so_and_looks_the_same(function):
    exported = getattr(compressors, function.__name__)
    assert exported is not function
    assert inspect.unwrap(exported) is function
    assert inspect.signature(exported) == inspect.signature(function)
    assert exported.__doc__ == function.__doc__
    assert pickle.loads(pickle.dumps(exported)) is exported


@TWO
@pytest.mark.gpu
@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g16", "sparsegpt-2of4"])
def test_the_second_gpu_gives_what_the_first_gives(method):
    found = []
    for device in ("cuda:0", "cuda:1"):
        model = tiny_llama().to(device)
        report = compressors.compress(model, tokens(), method)
        found.append(({name: value.cpu() for name, value in weights_of(model).items()}, report.linears))
        assert torch.cuda.current_device() == 0
    (first, reports), (second, others) = found
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert reports == others
