"""What does the calibration source do? Every case of the grid: compress, score, and assert what one case can show.

What takes many cases (source effects, variance over draws, regressions) is judged when the session ends.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "calibration_source"


def test_case(case, run_case):
    check(case, run_case(case))
