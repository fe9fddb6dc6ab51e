"""The axes of a grid: sweeps get ids of their own, questions find their cases, and the same work is done once."""

from __future__ import annotations

import tomllib

import pytest

from benchmarks.estimate import estimate, parameters
from benchmarks.grid import QUESTIONS, GridError, Overrides, build_cases, build_questions, load_profile

GRID = """
[[grid]]
models = ["known-corpus-1m"]
methods = ["wanda-0.5"]
sources = ["web", "news"]
seeds = 2
sequences = 8
length = 64
[grid.evaluation]
domains = ["dialogue"]
documents = 4
"""


def profile(text):
    return {"name": "p", **tomllib.loads(text)}


def ids(text, **options):
    return [case.id for case in build_cases(profile(text), Overrides(**options))]


def sweep(**lines):
    more = "\n".join(f"{name} = {value}" for name, value in lines.items())
    return GRID + GRID.replace("seeds = 2", f"seeds = 2\n{more}")


def test_amounts_are_prefixes_with_ids_of_their_own():
    found = build_cases(profile(sweep(amounts="[1, 8, 16]")), Overrides())
    draws = {case.id: case.draw for case in found if case.draw and case.draw.source == "web" and case.draw.seed == 0}
    base = "known-corpus-1m-wanda-0.5-web-s0"
    assert {name: draw.n_sequences for name, draw in draws.items()} == {base: 8, f"{base}-n1": 1, f"{base}-n16": 16}
    assert len({(draw.seed, draw.slices, draw.sequence_length) for draw in draws.values()}) == 1


def test_lengths_keep_the_tokens():
    found = build_cases(profile(sweep(lengths="[32, 64, 128]")), Overrides())
    shapes = {(case.draw.n_sequences, case.draw.sequence_length) for case in found if case.draw}
    assert shapes == {(16, 32), (8, 64), (4, 128)}
    assert "known-corpus-1m-wanda-0.5-web-s0-16x32" in {case.id for case in found}
    with pytest.raises(GridError, match="whole sequences of 48"):
        ids(sweep(lengths="[48]"))


def test_amounts_and_lengths_are_crossed():
    found = build_cases(profile(sweep(amounts="[4, 8]", lengths="[32, 64]")), Overrides())
    shapes = {(case.draw.n_sequences, case.draw.sequence_length) for case in found if case.draw}
    assert shapes == {(8, 32), (4, 64), (16, 32), (8, 64)}


def test_batch_sizes_have_a_dense_case_each():
    found = ids(sweep(batch_sizes="[16, 4]"))
    assert "known-corpus-1m-dense-b4" in found
    assert "known-corpus-1m-wanda-0.5-news-s1-b4" in found
    assert len(found) == len(set(found)) == 2 * (1 + 4)


def test_a_tag_keeps_another_evaluation_apart():
    text = GRID + GRID.replace("seeds = 2", 'seeds = 2\ntag = "all"').replace("documents = 4", "documents = 9")
    found = ids(text)
    assert "known-corpus-1m-dense-all" in found
    assert len(found) == 2 * (1 + 4)


def test_the_command_line_takes_the_place_of_a_sweep():
    assert len(ids(sweep(amounts="[1, 8, 16]"), sequences=4)) == 1 + 4


def test_questions_find_their_cases():
    text = sweep(question='"amount"', amounts="[1, 8]")
    asked = build_questions(profile(text), Overrides())
    assert asked["known-corpus-1m-wanda-0.5-web-s0-n1"] == "amount"
    assert asked["known-corpus-1m-wanda-0.5-web-s0"] == QUESTIONS[0]  # the first grid that has it
    with pytest.raises(GridError, match="no question 'amout'; did you mean 'amount'"):
        ids(sweep(question='"amout"'))


def test_an_unknown_setting_of_a_grid_is_named():
    with pytest.raises(GridError, match="no setting 'amount'; did you mean 'amounts'"):
        ids(sweep(amount="[1]"))


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_its_file(name):
    module = __import__(f"benchmarks.test_{name}", fromlist=["QUESTION"])
    assert name == module.QUESTION


@pytest.mark.parametrize("name", ["standard", "known-corpus", "paper"])
def test_profiles_describe_cases(name, monkeypatch, tmp_path):
    read = load_profile(name)
    for grid in read["grid"]:  # tasks and texts of a mirror need not be here
        grid["evaluation"] = {"domains": ["news"], "documents": 4}
        grid["sources"] = ["web", "news"]
        grid["tag"] = grid.get("tag", "") + str(id(grid))
    found = build_cases(read, Overrides())
    assert {case.device for case in found} == ({"cpu"} if name == "known-corpus" else {"cuda"})
    shown = estimate(found)
    assert (shown.core_hours if name == "known-corpus" else shown.hours) > 0


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("facebook/opt-6.7b", 6.7e9),
        ("meta-llama/Llama-3.2-1B", 1e9),
        ("smollm2-135m", 1.35e8),
        ("known-corpus-1m@2", 1e6),
        ("Qwen/Qwen3-0.6B-Base", 6e8),
        ("google/gemma-3-1b-pt", 1e9),
        ("org/thing", None),
    ],
)
def test_size_from_the_name(model, size):
    assert parameters(model) == size


def test_estimates_grow_with_the_work_and_name_what_they_leave_out():
    def of(**changes):
        text = GRID
        for old, new in changes.items():
            text = text.replace(old, new)
        return estimate(build_cases(profile(text.replace("known-corpus-1m", "org/big-7b")), Overrides()))

    small = of()
    assert of(**{"seeds = 2": "seeds = 8"}).core_hours > 1.5 * small.core_hours
    assert small.disk > 14e9  # the weights
    unknown = estimate(build_cases(profile(GRID.replace("known-corpus-1m", "org/thing")), Overrides()))
    assert unknown.unknown == ("org/thing",)
    assert "org/thing" in str(unknown)
