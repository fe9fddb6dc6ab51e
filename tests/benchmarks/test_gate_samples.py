"""The gate on folders of lm-eval results: verdicts, exit status, and what cannot be paired."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from benchmarks.gate import compare, is_informative, main
from benchmarks.gates_samples import TaskRuns, read_folder
from tests.simulate import digest


def write(folder, correct, task="piqa", run=0, hashes=None, metric="acc"):
    """One file as lm-eval 0.4.13 names and fills it; ``correct`` is 0/1 of shape [n_items]."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_2026-01-01T00-00-{run:02d}.000000.jsonl"
    with path.open("w") as file:
        for k, right in enumerate(correct):
            name = digest(task, k) if hashes is None else hashes[k]
            row = {"doc_id": k, "doc": {}, "target": str(k % 2), "filtered_resps": [[-1.0, False], [-2.0, False]]}
            row |= {"filter": "none", "metrics": [metric], "doc_hash": name, "prompt_hash": name, metric: float(right)}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def sides(tmp_path):
    """A baseline of 2,000 items and a function that writes a candidate which flips and loses some of them."""
    rng = np.random.default_rng(0)
    right = rng.random(2000) < 0.75
    write(tmp_path / "a", right)

    def candidate(loss, runs=1, flips=0.02):
        for run in range(runs):
            flipped = np.where(rng.random(2000) < flips, ~right, right)
            write(tmp_path / "b", flipped & (rng.random(2000) >= loss), run=run)

    return tmp_path, candidate


def gate(folder, *options):
    return main([str(folder / "a"), str(folder / "b"), "-o", str(folder / "out"), *options])


def test_separators_of_lines_inside_of_a_document_end_no_line(sides, capsys):
    """lm-eval writes U+2028 and U+0085 as they are."""
    folder, candidate = sides
    candidate(0.0)
    for path in folder.rglob("*.jsonl"):
        rows = [{**json.loads(line), "doc": {"text": "one\u2028two\x85three"}} for line in path.open()]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert gate(folder) == 0
    assert "cannot be read" not in capsys.readouterr().err


def test_chance_and_the_most_frequent_answer_are_read_off_the_samples(tmp_path):
    """Three in four say 1 of two choices; with one continuation an item there is nothing to guess."""
    path = write(tmp_path / "a", [1] * 8)
    rows = [{**json.loads(line), "target": str(int(k % 4 > 0))} for k, line in enumerate(path.open())]
    path.write_text("\n".join(map(json.dumps, rows)))
    (found,) = read_folder(tmp_path / "a").values()
    assert (found.chance, found.majority) == (1 / 2, 3 / 4)
    path.write_text("\n".join(json.dumps({**row, "filtered_resps": [[-1.0, False]]}) for row in rows))
    (found,) = read_folder(tmp_path / "a").values()
    assert (found.chance, found.majority) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("right", "chance", "majority", "expected"),
    [(16, 0.5, 0.5, True), (13, 0.5, 0.5, False), (16, 0.5, 0.6, False), (16, 0.6, 0.5, False)],
)
def test_a_task_that_is_not_surely_above_guessing_is_left_out(right, chance, majority, expected):
    """Wilson's lower bound of 16 of 20 is .584, of 13 it is .433."""
    correct = np.array([[1]] * right + [[0]] * (20 - right))
    assert (
        is_informative(TaskRuns("piqa", "acc", [("d", "p", k) for k in range(20)], correct, chance, majority))
        is expected
    )


def test_sides_of_one_and_of_two_runs_are_compared_by_their_shares():
    """Ten items right in the only run before, and in one of two after: all of them got worse."""
    before, after = (
        TaskRuns("piqa", "acc", [("d", "p", k) for k in range(10)], np.tile(rows, (5, 1)), 0.0, 0.0)
        for rows in ([[1], [1]], [[1, 0], [0, 1]])
    )
    found = compare({"piqa": before}, {"piqa": after}, margin=0.02)[0]
    assert found.p == pytest.approx(2.0**-10)
    assert (found.estimate, found.flips) == (0.5, (10, 0))


def verdicts(folder):
    return json.loads((folder / "out" / "gate.json").read_text())


