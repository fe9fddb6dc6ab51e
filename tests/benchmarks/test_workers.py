"""Workers share the GPUs in turn, also where there are fewer GPUs than workers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import conftest


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0", ["0", "0", "0", "0"]), ("2,5, 7", ["2", "5", "7", "2"]), ("GPU-a,MIG-b", ["GPU-a", "MIG-b"] * 2)],
)
def test_workers_take_the_callers_gpus_in_turn(visible, expected, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    specs = [SimpleNamespace(env={}) for _ in range(4)]
    conftest.pytest_xdist_setupnodes(specs)
    assert [spec.env["CUDA_VISIBLE_DEVICES"] for spec in specs] == expected


def test_nobody_is_pinned_where_gpus_are_hidden(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    specs = [SimpleNamespace(env={}) for _ in range(2)]
    conftest.pytest_xdist_setupnodes(specs)
    assert [spec.env for spec in specs] == [{}, {}]


def test_without_a_word_from_the_caller_the_drivers_devices_count(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert conftest.visible_gpus(str(tmp_path)) == []
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert conftest.visible_gpus(str(tmp_path)) == ["0", "1"]
