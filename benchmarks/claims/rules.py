"""The verdict rules: D, E, O, R, W and exact, as pure functions of evidence.

========  ==========================================  ===========================================
rule      replicates                                  does not
========  ==========================================  ===========================================
D(m)      interval excludes 0 in the claimed          whole interval below m, or on the other
          direction, estimate at least m              side
E(m)      90 % interval inside +-m                    90 % interval wholly outside +-m
O         every adjacent pair D(0) after Holm         any adjacent pair reversed after Holm
R         lower bound of Spearman > 0, 12 units       upper bound < 0.3
W         p < .05 and one winner in 3 of 4 columns    W's interval includes that of shuffled
                                                      labels; winners differ beyond the draws
exact     holds bit for bit                           does not hold once
weak      bounds of a correlation within +-.5         both bounds beyond .8, on one side
N(m)      lower bound above -m (not worse by m)       upper bound below -m
========  ==========================================  ===========================================

Everything else is *cannot tell*. For a variance component "excludes 0" is its F test and the margin applies to the
lower bound.
"""

from __future__ import annotations

import math

from benchmarks.claims.evidence import Agreement, Component, Effect, Evidence, Exact, Order, Pivots, Rank
from reports.statistics import holm

REPLICATES, DOES_NOT, CANNOT_TELL, NOT_RUN = "replicates", "does not", "cannot tell", "not run"
ALPHA = 0.05
UNITS = 12  # fewest units of a rank association
SAME_WINNER = 0.75
RULES = ("D", "E", "O", "R", "W", "exact", "weak", "N", "figure")


def decide(rule: str, evidence: Evidence, margin: float = 0.0) -> str:
    """The verdict of one rule; raises ``ValueError`` for an unknown rule or evidence that does not fit it."""
    if rule == "D" and isinstance(evidence, Component):
        return component(evidence, margin)
    if rule == "D" and isinstance(evidence, Effect | Pivots | Rank):
        return direction(evidence, margin)
    if rule == "E" and isinstance(evidence, Effect | Pivots):
        return no_effect(evidence, margin)
    if rule == "O" and isinstance(evidence, Order):
        return ordering(evidence)
    if rule == "R" and isinstance(evidence, Rank):
        return association(evidence)
    if rule == "W" and isinstance(evidence, Agreement):
        return agreement(evidence)
    if rule == "exact" and isinstance(evidence, Exact):
        return exact(evidence)
    if rule == "weak" and isinstance(evidence, Rank):
        return weak(evidence)
    if rule == "N" and isinstance(evidence, Effect):
        return not_worse(evidence, margin)
    if rule == "figure":
        return CANNOT_TELL  # a figure is shown; there is no verdict to reach
    raise ValueError(f"rule {rule!r} (known: {', '.join(RULES)}) cannot judge {type(evidence).__name__}")


def direction(evidence: Evidence, margin: float = 0.0) -> str:
    if evidence.low > 0 and evidence.estimate >= margin and evidence.p < ALPHA:
        return REPLICATES
    return DOES_NOT if evidence.high < margin or evidence.high < 0 else CANNOT_TELL


def component(evidence: Component, margin: float = 0.0) -> str:
    if evidence.p < ALPHA and evidence.low >= margin:
        return REPLICATES
    return DOES_NOT if evidence.high < margin else CANNOT_TELL


def no_effect(evidence: Effect | Pivots, margin: float) -> str:
    low, high = evidence.inner()
    if -margin < low and high < margin:
        return REPLICATES
    return DOES_NOT if low > margin or high < -margin else CANNOT_TELL


def ordering(evidence: Order) -> str:
    adjusted = [p or 0.0 for p in holm([pair.p for pair in evidence.pairs])]
    sure = [p < ALPHA for p in adjusted]
    signs = [pair.estimate for pair in evidence.pairs]
    if all(known and sign > 0 for known, sign in zip(sure, signs, strict=True)):
        return REPLICATES
    reversed_once = any(known and sign < 0 for known, sign in zip(sure, signs, strict=True))
    return DOES_NOT if reversed_once else CANNOT_TELL


def association(evidence: Rank) -> str:
    if evidence.found.units < UNITS:
        return CANNOT_TELL
    if evidence.low > 0:
        return REPLICATES
    return DOES_NOT if evidence.high < 0.3 else CANNOT_TELL


