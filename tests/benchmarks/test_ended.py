"""A command that a cancelled job ends (SIGTERM), or the system (SIGKILL), leaves no process at work behind."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from fixtures.processes import STATUS
from tests.helpers_processes import ROOT, Held
from tests.helpers_suite import command

METHOD = """
from compressors import registry
from tests.held import hold

registry.register(registry.Algorithm("held", "held_method", ("sparsity",), "none", "nowhere"))


def solve(weights, seen, method):
    hold()
"""
FAMILIES = """
from benchmarks import families
from tests.held import hold
families.worker = hold
families.scan(["llama", "opt", "gpt2"], jobs=2, seconds=3600)
"""


@pytest.fixture
def held(tmp_path, mini):
    """Starts a command that knows the method ``held``, which does not end."""
    (tmp_path / "held_method.py").write_text(METHOD)
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    started = []

    def start(*arguments):
        env = {"PYTHONPATH": path, "CALIBENCH_COMPRESSORS": "held_method", "CALIBENCH_CACHE": str(mini / "cache")}
        started.append(Held(tmp_path / "held", arguments, **env))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_fleet_leaves_none(held, mini, tmp_path, number):
    store = tmp_path / "store"
    profile = ["--profile", mini / "mini.toml", "--store", store, "--methods", "held-0.5"]
    fleet = held(sys.executable, "-m", "benchmarks.fleet", *profile, "--processes", "2", "--seconds", "3600")
    fleet.wait_for(2)
    assert fleet.end(number) in (STATUS, -number), fleet.output
    assert fleet.left() == []
    assert fleet.untidy() == []
    assert list(store.rglob("*.tmp-*")) == []


@pytest.mark.slow
def test_workers_of_the_suite_end_with_it(held, mini, tmp_path):
    suite = held(*command(mini, tmp_path / "store", "--methods", "held-0.5", "-n", "2"))
    suite.wait_for(2)
    assert suite.end(signal.SIGTERM) == -signal.SIGTERM, suite.output
    assert suite.left() == []


@pytest.mark.slow
def test_a_scan_of_families_leaves_none(held):
    scan = held(sys.executable, "-c", FAMILIES)
    scan.wait_for(2)
    assert scan.end(signal.SIGTERM) == STATUS, scan.output
    assert scan.left() == []
    assert scan.untidy() == []
