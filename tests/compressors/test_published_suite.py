"""The conformance suite as others use it: on a compressor of theirs, sound or broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

COMPRESSOR = """
import pytest
import compressors
from compressors import masks, registry
from compressors.solving import Solved
from tests.conformance import CompressorConformance

registry.register(registry.Algorithm("largest", "theirs", ("sparsity",), "none", "nowhere"))


def solve(weights, seen, method):
    chosen = [masks.smallest({metric}, method.target.sparsity) for weight in weights]
    return [Solved(weight.masked_fill(mask, 0), 1.0, mask=True) for weight, mask in zip(weights, chosen, strict=True)]


class TheirSuite(CompressorConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def method(cls):
        return "largest-0.5"
"""


def run(folder: Path, named: str, *more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/compressors",
        "--compressor",
        named,
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run([*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)


def package(folder: Path, metric: str) -> None:
    (folder / "their").mkdir()
    (folder / "their" / "__init__.py").write_text("")
    (folder / "their" / "pruner.py").write_text(
        COMPRESSOR.replace("{metric}", metric).replace('"theirs"', '"their.pruner"')
    )


def test_a_sound_compressor_passes_and_nothing_else_is_run(tmp_path):
    package(tmp_path, "weight.abs()")
    result = run(tmp_path, "their.pruner:TheirSuite")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
    listed = run(tmp_path, "their.pruner:TheirSuite", "--collect-only").stdout
    tests = [line for line in listed.splitlines() if "::" in line]
    assert tests
    assert all("TheirSuite" in line for line in tests)


def test_a_broken_one_fails_by_name(tmp_path):
    package(tmp_path, "weight.roll(1, 0).abs()")  # pruned by the row above: every count is right
    result = run(tmp_path, "their.pruner:TheirSuite", "-k", "any_order or target")
    assert result.returncode == 1
    assert "TheirSuite::test_rows_may_come_in_any_order" in result.stdout
    assert "TheirSuite::test_target_is_met" not in result.stdout


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("nonsense", "package.module:Class"),
        ("no.such.module:Suite", "cannot be imported: No module named 'no'; it must lie on Python's path"),
        ("their.pruner:Thing", "TheirSuite"),
    ],
)
def test_a_wrong_name_is_a_usage_error(tmp_path, named, words):
    package(tmp_path, "weight.abs()")
    result = run(tmp_path, named)
    assert result.returncode == 4
    assert words in result.stderr + result.stdout
