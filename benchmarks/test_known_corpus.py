"""Is calibration text better that is like the training text? Models whose training text is known exactly.

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "known_corpus"


def test_case(case, run_case):
    check(case, run_case(case))
