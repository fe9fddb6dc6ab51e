"""How little calibration data is enough? Amounts are prefixes of one draw. (arXiv 2311.09755, 2410.17711)

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "amount"


def test_case(case, run_case):
    check(case, run_case(case))
