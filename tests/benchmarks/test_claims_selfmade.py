"""Self-written text: how much to drop and how long a prefix; and whether effects differ between cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.claims.judge import judge, load
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES
from benchmarks.claims.world import World
from reports.statistics import Interval
from reports.statistics.heterogeneity import heterogeneity
from tests.helpers_claims import Truth, records

KIND = {
    "model": "known-corpus-1m",
    "tasks": (),
    "domains": ("alpaca", "wikitext2-test"),
    "sequences": 32,
    "length": 256,
}
SHARES = [f"selfgen(web,t=4,k={k})" for k in (0, 10, 20, 40)]
LENGTHS = ["selfgen(web,t=1)", "selfgen(web,t=2)", "selfgen(web,t=8)", "selfgen(web,t=64)", "selfgen(news,t=2)"]


def verdict(name, source, draw_sd=0.002, seeds=5, **more):
    kind = {**KIND, "methods": ("wanda-0.5",), "noise": 0.001, **more}
    truth = Truth(sources=tuple(source), source=dict(source), draw_sd=draw_sd, seeds=seeds, **kind)
    claim = next(row for row in load() if row.id == name)
    return judge([claim], World(records(truth)))[0]


def test_dropping_that_helps_hurts_or_does_nothing():
    helps = dict(zip(SHARES, (0.1, 0.05, 0.0, 0.0), strict=True))
    result = verdict("B18", helps)
    assert result.verdict == REPLICATES
    assert "10 against 20 %: not equal" in result.headline.detail
    assert "40 against 20 %: equal" in result.headline.detail
    assert verdict("B18", {name: -value for name, value in helps.items()}).verdict == DOES_NOT
    assert verdict("B18", dict.fromkeys(SHARES, 0.0), draw_sd=0.02).verdict == CANNOT_TELL
    assert verdict("B18", dict.fromkeys(SHARES[1:], 0.0)).verdict == NOT_RUN


def test_the_default_of_twenty_percent_is_known_by_its_absence():
    assert verdict("B18", {"selfgen(web,t=4,k=0)": 0.1, "selfgen(web,t=4)": 0.0}).verdict == REPLICATES
    large = {"selfgen(c4,t=4,k=0,pool=60)": 0.1, "selfgen(c4,t=4,pool=60)": 0.0}
    assert verdict("B18", large).verdict == REPLICATES


def test_prefixes_that_do_not_matter_and_that_do():
    same = verdict("B19", dict.fromkeys(LENGTHS, 0.0))
    assert same.verdict == REPLICATES
    assert {"prefixes of web minus news" in cell.name for cell, _ in same.cells} == {True, False}
    assert verdict("B19", {**dict.fromkeys(LENGTHS, 0.0), "selfgen(news,t=2)": 0.1}).verdict != REPLICATES
    longer = {name: 0.03 * np.log(int(name[14:-1])) for name in LENGTHS[:4]}
    result = verdict("B19", longer)
    assert result.verdict == DOES_NOT
    assert result.headline.evidence.estimate == pytest.approx(0.03 * np.log(64), abs=0.02)


def test_selected_sets_that_are_steadier_and_spare_the_worst_domain():
    sources = ("news", "zipcal(news)")
    spread = {"model": "known-corpus-1m", "methods": ("gptq-w3g64",), "tasks": (), "domains": ("alpaca", "web")}

    def world(random, chosen, level):
        def shift(case):
            luck = np.random.default_rng([case.draw.seed, len(case.draw.source)]).normal()
            return (random if case.draw.source == "news" else chosen) * luck - level * (case.draw.source != "news")

        truth = Truth(sources=sources, seeds=10, draw_sd=0.0, noise=1e-4, shift=shift, **spread)
        return judge([next(row for row in load() if row.id == "A18")], World(records(truth)))[0]

    good = world(0.05, 0.005, 0.1)
    assert good.verdict == REPLICATES
    assert any("worst domain" in cell.name for cell, _ in good.cells)
    assert world(0.005, 0.05, -0.1).verdict == DOES_NOT
    assert world(0.02, 0.02, 0.1).verdict == CANNOT_TELL  # spares the worst domain, and is no steadier


def test_random_tokens_are_corrupted_text_too():
    found = verdict("A17", {"web": 0.0, "web~noise0.2": 0.2, "random-tokens": 0.3})
    assert found.verdict == REPLICATES
    assert {cell.name.split(" ")[5] for cell, _ in found.cells} == {"web~noise0.2", "random-tokens"}


def test_effects_of_one_size_are_hardly_ever_called_different():
    rng = np.random.default_rng(1)
    p = [heterogeneity([Interval.of_t(1 + 0.1 * rng.normal(), 0.1, 200) for _ in range(6)]) for _ in range(300)]
    assert binom.ppf(0.001, 300, 0.05) <= sum(value < 0.05 for value in p) <= binom.ppf(0.999, 300, 0.05)
    assert heterogeneity([Interval.of_t(k, 0.1, 200) for k in range(3)]) < 1e-6
    assert heterogeneity([Interval.of_t(1, 0.1, 9)]) == 1.0
