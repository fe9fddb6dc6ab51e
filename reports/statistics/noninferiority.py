"""Is the loss at most a stated margin? Pass, fail or cannot tell.

Non-inferiority as in the CONSORT extension (Piaggio et al., JAMA 308, 2012): the interval decides, not the p value
of "no difference".
"""

from __future__ import annotations

from reports.statistics.interval import Interval


def noninferiority(interval: Interval, margin: float) -> str:
    """``interval`` is of a loss (positive is worse): ``pass`` if it lies below ``margin``, ``fail`` if above."""
    if interval.high < margin:
        return "pass"
    return "fail" if interval.low > margin else "inconclusive"
