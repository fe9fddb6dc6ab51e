"""The house: which room may import which, cheap imports, and that `fixtures` is ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("compressors", "fixtures", "reports", "benchmarks")  # each may import those before it
HEAVY = ("torch", "transformers", "datasets", "lm_eval", "scipy", "matplotlib", "statsmodels")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names of every import in a file, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    later = set(ROOMS[ROOMS.index(room) + 1 :]) | {"conftest", "tests"}
    assert not imported(path) & later, f"{room} may not import a room that builds on it"


def test_compressors_import_neither_pytest_nor_files_of_ours():
    for path in (ROOT / "compressors").rglob("*.py"):
        assert not imported(path) & {"pytest", "transformers", "datasets", "lm_eval", "requests", "fixtures"}, path


def test_reports_need_no_torch():
    for path in (ROOT / "reports").rglob("*.py"):
        assert not imported(path) & {"torch", "transformers", "lm_eval"}, path


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", [*ROOMS, "conftest", "benchmarks.grid", "benchmarks.session", "fixtures.records"])
def test_importing_a_room_loads_nothing_heavy(module):
    loaded = python(f"import sys, {module}; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_building_the_grid_loads_nothing_heavy():
    code = (
        "import sys; from benchmarks.grid import *; print(len(build_cases(load_profile('quick'), Overrides())));"
        "print(*sys.modules)"
    )
    count, loaded = python(code).split("\n", 1)
    assert int(count) > 100
    assert not set(HEAVY) & set(loaded.split())


def test_fixtures_is_ours_and_not_the_package_of_that_name():
    assert Path(python("import fixtures; print(fixtures.__file__)").strip()).parent == ROOT / "fixtures"


def test_no_file_is_longer_than_a_sitting():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {str(path): n for path, n in lengths.items() if n > 320}
    assert sorted(lengths.values())[len(lengths) // 2] <= 150


def test_every_function_of_ours_fits_a_screen():
    long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 60:
                long.append(f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno} lines")
    assert not long
