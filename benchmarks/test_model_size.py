"""Are larger models more robust to the draw? Models of several sizes and training seeds, equal text.

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "model_size"


def test_case(case, run_case):
    check(case, run_case(case))
