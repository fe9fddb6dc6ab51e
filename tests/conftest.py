"""Shared by all rooms: Hypothesis is derandomized, so that a run in CI is the run at home."""

from __future__ import annotations

import os

# Before anything imports torch: the workers share the cores, and threads that wait for each other by spinning
# make two busy cores many times slower than two single-threaded processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("calibench", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("calibench")
