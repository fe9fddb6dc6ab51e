"""Can the model write its own calibration data? (arXiv 2410.17711, section 4; 2410.17170)

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "self_generation"


def test_case(case, run_case):
    check(case, run_case(case))
