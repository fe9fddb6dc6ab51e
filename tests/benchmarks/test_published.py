"""Orderings in any table of figures a draw: exact on small tables, scipy's own answers on others, errors by name."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.published import analyse, main, read


def write(path, rows, header=("model", "method", "source", "draw", "accuracy")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def pair(found, a, b):
    return next(p for p in found["pairs"] if (p["a"], p["b"]) == (a, b))


def test_a_table_with_known_answers(tmp_path, capsys):
    rows = [
        ("m", "wanda", s, k, v)
        for s, vs in {"a": (3, 4, 5), "b": (1, 2, 3), "c": (0, 0, 0)}.items()
        for k, v in enumerate(vs)
    ]
    path = write(tmp_path / "t.csv", rows)
    assert main([str(path), "--json", str(tmp_path / "t.json")]) == 0
    found = json.loads((tmp_path / "t.json").read_text())[0]
    assert found["label"] == "m wanda"
    assert found["gap"]["estimate"] == 4
    assert [row["sd"] for row in found["sources"]] == [1, 1, 0]
    assert pair(found, "a", "b")["a_better"] == pytest.approx((8 + 0.5) / 9)  # one tie, counted half
    assert pair(found, "a", "c")["a_better"] == 1
    assert pair(found, "a", "c")["low"] < 1
    assert "P(a > b) = 0.944" in capsys.readouterr().out


def test_agrees_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1.0, 0.5, 12), rng.normal(0.6, 1.0, 20)
    found = analyse({"a": a, "b": b})
    row, welch = pair(found, "a", "b"), stats.ttest_ind(a, b, equal_var=False)
    interval = welch.confidence_interval()
    assert row["a_better"] == pytest.approx(stats.mannwhitneyu(a, b).statistic / (12 * 20))
    assert (row["p"], row["difference_low"], row["difference_high"]) == pytest.approx(
        (welch.pvalue, interval.low, interval.high)
    )
    assert found["gap"]["low"] == row["difference_low"]


def test_normal_draws_give_the_chance_that_theory_does():
    rng = np.random.default_rng(1)
    found = analyse({"a": rng.normal(0.3, 1, 4000), "b": rng.normal(0.0, 1, 4000)})
    row = pair(found, "a", "b")
    assert row["low"] < stats.norm.cdf(0.3 / math.sqrt(2)) < row["high"]
    assert row["high"] - row["low"] < 0.03
    for source in found["sources"]:
        assert source["low"] < 1 < source["high"]


def test_the_interval_of_an_sd_covers_it():
    rng = np.random.default_rng(2)
    rows = [analyse({"a": rng.normal(0, 1, 8)})["sources"][0] for _ in range(600)]
    assert 0.93 < np.mean([row["low"] < 1 < row["high"] for row in rows]) < 0.97


def test_smaller_may_be_better():
    draws = {"a": np.array([1.0, 1.1, 1.2]), "b": np.array([2.0, 2.2, 2.1])}
    found = analyse(draws, lower=True)
    assert [row["source"] for row in found["sources"]] == ["a", "b"]
    assert pair(found, "a", "b")["a_better"] == 1
    assert 0 < found["gap"]["low"] < found["gap"]["estimate"] < found["gap"]["high"]


def test_one_draw_a_source_has_no_spread_and_says_so(tmp_path, capsys):
    path = write(tmp_path / "t.csv", [("m", "x", s, 0, v) for s, v in (("a", 2), ("b", 1))])
    assert main([str(path)]) == 0
    assert "one draw, 1 draws" in capsys.readouterr().out


def test_records_of_a_run_are_read_too(tmp_path):
    import reports
    from benchmarks import gates
    from tests.simulate import World, simulate

    manifest, records = simulate(World(methods=("wanda-0.5",), source_effect={"code": 0.05}, documents=8))
    reports.write(manifest, records, gates.judge(manifest, records), tmp_path)
    name, table = read(tmp_path / "records.csv", "nll_web")
    assert name == "nll_web"
    found = analyse(table[("known-corpus-1m", "wanda-0.5")], lower=True)
    assert found["sources"][-1]["source"] == "code"
    assert sum(row["draws"] for row in found["sources"]) == 15  # the dense model has no source


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, [], "cannot be read"),
        ("draw,x\n0,1\n", [], "no column 'source'"),
        ("source,x,y\na,1,2\n", [], "--value NAME: x, y"),
        ("source,acc\na,1\n", ["--value", "ac"], "did you mean 'acc'"),
        ("source,x\na,1\na,one\n", [], "line 3: x is 'one'"),
        ("source,x\na,nan\n", [], "line 2"),
        ("source,x\n", [], "no row"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, capsys, content, options, words):
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    assert main([str(tmp_path / "t.csv"), *options]) == 2
    assert words in capsys.readouterr().err
