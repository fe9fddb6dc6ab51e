"""What a statistic found: an estimate with its intervals and p value, in the shape that a rule needs.

``p`` is two-sided for effects, that of the F test for components, and that of the permutation for agreements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.statistics import Interval, detectable_difference
from reports.statistics.concordance import Concordance
from reports.statistics.rank_association import Association


class Evidence:
    """Common to all: ``estimate`` with a 95 % interval ``low`` .. ``high``, and what could have been seen."""

    estimate: float
    low: float
    high: float
    p: float
    detectable: float | None


@dataclass(frozen=True)
class Effect(Evidence):
    """A difference, slope or log ratio with a t interval; positive in the claimed direction."""

    interval: Interval

    @property
    def estimate(self) -> float:  # type: ignore[override]
        return self.interval.estimate

    @property
    def low(self) -> float:  # type: ignore[override]
        return self.interval.low

    @property
    def high(self) -> float:  # type: ignore[override]
        return self.interval.high

    @property
    def p(self) -> float:  # type: ignore[override]
        return self.interval.p_two_sided()

    @property
    def detectable(self) -> float:  # type: ignore[override]
        return detectable_difference(self.interval.error, sided=2)

    def inner(self) -> tuple[float, float]:
        """The 90 % interval: two one-sided tests at 5 %."""
        narrow = Interval.of_t(self.interval.estimate, self.interval.error, self.interval.df, 0.90)
        return narrow.low, narrow.high

    def p_within(self, margin: float) -> float:
        """The larger p value of the two one-sided tests that the effect lies inside the margins."""
        return max(self.p_greater(-margin), self.p_less(margin))

    def p_less(self, than: float) -> float:
        """One-sided p value of the hypothesis that the effect is at least ``than``."""
        return self.interval.p_less(than)

    def p_greater(self, than: float) -> float:
        return self.interval.p_greater(than)


@dataclass(frozen=True)
class Pivots(Evidence):
    """An effect with samples of its generalized pivot (Weerahandi 1993), whose centre is part of what they say."""

    estimate: float
    samples: np.ndarray = field(repr=False)

    @property
    def low(self) -> float:  # type: ignore[override]
        return float(np.quantile(self.samples, 0.025))

    @property
    def high(self) -> float:  # type: ignore[override]
        return float(np.quantile(self.samples, 0.975))

    @property
    def p(self) -> float:  # type: ignore[override]
        values = self.samples
        side = min(int((values <= 0).sum()), int((values >= 0).sum()))
        return min(1.0, 2 * (1 + side) / (values.size + 1))

    @property
    def detectable(self) -> float:  # type: ignore[override]
        return detectable_difference(float(self.samples.std(ddof=1)), sided=2)

    def inner(self) -> tuple[float, float]:
        low, high = np.quantile(self.samples, [0.05, 0.95])
        return float(low), float(high)

    def p_within(self, margin: float) -> float:
        values = self.samples
        outside = max(int((values >= margin).sum()), int((values <= -margin).sum()))
        return (1 + outside) / (values.size + 1)

    def p_less(self, than: float) -> float:
        """One-sided p value of the hypothesis that the effect is at least ``than``."""
        values = self.samples
        return (1 + int((values >= than).sum())) / (values.size + 1)

    def p_greater(self, than: float) -> float:
        values = self.samples
        return (1 + int((values <= than).sum())) / (values.size + 1)


@dataclass(frozen=True)
class Component(Evidence):
    """An SD that a factor causes; its test is the F test, and the margin applies to the lower bound."""

    estimate: float
    low: float
    high: float
    p: float
    detectable: float | None
    # One-sided p value of the hypothesis that the SD is at least the argument.
    below: Callable[[float], float] = field(default=lambda limit: 1.0, repr=False, compare=False)


@dataclass(frozen=True)
class Order(Evidence):
    """Adjacent pairs of an ordering, each positive if it is as claimed; the estimate is that of the least sure pair."""

    pairs: Sequence[Effect | Pivots]
    names: Sequence[str] = ()

    @property
    def weakest(self) -> Effect | Pivots:
        return min(self.pairs, key=lambda pair: (pair.estimate > 0, -pair.p if pair.estimate > 0 else pair.p))

    @property
    def estimate(self) -> float:  # type: ignore[override]
        return self.weakest.estimate

    @property
    def low(self) -> float:  # type: ignore[override]
        return self.weakest.low

    @property
    def high(self) -> float:  # type: ignore[override]
        return self.weakest.high

    @property
    def p(self) -> float:  # type: ignore[override]
        return max(pair.p if pair.estimate > 0 else 1.0 for pair in self.pairs)

    @property
    def detectable(self) -> float:  # type: ignore[override]
        return max(pair.detectable or 0.0 for pair in self.pairs)


@dataclass(frozen=True)
class Rank(Evidence):
    """A rank association over units."""

    found: Association

    @property
    def estimate(self) -> float:  # type: ignore[override]
        return self.found.r

    @property
    def low(self) -> float:  # type: ignore[override]
        return self.found.low

    @property
    def high(self) -> float:  # type: ignore[override]
        return self.found.high

    @property
    def p(self) -> float:  # type: ignore[override]
        return self.found.p

    @property
    def detectable(self) -> float:  # type: ignore[override]
        return self.found.detectable


@dataclass(frozen=True)
class Agreement(Evidence):
    """Kendall's W of judges over sources."""

    found: Concordance

    @property
    def estimate(self) -> float:  # type: ignore[override]
        return self.found.w

    @property
    def low(self) -> float:  # type: ignore[override]
        return self.found.low

    @property
    def high(self) -> float:  # type: ignore[override]
        return self.found.high

    @property
    def p(self) -> float:  # type: ignore[override]
        return self.found.p

    @property
    def detectable(self) -> float:  # type: ignore[override]
        """The W that shuffled labels exceed once in twenty."""
        return self.found.shuffled_high

    @property
    def common_winner(self) -> float:
        """Share of the judges that have the most frequent winner."""
        winners = self.found.winners
        return max(winners.count(one) for one in winners) / len(winners)


@dataclass(frozen=True)
class Exact(Evidence):
    """Something that holds bit for bit or does not: ``broken`` of ``checked`` times."""

    checked: int
    broken: int

    estimate = property(lambda self: float(self.broken))
    low = high = estimate
    p = property(lambda self: 0.0 if not self.broken else 1.0)
    detectable = None


@dataclass(frozen=True)
class Cell:
    """Evidence about one model, method and outcome. ``outcome`` is nll, bpb, acc_inf, acc9 or empty (no outcome)."""

    name: str
    outcome: str
    evidence: Evidence
    unit: str
    margin: float = 0.0
    detail: str = ""
    damage: float | None = None  # of the same outcome, to give the effect as a share of it
    shown_only: bool = False  # beside the verdict, not part of it
    rule: str = ""  # instead of the claim's
    rederived: bool = False  # of a method without published code: a negative finding may be ours
    cut: bool = False  # made with less than the published budget: no verdict can be taken on it
    contrary: str = ""  # what moves the other way, and must not for a verdict to be taken on it

    @property
    def share(self) -> float | None:
        """The estimate as a share of the damage."""
        if self.damage is None or not math.isfinite(self.damage) or self.damage <= 0:
            return None
        return self.evidence.estimate / self.damage
