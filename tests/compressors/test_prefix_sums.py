"""Prefix sums within a batch that is run whole: what each prefix shows alone, no guess where sequences are mixed."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compressors import compress_prefixes, models, prefixes
from compressors.amounts import stack
from compressors.clock import Clock
from compressors.kernels import gram
from compressors.prefix_sums import PrefixObserver, PrefixSums, Uncut, cuts
from compressors.statistics import Accumulator, sampling_stride
from tests.helpers_compressors import few, generator, tiny_llama, tokens

LENGTH, COLUMNS = 13, 12  # more tokens than sequences, so that the two cannot be taken for each other


def sequences(count):
    return torch.randn(count, LENGTH, COLUMNS, generator=generator(3), dtype=torch.float64)


def watched(linear, amounts, inputs, batch_size, wants):
    """What each amount has shown of a linear that is called once a batch."""
    observer, found, done = PrefixObserver({"l": COLUMNS}, wants, amounts, LENGTH, Clock(torch.device("cpu"))), {}, 0
    with observer.watching({"l": linear}):
        for batch in inputs.split(batch_size):
            reached = observer.next_batch(done, len(batch))
            linear(batch)
            done += len(batch)
            found |= {amount: observer.shown(amount, "l") for amount in reached}
    return found


@few
@given(
    amounts=st.sets(st.integers(1, 11), min_size=1).map(sorted),
    batch_size=st.integers(1, 11),
    wants=st.sampled_from(["norms", "moments", "hessian", "hessian+moments", "size"]),
)
def test_each_prefix_shows_what_it_shows_alone(amounts, batch_size, wants):
    inputs = sequences(11)
    found = watched(nn.Linear(COLUMNS, 2).double(), amounts, inputs, batch_size, wants)
    assert sorted(found) == amounts
    for amount, seen in found.items():
        alone = Accumulator(COLUMNS, wants, sampling_stride(amount, LENGTH))
        alone.add(inputs[:amount])
        expected = alone.result()
        assert seen.tokens == expected.tokens == amount * LENGTH
        for name in ("norms", "hessian", "mean", "size"):
            value, other = getattr(seen, name), getattr(expected, name)
            assert (value is None) == (other is None), name
            if value is not None:
                torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)
        if expected.sample is not None:
            assert torch.equal(seen.sample, expected.sample)


@given(first=st.integers(0, 40), count=st.integers(1, 20), amounts=st.sets(st.integers(1, 70)).map(sorted))
def test_a_batch_is_cut_where_amounts_end_and_nowhere_else(first, count, amounts):
    parts = cuts(first, count, amounts)
    assert (parts[0].start, parts[-1].stop) == (0, count)
    assert all(part.stop == later.start for part, later in pairwise(parts))
    assert [part.reached for part in parts if part.reached] == [n for n in amounts if first < n <= first + count]
    assert all(part.reached for part in parts[:-1])
    assert all(part.reached in (None, first + part.stop) for part in parts)


@pytest.mark.parametrize(
    "call",
    [
        lambda linear, batch: linear(batch.flatten(0, 1)),
        lambda linear, batch: linear(batch.transpose(0, 1)),
        lambda linear, batch: [linear(batch), linear(batch + 1)],
    ],
    ids=["flattened", "transposed", "twice"],
)
def test_sequences_that_cannot_be_told_apart_are_not_guessed_at(call):
    linear, batch = nn.Linear(COLUMNS, 2).double(), sequences(4)
    observer = PrefixObserver({"l": COLUMNS}, "norms", [2, 4], LENGTH, Clock(torch.device("cpu")))
    with observer.watching({"l": linear}):
        observer.next_batch(0, 4)
        with pytest.raises(Uncut):
            call(linear, batch)


@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g16"])
def test_a_model_that_mixes_sequences_is_swept_with_batches_that_end_at_amounts(method):
    """Its MLPs get [sequences x length, columns]; in the second block, so that the first is done again."""

    def flattened(model):
        for linear in (model.model.layers[1].mlp.gate_proj, model.model.layers[1].mlp.up_proj):
            linear.register_forward_pre_hook(lambda module, inputs: (inputs[0].flatten(0, 1),))
            linear.register_forward_hook(lambda module, inputs, output: output.unflatten(0, (-1, 32)))
        return model

    ids, amounts = tokens(sequences=8), [1, 3, 8]
    runs = []
    odd = flattened(tiny_llama())
    for block in models.decoder_blocks(odd):
        block.module.self_attn.q_proj.register_forward_hook(lambda *_: runs.append(1))
    for one, other in zip(
        compress_prefixes(odd, ids, method, amounts), compress_prefixes(tiny_llama(), ids, method, amounts), strict=True
    ):
        for name in one.weights:
            torch.testing.assert_close(one.weights[name], other.weights[name], rtol=1e-6, atol=1e-9)
        assert one.report.tokens == other.report.tokens
    shown = 2 * 2
    assert len(runs) == shown + (1 + 1) + 2 * 3, "one batch of 8 until it is known, then batches of 1, 2 and 5"


@pytest.mark.parametrize(("method", "room", "batches"), [
    ("gptq-w4g16", 2**31, 1), ("gptq-w4g16", 10**5, 4), ("wanda-0.5", 10**5, 1),
])  # fmt: skip
def test_a_batch_is_run_whole_as_far_as_there_is_room_for_hessians(method, room, batches, monkeypatch):
    model, runs = tiny_llama(num_hidden_layers=1), []
    model.model.layers[0].self_attn.q_proj.register_forward_hook(lambda *_: runs.append(1))
    monkeypatch.setattr(prefixes, "TOGETHER", room)
    compress_prefixes(model, tokens(sequences=8), method, [1, 2, 4, 8])
    assert len(runs) == 1 + batches


def test_one_triangle_of_a_hessian_is_enough(monkeypatch):
    """As on a GPU, where the other is made of it once for all amounts."""
    ids, amounts = tokens(sequences=8), [1, 2, 8]
    whole = compress_prefixes(tiny_llama(), ids, "sparsegpt-0.5", amounts)

    def add(total, rows):
        total.add_((rows.T @ rows).triu())

    monkeypatch.setattr(gram, "applies", lambda rows: True)
    monkeypatch.setattr(gram, "add", add)
    halves, real = [], stack
    monkeypatch.setattr(prefixes, "stacked", lambda seen, half: halves.append(half) or real(seen, half))
    for one, other in zip(compress_prefixes(tiny_llama(), ids, "sparsegpt-0.5", amounts), whole, strict=True):
        for name in one.weights:
            torch.testing.assert_close(one.weights[name], other.weights[name], rtol=1e-6, atol=1e-9)
    assert halves
    assert all(halves)


def test_rows_are_sampled_at_several_distances_as_at_each_alone():
    rows = sequences(9).flatten(0, 1)
    together = PrefixSums(COLUMNS, "norms", [2, 3, 7])
    for part in rows.split(4):
        together.add(part)
    for every in (2, 3, 7):
        assert torch.equal(together.so_far(every).sample, rows[::every])
