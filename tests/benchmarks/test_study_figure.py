"""Figures of a study: every cell is drawn from its rows, and bins give back the ECE that a row has."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from benchmarks import distillation_study, study_figure
from benchmarks.claims.distilled import studies
from benchmarks.claims.proper import ECE
from benchmarks.claims.world import World
from benchmarks.study_records import read_studies, to_records

MODEL = "convnet2w4-digits"
CELLS = "dm-ipc1,dm-ipc1+mdt,random-ipc1,random-ipc2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("study")
    small = ["--seeds", "2", "--nets", "2", "--share", "0.0005", "--epochs", "20"]
    assert distillation_study.main([MODEL, "--cells", CELLS, *small, "-o", str(found)]) == 0
    return found


def test_bins_are_those_of_the_error(folder):
    world = World([record for study in read_studies(folder) for record in to_records(study)])
    rows = [row for sets in studies(world) for part in sets.rows.values() for row in part]
    assert len(rows) == 16
    for row in rows:
        items, confidence, right, variance = np.transpose(row["bins"])
        assert items.sum() == 599
        assert right.sum() / 599 == pytest.approx(row["none"][0])
        assert np.abs(confidence - right).sum() / 599 == pytest.approx(row["none"][ECE])
        held = items > 0
        mean = confidence[held] / items[held]
        assert (variance[held] <= items[held] * mean * (1 - mean) + 1e-9).all()  # by Jensen


def test_every_cell_is_drawn(folder, tmp_path, capsys):
    assert study_figure.main([str(folder), "-o", str(tmp_path)]) == 0
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == [f"{MODEL}-{kind}.svg" for kind in ("accuracy", "masking", "reliability")]
    assert len(capsys.readouterr().out.splitlines()) == 3
    shown = {}
    for path in tmp_path.iterdir():
        root = ET.parse(path).getroot()
        shown[path.stem.rpartition("-")[2]] = {
            "".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("text")
        }
    distilled = {"dm-ipc1 (0.05 %)", "dm-ipc1+mdt (0.05 %)"}
    assert distilled | {"1", "2", "networks trained 20 epochs"} <= shown["accuracy"]
    assert "as many held out, exact" in shown["masking"]
    words = " ".join(shown["masking"])
    assert "dm-ipc1+mdt" in words
    assert "random" not in words  # nothing is distilled there
    assert {"random-ipc1, 20", "random-ipc2, 20"} <= shown["reliability"]  # "epochs" is on the next line


def test_a_folder_without_a_study(tmp_path, capsys):
    assert study_figure.main([str(tmp_path), "-o", str(tmp_path)]) == 2
    assert "no study of distilled images" in capsys.readouterr().err


def test_ratios_of_masked_distillation_are_drawn(tmp_path, capsys):
    cells = "dm-ipc1," + ",".join(f"dm-ipc1+mdt0.{k}" for k in (1, 3, 5, 7))
    small = ["--seeds", "2", "--nets", "1", "--share", "0.0005", "--epochs", "2"]
    assert distillation_study.main([MODEL, "--cells", cells, *small, "-o", str(tmp_path)]) == 0
    assert study_figure.main([str(tmp_path), "-o", str(tmp_path / "figures")]) == 0
    root = ET.parse(tmp_path / "figures" / f"{MODEL}-mdt.svg").getroot()
    shown = {"".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("text")}
    assert {"share masked while distilled", "ECE, points", "accuracy, %", "dm-ipc1 (0.05 %)"} <= shown


def test_names_beside_a_panel_do_not_cover_each_other():
    from reports.svg import canvas

    points = [
        ("lowest", 1.0, 0.0),
        *((f"same {k}", 2.0, 5.0) for k in range(4)),
        ("highest", 3.0, 10.0),
        ("low", 2.0, 0.1),
    ]
    with canvas(6, 4) as (_, axes):
        ax = axes[0, 0]
        ax.set_ylim(-1, 11)
        study_figure._names(ax, points)
        at = {text.get_text(): text.xyann[1] for text in ax.texts}
    assert list(at) == ["highest", *(f"same {k}" for k in range(4)), "low", "lowest"]
    assert np.diff(list(at.values())).max() <= -study_figure.APART + 1e-9
    assert at["highest"] == pytest.approx(11 / 12)
    assert min(at.values()) >= 0
