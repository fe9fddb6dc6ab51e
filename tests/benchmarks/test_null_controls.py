"""Made twice is the same bits; another batch size is the machine's own noise, which no margin may undercut."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest

from benchmarks import gates
from benchmarks.controls import with_controls
from benchmarks.grid import GridError
from fixtures.records import Case, Record
from tests.simulate import World, digest, simulate

WORLD = World(methods=("rtn-w3g64", "wanda-0.5"), sources=("web", "news"), seeds=3, tasks=("piqa",), items=400)
TABLE = {"methods": ["wanda-0.5"], "source": "web", "seed": 0, "repeat": True, "batch_sizes": [4]}
TWIN = "known-corpus-1m-wanda-0.5-web-s0"
SUBJECT = "known-corpus-1m wanda-0.5 web s0"


def run(shift=0.0, noise=0.0, settings=None, change=None, leave_out=()):
    """A simulated run with a case made again; in the other batch size its losses move by ``shift`` +- ``noise``."""
    manifest, records = simulate(WORLD)
    cases = with_controls({"control": [TABLE]}, [Case.from_dict(c) for c in manifest["cases"]], False)
    manifest["cases"] = [case.to_dict() for case in cases]
    manifest["gates"] |= settings or {}
    twin = next(r for r in records if r.id == TWIN)
    for case in (case for case in cases if case.control):
        again = Record.from_dict(copy.deepcopy(twin.to_dict()))
        again.case = case.to_dict()
        if case.control == "batch4":
            for scores in again.nll.values():
                sign = [(-1) ** k for k in range(len(scores.nll))]
                scores.nll = [
                    x + t * (shift + noise * s) for x, t, s in zip(scores.nll, scores.tokens, sign, strict=True)
                ]
        elif change:
            change(again)
        records.append(again)
    return gates.judge(manifest, [r for r in records if r.id not in leave_out])


def find(verdicts, gate, subject):
    return next(v for v in verdicts if (v.gate, v.subject) == (gate, subject))


class TestCases:
    def test_each_control_is_a_case_of_its_own_beside_its_model(self):
        manifest, _ = simulate(dataclasses.replace(WORLD, models=("a", "b")))
        cases = with_controls({"control": [TABLE]}, [Case.from_dict(c) for c in manifest["cases"]], False)
        ids = [case.id for case in cases]
        assert len(ids) == len(set(ids)) == len(manifest["cases"]) + 4
        assert [case.model for case in cases] == sorted(case.model for case in cases)
        assert "a-wanda-0.5-web-s0-repeat" in ids
        assert next(c for c in cases if c.control == "batch4").batch_size == 4

    def test_a_grid_that_options_narrowed_drops_the_controls_of_what_is_gone(self):
        cases = [Case.from_dict(c) for c in simulate(WORLD)[0]["cases"] if "wanda" not in c["method"]]
        assert with_controls({"control": [TABLE]}, cases, True) == cases
        with pytest.raises(GridError, match="no such case"):
            with_controls({"control": [TABLE]}, cases, False)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"repat": True}, "did you mean 'repeat'"),
            ({"batch_sizes": [0]}, "above 0"),
            ({"batch_sizes": [16]}, "the batch size of"),
            ({"repeat": False, "batch_sizes": []}, "asks for nothing"),
            ({"methods": []}, "needs methods"),
            ({"methods": ["wnda-0.5"]}, "wanda"),
        ],
    )
    def test_a_table_that_cannot_be_meant_is_named(self, change, words):
        cases = [Case.from_dict(c) for c in simulate(WORLD)[0]["cases"]]
        with pytest.raises(GridError, match=words):
            with_controls({"control": [TABLE | change]}, cases, False)

    def test_the_draws_of_a_group_do_not_count_its_controls(self):
        plain = gates.judge(*simulate(WORLD))
        assert find(run(), "variance", "known-corpus-1m wanda-0.5") == dataclasses.replace(
            find(plain, "variance", "known-corpus-1m wanda-0.5"),
            details=find(plain, "variance", "known-corpus-1m wanda-0.5").details | {"noise_floor": 0.0},
        )


class TestRepeat:
    def test_the_same_bits_pass(self):
        assert find(run(), "repeat", f"{SUBJECT} repeat").outcome == "pass"

    def test_one_bit_of_the_weights_or_of_a_score_fails(self):
        def other_weights(record):
            record.keys["weights_hash"] = digest("other")

        def other_score(record):
            record.nll["web"].nll[0] = math.nextafter(record.nll["web"].nll[0], math.inf)

        for change, what in ((other_weights, "weights"), (other_score, "scores")):
            verdict = find(run(change=change), "repeat", f"{SUBJECT} repeat")
            assert verdict.outcome == "fail"
            assert what in verdict.reason

    def test_another_machine_promises_nothing(self):
        def moved(record):
            record.environment["device_name"] = "another"
            record.keys["weights_hash"] = digest("other")

        verdict = find(run(change=moved), "repeat", f"{SUBJECT} repeat")
        assert verdict.outcome == "inconclusive"
        assert "device_name" in verdict.reason

    def test_a_control_without_its_record_is_inconclusive(self):
        verdicts = run(leave_out=(f"{TWIN}-repeat",))
        assert find(verdicts, "repeat", f"{SUBJECT} repeat").outcome == "inconclusive"
        assert find(verdicts, "null", "known-corpus-1m wanda-0.5").outcome == "pass"


class TestNoiseFloor:
    @pytest.mark.parametrize(
        ("shift", "outcome"), [(0.0, "pass"), (0.004, "pass"), (0.01, "inconclusive"), (0.02, "fail")]
    )
    def test_the_noise_is_compared_with_half_the_smallest_margin(self, shift, outcome):
        verdict = find(run(shift, noise=0.003), "noise_floor", f"{SUBJECT} batch4")
        assert verdict.margin == 0.01  # half of every margin's default of 0.02
        assert verdict.outcome == outcome
        assert verdict.estimate == pytest.approx(shift, abs=1e-9)
        assert verdict.details["floor"] >= abs(verdict.estimate)
        assert (verdict.p < 0.05) == (outcome == "pass")

    def test_a_margin_under_twice_the_noise_is_refused_and_says_so(self):
        settings = {"source_margin": 0.003, "variance_limit": 0.05}
        verdicts = run(shift=0.004, settings=settings)
        source = find(verdicts, "source", "known-corpus-1m wanda-0.5")
        assert source.outcome == "refused"
        assert "batch size alone" in source.reason
        assert find(verdicts, "variance", "known-corpus-1m wanda-0.5").outcome == "pass"

    def test_a_failure_beyond_the_noise_stays_a_failure(self):
        world_limit = {"variance_limit": 1e-4}
        before = find(run(settings=world_limit), "variance", "known-corpus-1m wanda-0.5")
        after = find(run(shift=0.0005, settings=world_limit), "variance", "known-corpus-1m wanda-0.5")
        assert before.outcome == "fail"
        assert after.outcome == "fail"

    def test_answers_have_a_floor_of_their_own(self):
        verdict = find(run(), "noise_floor", f"{SUBJECT} batch4 accuracy")
        assert verdict.unit == "share"
        assert verdict.flips == (0, 0)
        assert verdict.outcome == "pass"
