"""Shared by all rooms: Hypothesis is derandomized, so that a run in CI is the run at home."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("calibench", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("calibench")
