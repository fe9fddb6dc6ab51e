"""Networks trained on all images: what a study makes of the cells ``full`` and ``full+mixup``, and what claims read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import distillation_study, study_figure, study_table
from benchmarks.claims import distilled
from benchmarks.claims.world import World
from benchmarks.study_full import EPOCHS
from benchmarks.study_records import read_studies, to_records
from fixtures.images import load_images

MODEL = "convnet2w4-digits"
SMALL = ["--seeds", "2", "--nets", "1", "--share", "0.0002", "--epochs", "30"]


def study(folder, cells, *more):
    return distillation_study.main([MODEL, "--cells", cells, *SMALL, *more, "-o", str(folder)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("study")
    assert study(found, "full,full+mixup,dm-ipc1,dm-ipc1+mixup,random-ipc1") == 0
    return found


def test_rows_are_those_of_networks_that_saw_every_image(folder):
    study = json.loads((folder / "full-s0.json").read_text())
    splits = load_images("digits")
    least = int(np.bincount(splits["train"].labels).min())
    assert [(row["cell"], row["loss"], row["seed"]) for row in study["rows"]] == [
        ("full", "ce", 0), ("full", "ce", 1), ("full+mixup", "mixup", 0), ("full+mixup", "mixup", 1)
    ]  # fmt: skip
    for row in study["rows"]:
        assert (row["backbone"], row["ipc"], row["share"], row["epochs"]) == ("full", least, None, 30)
        assert set(row["sources"]) == {"distilled", "real-matched", "real"}
        assert len(row["sources"]["distilled"]["exact"]["T"]) == 10
        assert row["looks"]["probe"]["class"] > 0.5
    few = json.loads((folder / "random-ipc1-s0.json").read_text())["rows"]
    right = {name: np.mean([r["none"][0] for r in rows]) for name, rows in (("all", study["rows"]), ("few", few))}
    assert right["all"] > right["few"] + 0.3
    assert not list(folder.glob("full*.npz"))  # the images are the set's own


def test_rows_that_are_there_are_not_made_again(folder, capsys, monkeypatch):
    monkeypatch.setattr(distillation_study, "study", lambda *_: pytest.fail("trained again"))
    assert study(folder, "full,full+mixup") == 0
    assert "full: 2 rows are there\nfull+mixup: 2 rows are there" in capsys.readouterr().out


def test_all_training_images_are_learned_for_the_epochs_that_were_named(tmp_path, monkeypatch):
    seen = []

    def stop(made, shape, splits, recipe, nets, device, text, known, learned):
        seen.append((recipe.epochs, recipe.strategies, len(learned[0]), len(made.labels)))
        return []

    monkeypatch.setattr(distillation_study, "study", stop)
    assert distillation_study.main([MODEL, "--cells", "full", "-o", str(tmp_path)]) == 0
    assert study(tmp_path, "full", "--recipe", "augmented") == 0
    splits = load_images("digits")
    held = int(np.bincount(splits["held-out"].labels).min())
    every = len(splits["train"].labels)
    assert [(epochs, count, sample) for epochs, _, count, sample in seen] == [
        (EPOCHS, every, 10 * held), (30, every, 10 * held)
    ]  # fmt: skip
    assert [bool(strategies) for _, strategies, _, _ in seen] == [False, True]


@pytest.mark.parametrize("text", ["full+mdt", "full+ts"])
def test_full_data_has_no_masks(text, tmp_path):
    with pytest.raises(SystemExit, match=r"is not spelled backbone-ipcN\[\+mdt\[ratio\]\] or full, \[\+smooth"):
        study(tmp_path, text)
    assert not list(tmp_path.iterdir())


def test_full_data_stands_beside_the_verdicts(folder, capsys, tmp_path):
    world = World([record for study in read_studies(folder) for record in to_records(study)])
    assert [sets.name for sets in distilled.distilled(world)] == ["dm-ipc1"]
    beside = [cell for cell in distilled.scaling_fails(world, {}) if "against full+mixup" in cell.name]
    assert len(beside) == 1
    assert beside[0].shown_only
    assert study_table.main([str(folder)]) == 0
    assert "| full | – | 30 | 2 × 1 |" in capsys.readouterr().out
    assert study_figure.main([str(folder), "-o", str(tmp_path)]) == 0


def test_spectra_of_many_images_are_left_out(tmp_path, monkeypatch):
    """They would take minutes for every network."""
    monkeypatch.setattr(distillation_study, "RANKED", 10)
    assert study(tmp_path, "random-ipc1,random-ipc2", "--epochs", "2") == 0
    ranks = [json.loads((tmp_path / f"random-ipc{n}-s0.json").read_text())["rows"][0] for n in (1, 2)]
    assert [[row[name] is not None for name in ("rank_images", "rank_features")] for row in ranks] == [
        [True, True], [False, False]
    ]  # fmt: skip
