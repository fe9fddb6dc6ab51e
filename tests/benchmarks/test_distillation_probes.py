"""What a study looks at in its networks, and probes of its images: against plain torch, scikit-learn and by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import distillation_probes, distillation_study, study_looks, study_table
from benchmarks.claims import distilled, distilled_probes
from benchmarks.claims.world import World
from benchmarks.confidence_scores import scores
from benchmarks.probes import others
from benchmarks.probes.common import read_cells
from benchmarks.probes.sets import remove, uneven
from benchmarks.study_records import read_studies, to_records
from compressors.distillation import architectures, convnet
from compressors.distillation.convnet import Shape
from compressors.distillation.streams import stream
from compressors.distillation.training import Recipe, predict
from tests.helpers_distillation import SHAPE, images, module, parameters

RAW = SimpleNamespace(mean=(0.0,), deviation=(1.0,))  # pixels between 0 and 1 as they are


def test_attributes_of_bars_and_dots():
    pixels = torch.zeros(4, 1, 9, 9, dtype=torch.float64)
    pixels[0, 0, 4, 1:8] = 1.0  # a bar from left to right
    pixels[1, 0, 1:8, 4] = 0.5  # upright, half as bright
    for k in range(1, 8):
        pixels[2, 0, k, k] = pixels[3, 0, k, 8 - k] = 1.0  # down to the right, and to the left
    found = study_looks.attributes(pixels, RAW)
    assert np.allclose(found["orientation"], np.pi * np.array([0, 0.5, 0.25, 0.75]))
    assert np.allclose(found["brightness"] * 81, [7, 3.5, 7, 7])
    assert np.allclose(found["size"] * 81, 7)


@given(st.integers(0, 1000))
def test_thirds_are_equal_parts_of_the_training_values(seed):
    values = torch.rand(300, generator=stream(seed, "x"))
    train, test = study_looks.thirds(values, values[:50])
    assert torch.bincount(train).tolist() == [100, 100, 100]
    assert torch.equal(test, train[:50])


def test_probes_are_ridge_regression_on_the_features():
    from sklearn.linear_model import Ridge

    seen, new = images(n=240, seed=0), images(n=60, seed=0)
    flat = parameters(seeds=(0, 1))
    found = study_looks.probe(flat, SHAPE, {"train": (seen.pixels, seen.labels), "test": (new.pixels, new.labels)}, RAW)
    for k in range(2):
        a, b = (convnet.features(flat[k : k + 1], part.pixels[None], SHAPE)[0] for part in (seen, new))
        centred = a - a.mean(0)
        penalty = study_looks.RIDGE * float((centred**2).sum(0).mean())
        ridge = Ridge(penalty).fit(a.numpy(), np.eye(3)[seen.labels])
        right = ridge.predict(b.numpy()).argmax(1) == new.labels.numpy()
        assert found["class"][k] == pytest.approx(right.mean())
    assert set(found) == {"class", *study_looks.ATTRIBUTES}


def test_attribution_is_gradient_times_input_image_by_image():
    data, flat = images(n=6), parameters(seeds=(0, 3))
    known = SimpleNamespace(mean=(0.5,), deviation=(0.5,))
    found = study_looks.attribution(flat, data.pixels, data.labels, SHAPE, known)
    for k in range(2):
        net, inside, entropy = module(SHAPE, flat[k]), [], []
        for image, label in zip(data.pixels, data.labels, strict=True):
            leaf = image[None].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(net(leaf)[0, label], leaf)
            share = (gradient * leaf).abs()[0, 0].detach()
            share = share / share.sum()
            inside.append(float(share[(image[0] * 0.5 + 0.5).clamp(0, 1) > study_looks.FOREGROUND].sum()))
            entropy.append(float(torch.special.entr(share).sum()))
        assert np.allclose(found[k], [np.mean(inside), np.mean(entropy)])


def test_largest_logits_without_a_mask_are_those_of_the_network():
    data, flat = images(n=6), parameters(seeds=(0, 1))
    found = study_looks.masked_logits(flat, data.pixels.expand(2, -1, -1, -1, -1), SHAPE)
    largest = predict(flat, data.pixels, SHAPE).max(-1).values
    assert np.allclose(found[:, 0], torch.stack([largest.mean(-1), largest.std(-1)], -1))
    assert not np.allclose(found[:, 1], found[:, 0])


def test_a_constant_temperature_is_that_of_the_other_sets():
    test, answers = torch.randn(4, 50, 3, generator=stream(0, "x")), torch.arange(50) % 3
    found = {"T": [[1.0] * 4] * 3 + [[1.0, 4.0, 8.0, 2.0]]}
    constant = study_looks.at_constant(found, 2, test, answers)
    for k, t in enumerate((4.0, 4.0, 2.0, 2.0)):  # geometric means of the other two
        assert constant[k] == pytest.approx(float(scores(test[k : k + 1], answers, torch.tensor([t]))[0, 4]))
    assert study_looks.at_constant({"T": [[1.0, 2.0]] * 4}, 2, test[:2], answers) is None


@given(st.integers(2, 12), st.sampled_from(["top", "bottom"]))
def test_removal_takes_a_fifth_of_the_components_and_leaves_the_mean(n, what):
    pixels = torch.randn(n, 1, 6, 6, generator=stream(n, "x"), dtype=torch.float64)
    found = remove(pixels, what, 0)
    before, after = (torch.linalg.svdvals((p - p.mean(0)).flatten(1))[: n - 1] for p in (pixels, found))
    gone = max(1, round(0.2 * (n - 1)))
    assert torch.allclose(found.mean(0), pixels.mean(0))
    kept = before[gone:] if what == "top" else before[: n - 1 - gone]
    assert torch.allclose(after[: len(kept)], kept)
    assert after[len(kept) :].abs().max() < 1e-9
    assert torch.equal(remove(pixels, "none", 0), pixels)


def test_the_same_pixels_are_removed_from_every_image():
    pixels = torch.rand(50, 2, 20, 20, generator=stream(0, "x")) + 1
    gone = remove(pixels, "pixels", 3) == 0
    assert torch.equal(gone, gone[:1, :1].expand_as(gone))
    assert gone.float().mean() == pytest.approx(0.3, abs=0.1)
    assert not torch.equal(gone, remove(pixels, "pixels", 4) == 0)


def test_uneven_classes_alternate_with_the_seed():
    assert uneven(4, 0) == [1, 10, 1, 10]
    assert uneven(4, 1) == [10, 1, 10, 1]
    assert sum(uneven(10, 0)) == 55


def test_resnet18_is_of_the_usual_size():
    net = architectures.build("resnet18", Shape(3, 32, 10), 0)
    assert sum(value.numel() for value in net.parameters()) == 11_173_962
    with pytest.raises(ValueError, match="unknown network 'vgg'"):
        architectures.build("vgg", SHAPE, 0)
    with pytest.raises(ValueError, match="do not tile"):
        architectures.build("vit", Shape(1, 30, 10), 0)


def test_resnet18_tells_images_apart_only_if_a_pixel_has_neighbours():
    """Before and after the size that the probe asks for."""
    for size, apart in ((8, False), (9, True)):
        shape = Shape(1, size, 3)
        net = architectures.build("resnet18", shape, 0).eval()
        found = architectures.look([net], images(shape, n=4, dtype=torch.float32).pixels[None])[0]
        assert bool((found - found[:1]).abs().max() > 1e-4) == apart
    others.check_size(["resnet18"], 9)
    others.check_size(["vit"], 8)
    with pytest.raises(ValueError, match="8x8 to one pixel"):
        others.check_size(["vit", "resnet18"], 8)


def test_other_networks_learn_and_obey_their_seed():
    data = images(n=12, dtype=torch.float32)
    wide = data.pixels.expand(2, -1, -1, -1, -1)
    state = torch.random.get_rng_state()
    nets = architectures.train("vit", SHAPE, wide, data.labels, [0, 1], Recipe(60, rate=0.05))
    assert torch.equal(state, torch.random.get_rng_state())  # nobody else's random numbers were used
    found = architectures.look(nets, data.pixels[None])
    assert (found.argmax(-1) == data.labels).float().mean() > 0.9
    again = architectures.train("vit", SHAPE, wide, data.labels, [0, 7], Recipe(60, rate=0.05))
    assert torch.equal(architectures.look(again, data.pixels[None])[0], found[0])
    assert not torch.equal(architectures.look(again, data.pixels[None])[1], found[1])


SMALL = ["--seeds", "2", "--nets", "1", "--share", "0.0001", "--epochs", "3"]


def rows_in(folder, name):
    return json.loads((folder / name).read_text())["rows"]


def test_a_study_that_was_stopped_goes_on(tmp_path, capsys, monkeypatch):
    """Images are not distilled twice and rows not made twice; what was made in another way is made again."""
    model, out = "convnet2w4-digits", ["-o", str(tmp_path)]
    first, cells = [model, "--cells", "dm-ipc1", *SMALL, *out], "dm-ipc1,dm-ipc1+smooth"

    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(distillation_study, "study", stop)
        with pytest.raises(KeyboardInterrupt):
            distillation_study.main(first)
    assert (tmp_path / "dm-ipc1-s0.npz").exists()
    with pytest.raises(ValueError, match="it has none"):  # images without rows are no cell yet
        read_cells(tmp_path, ["dm-ipc1"], "cpu")
    capsys.readouterr()
    assert distillation_study.main(first) == 0
    assert "2 sets are there" in capsys.readouterr().out
    before = rows_in(tmp_path, "dm-ipc1-s0.json")
    assert distillation_study.main([model, "--cells", cells, *SMALL, *out]) == 0
    assert "dm-ipc1: 2 rows are there" in capsys.readouterr().out
    rows = rows_in(tmp_path, "dm-ipc1-s0.json")
    assert rows[:2] == before
    assert [row["loss"] for row in rows] == ["ce", "ce", "smooth", "smooth"]
    assert distillation_study.main([*first, "--real", "7"]) == 0
    assert "sets are there" not in capsys.readouterr().out
    assert rows_in(tmp_path, "dm-ipc1-s0.json") != before
    assert distillation_study.main([*first, "--real", "7", "--recipe", "plain"]) == 0
    assert "2 sets are there" in capsys.readouterr().out  # the same images for networks trained in another way
    assert (tmp_path / "dm-ipc1-plain-s0.json").exists()
    (tmp_path / "dm-ipc1-s0.npz").write_bytes(b"half a file")
    assert distillation_study.main(first) == 0
    assert rows_in(tmp_path, "dm-ipc1-s0.json") == before  # the same seeds, made anew


def test_more_images_than_are_held_out_cannot_be_matched(tmp_path, capsys):
    """Digits hold out eleven of a class: what would be calibrated on as many real images is said to be missing."""
    options = ["convnet2w4-digits", "--cells", "dm-ipc12,dm-ipc11,random-ipc12", *SMALL, "-o", str(tmp_path)]
    assert distillation_study.main(options) == 0
    assert "real-matched is left out: 11 images a class are held out, not 12" in capsys.readouterr().out
    world = World([record for study in read_studies(tmp_path) for record in to_records(study)])
    assert {s.name: s.has("real-matched") for s in distilled.studies(world)} == {
        "dm-ipc11": True, "dm-ipc12": False, "random-ipc12": False
    }  # fmt: skip
    *cells, greatest = distilled.masked_beats_exact(world, {})
    cells = [cell for cell in cells if not cell.name.endswith("ratio .3")]
    assert len({cell.name.split("%")[0] + cell.name.split()[-1] for cell in cells}) == 3  # both sources of one, one of
    assert greatest.name.endswith("greatest of 3 cells")  # the other
    assert study_table.main([str(tmp_path)]) == 0


def test_sets_of_one_cell_may_lie_in_several_files(tmp_path):
    options = ["convnet2w4-digits", "--cells", "random-ipc1", *SMALL, "-o", str(tmp_path)]
    for start in ("0", "1", "3"):
        assert distillation_study.main([*options, "--first-seed", start]) == 0
    found = read_cells(tmp_path, [], "cpu")["random-ipc1"]
    assert [run.seed for run in found.runs] == [0, 1, 2, 3, 4]
    with np.load(tmp_path / "random-ipc1-s1.npz") as arrays:
        assert np.array_equal(found.pixels[2], arrays["pixels"][1])


def test_a_cost_is_that_of_the_steps_after_the_first(monkeypatch):
    now = iter([5.0, 12.5, 20.0, 24.0])
    monkeypatch.setattr(others, "clock", lambda device: next(now))
    laps = others.Laps("cpu")
    for _ in range(2):
        for done in range(1, others.WARM + others.STEPS + 1):
            laps(done, others.WARM + others.STEPS)
    assert laps.seconds == [7.5, 4.0]


def test_cost_and_networks_reach_the_claims(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(others, "ROUNDS", 2)
    monkeypatch.setattr(others, "STEPS", 2)
    monkeypatch.setattr(others, "TRIES", 1)
    model, cells = "convnet2w4-digits", "dc-ipc1,random-ipc1"
    assert distillation_study.main([model, "--cells", cells, *SMALL, "--share", "0.001", "-o", str(tmp_path)]) == 0
    asked = [model, str(tmp_path), "--nets", "1", "--epochs", "3", "--cells", "dc-ipc1"]
    assert distillation_probes.main([*asked, "--probes", "cost"]) == 0
    assert distillation_probes.main([*asked, "--probes", "network", "--networks", "vit"]) == 0
    assert (tmp_path / "probes-network-vit-dc-ipc1.json").exists()
    assert distillation_probes.main([*asked, "--probes", "network"]) == 2
    assert "--networks vit asks the transformer alone" in capsys.readouterr().err
    world = World([record for study in read_studies(tmp_path) for record in to_records(study)])
    assert [cell.name.split()[-1] for cell in distilled_probes.low_cost(world, {})] == ["MDT", "MTS"]
    assert all(
        row["seconds"]["masked"] > 0 for s in distilled.studies(world, "cost") for r in s.rows.values() for row in r
    )
    *made, missing = distilled_probes.other_networks(world, {})
    assert [cell.cut for cell in made] == [True, True]
    assert missing.name.endswith("resnet18")


def test_a_study_and_its_probes_reach_the_claims(tmp_path, capsys):
    """The commands as a user gives them, on digits at a tiny budget."""
    model, cells = "convnet2w4-digits", "dm-ipc1,dm-ipc10,random-ipc1"
    assert distillation_study.main([model, "--cells", cells, *SMALL, "--share", "0.001", "-o", str(tmp_path)]) == 0
    asked = [model, str(tmp_path), "--nets", "1", "--epochs", "3", "--cells", cells]
    assert distillation_probes.main([*asked, "--probes", "removal,imbalance"]) == 0
    assert distillation_probes.main([model, str(tmp_path), "--probes", "removals"]) == 2
    assert "there are removal, imbalance, network, cost" in capsys.readouterr().err
    assert distillation_probes.main([model, str(tmp_path), "--cells", "dc-ipc1"]) == 2
    assert "no images of dc-ipc1; it has dm-ipc1, dm-ipc10, random-ipc1" in capsys.readouterr().err
    found = [record for study in read_studies(tmp_path) for record in to_records(study)]
    world = World(found)
    assert {sets.name for sets in distilled.studies(world)} == set(cells.split(","))
    assert all(row["looks"]["probe"] for s in distilled.studies(world) for rows in s.rows.values() for row in rows)
    assert all(cell.cut for cell in distilled_probes.removal_hurts_more(world, {}))
    assert len(distilled_probes.uneven_is_worse(world, {})) == 1
    assert study_table.main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"## {model}"
    head, _, *lines = [line for line in shown[shown.index("Diagnoses:") + 2 :] if line.startswith("|")]
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in cells.split(",")]
    assert all(line.count("|") == head.count("|") and "±" in line.split(" | ")[6] for line in lines)


def test_rows_of_a_probe_are_there_whole_or_not_at_all(tmp_path, monkeypatch):
    """Whoever collects while a probe writes finds no half file."""
    monkeypatch.setitem(distillation_probes.PROBES, "removal", lambda context, cells: iter([{"cell": "dm-ipc1"}]))
    context, path = SimpleNamespace(model="m", networks=()), tmp_path / "probes-removal-dm-ipc1.json"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fixtures.files.os.replace", stop)
        with pytest.raises(KeyboardInterrupt):
            distillation_probes.run_probe("removal", context, {"dm-ipc1": None}, tmp_path)
    assert not path.exists()
    assert not list(read_studies(tmp_path))
    distillation_probes.run_probe("removal", context, {"dm-ipc1": None}, tmp_path)
    assert json.loads(path.read_text())["probes"] == [{"cell": "dm-ipc1"}]
