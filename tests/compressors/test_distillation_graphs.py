"""What holds of recorded functions without a GPU: they run as they are, and nothing is collected while recording."""

from __future__ import annotations

import gc

import pytest
import torch

from compressors.distillation.graphs import Graphed, _no_collection


def test_on_a_cpu_the_function_itself_runs():
    calls = []
    graphed = Graphed(lambda x: calls.append(1) or x + 1)
    assert graphed(torch.zeros(2)).tolist() == [1, 1]
    assert graphed(torch.ones(2)).tolist() == [2, 2]
    assert len(calls) == 2
    assert graphed.graph is None


def test_garbage_is_collected_before_a_recording_and_not_meanwhile():
    class Knot:
        def __del__(self):
            freed.append(gc.isenabled())

    freed: list[bool] = []
    knot = Knot()
    knot.self = knot
    del knot
    with _no_collection():
        assert len(freed) == 1
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collection_comes_back_after_an_error():
    with pytest.raises(RuntimeError), _no_collection():
        raise RuntimeError
    assert gc.isenabled()
