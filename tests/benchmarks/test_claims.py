"""The claims themselves: the rows, and the verdicts of simulated records in which it is known what is so."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import stored
from benchmarks.claims import Cell, Effect
from benchmarks.claims import __main__ as command
from benchmarks.claims import judge as judging
from benchmarks.claims.judge import Claim, ClaimError, judge, load
from benchmarks.claims.paper_table import paper_tables
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES
from benchmarks.claims.table import as_json, markdown
from benchmarks.claims.world import World
from benchmarks.grid import load_profile
from fixtures.bundle import bundle
from fixtures.store import Store
from reports.statistics import Interval
from tests.helpers_claims import METHODS, SOURCES, Truth, claim, records, verdict

DAMAGE = {"gptq-w4g64": 0.1, "gptq-w3g64": 0.4, "spqr-w4g16": 0.1, "awq-w3g64": 0.4, "wanda-0.5": 0.6}
DAMAGE |= {"wanda-2of4": 0.6, "sparsegpt-0.5": 0.6, "sparsegpt-2of4": 0.6}
SPREAD = {"spqr-w4g16": 0.01, "gptq-w4g64": 0.03, "awq-w3g64": 0.03, "gptq-w3g64": 0.08, "wanda-2of4": 0.2}
SPREAD |= {"sparsegpt-2of4": 0.6, "wanda-0.5": 0.05, "sparsegpt-0.5": 0.05}
NEAR = {source: 0.1 * k for k, source in enumerate(SOURCES)}
FAMILY = {
    f"{letter}{n}" for letter, most in (("A", 24), ("B", 27), ("C", 24), ("X", 4), ("M", 6)) for n in range(1, most + 1)
}


def test_every_claim_has_its_row():
    rows = load()
    assert {row.id for row in rows} == FAMILY
    assert all(row.claim and row.command and row.needs for row in rows)


def test_what_a_claim_lacks_is_said_without_the_table_it_stands_in():
    reasons = {result.claim.id: result.reason for result in judge([claim("A3"), claim("B17")], World([]))}
    assert reasons["A3"] == (
        "needs ten draws of at least four sources, every calibrated method (no records with two draws of a source)"
    )
    assert "(no records of a model 'known-corpus' with two draws of a source)" in reasons["B17"]


def test_only_what_was_read_in_a_paper_or_its_code_would_be_gated_on():
    assert {grade for row in load() for grade in row.grade.split("/") if grade} <= {"P", "C", "N", "S"}


def test_statistics_that_are_named_exist():
    for row in load():
        if row.statistic:
            module, _, name = row.statistic.partition(".")
            assert callable(getattr(__import__(f"benchmarks.claims.{module}", fromlist=[name]), name)), row.id


@pytest.mark.parametrize("row", load(), ids=lambda row: row.id)
def test_without_records_a_claim_is_not_run(row):
    result = judge([row], World([]))[0]
    assert result.verdict == NOT_RUN
    assert result.claim.command in markdown([result], {"records": 0})


# (claim, what is so, verdict)
WORLDS = [
    ("A1", Truth(damage=DAMAGE, draw_sd=0.1, tasks=("arc_easy", "piqa"), items=120), REPLICATES),
    ("A2", Truth(damage=dict.fromkeys(METHODS, 0.6), draw_sd=SPREAD), REPLICATES),
    ("A2", Truth(damage=dict.fromkeys(METHODS, 0.6), draw_sd={**SPREAD, "spqr-w4g16": 0.5}), DOES_NOT),
    ("A3", Truth(source={s: 3 * v for s, v in NEAR.items()}, draw_sd=0.01), REPLICATES),
    ("A3", Truth(draw_sd=0.1), DOES_NOT),
    ("A4", Truth(source=NEAR), REPLICATES),
    ("A12", Truth(task_source={("piqa", "c4"): 0.5, ("arc_easy", "dclm"): 0.4}), REPLICATES),
    ("A20", Truth(damage={**DAMAGE, "spqr-w4g16": 0.1}), REPLICATES),
    ("A20", Truth(damage={**DAMAGE, "gptq-w4g64": 2.0}), DOES_NOT),
    ("A21", Truth(draw_sd=SPREAD), REPLICATES),
    ("A21", Truth(draw_sd={**SPREAD, "awq-w3g64": 0.5}), DOES_NOT),
    ("A24", Truth(), REPLICATES),
    ("B1", Truth(damage=DAMAGE, source=NEAR), REPLICATES),
    ("B1", Truth(damage=dict.fromkeys(METHODS, 9.0), draw_sd=0.01), DOES_NOT),
    ("B12", Truth(source=NEAR), REPLICATES),
    ("M2", Truth(), REPLICATES),
    ("M5", Truth(), REPLICATES),
]


@pytest.mark.parametrize(("name", "truth", "expected"), WORLDS, ids=[f"{n}-{v}" for n, _, v in WORLDS])
def test_verdicts_of_known_worlds(name, truth, expected):
    result = verdict(name, truth)
    assert result.verdict == expected, (result.reason, result.headline)


def test_outcomes_that_disagree_cannot_tell():
    truth = Truth(
        damage=DAMAGE,
        source=NEAR,
        task_source={(t, s): -NEAR[s] for t in ("arc_easy", "hellaswag", "piqa") for s in SOURCES},
    )
    result = verdict("B1", truth)
    assert result.by_outcome["nll"] == REPLICATES != result.by_outcome["bpb"]
    assert result.verdict == CANNOT_TELL
    assert "disagree" in result.reason


def test_figures_beside_a_verdict_are_shown_where_there_are_no_others():
    """A1 rests on tasks; from records of losses alone it cannot be told, and what they say is said."""
    result = verdict("A1", Truth(tasks=(), methods=("wanda-0.5",)))
    assert result.verdict == CANNOT_TELL
    assert result.headline.outcome == "nll"
    assert "nats a token, detectable" in markdown([result], {"records": 1})


def test_no_source_effect_is_hardly_ever_called_one():
    found = [
        verdict("B1", Truth(run=k, seeds=6, methods=("wanda-0.5",), items=8, documents=8)).verdict for k in range(20)
    ]
    assert found.count(REPLICATES) <= 2


def test_holm_takes_back_what_the_family_makes_likely(monkeypatch):
    cell = Cell("m wanda-0.5", "nll", Effect(Interval.of_t(2.6, 1.0, 200)), "nats a token")
    monkeypatch.setattr(judging, "evidence", lambda claim, world: [cell])
    rows = [Claim(f"A{k}", "c", "", "", "n", "D", "", "x") for k in range(10)]
    alone, among = judge(rows[:1], World([]))[0], judge(rows, World([]))[0]
    assert alone.verdict == REPLICATES
    assert among.p_adjusted == pytest.approx(10 * alone.p)
    assert among.verdict == CANNOT_TELL
    assert "Holm" in among.reason


def judged_cells(monkeypatch, cells, **more):
    monkeypatch.setattr(judging, "evidence", lambda claim, world: cells)
    return judge([Claim("A1", "c", "", "", "n", "D", "", "x", **more)], World([]))[0]


def test_does_not_of_one_cell_among_many_is_what_chance_makes(monkeypatch):
    """No cell has an effect: one whole interval in forty lies below 0."""
    rng = np.random.default_rng(4)

    def cells():
        return [
            Cell(f"m{k} wanda-0.5", "nll", Effect(Interval.of_t(0.5 * rng.normal(), 0.5, 200)), "nats")
            for k in range(20)
        ]

    found = [judged_cells(monkeypatch, cells()) for _ in range(200)]
    assert sum(result.verdict == DOES_NOT for result in found) <= 200 * 0.025 + 3 * (200 * 0.025) ** 0.5
    alone = [DOES_NOT in [verdict for _, verdict in result.cells] for result in found]
    assert sum(alone) > 50  # without the correction
    assert any("surely" in result.reason for result in found)


def test_does_not_that_is_sure_stays_and_names_its_cell(monkeypatch):
    cells = [Cell(f"m{k} wanda-0.5", "nll", Effect(Interval.of_t(0.1, 0.5, 200)), "nats") for k in range(9)]
    wrong = Cell("m9 wanda-0.5", "nll", Effect(Interval.of_t(-3.0, 0.5, 200)), "nats")
    result = judged_cells(monkeypatch, [*cells, wrong])
    assert result.verdict == DOES_NOT
    assert result.headline is wrong
    assert judged_cells(monkeypatch, [*cells, wrong], some=True).verdict == CANNOT_TELL
    assert judged_cells(monkeypatch, [wrong, wrong], some=True).verdict == DOES_NOT


def test_one_claim_alone_is_corrected_over_its_family(tmp_path):
    store = Store(tmp_path / "store")
    for record in records(Truth(seeds=3, methods=("rtn-w4g64", "wanda-0.5"))):
        store.save(record.keys["record"], record)
    adjusted = []
    for only in ("B1", "B1, B16,B4"):
        assert command.main(["--store", str(store.root), "--out", str(tmp_path), "--only", only]) == 0
        rows = json.loads((tmp_path / "claims.json").read_text())["claims"]
        assert [row["id"] for row in rows][:1] == ["B1"]
        adjusted.append(rows[0]["p_adjusted"])
    assert adjusted[0] == adjusted[1]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_run_that_was_stopped_is_judged_as_far_as_it_goes(share):
    made = records(Truth(seeds=4))
    rng = np.random.default_rng(3)
    for result in judge(load(), World([r for r in made if not r.case["draw"] or rng.random() < share])):
        assert result.verdict in (REPLICATES, DOES_NOT, CANNOT_TELL, NOT_RUN)


def test_one_method_with_one_draw_takes_no_claim_away():
    made = records(Truth(seeds=4))
    few = [r for r in made if not r.case["draw"] or r.case["draw"]["seed"] == 0 or "gptq" not in r.case["method"]]
    found = judge([claim(name) for name in ("A1", "B1", "M1", "X1")], World(few))
    assert [result.verdict for result in found].count(NOT_RUN) == 0


def test_bad_input_is_named(tmp_path, capsys):
    (tmp_path / "records").mkdir()
    table = tmp_path / "figures.csv"
    table.write_text("model,method,source,acc\na,b,c,x\n")
    there = ["--store", str(tmp_path), "--out", str(tmp_path), "--only", "M4"]
    assert command.main([*there, "--published", str(table)]) == 2
    assert "line 2: acc is 'x'" in capsys.readouterr().err
    assert command.main([*there, "--published", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "foo.jsonl.xz").write_bytes(b"junk")
    assert command.main(["--store", str(tmp_path / "bundle")]) == 2
    assert "neither a store" in capsys.readouterr().err


def test_command_reads_stores_and_bundles(tmp_path, capsys):
    store = Store(tmp_path / "store")
    for record in records(Truth(seeds=2, methods=("rtn-w4g64", "wanda-0.5"))):
        store.save(record.keys["record"], record)
    bundle(store, tmp_path / "bundle")
    for folder in ("store", "bundle"):
        assert command.main(["--store", str(tmp_path / folder), "--out", str(tmp_path), "--only", "M2,B1"]) == 0
        found = json.loads((tmp_path / "claims.json").read_text())
        assert {row["id"]: row["verdict"] for row in found["claims"]}["M2"] == REPLICATES
    assert "M2   replicates" in capsys.readouterr().out
    assert command.main(["--store", str(tmp_path / "nowhere")]) == 2
    assert "neither a store" in capsys.readouterr().err


def test_the_papers_own_table():
    text = paper_tables(World(records(Truth(seeds=3, methods=("rtn-w4g64", "wanda-0.5")))))
    assert "smollm2-135m 44 x 512, at most" in text
    assert "items a task: mean accuracy of 3 tasks" in text
    row = next(part for part in text.splitlines() if part.startswith("| `rtn-w4g64`"))
    assert row.count("±0 ") == 5
    assert ".1-.4" in next(part for part in text.splitlines() if part.startswith("| `wanda-0.5`"))
    assert paper_tables(World([])) == ""


def test_other_amounts_and_all_items_stand_beside_the_main_panel():
    main = Truth(seeds=4, methods=("rtn-w4g64", "wanda-0.5", "gptq-w4g64"))
    more = replace(main, sequences=72, sources=main.sources[:4])
    whole = replace(main, methods=("wanda-0.5",), sources=main.sources[:1], items=None)
    others = [replace(main, seeds=3, sequences=12), replace(main, sources=("web",), sequences=13)]
    others.append(replace(main, tasks=("piqa",), sequences=14))
    world = World([record for truth in (main, more, whole, *others) for record in records(truth)])
    names = ["smollm2-135m 44 x 512", "smollm2-135m 72 x 512", "smollm2-135m 44 x 512, all items"]
    assert [panel.name for panel in world.repeated()] == names
    heads = [line.split(":")[0] for line in paper_tables(world).splitlines() if line.startswith("## ")]
    assert heads == [f"## {name}, at most 40 items a task" for name in names[:2]] + [f"## {names[2]}"]
    assert set(details(world)) >= {f"{name} wanda-0.5" for name in names}


def details(world):
    """What A1's cells of accuracy say beside their figures."""
    return {cell.name: cell.detail for cell, _ in judge([claim("A1")], world)[0].cells if cell.outcome == "acc_inf"}


