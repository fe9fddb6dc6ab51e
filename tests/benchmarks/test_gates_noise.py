"""Thresholds from noise: refused on few runs, seldom a false alarm, never a pass beyond what noise allows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gates_noise import noise


@pytest.mark.parametrize("runs", range(5))
def test_fewer_than_five_runs_are_refused(runs):
    verdict = noise("gptq", [1.0] * runs, 5.0)
    assert verdict.outcome == "refused"
    assert "at least 5" in verdict.reason


@pytest.mark.parametrize(("value", "outcome"), [(1.0, "pass"), (1.04, "pass"), (1.2, "fail")])
def test_quiet_runs(value, outcome):
    assert noise("gptq", [0.99, 1.0, 1.01, 1.0, 1.0], value).outcome == outcome


@pytest.mark.parametrize(("value", "outcome"), [(1.0, "refused"), (1.5, "refused"), (9.0, "fail")])
def test_noisy_runs_cannot_pass_a_narrow_margin(value, outcome):
    assert noise("gptq", [0.7, 1.0, 1.3, 1.1, 0.9], value).outcome == outcome


def test_false_alarms_are_rare():
    rng = np.random.default_rng(0)
    found = [noise("x", rng.normal(10, 1, 6), rng.normal(10, 1), margin=0.001).outcome for _ in range(2000)]
    assert found.count("fail") < 0.05 * 2000
    assert "pass" not in found
