"""Which amounts a claim reads where some have few draws: what its rule needs stays, what is left out is told."""

from __future__ import annotations

import pytest

from benchmarks.claims.amounts import amounts, fullest, left_out
from benchmarks.claims.rules import DOES_NOT
from benchmarks.claims.world import World
from tests.helpers_claims import Truth, records, verdict

KIND = {"methods": ("wanda-0.5",), "sources": ("c4", "wikipedia"), "length": 1024, "draw_sd": 0.004, "noise": 0.001}


def of(draws, **more):
    """Truths by number of sequences, with so many draws each."""
    return [Truth(**{**KIND, "sequences": n, "seeds": seeds, **more}) for n, seeds in draws.items()]


def panels(draws, **more):
    ((_, found),) = amounts(World([record for truth in of(draws, **more) for record in records(truth)]))
    return found


def kept(draws, least=2, **more):
    return [panel.case["draw"]["n_sequences"] for panel in fullest(panels(draws), "wanda-0.5", least, **more)]


@pytest.mark.parametrize(
    ("draws", "least", "expected"),
    [
        ({4: 10, 8: 3, 16: 10}, 2, [4, 16]),
        ({4: 10, 8: 3, 16: 3, 32: 10, 64: 10}, 2, [4, 32, 64]),  # one of the two alone would bring nothing
        ({4: 3, 8: 3, 16: 3, 32: 3, 64: 10}, 2, [4, 8, 16, 32, 64]),
        ({4: 10, 8: 10, 16: 10, 32: 4}, 4, [4, 8, 16, 32]),
        ({4: 10, 8: 10, 16: 8, 32: 8}, 2, [4, 8, 16, 32]),
    ],
)
def test_amounts_that_cost_more_results_than_they_bring_are_left_out(draws, least, expected):
    assert kept(draws, least) == expected


def test_the_largest_stays_where_the_others_are_held_against_it():
    draws = {4: 10, 8: 10, 16: 10, 32: 3}
    assert kept(draws, 3) == [4, 8, 16]
    assert kept(draws, 3, largest=True) == [4, 8, 16, 32]


def test_a_source_that_lacks_an_amount_does_not_take_it_from_another():
    found = panels({4: 10, 8: 10, 16: 10, 32: 10})
    for seed in range(2, 10):
        del found[0].cells["wanda-0.5", "wikipedia"][seed]
    assert len(fullest(found, "wanda-0.5", 3)) == 3
    assert len(fullest(found, "wanda-0.5", 3, source="c4")) == 4


def test_what_is_left_out_is_told():
    found = panels({4: 10, 8: 3, 16: 10})
    assert left_out(found, fullest(found, "wanda-0.5", 2), "wanda-0.5") == "without 8 x 1024 (2 sources x 3 draws)"
    assert left_out(found, found, "wanda-0.5") == ""


def test_a_step_between_two_amounts_asks_for_those_alone():
    """Three draws at the larger are enough to judge it by, however many the smaller amounts have."""
    result = verdict("A8", *of({4: 10, 11: 10, 36: 10, 144: 3}, methods=("sparsegpt-0.5",)))
    assert {cell.name.split(maxsplit=2)[2] for cell, _ in result.cells} == {"36 x 1024 to 144 x 1024"}
    assert result.verdict == DOES_NOT


def test_a_law_keeps_the_four_amounts_that_it_needs_and_tells_of_others():
    result = verdict("A9", *of({4: 10, 16: 10, 64: 10, 256: 4}, own=1.0))
    assert {cell.detail.split(";")[0] for cell, _ in result.cells} == {"4 amounts"}
    result = verdict("A9", *of({4: 10, 16: 10, 32: 3, 64: 10, 256: 10}, own=1.0))
    (detail,) = {cell.detail.rpartition("; ")[2] for cell, _ in result.cells}
    assert detail == "without 32 x 1024 (2 sources x 3 draws)"


def test_means_are_held_against_the_largest_of_the_range():
    result = verdict("B8", *of({18: 10, 36: 3, 72: 10, 144: 10, 288: 5}))
    assert {cell.name.rpartition(" minus ")[2] for cell, _ in result.cells} == {"288 x 1024"}
    assert {cell.detail for cell, _ in result.cells} == {"without 36 x 1024 (2 sources x 3 draws)"}
