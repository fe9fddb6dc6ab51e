"""Family C beyond calibrators: verdicts from made-up rows whose answer is known, each reached in both directions."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims import distilled_looks, distilled_more, distilled_ratios
from benchmarks.claims.judge import judge, load
from benchmarks.claims.panels import NoEvidence
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, REPLICATES
from benchmarks.claims.world import World
from benchmarks.study_records import to_records

FASHION, DIGITS = "convnet3-fashion-mnist", "convnet2w16-digits"
SETS, NETS = 5, 2


def noise(random, size=0.002):
    return size * random.standard_normal()


def row(
    cell,
    seed,
    net,
    random,
    *,
    accuracy=0.7,
    ece=0.1,
    share=1.0,
    best=None,
    bend=0.3,
    rank=5.0,
    looks=None,
    ts=(2.0, 3.0),
):
    """One network; test ECE over the mask ratio is a parabola with its least value at ``best`` (None: falls)."""
    ratios = np.arange(10) / 10
    curve = ece + (bend * (ratios - best) ** 2 if best is not None else 0 * ratios) + noise(random)
    ece_here, accuracy = ece + noise(random), accuracy + noise(random)
    tests = [[accuracy, 1.0, 0.5, 0.1, float(value), ece, 0.1] for value in curve]
    temperatures = [ts[0] + (ts[1] - ts[0]) * min(1.0, r / 0.3) + noise(random) for r in ratios]
    fit = {"T": temperatures, "clamped": [False] * 10, "calibration_ece": [t[4] for t in tests], "test": tests}
    name, _, rest = cell.partition("+")
    backbone, ipc = name.split("-ipc")
    loss = next((part for part in rest.split("+") if part in ("mixup", "cutmix", "cutout")), "ce")
    return {
        "cell": cell, "backbone": backbone, "mdt": 0.3 if "mdt" in rest else 0.0, "seed": seed, "net": net,
        "ipc": int(ipc), "share": None if backbone == "random" else share, "loss": loss, "epochs": 300,
        "none": [accuracy, 1.0, 0.5, ece_here, ece_here, ece, 0.1], "max_logit": [10.0, 3.0],
        "rank_images": rank + noise(random, 0.1), "rank_features": rank + noise(random, 0.1),
        "oracle_T": 3.0, "looks": looks(random) if looks else {},
        "sources": {source: {"exact": fit, "legacy": fit} for source in ("distilled", "real-matched")},
    }  # fmt: skip


def cells(*named, model=FASHION):
    random = np.random.default_rng(0)
    rows = [row(name, s, n, random, **kind) for name, kind in named for s in range(SETS) for n in range(NETS)]
    return list(to_records({"model": model, "seconds": 1.0, "rows": rows}))


def probes(*rows, model=FASHION):
    return list(to_records({"model": model, "seconds": 1.0, "probes": list(rows)}))


def probe_rows(kind, cell, of, share=1.0, seeds=SETS, nets=NETS):
    """Rows of one cell of a probe; ``of(random)`` is what the probe found."""
    random = np.random.default_rng([len(kind), len(cell)])
    backbone, ipc = cell.split("-ipc")
    fixed = {
        "probe": kind, "cell": cell, "backbone": backbone, "ipc": int(ipc), "mdt": 0.0, "loss": "ce", "epochs": 300,
        "share": None if backbone == "random" else share,
    }  # fmt: skip
    return [{**fixed, "seed": s, "net": n, **of(random)} for s in range(seeds) for n in range(nets)]


def verdict(claim, records):
    return next(r for r in judge([c for c in load() if c.id == claim], World(records))).verdict


def removed(accuracy, loses):
    def of(random):
        values = {what: accuracy - loses * (what != "none") + noise(random) for what in ("none", "top", "bottom")}
        values["pixels"] = accuracy - loses + noise(random)
        return {"removed": {what: [value, 1.0, 0.5, 0.1, 0.1, 0.1, 0.1] for what, value in values.items()}}

    return of


@pytest.mark.parametrize(("loses", "expected"), [(0.2, REPLICATES), (0.05, DOES_NOT), (0.1, CANNOT_TELL)])
def test_removal_is_judged_against_both_controls(loses, expected):
    control = [probe_rows("removal", f"random-ipc{n}", removed(a, 0.1)) for n, a in ((1, 0.5), (3, 0.69))]
    rows = [*probe_rows("removal", "dc-ipc1", removed(0.7, loses)), *control[0], *control[1]]
    assert verdict("C5", probes(*rows)) == expected


def test_a_control_of_equal_accuracy_can_take_a_verdict_away():
    """Losing more than as many real images is not enough, if real images of equal accuracy lose as much."""
    rows = [
        *probe_rows("removal", "dc-ipc1", removed(0.7, 0.2)),
        *probe_rows("removal", "random-ipc1", removed(0.5, 0.1)),
        *probe_rows("removal", "random-ipc3", removed(0.69, 0.3)),
    ]
    assert verdict("C5", probes(*rows)) == CANNOT_TELL


def test_no_verdict_is_taken_on_a_cut_budget():
    control = probe_rows("removal", "random-ipc1", removed(0.7, 0.1))
    cut = probe_rows("removal", "dc-ipc1", removed(0.7, 0.2), share=0.3)
    assert verdict("C5", probes(*cut, *control)) == CANNOT_TELL
    full = probe_rows("removal", "dsa-ipc1", removed(0.7, 0.2))
    assert verdict("C5", probes(*cut, *full, *control)) == REPLICATES  # the cut cell stands beside


def test_a_cut_cell_cannot_say_does_not():
    """C14 needs every backbone: one that was cut keeps quiet, however clear its figures are."""
    four = [(f"{b}-ipc1", {"best": 0.5}) for b in distilled_more.BACKBONES]
    worse = [*four[:3], ("rtp-ipc1", {"best": 0.0, "share": 0.01})]
    found = judge([c for c in load() if c.id == "C14"], World(cells(*worse)))[0]
    assert found.verdict == CANNOT_TELL
    assert found.p_against > 0.5


def test_fashion_decides_where_it_is_there():
    good, bad = {"accuracy": 0.7, "ece": 0.2}, {"accuracy": 0.7, "ece": 0.05}
    digits = cells(("random-ipc3", {"ece": 0.1}), ("dc-ipc1", bad), model=DIGITS)
    assert verdict("C1", digits) == DOES_NOT
    assert verdict("C1", digits + cells(("random-ipc3", {"ece": 0.1}), ("dc-ipc1", good))) == REPLICATES


def test_spectra_are_compared_within_one_image_set():
    fashion = cells(("random-ipc2", {"rank": 5.0}), ("dc-ipc2", {"rank": 4.0}))
    digits = cells(("random-ipc2", {"rank": 1.0}), ("dc-ipc2", {"rank": 0.5}), model=DIGITS)
    assert verdict("C4", digits + fashion) == REPLICATES
    assert verdict("C4", digits + cells(("dc-ipc2", {"rank": 0.2}))) == REPLICATES  # digits alone have a control
    lower = cells(("random-ipc2", {"rank": 3.0}), ("dc-ipc2", {"rank": 4.0}))
    assert verdict("C4", cells(("random-ipc2", {"rank": 9.0}), model=DIGITS) + lower) == DOES_NOT


def looks(probe=0.8, inside=0.5, entropy=3.0, masked=(5.0, 3.0), constant=0.1):
    def of(random):
        return {
            "probe": {n: probe + noise(random) for n in ("class", "brightness", "orientation", "size")},
            "attribution": [inside + noise(random), entropy + noise(random)],
            "masked": [[10.0 + noise(random), 1.0], [masked[0] + noise(random), masked[1]]],
            "constant": constant + noise(random, 0.0005),
        }

    return of


@pytest.mark.parametrize(("claim", "better"), [("C12", {"probe": 0.9}), ("C22", {"inside": 0.6, "entropy": 3.2})])
def test_what_masked_distillation_changes_in_networks(claim, better):
    plain, masked = ("dc-ipc1", {"looks": looks()}), ("dc-ipc1+mdt", {"looks": looks(**better)})
    assert verdict(claim, cells(plain, masked)) == REPLICATES
    # The other way round, but MDT is re-derived: a negative finding may be ours.
    assert verdict(claim, cells(("dc-ipc1", masked[1]), ("dc-ipc1+mdt", plain[1]))) == CANNOT_TELL


def test_accuracy_is_kept_by_temperatures_and_by_mdt():
    plain = ("dc-ipc1", {"accuracy": 0.7})
    assert verdict("C8", cells(plain, ("dc-ipc1+mdt", {"accuracy": 0.7}))) == REPLICATES
    found = judge([c for c in load() if c.id == "C8"], World(cells(plain, ("dc-ipc1+mdt", {"accuracy": 0.5}))))[0]
    assert found.verdict != REPLICATES
    assert [v for cell, v in found.cells if "MDT" in cell.name] == [CANNOT_TELL]
    digits = cells(plain, ("dc-ipc1+mdt", {"accuracy": 0.5}), model=DIGITS)
    assert (
        verdict("C8", digits + cells(plain, ("dc-ipc1+mdt", {"accuracy": 0.7}))) == REPLICATES
    )  # FashionMNIST decides


def test_why_masking_works_needs_all_its_parts():
    right = {"looks": looks(constant=0.1), "ts": (1.0, 3.0)}
    assert verdict("C15", cells(("dc-ipc1", right))) == REPLICATES
    wrong = {"looks": looks(masked=(12.0, 0.5), constant=0.3), "ts": (3.0, 1.0)}
    assert verdict("C15", cells(("dc-ipc1", wrong))) == DOES_NOT
    more_than_t = {**right, "looks": looks(constant=0.3)}  # 20 points better than a constant T: masking would do more
    assert verdict("C15", cells(("dc-ipc1", more_than_t))) == CANNOT_TELL


def test_a_set_made_by_itself_has_no_constant_temperature():
    """Of five sets in several files some may have had others beside them: the part is asked of all or of none."""
    made = cells(("dc-ipc1", {"looks": looks(), "ts": (1.0, 3.0)}))
    assert sum("constant T" in cell.name for cell in distilled_looks.why_masking_works(World(made), {})) == 1
    for line in made[-1].checks["study"]:
        line["looks"]["constant"] = None
    assert not any("constant T" in cell.name for cell in distilled_looks.why_masking_works(World(made), {}))


def cost(slower, passes):
    def of(random):
        plain = 1 + noise(random)
        seconds = {"plain": plain, "masked": slower * plain, "forward": 0.01, "ts": 0.1, "mts": 0.1 + passes * 0.01}
        return {"seconds": seconds}

    return of


def test_cost_is_judged_by_both_ratios():
    assert verdict("C16", probes(*probe_rows("cost", "dc-ipc1", cost(1.02, 2), nets=1))) == REPLICATES
    assert verdict("C16", probes(*probe_rows("cost", "dc-ipc1", cost(1.3, 30), nets=1))) == DOES_NOT
    assert verdict("C16", probes(*probe_rows("cost", "dc-ipc1", cost(1.3, 2), nets=1))) == CANNOT_TELL


def test_the_ratio_has_an_optimum_inside_or_not():
    assert verdict("C17", cells(("dc-ipc1", {"best": 0.4}))) == REPLICATES
    assert verdict("C17", cells(("dc-ipc1", {"best": 2.0}))) == CANNOT_TELL  # least beyond the edge
    assert verdict("C17", cells(("dc-ipc1", {"best": 0.3, "bend": -0.3, "ece": 0.3}))) == DOES_NOT
    assert "worse than no mask from r = 0.9" in distilled_ratios.ratio_optimum(
        World(cells(("dc-ipc1", {"best": 0.4}))), {}
    )[0].detail  # fmt: skip


def test_one_ratio_serves_where_optima_agree():
    same = cells(("dc-ipc1", {"best": 0.4}), ("dm-ipc10", {"best": 0.4}))
    assert verdict("C18", same) == REPLICATES
    assert verdict("C18", cells(("dc-ipc1", {"best": 0.1}), ("dm-ipc10", {"best": 0.8}))) == DOES_NOT
    # Another backbone is neither another data set, network nor count.
    assert verdict("C18", cells(("dc-ipc1", {"best": 0.4}), ("dsa-ipc1", {"best": 0.4}))) == "not run"


def test_treatments_are_ordered_only_if_all_pairs_are_told_apart():
    def named(*values):
        parts = ("", "+mdt", "+mixup", "+cutmix", "+cutout")
        return cells(*((f"dc-ipc1{part}", {"ece": value}) for part, value in zip(parts, values, strict=True)))

    assert verdict("C19", named(0.3, 0.1, 0.15, 0.2, 0.25)) == REPLICATES
    assert verdict("C19", named(0.3, 0.1, 0.1, 0.2, 0.25)) == CANNOT_TELL
    with pytest.raises(NoEvidence):
        distilled_more.treatments_ordered(World(cells(("dc-ipc1", {}), ("dc-ipc1+mdt", {}))), {})


def test_an_order_that_chance_made_is_not_found():
    """All five alike: the order chosen from the data must not come out as found."""
    names = ("dc-ipc1", "dc-ipc1+mdt", "dc-ipc1+mixup", "dc-ipc1+cutmix", "dc-ipc1+cutout")
    found = []
    for start in range(40):
        random = np.random.default_rng(start)
        rows = [row(name, s, 0, random) for name in names for s in range(SETS)]
        found.append(verdict("C19", list(to_records({"model": FASHION, "seconds": 1.0, "rows": rows}))))
    assert found.count(REPLICATES) == 0


def test_images_a_class_on_two_data_sets():
    few, many = ("dm-ipc1", {"ece": 0.3, "accuracy": 0.5}), ("dm-ipc10", {"ece": 0.1, "accuracy": 0.7})
    controls = [("random-ipc2", {"ece": 0.1, "accuracy": 0.5}), ("random-ipc10", {"ece": 0.1, "accuracy": 0.7})]
    one = cells(few, many, *controls)
    assert verdict("C20", one) == CANNOT_TELL  # the claim is about several data sets
    assert verdict("C20", one + cells(few, many, *controls, model=DIGITS)) == REPLICATES
    alike = [("random-ipc2", {"ece": 0.3, "accuracy": 0.5}), controls[1]]
    both = cells(few, many, *alike) + cells(few, many, *alike, model=DIGITS)
    assert verdict("C20", both) == CANNOT_TELL  # real images of equal accuracy do the same


def test_a_second_data_set_must_be_compared_and_at_the_full_budget():
    few, many = ("dm-ipc1", {"ece": 0.3}), ("dm-ipc10", {"ece": 0.1})
    fashion = cells(few, many)
    assert verdict("C20", fashion + cells(few, model=DIGITS)) == CANNOT_TELL  # digits have one count alone
    cut = cells(few, ("dm-ipc10", {"ece": 0.1, "share": 0.05}), model=DIGITS)
    assert verdict("C20", fashion + cut) == CANNOT_TELL
    assert verdict("C20", fashion + cells(few, many, model=DIGITS)) == REPLICATES


def test_the_slope_over_images_a_class_is_that_of_the_logarithm():
    """ECE of 30, 20 and 13 points at 1, 10 and 50 images: by hand, and where 50 was cut in budget, without it."""
    three = [("dm-ipc1", {"ece": 0.3}), ("dm-ipc10", {"ece": 0.2}), ("dm-ipc50", {"ece": 0.13})]
    found = distilled_more.one_is_worse(World(cells(*three)), {})[0]
    assert found.evidence.estimate == pytest.approx(-np.polyfit(np.log10([1, 10, 50]), [30, 20, 13], 1)[0], abs=0.2)
    assert "over 1, 10, 50 images a class" in found.name
    three[2][1]["share"] = 0.1
    found = distilled_more.one_is_worse(World(cells(*three)), {})[0]
    assert found.evidence.estimate == pytest.approx(10, abs=0.2)
    assert not found.cut
    three[1][1]["share"] = 0.1
    found = distilled_more.one_is_worse(World(cells(*three)), {})[0]
    assert found.cut
    assert "10 % of the iterations" in found.name


def test_controls_take_away_what_accuracy_explains():
    """ECE falls by 20 points a tenfold, that of real images of the same accuracies by 15."""
    named = [("dm-ipc1", {"ece": 0.3, "accuracy": 0.5}), ("dm-ipc10", {"ece": 0.1, "accuracy": 0.7})]
    named += [("random-ipc2", {"ece": 0.2, "accuracy": 0.5}), ("random-ipc20", {"ece": 0.05, "accuracy": 0.7})]
    beyond = distilled_more.one_is_worse(World(cells(*named)), {})[1]
    assert beyond.evidence.estimate == pytest.approx(5, abs=0.3)
    assert "controls random-ipc2, random-ipc20" in beyond.detail


def test_one_control_of_two_counts_is_one_group():
    """Real images that are as accurate as both counts: what they have in common cancels, and so does their noise."""
    named = [("dm-ipc1", {"ece": 0.3}), ("dm-ipc10", {"ece": 0.2}), ("random-ipc5", {"ece": 0.1})]
    plain, beyond, _ = distilled_more.one_is_worse(World(cells(*named)), {})
    assert "controls random-ipc5, random-ipc5" in beyond.detail
    assert beyond.evidence.estimate == pytest.approx(plain.evidence.estimate)
    assert beyond.evidence.high - beyond.evidence.low == pytest.approx(plain.evidence.high - plain.evidence.low)


def test_networks_trained_for_another_time_are_no_other_count():
    few, many = cells(("dm-ipc1", {"ece": 0.3})), cells(("dm-ipc10", {"ece": 0.1}))
    for record in many:
        for line in record.checks["study"]:
            line["epochs"] = 1000
    with pytest.raises(NoEvidence):
        distilled_more.one_is_worse(World(few + many), {})


def scores(imbalanced, balanced):
    def of(random):
        values = {"imbalanced": imbalanced, "balanced": balanced}
        return {"scores": {k: [0.7, 1, 0.5, 0.1, 0.1, 0.1, v + noise(random)] for k, v in values.items()}}

    return of


def test_uneven_classes():
    assert verdict("C21", probes(*probe_rows("imbalance", "dm-ipc10", scores(0.08, 0.04)))) == REPLICATES
    assert verdict("C21", probes(*probe_rows("imbalance", "dm-ipc10", scores(0.03, 0.05)))) == DOES_NOT
    beside = probe_rows("imbalance", "random-ipc10", scores(0.03, 0.05))
    both = [*probe_rows("imbalance", "dm-ipc10", scores(0.08, 0.04)), *beside]
    assert verdict("C21", probes(*both)) == REPLICATES


def on_network(name, masked):
    def of(random):
        after = [[0.7, 1.0, 0.5, 0.1, 0.2 - masked * k + noise(random, 0.001), 0.1, 0.1] for k in range(10)]
        fit = {"T": [2.0] * 10, "calibration_ece": [test[4] for test in after], "test": after}
        sources = {source: {"exact": fit} for source in ("distilled", "real-matched")}
        return {"network": name, "none": after[0], "sources": sources}

    return of


def test_other_networks_each_count():
    good = {n: probe_rows("network", "dc-ipc1", on_network(n, 0.01)) for n in ("resnet18", "vit")}
    assert verdict("C23", probes(*good["resnet18"], *good["vit"])) == REPLICATES
    bad = probe_rows("network", "dc-ipc1", on_network("vit", -0.01))
    assert verdict("C23", probes(*good["resnet18"], *bad)) == CANNOT_TELL
    assert verdict("C23", probes(*good["vit"])) == CANNOT_TELL  # the claim is about both
    assert verdict("C6", probes(*good["resnet18"])) == "not run"  # probes are no cells of the study


def test_each_backbone_of_the_paper_must_be_there_at_the_full_budget():
    gains = {"best": 0.5}
    four = [(f"{b}-ipc1", gains) for b in distilled_more.BACKBONES]
    assert verdict("C14", cells(*four)) == REPLICATES
    assert verdict("C14", cells(*four[:2])) == CANNOT_TELL
    assert verdict("C14", cells(*four[:3], ("rtp-ipc1", {**gains, "share": 0.01}))) == CANNOT_TELL


def test_spread_of_masked_images():
    wide, narrow = {"rank": 9.0}, {"rank": 5.0}
    assert verdict("C11", cells(("dc-ipc1", narrow), ("dc-ipc1+mdt", wide))) == REPLICATES
    assert verdict("C11", cells(("dc-ipc1", wide), ("dc-ipc1+mdt", narrow))) == CANNOT_TELL
