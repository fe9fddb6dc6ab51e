"""Does the data matter more than the pruning algorithm? (arXiv 2410.17711, section 3)

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "data_vs_algorithm"


def test_case(case, run_case):
    check(case, run_case(case))