def test_what_the_machine_does_is_taken_off_where_only_another_panel_has_it():
    main = Truth(seeds=4, methods=("wanda-0.5",))
    whole = replace(main, sources=main.sources[:1], items=None)
    held = [record for truth in (main, whole) for record in records(truth)]
    assert not any("another batch size" in said for said in details(World(held)).values())
    twin = next(record for record in held if record.case["draw"] and record.case["evaluation"]["items"])
    again = copy.deepcopy(twin)
    again.case |= {"batch_size": 8, "control": "batch8", "id": f"{twin.id}-batch8"}
    again.tasks["piqa"].correct = [1 - value for value in again.tasks["piqa"].correct]
    assert all("another batch size alone" in said for said in details(World([*held, again])).values())


def test_the_papers_table_has_flips_and_calibration_errors_of_every_draw():
    held = records(Truth(seeds=3, methods=("rtn-w4g64", "wanda-0.5")))
    dense = next(r for r in held if r.case["draw"] is None)
    draws = [r for r in held if r.case["method"] == "wanda-0.5"]
    lost = [
        np.mean(
            [np.mean([a > b for a, b in zip(dense.tasks[t].correct, r.tasks[t].correct, strict=True)]) for t in r.tasks]
        )
        for r in draws
    ]
    row = [part for part in paper_tables(World(held)).splitlines() if part.startswith("| `wanda-0.5`")][1].split(" | ")
    assert int(row[1]) == len(draws)
    assert {row[2], row[3]} <= {r.case["draw"]["source"] for r in draws}
    assert row[2] != row[3]
    assert row[4] == f"{100 * np.mean(lost):.1f}"


