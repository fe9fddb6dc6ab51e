"""Advice from figures: what is said to be sure is sure, and what cannot be told apart is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import advice_text as text
from benchmarks import advise
from benchmarks.advice import accuracy, judge, rank, summary


def test_equal_sources_are_rarely_told_apart():
    """Five sources of one distribution: at most 5 % of advice may call the first sure (here: its sampling error)."""
    generator = np.random.default_rng(0)
    wrong = sum(rank(dict(enumerate_names(generator.normal(size=(5, 4))))).sure for _ in range(2000))
    assert wrong / 2000 < 0.05


def test_the_best_source_is_hardly_ever_left_out():
    """Of equal sources each may be the best: one in twenty is neither first nor listed as tied, at most."""
    generator = np.random.default_rng(4)
    found = [rank(dict(enumerate_names(generator.normal(size=(6, 4))))) for _ in range(2000)]
    left_out = sum("s0" not in (ranking.first, *ranking.tied) for ranking in found)
    assert 0 < left_out / 2000 < 0.05


def enumerate_names(rows):
    return {f"s{number}": list(row) for number, row in enumerate(rows)}


def test_a_better_source_is_named_and_the_tied_one_listed():
    generator = np.random.default_rng(1)
    values = {
        "far": list(3 + generator.normal(size=6) * 0.1),
        "close": list(1.02 + generator.normal(size=6) * 0.1),
        "best": list(1 + generator.normal(size=6) * 0.1),
    }
    found = rank(values)
    assert set(found.order[:2]) == {"best", "close"}
    assert found.tied == (found.order[1],)
    assert not found.sure
    assert 0.05 < found.detectable < 0.3
    assert f"cannot be told from {found.order[1]}" in text.verdict(found, "here")
    del values["close"]
    assert rank(values).sure
    assert "stands apart" in text.verdict(rank(values), "here")


def test_the_draws_that_would_tell_do_tell():
    """Of pairs with the difference seen, at the draws named, four in five are told apart (one-sided, both known)."""
    generator = np.random.default_rng(2)
    found = rank({"a": [0.0, 1.0, 2.0], "b": [0.5, 1.5, 2.5]})
    assert found.deviation == pytest.approx(1)
    assert found.tied == ("b",)
    assert f"takes about {found.needed} draws each" in text.verdict(found, "here")
    told = sum(
        rank({"a": generator.normal(0, 1, found.needed), "b": generator.normal(0.5, 1, found.needed)}).sure
        for _ in range(500)
    )
    assert 0.73 < told / 500 < 0.87  # four standard errors about .8
    assert rank({"a": [1.0, 2.0], "b": [1.0, 2.0]}).needed is None
    assert "takes about" not in text.verdict(rank({"a": [1.0, 2.0], "b": [1.0, 2.0]}), "here")


def test_a_source_is_told_apart_by_students_t_shared_over_the_comparisons():
    """Squares of 2, 8 and 2 on four degrees of freedom; two comparisons; two draws against two, and against three."""
    found = rank({"a": [0.0, 2.0], "b": [3.0, 5.0, 7.0], "c": [2.0, 4.0]})
    deviation, reach = math.sqrt(12 / 4), stats.t.isf(0.05 / 2, 4)
    assert found.deviation == pytest.approx(deviation)
    assert found.detectable == pytest.approx(reach * deviation)  # of a and c; a and b have more draws
    assert rank({"a": [0.0, 2.0], "b": [3.0, 5.0, 7.0]}).detectable == pytest.approx(
        stats.t.isf(0.05, 3) * math.sqrt(10 / 3) * math.sqrt(1 / 2 + 1 / 3)
    )
    power = stats.norm.isf(0.05 / 2) + stats.norm.isf(0.2)
    assert found.needed == math.ceil(2 * (power * deviation / 2) ** 2)


def test_the_stakes_name_the_worst_and_what_is_worse_than_no_data():
    found = rank({"a": [0.1, 0.1], "b": [0.2, 0.2], "c": [0.12, 0.12]})
    said = text.stakes(found, ("magnitude-0.5", 0.15))
    assert "worst choice, b, costs 0.1 nats a token more than the first, 100 % of its damage" in said
    assert "b: on average worse than magnitude-0.5" in said
    assert "worse than" not in text.stakes(found, ("magnitude-0.5", 0.3))
    for least in (-0.1, 0.001):
        assert text.stakes(rank({"a": [least], "b": [0.1]}), None).endswith("more than the first.")


@pytest.mark.parametrize(
    ("method", "plain"),
    [
        ("sparsegpt-2of4", "magnitude-2of4"),
        ("owl(wanda)-0.7:m=5", "magnitude-0.7"),
        ("gptq-w3g64:actorder=true", "rtn-w3g64"),
        ("sparsegpt-0.5-w4g64", None),
    ],
)
def test_what_needs_no_data_aims_at_the_same(method, plain):
    import compressors

    assert advise.without_data(method) == plain
    assert plain is None or not compressors.parse(plain).calibrated


def test_single_draws_are_never_sure():
    found = rank({"a": [1.0], "b": [9.0]})
    assert found.first == "a"
    assert not found.sure
    assert "no saying how sure" in text.verdict(found, "here")
    with pytest.raises(ValueError, match="nothing to rank"):
        rank({"a": [1.0], "b": []})
    with pytest.raises(ValueError, match="source 'b': a value is not finite"):
        rank({"a": [1.0], "b": [float("nan")]})


def test_regret_is_a_share_of_the_least_damage():
    damage = {"a": [0.10, 0.10], "b": [0.12, 0.12], "c": [0.2, 0.2]}
    hit = judge("m x d", {"a": [3, 3], "b": [1, 1.1], "c": [2, 2]}, damage)
    assert (hit.advised, hit.best, hit.first, hit.within) == ("b", "a", False, False)
    assert hit.share == pytest.approx(0.2)
    assert hit.random_share == pytest.approx(0.4)
    right = judge("m x e", {"a": [0, 0], "b": [1, 1.1], "c": [2, 2]}, damage)
    found = accuracy([hit, right])
    assert (found["cells"], found["first"], found["within"]) == (2, 0.5, 0.5)
    assert found["regret"] == pytest.approx(0.1)
    assert (found["sure"], found["within_when_sure"]) == (1, 0.5)
    assert found["random_within"] == pytest.approx(1 / 3)
    assert "within_when_sure" not in accuracy([judge("m x e", {"a": [0], "b": [1]}, damage)])
    assert summary([hit, right]) == {**found, "methods": {}}
    named = [judge("m x d", {"a": [1], "b": [2]}, damage, "x"), judge("m y d", {"a": [2], "b": [1]}, damage, "y")]
    by_method = summary(named)["methods"]
    assert {name: part["first"] for name, part in by_method.items()} == {"x": 1, "y": 0}
    with pytest.raises(ValueError, match="no cell to judge"):
        accuracy([])
