"""Stacks of amounts: what is solved, measured and sent home together is what each amount gives by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors import CompressionError, parse, statistics, wanda
from compressors.amounts import Tally, error_sums, stack, wanda_by_all
from compressors.homeward import Homeward, dealt
from compressors.solving import Solved
from compressors.statistics import Accumulator
from tests.helpers_compressors import generator, make_layer, observe

TOKENS = (300, 40, 128)  # samples of 256, 40 and 128 rows at most


def seen_by(wants):
    inputs = make_layer(1, 1, 24, "dead", tokens=300).inputs
    return [observe(inputs[:tokens], wants) for tokens in TOKENS]


@pytest.mark.parametrize("wants", ["norms", "hessian"])
def test_errors_of_a_stack_are_those_of_each(wants):
    seen, weight = seen_by(wants), make_layer(2, 10, 24).weight
    news = weight + torch.randn(3, 10, 24, generator=generator(5), dtype=weight.dtype)
    together = stack(seen)
    found = error_sums(weight, news, together)
    for i, one in enumerate(seen):
        expected = statistics.error_sums(weight, news[i], one)
        torch.testing.assert_close(torch.stack(found)[:, i], expected, rtol=1e-12, atol=0)
    rows = TOKENS if wants == "hessian" else [len(one.sample) for one in seen]
    assert together.error_tokens == list(rows)
    assert torch.equal(together.norms, torch.stack([one.norms for one in seen]))


def test_nothing_seen_has_no_errors():
    seen = [Accumulator(24, "norms").result()] * 2
    together = stack(seen)
    assert error_sums(torch.ones(3, 24), torch.ones(2, 3, 24), together) == []
    assert (together.tokens, together.error_tokens, together.norms) == ([0, 0], [0, 0], None)


def test_a_single_amount_is_not_copied():
    (one,) = seen = [seen_by("hessian")[0]]
    assert stack(seen).hessian.data_ptr() == one.hessian.data_ptr()


@pytest.mark.parametrize("spelling", ["wanda-0.5", "wanda-0.37", "wanda-2of4", "wanda-0"])
def test_wanda_by_all_amounts_is_wanda_by_each(spelling):
    method, seen = parse(spelling), seen_by("norms")
    weights = [part.clone() for part in make_layer(3, 14, 24).weight.split([8, 6])]
    for found, one in zip(wanda_by_all(weights, seen, method), seen, strict=True):
        for new, alone in zip(found, wanda.solve(weights, one, method), strict=True):
            assert torch.equal(new.weight, alone.weight)
            assert new._replace(weight=None) == alone._replace(weight=None)


def test_a_tally_keeps_amounts_apart_and_in_the_order_of_the_notes():
    seen, weight, tally = seen_by("norms"), make_layer(2, 10, 24).weight, Tally(TOKENS)
    news = torch.stack([weight.masked_fill(weight.abs() < size, 0) for size in (0.1, 0.5, 0.9)])
    solved = [Solved(new, 1.0, mask=True, extra=torch.tensor(240 * i)) for i, new in enumerate(news)]
    tally.note_all(list(TOKENS), "first", weight, news, solved, stack(seen))
    tally.note_all([300, 128], "second", weight, news[::2], solved[::2], stack(seen[::2]))
    tally.read()
    assert {end: [one.name for one in reports] for end, reports in tally.by_amount.items()} == {
        300: ["first", "second"], 40: ["first"], 128: ["first", "second"],
    }  # fmt: skip
    for i, (end, one) in enumerate(zip(TOKENS, seen, strict=True)):
        for report in tally.by_amount[end]:
            zeros = int((news[i] == 0).sum()) / 240
            assert report.sparsity == pytest.approx(zeros)
            assert report.bits == pytest.approx(64 * (1 - zeros) + 1 + i)
            assert report.relative_error == pytest.approx(statistics.relative_error(weight, news[i], one), rel=1e-12)
            assert (report.tokens, report.dead_columns) == (end, 2)


def test_what_must_hold_is_read_with_the_rest():
    tally = Tally([1])
    tally.expect(torch.tensor(False), "the sky is blue")
    with pytest.raises(CompressionError, match="the sky is blue"):
        tally.read()


@given(pieces=st.lists(st.integers(0, 9), max_size=8), rooms=st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_pieces_are_dealt_out_whatever_their_sizes(pieces, rooms):
    total = min(sum(pieces), sum(rooms))
    source, target = torch.arange(total, dtype=torch.uint8), torch.full((sum(rooms),), 255, dtype=torch.uint8)
    left, start = list(target.split(rooms)), 0
    for size in pieces:
        part = source[start : start + size]
        left, start = dealt(part, left), start + len(part)
    assert torch.equal(target[:total], source)
    assert (target[total:] == 255).all()
    assert sum(map(len, left)) == len(target) - total


def test_weights_on_the_host_are_copies_of_their_own():
    homeward, homes, weights = Homeward(torch.device("cpu")), [{}, {}], torch.arange(12.0).view(2, 3, 2)
    homeward.send(weights, homes, "name")
    homeward.settle(last=True)
    homeward.close()
    before = weights.clone()
    weights.zero_()
    for i, home in enumerate(homes):
        assert torch.equal(home["name"], before[i])
        assert home["name"].untyped_storage().nbytes() == 6 * 4
