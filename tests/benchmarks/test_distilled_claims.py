"""Family C and X3: verdicts from made-up rows whose answer is known, and scores of networks against the report's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import bridge_table
from benchmarks.claims import bridge as claims_bridge
from benchmarks.claims import distilled, distilled_more, repair
from benchmarks.claims.inputs import robustness
from benchmarks.claims.judge import judge, load
from benchmarks.claims.panels import NoEvidence
from benchmarks.claims.world import World
from benchmarks.confidence_scores import COLUMNS, losses, scores
from benchmarks.study_records import to_records
from compressors.confidence import exact, legacy
from compressors.confidence.temperature import bisect, log_softmax, secant
from fixtures.records import Case, DrawSpec, EvaluationSpec, Record, TaskScores, fingerprint
from fixtures.store import Store
from reports.choice_confidence import across_tasks, at_temperature, fit_temperature
from reports.distilled import confidence_figures

MODEL = "convnet3-fashion-mnist"


def row(cell: str, seed: int, net: int, accuracy: float, ece: float, masked: float = 0.0, share: float | None = 1.0):
    """One network: TS leaves ``ece``; every tenth of masking takes ``masked`` off it, on test and calibration data."""
    after = [[accuracy, 1.0, 0.5, 0.1, ece - masked * k, ece, 0.1] for k in range(10)]
    fit = {"T": [2.0] * 10, "clamped": [False] * 10, "calibration_ece": [test[4] for test in after], "test": after}
    backbone, ipc = cell.split("+")[0].split("-ipc")
    return {
        "cell": cell, "backbone": backbone, "mdt": 0.3 if "+mdt" in cell else 0.0, "seed": seed, "net": net,
        "ipc": int(ipc), "share": share, "loss": "ce", "epochs": 300, "columns": list(COLUMNS),
        "none": [accuracy, 1.0, 0.5, ece, ece, ece, 0.1], "max_logit": [10.0, 3.0], "rank_images": 5.0 + seed,
        "sources": {source: {"exact": fit, "legacy": fit} for source in ("distilled", "real-matched")},
    }  # fmt: skip


def world(*cells) -> World:
    random = np.random.default_rng(0)
    rows = [
        row(
            cell,
            seed,
            net,
            accuracy + 0.002 * random.standard_normal(),
            ece + 0.002 * random.standard_normal(),
            masked,
            share,
        )
        for cell, accuracy, ece, masked, share in cells
        for seed in range(5)
        for net in range(2)
    ]
    return World(to_records({"model": MODEL, "seconds": 1.0, "rows": rows}))


def verdicts(*cells) -> dict[str, str]:
    claims = [claim for claim in load() if claim.id[0] == "C"]
    return {result.claim.id: result.verdict for result in judge(claims, world(*cells))}


def test_verdicts_follow_the_rows():
    control = ("random-ipc3", 0.70, 0.10, 0.0, None)
    found = verdicts(control, ("dc-ipc1", 0.705, 0.20, 0.01, 1.0), ("dc-ipc1+mdt", 0.70, 0.10, 0.01, 1.0))
    assert found["C1"] == "replicates"  # more over-confident than the control
    assert found["C6"] == "replicates"  # masking takes off up to nine points
    assert found["C8"] == "replicates"
    assert found["C10"] == "replicates"  # ten points less
    assert found["C13"] == "replicates"
    assert found["C9"] == "not run"
    assert found["C24"] == "replicates"
    found = verdicts(control, ("dc-ipc1", 0.68, 0.05, 0.0, 1.0), ("dc-ipc1+mdt", 0.68, 0.10, 0.0, 1.0))
    assert (found["C1"], found["C6"], found["C24"]) == ("does not",) * 3
    assert found["C10"] == "cannot tell"  # re-derived: no negative verdict


def test_the_gain_is_compared_between_counts():
    few, many = ("dm-ipc1", 0.7, 0.20, 0.015, 1.0), ("dm-ipc10", 0.8, 0.20, 0.001, 1.0)
    assert verdicts(few, many)["C9"] == "replicates"
    assert verdicts(("dm-ipc1", *many[1:]), ("dm-ipc10", *few[1:]))["C9"] == "does not"
    assert verdicts(few, many, ("dm-ipc50", *few[1:]))["C9"] == "cannot tell"  # largest must mean larger than at each


@pytest.mark.parametrize("cut", [0, 1])
def test_a_comparison_of_counts_is_cut_if_either_is(cut):
    cells = [("dc-ipc1", 0.7, 0.20, 0.015, 1.0), ("dc-ipc10", 0.8, 0.20, 0.001, 1.0)]
    cells[cut] = (*cells[cut][:4], 0.02)
    assert verdicts(*cells)["C9"] == "cannot tell"
    assert "2 % of the iterations" in distilled_more.gain_by_count(world(*cells), {})[0].name


def test_controls_must_have_the_same_accuracy_and_budgets_be_full():
    cells = [("random-ipc1", 0.50, 0.10, 0.0, None), ("dc-ipc1", 0.705, 0.2, 0.0, 0.5)]
    with pytest.raises(NoEvidence):
        distilled.over_confident(world(*cells), {})
    with pytest.raises(NoEvidence):
        distilled.published_accuracy(world(*cells), {})
    with pytest.raises(NoEvidence, match="no study"):
        distilled.studies(World([]))
    assert "50 % of the iterations" in distilled.distilled(world(*cells))[0].label


def logits(seed: int, n: int, choices: int, sharp: float) -> tuple[np.ndarray, np.ndarray]:
    """Answers drawn from softmax(z), logits ``sharp * z``: the best temperature is ``sharp``."""
    random = np.random.default_rng(seed)
    z = 2 * random.standard_normal((n, choices))
    p = np.exp(log_softmax(z))
    return sharp * z, (p.cumsum(1) > random.random((n, 1))).argmax(1)


def test_scores_of_many_networks_are_those_of_the_report():
    z, y = logits(0, 400, 10, 3.0)
    pair = torch.tensor(np.stack([z, z * 0.5]))
    answers = torch.tensor(y)
    found = scores(pair, answers, torch.tensor([2.0, 0.7]))
    for k, (given, t) in enumerate(((z, 2.0), (z * 0.5, 0.7))):
        figures = confidence_figures(log_softmax(given, t), y)
        want = [figures[name] for name in ("accuracy", "nll", "brier", "gap", "ece", "ece15", "classwise")]
        assert np.allclose(found[k].numpy(), want, atol=1e-9)
    assert np.allclose(bisect(losses(pair, answers), (2,)).value, exact(pair.numpy(), y).value, rtol=1e-9)
    assert np.allclose(secant(losses(pair, answers), (2,)).value, legacy(pair.numpy(), y).value, rtol=1e-9)


def record(sharp: float, seed: int = 0) -> Record:
    tasks = {}
    for k, choices in enumerate((2, 4)):
        z, y = logits(10 * seed + k, 4000, choices, sharp)
        p = np.exp(log_softmax(z))
        right = (p.argmax(1) == y).astype(int).tolist()
        tasks[f"t{k}"] = TaskScores(
            metric="acc", document_hash=[], prompt_hash=[], correct=right, correct_norm=None, loglikelihoods=[],
            probabilities=p.tolist(), target=y.tolist(), chance=1 / choices, majority=1 / choices,
        )  # fmt: skip
    return Record(case={"id": "x"}, keys={}, tasks=tasks)


def test_one_temperature_from_other_tasks_repairs_over_confidence():
    over = record(3.0)
    found = across_tasks(over, ["t0", "t1"])
    for task, after in found.items():
        before = at_temperature(over.tasks[task], 1.0)
        assert after["temperature"] == pytest.approx(3.0, rel=0.1)
        assert after["ece"] < before["ece"] / 3
        assert after["nll"] < before["nll"]
    other = across_tasks(over, ["t0", "t1"], fitted_on=record(1.0))
    assert other["t0"]["temperature"] == pytest.approx(1.0, rel=0.1)
    with pytest.raises(ValueError, match="two are needed"):
        across_tasks(over, ["t0"])


def test_filling_up_choices_does_not_move_the_temperature():
    over = record(2.0)
    both = fit_temperature(over, ["t0", "t1"])
    one = [fit_temperature(over, [task]) for task in ("t0", "t1")]
    assert min(one) <= both <= max(one)


def test_gain_of_a_repair_is_before_minus_after():
    gain, temperature, brier = repair._gain(record(3.0), ["t0", "t1"])
    assert brier > 0.01
    assert gain > 5
    assert temperature == pytest.approx(3.0, rel=0.1)


def bridge(plain: float, masked: float, wikipedia: float | None = None) -> World:
    """Compressed models over-confident by ``plain``; items with masked words ask for the temperature ``masked``.
    ``wikipedia``: over-confidence of those calibrated on it.
    """
    found = []
    for inputs, sharp in (("", plain), ("mask0.3", masked)):
        spec = EvaluationSpec(("t0", "t1"), 4000, inputs=inputs)
        draws = [DrawSpec(source, seed, 4, 8) for source in ("c4", "wikipedia") for seed in range(3)]
        for draw in [None, *draws]:
            case = Case("smollm2-135m", "wanda-0.5" if draw else "dense", draw, spec)
            seed = 0 if draw is None else 1 + draw.seed + 3 * (draw.source == "c4")
            own = wikipedia if wikipedia and draw and draw.source == "wikipedia" else sharp
            made = record(1.5 if draw is None else own, seed)
            found.append(Record(case=case.to_dict(), keys={"record": fingerprint(case.id)}, tasks=made.tasks))
    return World(found)


def masked_cells(world: World) -> dict[str, float]:
    cells = repair.one_temperature(world, {})
    assert [cell.shown_only for cell in cells] == [False, True, True]
    return {cell.name.rpartition(", ")[2]: cell.evidence.estimate for cell in cells if cell.shown_only}


def test_masked_scaling_stands_beside_plain_scaling():
    gains = masked_cells(bridge(3.0, 3.0))
    assert all(abs(gain) < 1 for gain in gains.values())  # both want the same temperature
    gains = masked_cells(bridge(3.0, 1.0))
    assert gains["mask0.3"] < -5  # the masked items ask for none, and what is left over-confident stays so
    assert gains["ratio chosen on the other tasks"] == pytest.approx(0, abs=1)  # an honest choice sees that
    claim = [claim for claim in load() if claim.id == "X3"]
    assert judge(claim, bridge(3.0, 1.0))[0].verdict == "replicates"


def test_the_table_of_the_bridge_has_the_figures_of_the_claim(tmp_path, capsys):
    world_, store = bridge(3.0, 1.0), Store(tmp_path)
    for made in world_.records:
        store.save(made.keys["record"], made)
    assert bridge_table.main(["--store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    head, _, dense, wanda = [line.split(" | ") for line in shown.splitlines() if line.startswith("|")][:4]
    figures = dict(zip(head, wanda, strict=True))
    claim = repair.one_temperature(world_, {})[0].evidence.estimate
    before, after = (float(figures[name].split()[0]) for name in ("ECE", "ECE, one temperature"))
    assert before - after == pytest.approx(claim, abs=0.11)  # both are rounded to a tenth
    assert float(figures["ECE, mask0.3"].split()[0]) > after + 5
    assert dense[1] == figures["cases"].replace("6", "1")


@pytest.mark.parametrize(("wikipedia", "differ"), [(3.0, False), (6.0, True)])
def test_the_table_of_the_bridge_shows_what_the_source_does(tmp_path, capsys, wikipedia, differ):
    for made in bridge(3.0, 3.0, wikipedia).records:
        Store(tmp_path).save(made.keys["record"], made)
    assert bridge_table.main(["--store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for name in ("ECE in points", "Brier score", "NLL in nats"):
        part = shown.split(f"{name}, by calibration source:")[1].strip().splitlines()
        head, _, wanda = [line.strip("| ").split(" | ") for line in part[:3]]
        found = dict(zip(head, wanda, strict=True))
        c4, wiki = (float(found[source].split()[0]) for source in ("c4", "wikipedia"))
        assert (float(found["p"]) < 0.01) == differ
        assert (wiki > 1.05 * c4) == differ
        assert (float(found["SD between sources [95 %]"].split()[0]) > 0.05 * c4) == differ


def test_where_the_probability_of_the_right_choice_falls():
    def of(task, p):
        rows = [[x, 1 - x] for x in p]
        return Record({"id": "x"}, {}, tasks={task: TaskScores(
            metric="acc", document_hash=["a"], prompt_hash=[], correct=[1] * len(p), correct_norm=None,
            loglikelihoods=[], probabilities=rows, target=[0] * len(p), chance=0.5, majority=0.5,
        )})  # fmt: skip

    before = np.linspace(0.1, 0.9, 9)
    dense, halved = of("t", before), of("t", 0.5 * before)
    assert claims_bridge._change_by_dense(halved, dense, ["t"]) == pytest.approx(-0.5)  # most where it was high
    low = of("t", before - 0.1 * (1 - before))
    assert claims_bridge._change_by_dense(low, dense, ["t"]) == pytest.approx(0.1)
    other = of("t", before)
    other.tasks["t"].document_hash.append("b")
    assert np.isnan(claims_bridge._change_by_dense(other, dense, ["t"]))


def test_masks_are_no_noise_to_be_robust_against():
    with pytest.raises(NoEvidence):
        robustness(bridge(3.0, 3.0), {})
