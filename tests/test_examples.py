"""What Hypothesis draws for a test is the same in every process, whatever else was imported there."""

from __future__ import annotations

import importlib.util
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def examples() -> list[tuple[int, float]]:
    seen = []

    @settings(max_examples=200)
    @given(st.integers(0, 2**20), st.floats(0, 1))
    def test(number, share):
        seen.append((number, share))

    test()
    return seen


def test_a_module_of_ours_that_was_imported_before_changes_no_example(tmp_path, monkeypatch):
    before = examples()
    path = tmp_path / "more_constants.py"
    path.write_text(f"NUMBERS = {[number * 7919 for number in range(3, 90)]}\nSHARES = [0.123, 0.456, 0.789]\n")
    spec = importlib.util.spec_from_file_location("more_constants", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "more_constants", module)
    spec.loader.exec_module(module)
    assert examples() == before


def test_no_example_is_drawn_against_a_clock():
    assert settings.default.derandomize
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