def test_a_run_made_elsewhere_is_judged_as_it_stands(tmp_path, monkeypatch, capsys):
    store = Store(tmp_path / "store")
    truth = Truth(
        model="known-corpus-1m", methods=("rtn-w3g64", "wanda-0.5"), sources=("web", "news"), seeds=2, tasks=()
    )
    for record in records(replace(truth, domains=("web", "news"), sequences=8, length=64)):
        store.save(record.keys["record"], record)
    (tmp_path / "small.toml").write_text(
        '[[grid]]\nmodels = ["known-corpus-1m"]\nmethods = ["rtn-w3g64", "wanda-0.5"]\nsources = ["web", "news"]\n'
        "seeds = 2\nsequences = 8\nlength = 64\n[grid.evaluation]\ndomains = ['web', 'news']\ndocuments = 16\n"
        "items = 40\n[gates]\ngates = ['null', 'source']\n"
    )
    out = tmp_path / "out"
    given = ["--profile", str(tmp_path / "small.toml"), "--store", str(store.root), "--out", str(out)]
    assert stored.main(given) == 0
    assert "9 of 9 cases" in capsys.readouterr().out
    verdicts = json.loads((out / "verdicts.json").read_text())
    assert {v["outcome"] for v in verdicts if v["gate"] == "null"} == {"pass"}
    assert "wanda-0.5" in (out / "report.md").read_text()
    assert stored.main([*given[:2], "--store", str(tmp_path / "none"), "--out", str(out)]) == 2


def test_rows_with_errors_are_named(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text('[[claim]]\nid = "A1"\nrulle = "D"\n')
    with pytest.raises(ClaimError, match="'A1': no field 'rulle'"):
        judging.load(path)


def test_json_has_builtins_only():
    results = judge([claim("A4"), claim("M2"), claim("C1")], World(records(Truth(seeds=3))))
    json.dumps(as_json(results, {}), allow_nan=False)


@pytest.mark.parametrize("name", ["known-corpus", "made-sources", "self-generation", "sweeps"])
def test_claims_that_a_profile_names_are_claims_and_its_order_is_of_those(name):
    profile, known = load_profile(name), {row.id for row in load()}
    named = {claim for grid in profile["grid"] for claim in grid.get("claims", ())}
    assert named <= known
    assert set(profile["fleet"]["first"]) <= named
