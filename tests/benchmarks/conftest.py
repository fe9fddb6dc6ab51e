"""The miniature suite: a tiny model and two sources made once, and a way to run `pytest benchmarks` on them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers_suite import PROFILE, command, run_suite


@pytest.fixture(scope="session")
def mini(tmp_path_factory) -> Path:
    """A folder with a tiny random Llama, two sources and a profile `mini.toml` over them."""
    from tests.miniature import write_model, write_text

    folder = tmp_path_factory.mktemp("mini")
    first = write_text(folder / "first.jsonl", seed=1)
    second = write_text(folder / "second.txt", seed=2)
    write_model(folder / "tiny", [first, second])
    profile = PROFILE.format(model=folder / "tiny", first=first, second=second)
    (folder / "mini.toml").write_text(profile)
    return folder


@pytest.fixture
def suite(mini, tmp_path, pytester, monkeypatch):
    """Runs `pytest benchmarks` on the miniature profile through `pytester`; the store is this test's own."""

    def run(*arguments: str, env: dict[str, str] | None = None):
        for name, value in {"CALIBENCH_CACHE": str(mini / "cache"), **(env or {})}.items():
            monkeypatch.setenv(name, value)
        done = pytester.run(*command(mini, run.store, *arguments), timeout=900)
        return subprocess.CompletedProcess(arguments, int(done.ret), done.stdout.str(), done.stderr.str())

    run.store = tmp_path / "store"
    return run


@pytest.fixture(scope="session")
def finished(mini) -> tuple[Path, str]:
    """The store and the output of a whole run, made once; tests that change a store work on a copy."""
    store = mini / "finished"
    done = run_suite(mini, store, f"--junitxml={mini / 'junit.xml'}")
    assert done.returncode == 0, done.stdout + done.stderr
    return store, done.stdout


@pytest.fixture
def copied(finished, suite) -> Path:
    """A finished store of the test's own."""
    shutil.copytree(finished[0], suite.store)
    return suite.store
