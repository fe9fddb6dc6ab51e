"""What a baseline keeps, and what it refuses to be compared with."""

from __future__ import annotations

import pytest

from benchmarks import gates, judging
from reports.groups import make_groups
from tests.simulate import World, simulate


def baseline_of(world: World, previous=None, narrowed: bool = False):
    manifest, records = simulate(world)
    manifest["narrowed"] = narrowed
    return gates.make_baseline(manifest, records, gates.judge(manifest, records, previous), previous)


def test_a_run_of_a_part_keeps_the_rest_of_the_baseline():
    whole = baseline_of(World(methods=("wanda-0.5", "gptq-w3g64")))
    part = baseline_of(World(methods=("wanda-0.5",)), whole, narrowed=True)
    assert set(part["groups"]) == set(whole["groups"])
    profile_without_gptq = baseline_of(World(methods=("wanda-0.5",)), whole)
    assert len(profile_without_gptq["groups"]) == 1


def test_other_calibration_text_is_not_compared():
    manifest, records = simulate(World(methods=("wanda-0.5",)))
    baseline = gates.make_baseline(manifest, records, [])
    for record in records:
        if record.draw is not None and record.case["draw"]:
            record.draw = {**record.draw, "sha256": f"other {record.id}"}
    verdicts = [v for v in gates.judge(manifest, records, baseline) if v.gate in ("regression", "reconstruction")]
    assert verdicts
    assert {verdict.outcome for verdict in verdicts} == {"inconclusive"}
    assert all("other text" in verdict.reason for verdict in verdicts)


def test_whoever_writes_a_baseline_hears_which_gates_it_is_too_coarse_for(tmp_path):
    """The same run again: these gates are refused, so that CI would exit 6 for ever."""
    profile = {"path": tmp_path / "calibration.toml"}
    manifest, records = simulate(World(methods=("wanda-0.5",), seeds=2))
    for margins, count in (({}, 0), ({"regression_margin": 1e-5, "reconstruction_margin": 1e-4}, 2)):
        manifest["gates"] = {"alpha": 0.05, **margins}
        verdicts = gates.judge(manifest, records)
        _, said = judging.update_baseline(profile, manifest, records, verdicts, failed=False)
        again = gates.judge(manifest, records, judging.load_baseline(profile))
        refused = [v for v in again if v.outcome == "refused" and v.gate in ("regression", "reconstruction")]
        assert len(refused) == count
        assert ("cannot pass" in said) == bool(count)
        assert all(f"{v.id}: {v.reason}" in said for v in refused)
    assert "draws instead of 6, or a larger reconstruction_margin" in said
    assert "more than its margin of 0%" not in said


def test_dense_and_compressed_of_different_files_are_not_subtracted():
    manifest, records = simulate(World(methods=("wanda-0.5",)))
    for record in records:
        if record.case["draw"] is None:
            record.keys["model_hash"] = "another"
    group = make_groups(manifest, records)[0]
    with pytest.raises(ValueError, match="different files of the model"):
        group.damage("web")


def test_one_draw_a_source_plans_no_gate_about_draws():
    manifest, records = simulate(World(methods=("wanda-0.5",), seeds=1))
    planned = {verdict.gate for verdict in gates.judge(manifest, records)}
    assert not planned & {"variance", "source"}


def test_a_margin_may_be_given_for_a_model():
    settings = gates.Settings.read({"regression_margin": {"default": 0.01, "known-corpus-1m": 0.3, "wanda-0.5": 0.02}})
    manifest, records = simulate(World(models=("known-corpus-1m", "other"), methods=("wanda-0.5", "gptq-w3g64")))
    margins = {group.label: settings.of("regression_margin", group) for group in make_groups(manifest, records)}
    assert margins == {
        "known-corpus-1m wanda-0.5": 0.3,
        "known-corpus-1m gptq-w3g64": 0.3,
        "other wanda-0.5": 0.02,
        "other gptq-w3g64": 0.01,
    }
