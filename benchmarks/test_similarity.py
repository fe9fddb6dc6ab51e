"""Does similarity to the training text predict which source is best? Twelve sources and more.

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "similarity"


def test_case(case, run_case):
    check(case, run_case(case))
