"""What makes the walk fast changes nothing: passes that end early, originals copied aside, an inverse by halves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compressors import factor, models
from compressors.clock import Clock
from compressors.observe import Enough, Observer
from compressors.originals import Originals
from tests.helpers_compressors import few, generator, tiny_llama, tokens


class Pair(nn.Module):
    """Two linears in a row; the first is called ``calls`` times."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls, self.finished = calls, 0
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for _ in range(self.calls):
            hidden = self.first(hidden)
        hidden = self.last(hidden)
        self.finished += 1
        return hidden


def observed(pair: Pair, early: bool) -> Observer:
    linears = {"first": pair.first, "last": pair.last}
    observer = Observer(dict.fromkeys(linears, 8), "hessian", 1, Clock(torch.device("cpu")))
    with observer.watching(linears), torch.no_grad():
        for batch in torch.randn(4, 5, 8, generator=generator(0)):
            observer.next_pass()
            observer.stop_early = early
            try:
                pair(batch)
            except Enough:
                continue
    return observer


@pytest.mark.parametrize(("calls", "finished"), [(1, 1), (2, 4)])
def test_a_pass_ends_early_only_if_each_linear_is_called_once(calls, finished):
    pair = Pair(calls)
    early = observed(pair, early=True)
    assert pair.finished == finished
    whole = observed(pair, early=False)
    for name, accumulator in early.accumulators.items():
        assert torch.equal(accumulator.result().hessian, whole.accumulators[name].result().hessian)


def test_the_walk_runs_the_last_linear_of_a_block_once_to_observe_and_once_a_batch_to_hand_on():
    import compressors

    model = tiny_llama()
    blocks = models.decoder_blocks(model)
    runs = {block.name: 0 for block in blocks}

    def count(name):
        return lambda *_: runs.__setitem__(name, runs[name] + 1)

    handles = [block.module.mlp.down_proj.register_forward_hook(count(block.name)) for block in blocks]
    compressors.compress(model, tokens(sequences=6), "wanda-0.5", batch_size=2)
    for handle in handles:
        handle.remove()
    shown = 1  # the capture runs each block on one sequence
    assert list(runs.values()) == [shown + 1 + 3, shown + 1]


def test_originals_are_copies():
    weight = torch.randn(3, 4, generator=generator(0))
    before = weight.clone()
    with Originals(weight.device) as originals:
        originals.keep("a", weight)
        originals.keep("b", weight.T)
        originals.wait("a")
        weight.zero_()
    assert torch.equal(originals.get("a"), before)
    assert torch.equal(originals.get("b"), before.T)
    assert originals.get("c") is None


@few
@given(st.integers(1, 90), st.integers(0, 2**20))
def test_the_inverse_by_halves_is_the_inverse(size, seed):
    lower = torch.randn(size, size, generator=generator(seed), dtype=torch.float64).mul_(0.3).tril_(-1)
    lower += torch.eye(size, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factor, "LEAF", 8)
        inverse = factor._inverse(lower)
    assert torch.equal(inverse, inverse.tril())
    assert torch.allclose(inverse @ lower, torch.eye(size, dtype=torch.float64), atol=1e-8 * float(inverse.norm()))
