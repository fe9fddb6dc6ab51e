"""Thresholds from files of earlier runs: pytest-benchmark's own, or plain figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.thresholds import main, read


@pytest.fixture
def files(tmp_path):
    """Writes one file a run and gives their paths."""

    def write(*runs):
        paths = []
        for k, run in enumerate(runs):
            paths.append(tmp_path / f"{k}.json")
            paths[-1].write_text(run if isinstance(run, str) else json.dumps(run))
        return [str(path) for path in paths]

    return write


QUIET = [{"perplexity": x} for x in (20.0, 20.1, 19.9, 20.0, 20.05)]


@pytest.mark.parametrize(("value", "status", "word"), [(20.1, 0, "pass"), (24.0, 1, "FAIL"), (12.0, 0, "pass")])
def test_against_five_runs(files, capsys, value, status, word):
    assert main(files(*QUIET, {"perplexity": value})) == status
    assert capsys.readouterr().out.startswith(f"{word} perplexity: {value:.4g}:")


def test_four_runs_are_refused(files, capsys):
    paths = files(*QUIET[:4], {"perplexity": 20.0})
    assert main(paths) == 0
    assert main([*paths, "--strict-gates"]) == 6
    assert "at least 5" in capsys.readouterr().out


def test_new_and_missing_figures_are_seen(files, capsys):
    assert main([*files(*QUIET, {"other": 1.0}), "--strict-gates"]) == 6
    output = capsys.readouterr().out
    assert "refused other" in output
    assert "inconclusive perplexity" in output


def test_what_pytest_benchmark_writes_is_read(tmp_path):
    (tmp_path / "test_b.py").write_text("def test_b(benchmark):\n    benchmark(lambda: sum(range(100)))\n")
    out = tmp_path / "b.json"
    command = [sys.executable, "-m", "pytest", str(tmp_path), "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # pytest-benchmark measures nothing in a worker of xdist, and knows one by its environment.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    subprocess.run([*command, f"--benchmark-json={out}"], check=True, capture_output=True, cwd=tmp_path, env=alone)
    figures = read(out)
    assert list(figures) == ["test_b.py::test_b"]
    assert 0 < figures["test_b.py::test_b"] < 1


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"a": "x"}', '{"a": NaN}', '{"benchmarks": [{}]}'])
def test_what_cannot_be_read_is_named(files, capsys, content):
    assert main(files(*QUIET, content)) == 2
    assert "5.json" in capsys.readouterr().err
