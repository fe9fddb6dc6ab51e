"""Does the effect of the source grow with sparsity and with structure? (arXiv 2410.17711, section 3.2)

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "sparsity"


def test_case(case, run_case):
    check(case, run_case(case))
