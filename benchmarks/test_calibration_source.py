"""What does the calibration source do? Every case of the grid: compress, score, and assert what one case can show.

What takes many cases (source effects, variance over draws, regressions) is judged when the session ends.
"""

from __future__ import annotations

import math

import compressors
from benchmarks import expectations


def test_case(case, run_case):
    record = run_case(case)
    losses = [loss for scores in record.nll.values() for loss in scores.nll]
    assert all(math.isfinite(loss) for loss in losses), "a loss is not finite"
    assert all(math.isfinite(ll) for scores in record.tasks.values() for row in scores.loglikelihoods for ll in row)
    method = compressors.parse(case.method)
    problems = expectations.problems(method, record.checks.get("structure", []))
    assert not problems, "\n".join(problems)
    control = record.checks.get("permuted")
    if control:
        # Weights in the right places must be worth something.
        assert control["nll"] < control["permuted_nll"], (
            f"{case.id}: {control['nll']:.3f} nats a token, no better than {control['permuted_nll']:.3f} with the "
            "entries of each linear permuted: the compressed weights carry no information"
        )
