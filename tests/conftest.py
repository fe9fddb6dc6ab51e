"""Shared by all rooms: a cache of its own for every test that asks for one.

Hypothesis is derandomized, so that a run in CI is the run at home, whatever worker a test lands on and when.
"""

from __future__ import annotations

import os

# Before anything imports torch: the workers share the cores, and threads that wait for each other by spinning
# make two busy cores many times slower than two single-threaded processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

import fixtures

# A check of how long examples take to draw is a clock: a machine that stands still for a while would fail it.
settings.register_profile(
    "calibench", derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("calibench")
# Examples are drawn from the constants of our loaded modules, too: others in each worker and order of the tests.
# There is no setting for it (Hypothesis 6.170); test_examples.py says if this no longer helps.
if hasattr(providers, "_get_local_constants") and hasattr(providers, "Constants"):
    providers._get_local_constants = providers.Constants


@pytest.fixture
def cache(tmp_path):
    """An empty cache folder, in use for the length of the test."""
    fixtures.set_cache_dir(tmp_path / "cache")
    yield tmp_path / "cache"
    fixtures.set_cache_dir(None)


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory):
    """An empty cache folder, in use for the length of the module (for Hypothesis, which forbids the other kind)."""
    folder = tmp_path_factory.mktemp("cache")
    fixtures.set_cache_dir(folder)
    yield folder
    fixtures.set_cache_dir(None)
