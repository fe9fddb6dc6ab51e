"""Mask ratios, budgets and full data in family C, from made-up rows whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims import distilled, distilled_more, distilled_ratios
from benchmarks.claims.evidence import Cell
from benchmarks.claims.judge import Result, judge, load
from benchmarks.claims.world import World
from benchmarks.confidence_scores import COLUMNS
from benchmarks.study_records import to_records

MODEL = "convnet3-fashion-mnist"


def rows(cell, ece=0.2, gap=None, accuracy=0.7, rank=5.0, share=1.0, epochs=300):
    """Five sets of a cell, two networks each: uncalibrated ``ece`` and ``gap``, which no calibration changes."""
    name, _, rest = cell.partition("+")
    backbone, _, ipc = name.partition("-ipc")
    mdt = float(rest[3:] or 0.3) if rest.startswith("mdt") else 0.0
    made = []
    for seed in range(5):
        for net in range(2):
            random = np.random.default_rng([seed, net, len(cell), int(1000 * mdt)])
            noise = 0.001 * random.standard_normal(3)
            error = ece + noise[0]
            none = [accuracy + noise[1], 1 + error, 0.5 + error, ece if gap is None else gap, error, error, 0.1]
            fit = {"T": [2.0] * 10, "clamped": [False] * 10, "calibration_ece": [0.1] * 10, "test": [none] * 10}
            made.append({
                "cell": cell, "backbone": backbone, "mdt": mdt, "seed": seed, "net": net, "ipc": int(ipc or 5000),
                "share": None if backbone in ("random", "full") else share, "epochs": epochs,
                "loss": "mixup" if rest == "mixup" else "ce", "columns": list(COLUMNS), "none": none,
                "max_logit": [10.0, 3.0], "rank_images": rank + noise[2], "rank_features": rank + noise[2],
                "sources": {source: {"exact": fit, "legacy": fit} for source in distilled.SOURCES},
            })  # fmt: skip
    return made


def world(*cells: list) -> World:
    return World(to_records({"model": MODEL, "seconds": 1.0, "rows": [row for cell in cells for row in cell]}))


def result(claim: str, *cells: list) -> Result:
    return judge([c for c in load() if c.id == claim], world(*cells))[0]


def ratios(bend: float, best: float = 0.4, **rest: float) -> list[list]:
    """DM at ten ratios: ECE is a parabola; past .6 accuracy falls, past .7 confidence is too low."""
    found = []
    for k in range(10):
        r = k / 10
        name = "dm-ipc1" + (f"+mdt{'' if k == 3 else r}" if k else "")
        accuracy = 0.7 - (0.05 if k > 6 else 0)
        gap = -0.1 if k > 7 else 0.1
        found.append(rows(name, 0.2 + bend * (r - best) ** 2, gap=gap, accuracy=accuracy, rank=5 + r, **rest))
    return found


def masked(cells: list[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.name.endswith(" MDT")]


def test_the_ratio_of_masked_distillation_has_an_optimum_inside():
    (cell,) = masked(distilled_ratios.ratio_optimum(world(*ratios(0.5)), {}))
    assert cell.evidence.estimate == pytest.approx(50, abs=1)
    assert not cell.shown_only
    assert "least at r = 0.4" in cell.detail
    assert "worse than no mask from r = 0.8 to 0.9 on" in cell.detail
    assert cell.detail.endswith("; a point of accuracy lost from r = 0.7 on; under-confident from r = 0.8 on")
    assert result("C17", *ratios(0.5)[1:], rows("dm-ipc1", 0.28, gap=0.1)).verdict == "replicates"


def test_masked_distillation_that_has_no_optimum_is_not_held_against_the_claim():
    """Nobody has published how it masks: what we found may be ours."""
    found = result("C17", *ratios(-0.5))
    assert masked([cell for cell, _ in found.cells])[0].evidence.high < 0
    assert found.verdict == "cannot tell"


def test_a_parabola_takes_five_ratios_of_one_budget():
    few = ratios(0.5)[:4]
    assert not masked(distilled_ratios.ratio_optimum(world(*few), {}))
    assert masked(distilled_ratios.ratio_optimum(world(*ratios(0.5)[:5]), {}))
    assert not masked(distilled_ratios.ratio_optimum(world(*few, ratios(0.5, share=0.1)[4]), {}))
    (cut,) = masked(distilled_ratios.ratio_optimum(world(*ratios(0.5, share=0.1)), {}))
    assert cut.cut
    assert "10 % of the iterations" in cut.name


def test_information_must_spread_at_every_ratio():
    found = result("C11", *ratios(0.5))
    assert found.verdict == "replicates"
    assert len(found.cells) == 9
    narrower = [*ratios(0.5)[:9], rows("dm-ipc1+mdt0.9", rank=4.0)]
    assert result("C11", *narrower).verdict == "cannot tell"


@pytest.mark.parametrize("claim", ["C8", "C10"])
def test_one_ratio_decides_and_others_stand_beside(claim):
    """The ratio .3 takes ten points of ECE off and keeps the accuracy; .9 does neither."""
    good, bad = rows("dm-ipc1+mdt", 0.1), rows("dm-ipc1+mdt0.9", 0.3, accuracy=0.5)
    assert result(claim, rows("dm-ipc1"), good).verdict == "replicates"
    found = result(claim, rows("dm-ipc1"), good, bad)
    assert found.verdict == "replicates"
    assert [cell.shown_only for cell, _ in found.cells if "mdt0.9" in cell.name] == [True]


def test_other_ratios_are_no_cells_of_what_is_not_about_them():
    """Ten of them would outnumber the backbones, in the verdict and in its correction."""
    some = world(*ratios(0.5))
    everything = [*distilled.masked_beats_exact(some, {})[:-1], *distilled.two_by_two(some, {})]  # the last: greatest
    assert {cell.name.split()[1] for cell in everything} == {"dm-ipc1", "dm-ipc1+mdt"}
    assert len(distilled.both_beat_either(some, {})) == 2  # one a source


def test_what_was_cut_is_another_cell():
    cut, full = rows("dc-ipc10", 0.3, share=0.05), rows("dc-ipc10", 0.1)
    found = distilled.studies(world(cut, full))
    assert [(sets.name, sets.cut, sum(map(len, sets.rows.values()))) for sets in found] == [
        ("dc-ipc10", False, 10), ("dc-ipc10", True, 10)
    ]  # fmt: skip
    both = world(cut, full, rows("dc-ipc10+mdt", 0.05, share=0.05))
    ((with_, without),) = distilled.twins(both)
    assert (with_.name, without.cut) == ("dc-ipc10+mdt", True)
    assert distilled.masked_distillation(both, {})[0].evidence.estimate == pytest.approx(25, abs=0.2)


def test_the_full_budget_is_what_a_slope_over_counts_is_taken_on():
    cells = [rows("dm-ipc1", 0.3), rows("dm-ipc10", 0.2), rows("dm-ipc1", 0.9, share=0.1)]
    for order in (cells, cells[::-1]):
        found = distilled_more.one_is_worse(world(*order), {})[0]
        assert (found.evidence.estimate, found.cut) == (pytest.approx(10, abs=0.2), False)


def test_counts_are_compared_within_a_budget_if_they_can_be():
    """Else what fewer iterations do would be taken for what more images do."""
    cut = [rows("dm-ipc1", 0.9, share=0.1), rows("dm-ipc10", 0.7, share=0.1)]
    full = [rows("dm-ipc1", 0.3), rows("dm-ipc10", 0.2)]

    def shares(*cells: list) -> list[tuple[float, float]]:
        found = distilled_more.counts(distilled.distilled(world(*cells)))
        return [(one.first["share"], more.first["share"]) for one, more in found]

    assert shares(*cut, *full) == [(1.0, 1.0), (0.1, 0.1)]
    assert shares(*cut, full[0]) == [(0.1, 0.1)]
    assert shares(cut[1], full[0]) == [(1.0, 0.1)]
    fall = distilled_more.one_is_worse(world(*cut, full[0]), {})[0]
    assert (fall.evidence.estimate, fall.cut) == (pytest.approx(20, abs=0.2), True)


def test_all_real_images_stand_beside_a_control_of_equal_accuracy():
    full = rows("full", 0.05, accuracy=0.92, epochs=30)
    cells = [rows("dc-ipc1", 0.2), rows("random-ipc6", 0.1)]
    matched, beside = distilled.over_confident(world(*cells, full), {})
    assert (matched.evidence.estimate, matched.shown_only) == (pytest.approx(10, abs=0.2), False)
    assert (beside.evidence.estimate, beside.shown_only) == (pytest.approx(15, abs=0.2), True)
    assert beside.name.endswith("against all")
    assert "against full; accuracy 70.0 and 92.0" in beside.detail
    longer = rows("full", 0.02, accuracy=0.93, epochs=60)
    found = distilled.full_data(distilled.distilled(world(*cells))[0], distilled.studies(world(full, longer)))
    assert found is not None
    assert found.first["epochs"] == 60
    assert result("C1", *cells, full).verdict == result("C1", *cells).verdict == "replicates"


def test_mixup_on_distilled_images_is_compared_with_mixup_on_all():
    cells = [rows("dc-ipc1", 0.2), rows("random-ipc6", 0.1), rows("dc-ipc1+mixup", 0.15, accuracy=0.69)]
    everything = [rows("full", 0.05, accuracy=0.92), rows("full+mixup", 0.02, accuracy=0.91)]
    cells_of = distilled.scaling_fails(world(*cells, *everything), {})
    (mixup,) = [cell for cell in cells_of if cell.name.endswith("against full+mixup")]
    assert (mixup.evidence.estimate, mixup.shown_only) == (pytest.approx(13, abs=0.2), True)
    assert mixup.detail.endswith(" and 2.0 at accuracies of 69.0 and 91.0")
    assert not [c for c in distilled.scaling_fails(world(*cells), {}) if "mixup" in c.name]


def test_where_a_ratio_is_used_is_named_beside_a_cut_cell():
    """That whose budget was cut leads the name, so the other's images must stand in it: the same cell exists twice."""
    studies = ((MODEL, (rows("dc-ipc1"), rows("dsa-ipc10", share=0.02))), ("convnet2w16-digits", (rows("dc-ipc1"),)))
    records = [
        record for model, cells in studies
        for record in to_records({"model": model, "seconds": 1.0, "rows": [row for cell in cells for row in cell]})
    ]  # fmt: skip
    names = [cell.name for cell in distilled_ratios.one_ratio(World(records), {})]
    assert len(names) == len(set(names)) == 6
    cut = f"{MODEL} dsa-ipc10 (2 % of the iterations) ratio of {MODEL} dsa-ipc10 used on"
    assert {f"{cut} {model} dc-ipc1" for model, _ in studies} < set(names)
