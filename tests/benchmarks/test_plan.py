"""``--dry-run`` names every amount of text and everything that is scored, and prices tasks by their own items."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.estimate import ITEMS, estimate, rates, score_seconds, size_of
from benchmarks.grid import Overrides, build_cases, load_profile
from benchmarks.plan import plan
from fixtures.records import Case, DrawSpec, EvaluationSpec


def case(amount, seed=0, source="news", **evaluation):
    draw = DrawSpec(source=source, seed=seed, n_sequences=amount, sequence_length=64)
    return Case("smollm2-135m", "wanda-0.5", draw, EvaluationSpec(**evaluation), device="cuda")


def row(text, method="wanda-0.5"):
    (found,) = [line for line in text.splitlines() if f" {method} " in line]
    return found


def test_amounts_of_the_same_draws_stand_together():
    shown = row(plan([case(amount, seed) for amount in (1, 4, 16) for seed in (0, 1)]))
    assert shown.endswith("2 of 1, 4, 16 x 64 tokens from news")


def test_amounts_of_other_sources_stand_apart():
    shown = row(plan([case(4), case(4, source="web"), case(8), case(8, seed=1)]))
    assert shown.endswith("1 of 4 x 64 tokens from news, web; 2 of 8 x 64 tokens from news")


def test_both_tables_of_the_standard_grid_are_seen():
    shown = row(plan(build_cases(load_profile("standard"), Overrides())))
    assert "10 of 44 x 512 tokens from c4, cnn_dailymail, dclm," in shown
    assert "10 of 72 x 512 tokens from c4, cnn_dailymail, redpajama, wikipedia" in shown


def test_what_is_scored_is_said_with_its_number_of_cases():
    tasks = {"tasks": ("piqa", "rte"), "items": 500}
    lines = plan([case(1, **tasks), case(2, **tasks), case(1, domains=("web",), documents=32)]).splitlines()
    assert "2 of them scored on 2 tasks (piqa, rte), 500 items each at most" in lines
    assert "1 of them scored on the loss on 1 text (web), 32 documents of 256 tokens at most" in lines
    assert "all items" in plan([case(1, tasks=("piqa",))])
    assert "words of prompts changed (mask0.1)" in plan([case(1, tasks=("piqa",), inputs="mask0.1")])


@pytest.mark.parametrize(
    ("name", "items", "priced"),
    [("mmlu", None, 14042), ("rte", None, 277), ("rte", 500, 277), ("hellaswag", 500, 500), ("riddles", None, ITEMS)],
)
def test_a_task_costs_its_own_items(name, items, priced):
    table, one = rates()["score"], case(1, tasks=(name,), items=items)
    each = table["item_seconds"] + 1e9 * table["item_tokens"] / table["forward"]
    assert score_seconds(one, 1e9) == pytest.approx(priced * each)
    assert score_seconds(replace(one, device="cpu"), 1e9) > score_seconds(one, 1e9)


def test_a_folder_is_priced_by_its_weights_whatever_its_name(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "ours #7b"
    folder.mkdir()
    (unknown,) = estimate([replace(case(8), model=str(folder))]).unknown  # nothing in it yet
    assert unknown == str(folder)
    save_file({"a": np.zeros((300, 40)), "b": np.zeros(8)}, folder / "model-1.safetensors")
    save_file({"c": np.zeros((2, 3, 4))}, folder / "model-2.safetensors")
    assert size_of(str(folder)) == 300 * 40 + 8 + 24
    found = estimate([replace(case(8), model=str(folder))])
    assert found.unknown == ()
    assert found.hours > 0
    assert "time unknown; " in str(estimate([replace(case(8), model="org/thing")]))


def test_a_damaged_file_is_no_size(tmp_path):
    for content in (b"", b"12345678", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]"):
        (tmp_path / "model.safetensors").write_bytes(content)
        assert size_of(str(tmp_path)) is None, content
