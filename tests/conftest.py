"""Shared by all rooms: a cache of its own for every test that asks for one.

Hypothesis is derandomized, so that a run in CI is the run at home.
"""

from __future__ import annotations

import os

# Before anything imports torch: the workers share the cores, and threads that wait for each other by spinning
# make two busy cores many times slower than two single-threaded processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

import fixtures

settings.register_profile("calibench", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("calibench")


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
