"""Claims judged on simulated records whose truth is known, for their tests."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.claims.judge import judge, load
from benchmarks.claims.world import World
from tests.helpers_claims import SOURCES, records

ROWS = {row.id: row for row in load()}
KNOWN = {"model": "known-corpus-1m", "tasks": (), "sequences": 32, "length": 256, "noise": 0.002, "draw_sd": 0.01}
NEAR = {source: 0.1 * k for k, source in enumerate(SOURCES)}
PRUNERS = tuple(f"{name}-0.6" for name in ("wanda", "sparsegpt", "dsnot(wanda)", "owl(wanda)", "prunerzero", "ria"))
REAL = ("web", "news", "encyclopedia", "dialogue", "code")


def verdict(name, *truths, change=None, **settings):
    """Of the records of the truths; ``change(record)`` edits each compressed one."""
    found = [record for truth in truths for record in records(truth)]
    for record in found:
        if change and record.case["draw"]:
            change(record)
    row = ROWS[name]
    return judge([replace(row, settings={**row.settings, **settings})], World(found))[0]


def moved(record, domain, nats):
    """A domain's loss in a record, so many nats a token higher."""
    scores = record.nll[domain]
    scores.nll = [value + nats * tokens for value, tokens in zip(scores.nll, scores.tokens, strict=True)]
