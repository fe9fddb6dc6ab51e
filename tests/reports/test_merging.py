"""Stores are rendered and joined by anyone who has them; different experiments are not joined."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fixtures.image_cases import ImageBudget, ImageCase
from fixtures.records import Record
from fixtures.store import SetAsideWarning, Store
from reports.__main__ import main
from reports.merging import merge, read
from reports.notes import notes
from tests.simulate import World, simulate

WORLD = World(methods=("wanda-0.5",), sources=("web", "code"), seeds=2, documents=4, linears=1)


@pytest.fixture
def halves(tmp_path):
    """The records of one run in two stores, overlapping in one."""
    manifest, records = simulate(WORLD)
    for name, part in (("a", records[:3]), ("b", records[2:])):
        store = Store(tmp_path / name)
        for record in part:
            store.save(record.keys["record"], record)
        store.save_json("manifest", manifest)
        store.save_json(f"cases/{name}", {"record": part[0].keys["record"]})
    return tmp_path


def test_merge_joins_records_and_pointers(halves, capsys):
    assert main(["merge", str(halves / "a"), str(halves / "b"), "-o", str(halves / "c")]) == 0
    store = Store(halves / "c")
    assert {r.id for r in store.records()} == {r.id for r in simulate(WORLD)[1]}
    assert store.load_json("cases/a")
    assert store.load_json("cases/b")
    assert json.loads((halves / "c" / "report.json").read_text())["records"] == 5
    assert "--judge-only" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["method_code", "evaluation_key", "model_hash"])
def test_the_same_case_by_other_code_is_refused(halves, capsys, key):
    store = Store(halves / "b")
    record = next(r for r in store.records() if r.id.endswith("web-s1"))
    record.keys[key] = "another"
    store.save(record.keys["record"], record)
    assert main(["merge", str(halves / "a"), str(halves / "b"), "-o", str(halves / "c")]) == 2
    error = capsys.readouterr().err
    assert "known-corpus-1m-wanda-0.5-web-s1" in error
    assert key in error
    assert not (halves / "c").exists()


def test_render_without_a_manifest(halves):
    (halves / "b" / "manifest.json").unlink()
    assert main(["render", str(halves / "b"), "-o", str(halves / "out")]) == 0
    assert (halves / "out" / "report.html").exists()


def test_a_damaged_record_is_counted_in_the_report(halves):
    path = sorted((halves / "b" / "records").glob("*.gz"))[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.warns(SetAsideWarning):
        assert main(["render", str(halves / "b")]) == 0
    notes = json.loads((halves / "b" / "report.json").read_text())["notes"]
    assert any("set aside" in note and path.name in note for note in notes)


def test_several_damaged_records_are_counted_and_named():
    manifest = {"cases": [], "set_aside": [f"{name}.json.gz: cut short" for name in "abcde"]}
    (note,) = notes(manifest, [], [])
    assert note.startswith("5 unreadable records were set aside: a.json.gz: cut short; b.json.gz: cut short; c.json.gz")
    assert note.endswith("2 more are listed in set-aside")


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_folder_that_is_no_store_is_named(halves, capsys, name):
    assert main(["render", str(halves / name)]) == 2
    assert "records" in capsys.readouterr().err


def test_runs_of_distilled_images_are_joined_with_their_entries(tmp_path):
    """What ``--judge-only`` follows to a record, and the cases that are still missing, come along."""
    cases = [ImageCase("convnet2-digits", "dm-ipc1", None, seed, ImageBudget((("dm", 3),))) for seed in range(3)]
    for name, held in (("a", cases[:1]), ("b", cases[1:2])):
        store = Store(tmp_path / name)
        for case in held:
            key = f"key-{case.seed}"
            store.save(key, Record(case.to_dict(), {"record": key}))
            store.save_json(case.pointer, {"record": key})
        store.save_json("manifest", {"cases": [], "image_cases": [c.to_dict() for c in (*held, cases[2])]})
    store, count = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert count == 2
    found = [store.follow(case.pointer) for case in cases]
    assert [record and record.id for record in found] == [cases[0].id, cases[1].id, None]
    assert {case["id"] for case in store.load_json("manifest")["image_cases"]} == {case.id for case in cases}


def test_of_two_runs_in_one_store_the_manifest_s_own_is_read_and_both_are_merged(halves):
    store = Store(halves / "a")
    record = next(r for r in store.records() if r.case["draw"])
    more = {**record.case["draw"], "n_sequences": 2 * record.case["draw"]["n_sequences"]}
    later = dataclasses.replace(record, case={**record.case, "draw": more}, created="2999-01-01T00:00:00+00:00")
    store.save("f" * 64, dataclasses.replace(later, keys={**record.keys, "record": "f" * 64}))
    _, records, _ = read(store)
    assert next(r for r in records if r.id == record.id).case == record.case
    joined, _ = merge([halves / "a", halves / "b"], halves / "c")
    amounts = sorted(r.case["draw"]["n_sequences"] for r in joined.records() if r.id == record.id)
    assert amounts == [record.case["draw"]["n_sequences"], more["n_sequences"]]
