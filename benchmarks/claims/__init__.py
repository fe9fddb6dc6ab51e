"""Published claims, decided from records: rules, evidence by family, and the table of verdicts.

``benchmarks/claims.toml`` holds the claims as data; a statistic (a function in this package) turns records into
evidence, one cell for each model and method, and a rule turns evidence into *replicates*, *does not* or *cannot tell*.
A claim without records is *not run*, and says which command would make them.
"""

from __future__ import annotations

from benchmarks.claims.evidence import Agreement, Cell, Component, Effect, Exact, Order, Pivots, Rank
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES, decide

__all__ = [
    "CANNOT_TELL",
    "DOES_NOT",
    "NOT_RUN",
    "REPLICATES",
    "Agreement",
    "Cell",
    "Component",
    "Effect",
    "Exact",
    "Order",
    "Pivots",
    "Rank",
    "decide",
]
