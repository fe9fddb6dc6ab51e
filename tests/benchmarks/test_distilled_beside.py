"""What stands beside a verdict on ECE: proper scores that must agree, other controls, the greatest fall."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims import distilled, distilled_more
from benchmarks.claims.judge import judge, load
from benchmarks.claims.proper import contrary
from benchmarks.claims.world import World
from benchmarks.confidence_scores import COLUMNS
from benchmarks.study_records import to_records

MODEL = "convnet3-fashion-mnist"


def rows(cell: str, accuracy: float, ece: float, loss: float, gain: float = 0.0, epochs: int = 300, rank: float = 5.0):
    """Five sets of a cell. Uncalibrated ``ece`` and NLL ``loss``; every tenth of masking takes ``gain`` off the ECE on
    the test images, and with the calibration images' ECE at 0 throughout an honest choice sees none of it.
    """
    backbone, ipc = cell.split("+")[0].split("-ipc")
    for seed in range(5):
        noise = 0.001 * np.random.default_rng([seed, epochs, len(cell)]).standard_normal()
        plain = [accuracy, loss + noise, loss / 2, ece, ece + noise, ece, 0.1]
        after = [[accuracy, loss, 0.5, 0.1, (ece + noise) * (1 - gain * k), ece, 0.1] for k in range(10)]
        fit = {"T": [2.0] * 10, "clamped": [False] * 10, "calibration_ece": [0.0] * 10, "test": after}
        yield {
            "cell": cell, "backbone": backbone, "mdt": 0.3 if "+mdt" in cell else 0.0, "seed": seed, "net": 0,
            "ipc": int(ipc), "share": None if backbone == "random" else 1.0, "loss": "ce", "epochs": epochs,
            "columns": list(COLUMNS), "none": plain, "max_logit": [10.0, 3.0], "rank_images": rank + noise,
            "rank_features": rank + noise, "sources": {s: {"exact": fit, "legacy": fit} for s in distilled.SOURCES},
        }  # fmt: skip


def world(*cells) -> World:
    made = [row for cell in cells for row in cell]
    return World(to_records({"model": MODEL, "seconds": 1.0, "rows": made}))


def verdict(name: str, *cells) -> str:
    return judge([claim for claim in load() if claim.id == name], world(*cells))[0].verdict


def test_proper_scores_are_compared_by_sign():
    assert contrary({4: 0.1, 1: 0.2, 2: 0.3}.__getitem__) == ""
    assert contrary({4: -0.1, 1: -0.2, 2: -0.3}.__getitem__) == ""
    assert contrary({4: 0.0, 1: 0.2, 2: -0.3}.__getitem__) == ""
    assert contrary({4: 0.1, 1: -0.2, 2: 0.3}.__getitem__) == "NLL"
    assert contrary({6: -0.1, 4: 1.0, 1: 0.2, 2: 0.3}.__getitem__, 6) == "NLL and Brier score"


def test_a_lower_ece_at_a_higher_loss_is_no_verdict():
    plain = rows("dc-ipc1", 0.70, 0.20, 1.0)
    assert verdict("C10", plain, rows("dc-ipc1+mdt", 0.70, 0.10, 0.9)) == "replicates"
    plain, worse = rows("dc-ipc1", 0.70, 0.20, 1.0), rows("dc-ipc1+mdt", 0.70, 0.10, 1.1)
    found = world(plain, worse)
    assert judge([claim for claim in load() if claim.id == "C10"], found)[0].verdict == "cannot tell"
    (cell,) = distilled.masked_distillation(found, {})
    assert cell.detail.endswith("NLL and Brier score the other way")


def test_as_many_real_images_stand_beside_those_of_the_same_accuracy():
    cells = [rows("dc-ipc1", 0.70, 0.20, 1.0), rows("random-ipc6", 0.70, 0.15, 1.0), rows("random-ipc1", 0.5, 0.3, 2.0)]
    matched, many = distilled.over_confident(world(*cells), {})
    assert (matched.evidence.estimate, matched.shown_only) == (pytest.approx(5, abs=0.2), False)
    assert (many.evidence.estimate, many.shown_only) == (pytest.approx(-10, abs=0.2), True)
    assert "against random-ipc1; accuracy 70.0 and 50.0" in many.detail


def test_spectra_are_compared_with_networks_trained_alike():
    real = [list(rows("random-ipc10", 0.7, 0.2, 1.0, epochs=e, rank=r)) for e, r in ((300, 9.0), (1000, 7.0))]
    cells = distilled_more.concentrated_spectra(world(*real, rows("dsa-ipc10", 0.7, 0.2, 1.0, epochs=1000)), {})
    assert [cell.evidence.estimate for cell in cells] == pytest.approx([2.0, 2.0], abs=0.01)
    assert all("1000 epochs" in cell.detail and not cell.shown_only for cell in cells)
    cells = distilled_more.concentrated_spectra(world(real[0], rows("dsa-ipc10", 0.7, 0.2, 1.0, epochs=1000)), {})
    assert [cell.shown_only for cell in cells] == [False, True]  # images, and features of networks trained otherwise


def test_the_greatest_fall_is_given_with_and_without_test_images():
    cells = [rows("dc-ipc1", 0.70, 0.20, 1.0, gain=0.05), rows("dsa-ipc1", 0.70, 0.20, 1.0, gain=0.09)]
    cell = distilled.masked_beats_exact(world(*cells), {})[-1]
    assert cell.shown_only
    assert cell.evidence.estimate == pytest.approx(0, abs=1e-9)  # an honest choice
    assert "ratio chosen on the test images 81 % (convnet3-fashion-mnist dsa-ipc1" in cell.detail
    assert cell.detail.endswith("shuffled methods reach 0 %")


def test_a_fixed_ratio_stands_beside_the_honest_one():
    cells = distilled.masked_beats_exact(world(rows("dc-ipc1", 0.70, 0.20, 1.0, gain=0.05)), {})
    fixed = [cell for cell in cells if cell.name.endswith("ratio .3")]
    assert len(fixed) == 2
    assert all(cell.shown_only and cell.evidence.estimate == pytest.approx(3.0, abs=0.1) for cell in fixed)
    assert fixed[0].detail == "TS 20.0, MTS 17.0"
