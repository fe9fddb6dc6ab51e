"""Likeness against damage: records in which it orders the sources, and text that does not belong to the comparison."""

from __future__ import annotations

import pytest

from benchmarks import likeness
from benchmarks.claims.judge import judge, load
from benchmarks.claims.rules import NOT_RUN, REPLICATES
from benchmarks.claims.world import World
from fixtures.store import Store
from tests.helpers_claims import Truth, records

NATURAL = [f"s{number}" for number in range(13)]
WRITTEN = [f"selfgen(s{number},t=2)" for number in range(13)]


def made(order=1):
    """The closer to the training text, the less damage; what the model wrote is closest and does most damage."""
    sources = {
        **{name: 0.02 * k for k, name in enumerate(NATURAL)},
        **{name: 1 + 0.02 * k for k, name in enumerate(WRITTEN)},
    }
    found = records(Truth("known-corpus-1m", ("wanda-0.5",), list(sources), 3, source=sources, draw_sd=0.001))
    for record in found[1:]:
        source = record.case["draw"]["source"]
        place = NATURAL.index(source) if source in NATURAL else -20 + WRITTEN.index(source)
        record.draw["similarity"] = {"jaccard-3": 1 - 0.01 * order * place, "perplexity": 100.0 + place}
    return found


def verdict(found):
    return judge([next(row for row in load() if row.id == "B14")], World(found))[0].verdict


def saved(tmp_path, found):
    store = Store(tmp_path / "store")
    for record in found:
        store.save(record.keys["record"], record)
    return str(store.root)


def test_what_orders_the_sources_is_seen_and_written_text_apart(tmp_path, capsys):
    assert likeness.main(["--store", saved(tmp_path, made())]) == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    found = {(row[1], row[2]): float(row[3]) for row in rows if len(row) == 6 and row[0] == "wanda-0.5"}
    assert found["jaccard-3", "13 natural"] == found["perplexity", "13 natural"] == 1
    assert found["jaccard-3", "26 all"] == found["perplexity", "26 all"] < 0
    assert sum(row[0] in NATURAL + WRITTEN for row in rows if row) == 26


def test_the_claim_is_about_natural_text():
    assert verdict(made()) == REPLICATES
    assert verdict(made(-1)) != REPLICATES
    without = [record for record in made() if not record.draw or record.case["draw"]["source"] in WRITTEN]
    assert verdict(without) == NOT_RUN


def test_a_measure_that_is_the_same_everywhere_does_not_take_the_verdict_along():
    found = made()
    for record in found[1:]:
        record.draw["similarity"]["lsh-3"] = 0.0
    assert verdict(found) == REPLICATES


def test_too_few_sources_are_said(tmp_path, capsys):
    few = [record for record in made() if not record.draw or record.case["draw"]["source"] in NATURAL[:11]]
    assert likeness.main(["--store", saved(tmp_path, few)]) == 2
    assert "no model has 12 sources with draw['similarity']" in capsys.readouterr().err


def test_a_panel_without_neutral_text_is_passed_over(tmp_path, capsys):
    tasks = records(Truth("smollm2-135m", ("wanda-0.5",), NATURAL[:3], 2, domains=()))
    assert likeness.main(["--store", saved(tmp_path, [*made(), *tasks])]) == 0
    assert "# known-corpus-1m" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "sign"), [("jaccard-3 to news", 1), ("perplexity to news", -1), ("noise", 1)])
def test_the_expected_direction_is_the_measures_own(name, sign):
    assert likeness._sign(name) == sign
