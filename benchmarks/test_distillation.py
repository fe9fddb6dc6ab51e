"""Are networks trained on distilled images over-confident, and which calibrator, fitted on what, mends it?

Every cell of the ``[[distillation]]`` tables: distil, train networks, calibrate, score on the test images
(arXiv 2307.12463). The same axes as elsewhere: model, method, calibration source, seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "image_case" in metafunc.fixturenames:
        session = _session(metafunc.config)
        metafunc.parametrize("image_case", [_param(case) for case in session.image_cases_to_run()])


def _session(config: pytest.Config) -> Any:
    return config.pluginmanager.get_plugin("calibench-session")


def _param(case: Any) -> Any:
    mark = pytest.mark.case(model=case.model, method=case.method, source=case.source, seed=case.seed)
    return pytest.param(case, id=case.id, marks=mark)


@pytest.fixture
def run_image_case(request: pytest.FixtureRequest, record_property: Any) -> Iterator[Any]:
    """Runs a case, or finds its record."""
    from compressors.confidence import ConfidenceError
    from compressors.current import current
    from compressors.distillation.images import DistillationError
    from fixtures.files import StoreError
    from fixtures.images import ImageError

    session = _session(request.config)

    def run(case: Any) -> Any:
        record_property("case", case.id)
        session.stage.begin(case.id)
        problem = ""
        try:
            with current(case.device):
                record, found = session.image_runner.run(case)
        except (ConfidenceError, DistillationError, ImageError, StoreError) as error:
            problem = f"{case.id}: {error}"
            if isinstance(error, StoreError):
                record_property("unwritten", True)
        if problem:
            pytest.fail(problem, pytrace=False)
        right = np.mean([scores.correct for scores in record.tasks.values()])
        record_property("record", record.keys["record"])
        record_property("found", bool(found))
        record_property("accuracy", round(float(right), 6))
        record_property("finding", f"{100 * right:.1f} % right")
        return record

    yield run
    session.stage.end()


def luck(scores: Any) -> float:
    """Right answers that a network which says the most frequent class has once in ten thousand such test sets."""
    from scipy.stats import binom

    return float(binom.isf(1e-4, len(scores.correct), max(scores.chance, scores.majority)))


def test_image_case(image_case: Any, run_image_case: Any) -> None:
    record = run_image_case(image_case)
    for name, scores in record.tasks.items():
        rows = np.asarray(scores.loglikelihoods)
        assert np.isfinite(rows).all(), f"{name}: a log-probability is not finite"
        assert np.allclose(np.exp(rows).sum(1), 1, atol=1e-3), f"{name}: probabilities do not add up to 1"
        right, floor = float(np.mean(scores.correct)), 1.5 * scores.chance
        assert right > floor, f"{name}: {right:.1%} right, no better than guessing; expected more than {floor:.0%}"
    for temperature, clamped in zip(
        record.checks.get("temperature", []), record.checks.get("clamped", []), strict=True
    ):
        assert math.isfinite(temperature)
        assert temperature > 0 or image_case.method.endswith("legacy")  # that fit can end below 0
        assert clamped in (True, False)
