"""What too few items cannot show, however alike two runs are."""

from __future__ import annotations

import pytest

from reports import statistics


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 24, 0.5, 1e-6])
def test_the_fewest_flips_are_significant_and_one_fewer_is_not(alpha):
    def p_of(flips: int) -> float:
        return statistics.mcnemar([1] * 40, [0] * flips + [1] * (40 - flips)).p

    fewest = statistics.fewest_flips(alpha)
    assert p_of(fewest) <= alpha < p_of(fewest - 1)
