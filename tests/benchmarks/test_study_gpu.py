"""On a GPU: a study of every backbone and every probe of its images, from the command to the claims, on digits."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import distillation_probes, distillation_speed, distillation_study
from benchmarks.claims import distilled
from benchmarks.claims.world import World
from benchmarks.study_records import read_studies, to_records
from compressors.distillation.schedules import PUBLISHED

MODEL = "convnet2w16-digits"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def settings_put_back():
    """A study chooses the precision of products for its process."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.benchmark = before[1]


def study(folder, cells, share=1.0):
    small = ["--seeds", "2", "--nets", "2", "--epochs", "5", "--real", "20", "--share", str(share)]
    return distillation_study.main([MODEL, "--cells", cells, *small, "-o", str(folder)])


def read(folder):
    return World([record for found in read_studies(folder) for record in to_records(found)])


@pytest.mark.parametrize("backbone", list(PUBLISHED))
def test_every_backbone_is_studied(tmp_path, backbone):
    cells = [f"{backbone}-ipc1", f"{backbone}-ipc1+mdt"]
    assert study(tmp_path, ",".join(cells), 3 / PUBLISHED[backbone]) == 0
    found = distilled.studies(read(tmp_path))
    assert [sets.name for sets in found] == cells
    rows = [row for sets in found for part in sets.rows.values() for row in part]
    assert len(rows) == 8
    assert all(0 <= row["none"][distilled.ACCURACY] <= 1 and row["none"][1] == row["none"][1] for row in rows)


def test_every_probe_is_asked(tmp_path):
    assert study(tmp_path, "dm-ipc1,dm-ipc10,random-ipc1,random-ipc10", 3 / PUBLISHED["dm"]) == 0
    asked = [MODEL, str(tmp_path), "--nets", "2", "--epochs", "5"]
    assert distillation_probes.main([*asked, "--probes", "removal,imbalance,network", "--networks", "vit"]) == 0
    assert distillation_probes.main([*asked, "--probes", "cost", "--cells", "dm-ipc1"]) == 0
    world = read(tmp_path)
    for probe in ("removal", "imbalance", "network", "cost"):
        assert distilled.studies(world, probe)


def test_all_images_are_learned(tmp_path):
    assert study(tmp_path, "full,full+mixup,random-ipc1") == 0
    found = {sets.name: sets for sets in distilled.studies(read(tmp_path))}
    assert list(found) == ["full", "full+mixup", "random-ipc1"]
    assert found["full"].accuracy > found["random-ipc1"].accuracy + 0.2


def test_memory_of_trajectories_does_not_grow_with_their_steps(tmp_path):
    path = tmp_path / "memory.json"
    assert distillation_speed.main(["--unrolled", "10,40", "--real", "20", "-o", str(path)]) == 0
    few, many = (row["peak"] for row in json.loads(path.read_text()))
    assert many < 1.1 * few  # masks and the order of images grow, and are small beside one graph of a step
