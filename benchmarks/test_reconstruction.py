"""Does a lower reconstruction error overfit the calibration data? (arXiv 2406.15524)

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "reconstruction"


def test_case(case, run_case):
    check(case, run_case(case))
