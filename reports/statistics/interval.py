"""An estimate with its standard error, and the t interval and p values that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """``estimate`` with a two-sided interval of level ``confidence``; all in the unit of the data.

    ``error`` is the standard error and ``df`` its degrees of freedom; an error of 0 (bit-equal data) gives an
    interval of no width and p values of 0 or 1.
    """

    estimate: float
    low: float
    high: float
    error: float
    df: float
    confidence: float = 0.95

    @classmethod
    def of_t(cls, estimate: float, error: float, df: float, confidence: float = 0.95) -> Interval:
        from scipy.stats import t

        half = float(t.ppf((1 + confidence) / 2, df)) * error if error > 0 else 0.0
        return cls(float(estimate), float(estimate - half), float(estimate + half), float(error), float(df), confidence)

    def p_greater(self, than: float = 0.0) -> float:
        """One-sided p value of the hypothesis that the mean is at most ``than``."""
        from scipy.stats import t

        if self.error == 0:
            return 0.0 if self.estimate > than else 1.0
        return float(t.sf((self.estimate - than) / self.error, self.df))

    def p_less(self, than: float = 0.0) -> float:
        """One-sided p value of the hypothesis that the mean is at least ``than``."""
        if self.error == 0:
            return 0.0 if self.estimate < than else 1.0
        return 1 - self.p_greater(than)

    def p_two_sided(self, value: float = 0.0) -> float:
        from scipy.stats import t

        if self.error == 0:
            return 0.0 if self.estimate != value else 1.0
        return float(2 * t.sf(abs(self.estimate - value) / self.error, self.df))

    def widened(self, error: float) -> Interval:
        """The interval with an independent standard error added (for instance the SD of retraining)."""
        return Interval.of_t(self.estimate, math.hypot(self.error, error), self.df, self.confidence)
