"""Do the length of the sequences, the packing and BOS matter beside the source? Equal tokens throughout.

One case of the question's grids at a time; `python -m benchmarks.claims` reads the answer off the records.
"""

from __future__ import annotations

from benchmarks.expectations import check

QUESTION = "sequence_length"


def test_case(case, run_case):
    check(case, run_case(case))
