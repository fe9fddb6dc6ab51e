"""A method of somebody else's beside ours in the grid, without an edit of our files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers_suite import records

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]

PRUNER = """
from compressors import registry
from compressors.solving import Solved
from .maths import largest

registry.register(registry.Algorithm("largest", "their.pruner", ("sparsity",), "none", "nowhere"))


def solve(weights, seen, method):
    chosen = [largest(weight, method.target.sparsity) for weight in weights]
    return [Solved(weight.masked_fill(mask, 0), 1.0, mask=True) for weight, mask in zip(weights, chosen, strict=True)]
"""
MATHS = """
from compressors import masks


def largest(weight, sparsity):
    return masks.smallest(weight.abs() + SHIFT, sparsity)
"""


@pytest.fixture
def theirs(tmp_path):
    """A folder for Python's path with the package ``their``."""
    (tmp_path / "their").mkdir()
    (tmp_path / "their" / "__init__.py").touch()
    (tmp_path / "their" / "pruner.py").write_text(PRUNER)
    (tmp_path / "their" / "maths.py").write_text(MATHS.replace("SHIFT", "0"))
    return tmp_path


def python(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), **environment}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)


def test_it_runs_in_the_grid_on_two_workers(suite, theirs):
    env = {"PYTHONPATH": str(theirs)}
    done = suite("--register", "their.pruner", "--methods", "largest-0.5,wanda-0.5", "-n", "2", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(suite.store)
    assert sum("-largest-0.5-" in name for name in found) == 4
    assert {
        linear["sparsity"] for name in found if "largest" in name for linear in found[name]["compression"]["linears"]
    } == {0.5}
    assert "pass null[tiny largest-0.5]" in done.stdout or "inconclusive null[tiny largest" not in done.stdout


@pytest.mark.parametrize("way", ["variable", "entry point"])
def test_it_is_listed_with_ours(theirs, way):
    if way == "entry point":
        about = theirs / "their-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[calibench.compressors]\nlargest = their.pruner:solve\n")
    done = python(
        theirs, "-m", "compressors", **({"CALIBENCH_COMPRESSORS": "their.pruner"} if way == "variable" else {})
    )
    assert done.returncode == 0, done.stderr
    assert "largest-0.5    nowhere; calibration-free" in done.stdout
    assert "wanda-0.5" in done.stdout


def test_an_edit_of_any_file_of_their_package_is_other_code(theirs):
    def code_hash(method: str = "largest-0.5") -> str:
        done = python(
            theirs,
            "-c",
            f"import compressors; print(compressors.code_hash({method!r}))",
            CALIBENCH_COMPRESSORS="their.pruner",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    before, ours = code_hash(), code_hash("wanda-0.5")
    (theirs / "their" / "maths.py").write_text(MATHS.replace("SHIFT", "1"))
    assert code_hash() != before
    assert code_hash("wanda-0.5") == ours


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("thier.pruner", "No module named 'thier'"),
        ("broken", "ZeroDivisionError"),
        ("leaving", "SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(theirs, named, message):
    (theirs / "broken.py").write_text("1 / 0\n")
    (theirs / "leaving.py").write_text("raise SystemExit(3)\n")
    done = python(theirs, "-m", "pytest", "benchmarks", "--register", named, "--dry-run", "-p", "no:cacheprovider")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"the module {named!r} cannot be imported" in done.stderr
    assert message in done.stderr