def agreement(evidence: Agreement) -> str:
    together = evidence.common_winner >= SAME_WINNER
    if evidence.p < ALPHA and together:
        return REPLICATES
    differ = not together and evidence.found.p_apart < ALPHA  # beyond what draws alone would make of one ranking
    return DOES_NOT if evidence.low <= evidence.found.shuffled and differ else CANNOT_TELL


def exact(evidence: Exact) -> str:
    if not evidence.checked:
        return CANNOT_TELL
    return REPLICATES if not evidence.broken else DOES_NOT


def weak(evidence: Rank) -> str:
    """Of a correlation that a claim says is small (A10), although another says that it is large."""
    if max(abs(evidence.low), abs(evidence.high)) < 0.5:
        return REPLICATES
    return DOES_NOT if evidence.low > 0.8 or evidence.high < -0.8 else CANNOT_TELL


def not_worse(evidence: Effect, margin: float) -> str:
    """Non-inferiority (B22): positive effects are improvements."""
    if evidence.low > -margin:
        return REPLICATES
    return DOES_NOT if evidence.high < -margin else CANNOT_TELL


def p_value(rule: str, evidence: Evidence, margin: float) -> float:
    """The p value that enters Holm's correction over a family of claims."""
    if rule == "E" and isinstance(evidence, Effect | Pivots):
        return evidence.p_within(margin)
    if rule == "N" and isinstance(evidence, Effect):
        return evidence.interval.p_greater(-margin)
    if rule == "weak" and isinstance(evidence, Rank):
        from scipy.stats import norm

        distance = math.atanh(0.5) - abs(math.atanh(max(-0.999999, min(0.999999, evidence.estimate))))
        return float(norm.sf(distance * math.sqrt(max(1, evidence.found.units - 3))))
    return evidence.p


def p_against(rule: str, evidence: Evidence, margin: float) -> float:
    """The p value of *does not*: below .05 just where the rule says so, so that it can be corrected for many cells."""
    if rule == "D" and isinstance(evidence, Component):
        return min(1.0, 2 * evidence.below(margin)) if margin > 0 else 1.0
    if rule == "D" and isinstance(evidence, Effect | Pivots):
        return min(1.0, 2 * evidence.p_less(max(0.0, margin)))
    if rule == "E" and isinstance(evidence, Effect | Pivots):
        return min(evidence.p_greater(margin), evidence.p_less(-margin))
    if rule == "N" and isinstance(evidence, Effect):
        return min(1.0, 2 * evidence.p_less(-margin))
    if rule == "O" and isinstance(evidence, Order):
        adjusted = zip(holm([pair.p for pair in evidence.pairs]), evidence.pairs, strict=True)
        return min([p or 0.0 for p, pair in adjusted if pair.estimate < 0], default=1.0)
    if rule in ("R", "weak", "D") and isinstance(evidence, Rank):
        return _correlation_against(rule, evidence)
    if isinstance(evidence, Agreement):
        return evidence.found.p_apart if agreement(evidence) == DOES_NOT else 1.0
    return 0.0 if isinstance(evidence, Exact) and evidence.broken else 1.0


def _correlation_against(rule: str, evidence: Rank) -> float:
    """By Fisher's transformation, with the error that the interval has."""
    from scipy.stats import norm

    z, high = (math.atanh(max(-0.999999, min(0.999999, r))) for r in (evidence.estimate, evidence.high))
    error = max(1e-12, (high - z) / float(norm.ppf(0.975)))
    if rule == "weak":
        return min(1.0, 2 * float(norm.sf((abs(z) - math.atanh(0.8)) / error)))
    limit = math.atanh(0.3) if rule == "R" else 0.0
    return min(1.0, 2 * float(norm.sf((limit - z) / error)))


def together(verdicts: list[str], some: bool = False, rule: str = "") -> str:
    """A claim about each cell holds if it holds in all, and fails if it holds in none and fails in one.

    A claim about ``some`` cell holds if it holds in one, and fails if it fails in all. What must hold exactly fails
    if it fails once.
    """
    if not verdicts:
        return NOT_RUN
    if rule == "exact" and DOES_NOT in verdicts:
        return DOES_NOT
    if some:
        holds = REPLICATES in verdicts
        return REPLICATES if holds else DOES_NOT if set(verdicts) == {DOES_NOT} else CANNOT_TELL
    if all(verdict == REPLICATES for verdict in verdicts):
        return REPLICATES
    return DOES_NOT if DOES_NOT in verdicts and REPLICATES not in verdicts else CANNOT_TELL
