"""Progress lines keep to the width of a terminal; a selection that leaves nothing is explained."""

from __future__ import annotations

import doctest
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import progress
from benchmarks.progress import clock, fit
from benchmarks.selection import hint
from fixtures.records import Case
from tests.simulate import World, simulate

CASES = [Case.from_dict(case) for case in simulate(World())[0]["cases"]]


def test_the_example_holds():
    assert doctest.testmod(progress).failed == 0


def test_a_whole_line_at_eighty_columns():
    line = fit(
        "[197/217  90 %]  12:34 left  ",
        "known-corpus-1m-sparsegpt-2of4-random-tokens-s4",
        "  10.8 s  5.148 nats a token",
        80,
    )
    assert len(line) <= 80
    assert "-s4  10.8 s  5.148 nats a token" in line


@given(st.text("abc-", min_size=1, max_size=80), st.integers(60, 200))
def test_a_line_is_as_wide_as_the_terminal_at_most_and_keeps_both_ends(case, width):
    line = fit("[1/9] ", case, "  1.0 s", width)
    assert len(line) <= width
    assert line.startswith(f"[1/9] {case[:9]}")
    assert line.endswith(f"{case[-9:]}  1.0 s")
    assert (case in line) == (len(case) + 13 <= width)


def test_a_log_has_no_width():
    assert fit("[1/9] ", "x" * 300, "  1.0 s", None).count("x") == 300


def test_a_new_stage_is_told_at_once_and_steps_of_one_at_most_ten_times_a_second(tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock) / 100)
    stage = progress.StageFile(tmp_path)
    told = []

    def tell(text):
        stage(text)
        told.append(json.loads(stage.path.read_text())["stage"])

    stage.begin("a-case")
    for text in ("prepare", "load", *(f"compress block {k}/40" for k in range(1, 41)), "tasks piqa"):
        tell(text)
    assert told[:3] == ["prepare", "load", "compress block 1/40"]
    assert told[-1] == "tasks piqa"
    assert len(set(told)) == 3 + 4  # forty steps, a hundredth of a second apart
    assert json.loads(stage.path.read_text())["case"] == "a-case"
    stage.end()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0:00"), (75, "1:15"), (3600, "1:00:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("markers", "keywords", "words"),
    [
        ("case(method='wanda-0.6')", "", "did you mean 'wanda-0.5'"),
        ("case(sauce='web')", "", "no 'sauce': model, method, source, seed"),
        ("case(source='webb', seed=1)", "", "did you mean 'web'"),
        ("case(seed=9)", "", "there are: 0, 1, 2, 3, 4"),
        ("case(seed='1')", "", "seed=1"),
        ("slow", "", "--dry-run"),
        ("", "wanda-0.5-webs", "known-corpus-1m-wanda-0.5-web-s"),
    ],
)
def test_a_selection_of_nothing_is_explained(markers, keywords, words):
    text = hint(markers, keywords, CASES)
    assert words in text
    assert f"none of the {len(CASES)} cases" in text
