"""Tables and drawings of what was swept: what the records hold is shown, what they do not is said."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import sweep_tables, sweeps
from benchmarks.claims.world import World
from fixtures.store import Store
from tests.helpers_claims import Truth, records

KIND = {"model": "known-corpus-1m", "tasks": (), "length": 256, "noise": 0.001, "draw_sd": 0.002}
SOURCES = ("web", "news", "dialogue")
LEVELS = ("wanda-0.3", "wanda-0.5", "wanda-0.7", "wanda-4of8", "wanda-2of4")


def growing(case):
    """The gap between news and dialogue: none at 0.3, more the more is pruned."""
    target = case.method.partition("-")[2]
    gap = {"0.3": 0.0, "0.5": 0.1, "0.7": 0.4, "4of8": 0.1, "2of4": 0.2}.get(target, 0.0)
    return {"web": 0, "news": 0.5, "dialogue": 1}[case.draw.source] * gap


def pruned(**more):
    """Wanda over three sources, and magnitude once: it needs none."""
    kind = {**KIND, "sequences": 32, "shift": growing, **more}
    found = records(Truth(methods=LEVELS, sources=SOURCES, seeds=5, **kind))
    free = Truth(methods=("magnitude-0.5",), sources=("web",), seeds=1, damage={"magnitude-0.5": 0.3}, **kind)
    return found + records(free)[1:]


def of_amounts(sequences=(4, 16, 64)):
    """Ten draws at each of so many sequences: the mean stays, the SD falls as the root of the amount."""
    kind = {**KIND, "methods": ("wanda-0.5",), "sources": SOURCES, "seeds": 10, "own": 0.0}
    made = [records(Truth(**{**kind, "sequences": n, "draw_sd": 0.08 / n**0.5})) for n in sequences]
    return [record for found in made for record in found]


def written():
    names = [f"selfgen(web,t={t})" for t in (1, 4, 64)] + ["selfgen(web,t=4,k=0)", "selfgen(web,t=4,k=10)"]
    levels = dict(zip([*names, "web", "selfgen-bos"], (0.3, 0.2, 0.1, 0.25, 0.22, 0.0, 0.4), strict=True))
    return records(Truth(methods=("wanda-0.5",), sources=tuple(levels), source=levels, seeds=3, sequences=32, **KIND))


def repaired():
    found = records(
        Truth(methods=("wanda-0.6", "wanda-0.6+br"), sources=("news", "web"), seeds=3, sequences=32, **KIND)
    )
    for record in found[1:]:
        if record.case["method"].endswith("+br"):
            stages = {
                "pruned": {"calibration": 4.0, "held_out": 5.0},
                "reconstructed": {"calibration": 2.0, "held_out": 3.0},
            }
            record.compression["details"] = {"reconstruction": [stages]}
    return found


def likened():
    names = [f"s{k}" for k in range(13)]
    levels = {name: 0.02 * k for k, name in enumerate([*names, "selfgen(s0,t=2)"])}
    found = records(Truth(methods=("wanda-0.5",), sources=tuple(levels), source=levels, seeds=3, sequences=32, **KIND))
    for record in found[1:]:
        level = levels[record.case["draw"]["source"]]
        values = {"jaccard-3": -level, "lsh-3": 0.0, "js-1": 0.0, "js-1 to dclm": -level, "own": level}
        record.draw["similarity"] = values
    return found


def saved(tmp_path, found):
    store = Store(tmp_path / "store")
    for record in found:
        store.save(record.keys["record"], record)
    return ["--store", str(store.root)]


def test_the_component_grows_stands_beside_its_null_and_magnitude():
    (sweep,) = sweep_tables.by_sparsity(World(pruned()))
    assert [row["target"] for row in sweep.rows] == ["0.3", "0.5", "0.7", "4of8", "2of4"]
    assert all(row["sources"] == 3 and row["draws"] == 5 for row in sweep.rows)
    by = {row["target"]: row for row in sweep.rows}
    assert by["0.3"]["gap"] < 2 * by["0.3"]["alone"]
    assert by["0.3"]["low"] == 0
    for target, gap in (("0.5", 0.1), ("0.7", 0.4), ("2of4", 0.2)):
        assert by[target]["sd"] == pytest.approx(gap / 2, rel=0.1)
        assert by[target]["low"] < gap / 2 < by[target]["high"]
        assert by[target]["gap"] == pytest.approx(gap, rel=0.1)
        assert by[target]["gap"] > by[target]["alone"]
        assert by[target]["worst"] == "dialogue"
    assert by["0.5"]["magnitude"] == pytest.approx(0.3, abs=0.002)
    assert by["0.7"]["magnitude"] is None
    line = sweep.lines[2]
    assert line[0] == "wanda-0.7"
    assert float(line[7].removesuffix(" %")) == pytest.approx(100 * by["0.7"]["sd"] / by["0.7"]["damage"], abs=0.06)


@pytest.mark.parametrize("left", [LEVELS[:3], LEVELS])
def test_few_sparsities_or_sources_are_no_sweep(left):
    kept = [r for r in pruned() if not r.draw or r.case["method"] in left]
    if left == LEVELS:
        kept = [r for r in kept if not r.draw or r.case["draw"]["source"] != "web"]
    assert not list(sweep_tables.by_sparsity(World(kept)))


def test_mean_and_spread_of_amounts_stand_apart():
    (sweep,) = sweep_tables.by_amount(World(of_amounts()))
    assert [row["tokens"] for row in sweep.rows] == [4 * 256, 16 * 256, 64 * 256]
    sds = np.array([row["sd"] for row in sweep.rows])
    assert sds[:-1] / sds[1:] == pytest.approx([2, 2], rel=0.05)
    assert sweep.rows[-1]["change"] == 0
    for row in sweep.rows[:-1]:
        assert row["low"] <= 0 <= row["high"]
    assert [line[-1] for line in sweep.lines] == ["cannot tell", "equal", ""]


def test_an_amount_of_fewer_draws_does_not_take_those_of_the_others():
    whole = of_amounts()
    few = [r for r in of_amounts(sequences=(4, 8, 16, 64)) if r.draw and r.case["draw"]["n_sequences"] == 8]
    world = World([*whole, *(r for r in few if r.case["draw"]["seed"] < 2)])
    (sweep,) = sweep_tables.by_amount(world)
    assert [row["tokens"] for row in sweep.rows] == [4 * 256, 16 * 256, 64 * 256]
    assert {row["draws"] for row in sweep.rows} == {max(r.case["draw"]["seed"] for r in whole if r.draw) + 1}
    (same,) = sweep_tables.by_amount(World([*whole, *few]))
    assert [row["tokens"] for row in same.rows] == [4 * 256, 8 * 256, 16 * 256, 64 * 256]


def test_what_the_model_wrote_is_in_order_beside_real_text():
    (sweep,) = sweep_tables.self_written(World(written()))
    assert [row["source"] for row in sweep.rows] == [
        "web", "selfgen(web,t=1)", "selfgen(web,t=4,k=0)", "selfgen(web,t=4,k=10)", "selfgen(web,t=4)",
        "selfgen(web,t=64)", "selfgen-bos",
    ]  # fmt: skip
    means = [row["damage"]["wanda-0.5"].mean() for row in sweep.rows]
    assert np.diff(means[1:-1]) == pytest.approx([-0.05, -0.03, -0.02, -0.1], abs=0.01)
    assert re.fullmatch(r"0\.9\d+ ±0\.\d+", sweep.lines[-1][1])


def test_errors_of_reconstruction_on_both_texts():
    (sweep,) = sweep_tables.reconstructed(World(repaired()))
    line, _ = sweep.lines
    assert line[:6] == ("wanda-0.6+br", "news", "3", "4 to 2", "5 to 3", "1.50")


def test_likeness_is_of_natural_sources_and_a_constant_measure_is_left_out():
    (sweep,) = sweep_tables.by_likeness(World(likened()))
    assert [line[:3] for line in sweep.lines] == [("jaccard-3", "13", "1.00"), ("js-1 to dclm", "13", "-1.00")]


def test_the_page_and_a_drawing_a_kind_are_written(tmp_path, capsys):
    where = saved(tmp_path, pruned() + of_amounts() + written() + repaired() + likened())
    assert sweeps.main([*where, "--out", str(tmp_path / "out")]) == 0
    names = {"sparsity.svg", "amount.svg", "self-written.svg", "reconstruction.svg", "similarity.svg", "sweeps.md"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert {path.rpartition("/")[2] for path in capsys.readouterr().out.split()} == names
    page = (tmp_path / "out" / "sweeps.md").read_text()
    assert all(f"({name})" in page for name in names - {"sweeps.md"})
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.count("|") == head.count("|") for head, line in pairwise(tables) if line.startswith("|---"))
    for name in names - {"sweeps.md"}:
        ElementTree.parse(tmp_path / "out" / name)  # well-formed


def test_records_without_a_sweep_and_folders_without_records_are_said(tmp_path, capsys):
    assert sweeps.main(saved(tmp_path, records(Truth(methods=("wanda-0.5",), seeds=2, **KIND)))) == 2
    assert "these records hold no sweep: needed are four sparsities" in capsys.readouterr().err
    assert sweeps.main(["--store", str(tmp_path / "nowhere")]) == 2
    assert "is neither a store" in capsys.readouterr().err
