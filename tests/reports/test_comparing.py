"""Two runs: every difference is named, different experiments are not paired, and what is paired is right."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from fixtures.store import Store
from reports.__main__ import main
from reports.comparing import compare_records
from tests.simulate import World, digest, simulate

WORLD = World(
    methods=("rtn-w3g64", "wanda-0.5"), sources=("web", "code"), seeds=3, documents=12, tasks=("piqa",), items=200
)


def run(world=WORLD, change=None, **options):
    manifest, records = simulate(world, **options)
    for record in records:
        record.keys |= {"method_code": "c", "evaluation_code": "e", "evaluation_key": "k"}
        if change:
            change(record)
    return manifest, records


def compared(world=WORLD, change=None, **options):
    manifest, before = run()
    return compare_records(manifest, before, run(world, change, **options)[1])


def kinds(found):
    return {difference.kind for difference in found.differences}


class TestDifferences:
    def test_a_run_differs_from_itself_in_nothing(self):
        found = compared()
        assert (found.differences, found.refused, found.only_before, found.only_after) == ([], "", [], [])
        assert {c.interval.estimate for c in [*found.groups, *found.cases]} == {0.0}

    @pytest.mark.parametrize(
        ("kind", "what", "change"),
        [
            ("code", "compressor wanda-0.5", lambda r: r.keys.update(method_code="other")),
            ("code", "scoring", lambda r: r.keys.update(evaluation_code="other")),
            ("data", "draw web s0", lambda r: r.draw and r.draw.update(sha256="other")),
            ("data", "text of web", lambda r: r.draw and r.draw.update(source_fingerprint="other")),
            ("data", "documents of web", lambda r: r.nll["web"].document_hash.reverse()),
            ("data", "items of piqa", lambda r: r.tasks["piqa"].prompt_hash.reverse()),
            ("model", "files of known-corpus-1m", lambda r: r.keys.update(model_hash="other")),
            ("versions", "torch", lambda r: r.environment.update(versions={"torch": "9"})),
            ("device", "processor", lambda r: r.environment.update(processor="another")),
            ("settings", "threads", lambda r: r.case.update(threads=2)),
        ],
    )
    def test_each_is_named_with_its_kind_and_only_code_and_data_forbid_pairing(self, kind, what, change):
        known = {"versions": {"torch": "8"}, "processor": "one"}

        def before(record):
            record.environment.update(known)
            record.draw.setdefault("source_fingerprint", "text")

        manifest, first = run(change=before)
        _, second = run(change=lambda record: (before(record), change(record)))
        found = compare_records(manifest, first, second)
        assert kinds(found) == {kind}
        assert what in [difference.what for difference in found.differences]
        assert bool(found.refused) == (kind in ("code", "data"))
        assert bool(found.cases) == bool(found.groups) == (not found.refused)

    def test_an_older_record_that_does_not_say_is_not_trusted(self):
        def older(record):
            del record.keys["evaluation_code"]
            record.keys["evaluation_key"] = "other"

        assert kinds(compared(change=older)) == {"code"}

    def test_what_one_run_alone_was_scored_on_is_other_data(self):
        found = compared(dataclasses.replace(WORLD, tasks=()))
        assert [(d.what, d.after) for d in found.differences] == [("items of piqa", "none")]
        assert found.refused

    def test_other_draws_are_listed_and_the_common_ones_paired(self):
        found = compared(dataclasses.replace(WORLD, seeds=2))
        assert found.only_before == [f"known-corpus-1m-{m}-{s}-s2" for m in WORLD.methods for s in WORLD.sources]
        assert not found.refused
        assert {change.draws for change in found.groups} == {4}

    def test_nothing_in_common(self):
        assert "no case in common" in compared(dataclasses.replace(WORLD, models=("other",))).refused


class TestPairs:
    def test_a_known_shift_is_found_and_its_interval_is_that_of_the_differences(self):
        found = compared(dataclasses.replace(WORLD, drop=0.02))
        group = next(c for c in found.groups if (c.subject, c.outcome) == ("known-corpus-1m wanda-0.5", "loss"))
        assert group.interval.estimate == pytest.approx(0.02)
        assert (group.items, group.draws) == (24, 6)
        assert len([c for c in found.cases if c.outcome == "loss"]) == 12

    def test_another_run_is_within_its_interval_about_as_often_as_stated(self):
        """Draws of both runs are samples: the truth is no difference."""
        world = dataclasses.replace(WORLD, methods=("wanda-0.5",), tasks=(), draw_sd=0.01, seeds=4)
        manifest, _ = simulate(world)
        held = 0
        for k in range(120):
            sides = [run(world, run=2 * k + side)[1] for side in range(2)]
            interval = compare_records(manifest, *sides).groups[0].interval
            held += interval.low <= 0 <= interval.high
        assert 0.88 <= held / 120 <= 1.0

    def test_answers_lost_and_gained_are_counted(self):
        found = compared(dataclasses.replace(WORLD, drop=0.3))
        change = next(c for c in found.groups if (c.subject, c.outcome) == ("known-corpus-1m wanda-0.5", "accuracy"))
        lost, gained = change.flips
        assert lost > gained
        assert change.interval.estimate == pytest.approx((lost - gained) / (200 * 6))

    def test_a_retrained_model_is_paired_on_damage(self):
        found = compared(dataclasses.replace(WORLD, retrained=1.0))
        assert kinds(found) == {"model"}
        assert np.abs([c.interval.estimate for c in found.cases if c.outcome == "loss"]).max() < 0.02


class TestCommand:
    @pytest.fixture
    def stores(self, tmp_path):
        def make(name, **options):
            store = Store(tmp_path / name)
            manifest, records = run(**options)
            for record in records:
                store.save(record.keys["record"], record)
            store.save_json("manifest", manifest)
            return str(store.root)

        return make

    def test_paired_with_a_row_a_case(self, stores, tmp_path, capsys):
        a, b = stores("a"), stores("b", world=dataclasses.replace(WORLD, drop=0.02))
        assert main(["compare", a, b, "--csv", str(tmp_path / "c.csv")]) == 0
        output = capsys.readouterr().out
        assert "nothing differs" in output
        assert "known-corpus-1m wanda-0.5: +0.02" in output
        rows = list(csv.DictReader((tmp_path / "c.csv").open()))
        assert len(rows) == 24
        assert all(float(r["low"]) <= float(r["difference"]) <= float(r["high"]) for r in rows)

    def test_refused(self, stores, tmp_path, capsys):
        def edited(record):
            record.keys["method_code"] = digest("edited")

        assert main(["compare", stores("a"), stores("b", change=edited), "--csv", str(tmp_path / "c.csv")]) == 1
        output = capsys.readouterr().out
        assert "not paired: the code differs" in output
        assert not (tmp_path / "c.csv").exists()

    def test_no_store(self, stores, tmp_path, capsys):
        assert main(["compare", stores("a"), str(tmp_path / "none")]) == 2
        assert "is no store" in capsys.readouterr().err
