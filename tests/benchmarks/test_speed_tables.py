"""The tables of compression speed: of whole runs, of sweeps, of a session that was cut short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import compressors
from benchmarks import speed
from compressors.report import CompressionReport

STAGES = {"forward": 1.0, "statistics": 0.25, "solve": 0.5, "total": 2.0}
RUN = {"method": "wanda-0.5", "blocks": 4, "floor": 1.6, "peak_memory": 3 * 2**30, "fallbacks": 0, **STAGES}
SWEEP = {
    "method": "wanda-0.5", "blocks": 4, "length": 64, "amounts": [1, 2, 4], "sweep": STAGES, "largest": {"total": 1.6}
}  # fmt: skip


def written(folder, *infos):
    path = folder / "speed.json"
    runs = [{"name": f"case[{i}]", "extra_info": info} for i, info in enumerate(infos)]
    path.write_text(json.dumps({"datetime": "2026-11-22T14:00:00", "benchmarks": runs}))
    return str(path)


def test_both_tables_and_what_was_cut(tmp_path, capsys):
    assert speed.main([written(tmp_path, RUN, {**RUN, "offload": True, "floor": 0}, SWEEP, {})]) == 0
    printed = capsys.readouterr().out
    assert "| `wanda-0.5` | 2.00 | 0.500 | 1.00 | 0.25 | 0.50 | 3.0 | 1.25 |" in printed
    assert "| `wanda-0.5` offloaded | 2.00 | 0.500 | 1.00 | 0.25 | 0.50 | 3.0 | – |" in printed
    assert "| `wanda-0.5` | 1 to 4 x 64 (3) | 2.00 | 0.50 | 1.60 | 1.25 |" in printed
    assert "interrupted, so without figures: case[3]" in printed


@pytest.mark.parametrize("content", [None, "{", "[]", '{"benchmarks": [{}], "datetime": "2026"}'])
def test_a_file_that_is_none_is_named(tmp_path, capsys, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    assert speed.main([str(path)]) == 2
    assert f"{path} is no file of pytest's --benchmark-json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shape", "9b"], "'7b', 'smollm2-135m', 'small'"),
        (["--weights", "known-corpsu-1m"], "unknown model 'known-corpsu-1m'"),
    ],
)
def test_a_wrong_option_is_said_once_and_without_a_traceback(options, words):
    command = [sys.executable, "-m", "pytest", "benchmarks/test_compression_speed.py", "-m", "speed", "-q", "-p"]
    done = subprocess.run(
        [*command, "no:cacheprovider", "-k", "wanda and not sweep and not offloaded", *options],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},  # of xdist's workers
    )  # fmt: skip
    assert done.returncode == 4
    printed = done.stdout + done.stderr
    assert printed.count(words) == 1, printed
    assert "Traceback" not in printed
    assert ".py:" not in printed


def test_a_time_is_what_the_caller_waits_for(monkeypatch):
    """The report's own clock stops before the original weights are let go."""
    report = CompressionReport("wanda-0.5", seconds=STAGES, blocks=4)
    monkeypatch.setattr(compressors, "compress", lambda *args, **options: report)
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=iter([10.0, 12.5]).__next__))
    assert speed.cost(None, None, "wanda-0.5", 1.6).seconds == {**STAGES, "total": 2.5}


def test_no_file_is_how_it_is_used(capsys):
    assert speed.main([]) == 2
    assert "FILE" in capsys.readouterr().err