def test_a_lossless_candidate_passes(sides):
    folder, candidate = sides
    candidate(loss=0.0)
    start = time.process_time()
    assert gate(folder) == 0
    assert time.process_time() - start < 5
    found = verdicts(folder)
    assert [v["subject"] for v in found] == ["pooled", "piqa"]
    assert found[0]["outcome"] == "pass"
    assert "Pass" in (folder / "out" / "gate.html").read_text()


# Three seeds are a sample of seeds, with few degrees of freedom: surer of more, and so less sure.
@pytest.mark.parametrize(("runs", "p"), [(1, 1e-6), (3, 0.01)])
def test_a_drop_fails(sides, runs, p):
    folder, candidate = sides
    candidate(loss=0.06, runs=runs)
    if runs > 1:
        for run in range(1, runs):
            right = [json.loads(line)["acc"] for line in next((folder / "a").glob("*.jsonl")).open()]
            write(folder / "a", right, run=run)
    assert gate(folder) == 1
    assert verdicts(folder)[0]["p"] < p
    assert verdicts(folder)[0]["details"]["runs"] == [runs, runs]


def test_too_few_items_are_undecided_and_never_a_pass(tmp_path, capsys):
    rng = np.random.default_rng(1)
    right = rng.random(100) < 0.8
    write(tmp_path / "a", right)
    write(tmp_path / "b", np.where(rng.random(100) < 0.1, ~right, right))
    assert gate(tmp_path) == 0
    assert gate(tmp_path, "--strict-gates") == 6
    assert "refused regression[pooled]" in capsys.readouterr().out
    assert "items instead of 100" in verdicts(tmp_path)[0]["reason"]


@pytest.mark.parametrize(("items", "outcome"), [(1, "refused"), (100, "refused"), (400, "pass")])
def test_a_few_items_without_a_change_exclude_nothing(tmp_path, items, outcome):
    for side in "ab":
        write(tmp_path / side, [1] * items)
    assert gate(tmp_path) == 0
    found = verdicts(tmp_path)[0]
    assert found["outcome"] == outcome
    assert outcome == "pass" or "it needs about 250 items" in found["reason"]


def test_other_prompts_are_not_paired(sides):
    folder, _ = sides
    write(folder / "b", [1] * 2000, hashes=[digest("other prompt", k) for k in range(2000)])
    assert gate(folder, "--strict-gates") == 6
    assert "0 of 2000 items" in verdicts(folder)[0]["reason"]


def test_other_tasks_are_not_paired(sides):
    folder, candidate = sides
    candidate(loss=0.0)
    write(folder / "b", [1, 0] * 50, task="arc_easy")
    assert gate(folder, "--strict-gates") == 6
    assert "arc_easy" in verdicts(folder)[0]["reason"]


def test_a_task_at_chance_is_shown_but_not_pooled(sides):
    folder, candidate = sides
    candidate(loss=0.0)
    rng = np.random.default_rng(2)
    for side in "ab":
        write(folder / side, rng.random(300) < 0.5, task="winogrande")
    assert gate(folder) == 0
    found = verdicts(folder)
    assert found[0]["details"]["left_out"] == ["winogrande"]
    assert [v["subject"] for v in found] == ["pooled", "piqa", "winogrande"]


def test_items_that_occur_twice_count_twice(tmp_path):
    hashes = [digest("same")] * 2 + [digest(k) for k in range(98)]
    for side in "ab":
        write(tmp_path / side, [1] * 100, hashes=hashes)
    assert gate(tmp_path) == 0
    assert verdicts(tmp_path)[0]["details"]["items"] == 100


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: None, "is no folder"),
        (lambda folder: folder.mkdir(), "no samples_<task>_<date>.jsonl"),
        (lambda folder: write(folder, [1, 0]).write_text("{"), "cannot be read"),
        (lambda folder: write(folder, [1, 0]).write_text('{"acc": 1}'), "doc_hash"),
        (lambda folder: write(folder, [0.5, 1.0], metric="f1"), "zeros and ones"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, capsys, prepare, words):
    write(tmp_path / "a", [1, 0] * 20)
    prepare(tmp_path / "b")
    assert gate(tmp_path) == 2
    assert words in capsys.readouterr().err


def test_a_task_of_one_item_and_several_runs_is_no_crash(tmp_path, capsys):
    for side in "ab":
        for run in range(2):
            write(tmp_path / side, [True], run=run)
    assert gate(tmp_path, "--strict-gates") == 6
    assert "refused" in capsys.readouterr().out
