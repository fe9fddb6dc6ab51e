"""What a study of distilled images cannot do is said at once, and not after hours of distilling."""

from __future__ import annotations

import contextlib
import json

import pytest
import torch

from benchmarks import distillation_probes, distillation_speed, distillation_study
from benchmarks.study_options import network
from fixtures.images import ImageError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--seeds", "0"], "--seeds: expected a whole number of at least 1, not '0'"),
        (["--nets", "0"], "--nets: expected a whole number"),
        (["--epochs", "-1"], "--epochs: expected a whole number"),
        (["--share", "-1"], "--share: expected a share above 0"),
        (["--share", "0.00001"], "not one of the 1,000 iterations of dc"),
        (["--cells", "dc-ipc1,dm-ipc200"], "dm-ipc200: 200 images a class, but a class has only 101"),
        (["--cells", "dc-ipc1,dcc-ipc1"], "'dcc-ipc1' is no backbone; did you mean dc-ipc10?"),
        (["--cells", "dc-ipc1+mdt1"], "mask ratio 1; expected 0 <= ratio < 1"),
        (["-o", "{file}/rows"], "/rows cannot be written: Not a directory"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_distilled(given, said, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(distillation_study, "run_group", lambda *_: pytest.fail("began to distil"))
    cells, out = ["--cells", "dc-ipc1"], ["-o", str(tmp_path / "rows")]
    with contextlib.suppress(SystemExit):  # argparse's way to say 2
        given = [text.format(file=tmp_path / "file") for text in given]
        assert distillation_study.main(["convnet2w4-digits", *cells, *out, *given]) == 2
    assert said in capsys.readouterr().err


def test_a_network_is_no_deeper_than_its_images():
    assert network("convnet5-fashion-mnist").depth == 5
    for name in ("convnet9-digits", "convnet0-digits", "convnet3w0-digits"):
        with pytest.raises(ImageError, match="expected a depth of 1 to 4 and a width of at least 1"):
            network(name)


def test_speed_on_a_cpu_names_nothing_that_it_does_not_have(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    small = ["--repeats", "1", "--size", "4", "--width", "2", "--depth", "1", "--real", "2", "--outer", "1"]
    assert distillation_speed.main([*small, "--inner", "1", "-o", str(tmp_path / "speed.json")]) == 0
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.benchmark = before[1]
    assert capsys.readouterr().out.startswith("no GPU, ")
    rows = json.loads((tmp_path / "speed.json").read_text())
    assert [(row["backbone"], row["ipc"]) for row in rows] == [("dc", 1), ("dc", 10), ("dsa", 1), ("dsa", 10)]
    ways = ["plain loop", "batched", "batched, 5 sets"]
    assert all(list(row) == ["backbone", "ipc", "device", *ways] and min(row[w] for w in ways) > 0 for row in rows)


def test_probes_of_a_folder_without_a_study(tmp_path, capsys):
    assert distillation_probes.main(["convnet2w4-digits", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no images and rows of benchmarks.distillation_study" in capsys.readouterr().err


def test_memory_by_steps_is_that_of_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    assert distillation_speed.main(["--unrolled", "10,20"]) == 2
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.benchmark = before[1]
    assert "--unrolled measures the memory of a GPU, and there is none" in capsys.readouterr().err
    with contextlib.suppress(SystemExit):
        distillation_speed.main(["--unrolled", "10,none"])
    assert "--unrolled: expected a whole number of at least 1, not 'none'" in capsys.readouterr().err
