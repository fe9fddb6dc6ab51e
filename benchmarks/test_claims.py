"""Do published claims hold here? One case a claim: its verdict by its rule, from the records of the store.

``pytest benchmarks/test_claims.py -m claims --store S``. A claim without records is skipped, with the command that
would make them. A verdict of any kind passes: what fails is a verdict without estimate, interval and detectable effect.
"""

from __future__ import annotations

import pytest

from benchmarks.claims.evidence import Exact
from benchmarks.claims.judge import Claim, judge, load
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES
from benchmarks.claims.table import words
from benchmarks.claims.world import World

pytestmark = pytest.mark.claims


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest):
    """All verdicts at once: the correction is over the family."""
    from benchmarks import options
    from benchmarks.claims.__main__ import default_published, published
    from fixtures.store import Store

    held = Store(options.store_root(request.config)).records()
    return {result.claim.id: result for result in judge(load(), World(held, published(default_published())))}


@pytest.mark.parametrize("claim", load(), ids=lambda claim: claim.id)
def test_claim(claim: Claim, results, record_property) -> None:
    result = results[claim.id]
    record_property("verdict", result.verdict)
    if result.verdict == NOT_RUN:
        pytest.skip(f"not run: {result.reason}. {claim.command}")
    assert result.verdict in (REPLICATES, DOES_NOT, CANNOT_TELL)
    cell = result.headline
    assert cell is not None, f"{claim.id}: {result.verdict} without evidence: {result.reason}"
    record_property("evidence", f"{cell.name}: {words(cell)}")
    found = cell.evidence
    if not isinstance(found, Exact):
        assert found.low <= found.estimate <= found.high, f"{claim.id}: the estimate lies outside its interval"
        assert found.detectable is not None, f"{claim.id}: no detectable effect"
