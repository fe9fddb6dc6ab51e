"""Each worker sees one GPU: of those the caller may use, in turn, and the same one after a crash."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import gpus

ROOT = Path(__file__).parents[2]
LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
  MIG 1g.10gb     Device  0: (UUID: MIG-b1)
  MIG 1g.10gb     Device  1: (UUID: MIG-b2)
"""


def driver(folder: Path, script: str) -> dict[str, str]:
    """An environment without CUDA_VISIBLE_DEVICES, whose `nvidia-smi` is ``script``."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("named", "devices"),
    [
        ("0", ["0"]),
        ("3,5", ["3", "5"]),
        (" GPU-x , MIG-y ", ["GPU-x", "MIG-y"]),
        ("", []),
        ("-1", []),
        ("1,-1,2", ["1"]),
    ],
)
def test_the_callers_choice_holds(named, devices, monkeypatch):
    monkeypatch.setattr(gpus, "installed", lambda: ["not asked"])
    assert gpus.visible({"CUDA_VISIBLE_DEVICES": named}) == devices


def test_without_a_choice_the_driver_is_asked(tmp_path, monkeypatch):
    environment = driver(tmp_path, f"cat <<'END'\n{LISTING}END")
    monkeypatch.setenv("PATH", environment["PATH"])
    assert gpus.visible({}) == ["GPU-aaaa", "MIG-b1", "MIG-b2"]


@pytest.mark.parametrize("script", ["exit 9", "echo No devices were found"])
def test_a_driver_without_devices_is_none(tmp_path, monkeypatch, script):
    monkeypatch.setenv("PATH", driver(tmp_path, script)["PATH"])
    assert gpus.visible({}) == []


def test_no_driver_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.visible({}) == []


def test_workers_take_the_gpus_in_turn():
    specs = [SimpleNamespace(env={}) for _ in range(5)]
    gpus.pin(specs, ["3", "5"])
    assert [spec.env["CUDA_VISIBLE_DEVICES"] for spec in specs] == ["3", "5", "3", "5", "3"]
    gpus.pin(specs[:1], [])
    assert specs[0].env == {"CUDA_VISIBLE_DEVICES": "3"}


@pytest.mark.parametrize(
    ("device", "grid", "wanted"),
    [
        ("cuda", None, True),
        ("cuda:1", "cuda", False),
        ("cpu", "cuda", False),
        (None, "cuda", True),
        (None, None, False),
    ],
)
def test_a_gpu_that_is_asked_for_by_number_is_not_hidden(device, grid, wanted):
    assert gpus.wanted(device, [{"device": grid} if grid else {}]) == wanted


TEST = """
import os, pathlib, pytest, time
@pytest.mark.parametrize("k", range(12))
def test_seen(k, worker_id):
    here = pathlib.Path(__file__).parent
    (here / f"seen-{worker_id}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
    if worker_id == "gw1":
        os._exit(3)
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for _ in range(4000):  # leave the replacement something to do
        if len(list(here.glob("seen-*"))) > workers:
            break
        time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("choice", "options", "first"),
    [
        ("3,5", ["-n", "2"], {"gw0": "3", "gw1": "5"}),
        (None, ["-n", "auto"], {"gw0": "GPU-aaaa", "gw1": "MIG-b1", "gw2": "MIG-b2"}),
    ],
)
def test_under_xdist_a_replacement_keeps_the_gpu(tmp_path, choice, options, first):
    """A session of its own, with this repository's plugin; its tests crash one of the workers."""
    (tmp_path / "test_seen.py").write_text(TEST)
    environment = {**os.environ, **driver(tmp_path, f"cat <<'END'\n{LISTING}END"), "PYTHONPATH": str(ROOT)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    environment |= {} if choice is None else {"CUDA_VISIBLE_DEVICES": choice}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "--device", "cuda"]
    done = subprocess.run(
        [*command, "--benchmark-disable", *options, str(tmp_path)], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    seen = {path.name.removeprefix("seen-"): path.read_text() for path in tmp_path.glob("seen-*")}
    assert {name: seen.get(name) for name in first} == first, done.stdout
    replacements = {name: device for name, device in seen.items() if name not in first}
    assert set(replacements.values()) == {first["gw1"]}
    assert re.search(r"1 failed, 11 passed", done.stdout), done.stdout
