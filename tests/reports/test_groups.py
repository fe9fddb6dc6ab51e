"""Text that the dense model does not know is scored but not judged, and the report says so."""

from __future__ import annotations

import dataclasses

from reports.groups import make_groups
from reports.notes import notes
from tests.simulate import World, simulate


def shifted(records, domain: str, nats: float):
    """The same records with every document of one domain so much harder, for the dense model too."""
    for record in records:
        scores = record.nll[domain]
        harder = [nll + nats * tokens for nll, tokens in zip(scores.nll, scores.tokens, strict=True)]
        record.nll[domain] = dataclasses.replace(scores, nll=harder)
    return records


def test_a_domain_two_nats_beyond_the_best_is_not_judged_and_the_notes_say_so():
    manifest, records = simulate(World(domains=("web", "news")))
    group = make_groups(manifest, shifted(records, "news", 5.0))[0]
    assert list(group.far_domains) == ["news"]
    assert {domain for domain, _ in group.documents} == {"web"}
    assert group.loss("web").shape[0] == len(group.documents) == 24
    text = "\n".join(notes(manifest, records, [group]))
    assert "scored but not judged" in text
    assert "news" in text


def test_near_domains_are_all_judged():
    manifest, records = simulate(World(domains=("web", "news")))
    group = make_groups(manifest, shifted(records, "news", 0.5))[0]
    assert group.far_domains == {}
    assert {domain for domain, _ in group.documents} == {"web", "news"}


def test_draws_that_one_document_fills_are_said():
    manifest, records = simulate(World(documents=4))
    groups = make_groups(manifest, records)
    drawn = [record for record in records if record.draw or record.case["draw"]]
    for record in drawn:
        record.draw = {**record.draw, "source": record.case["draw"]["source"], "seed": record.case["draw"]["seed"]}
        record.draw["windows"] = [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert not any("one document fills" in note for note in notes(manifest, records, groups))
    drawn[0].draw["windows"] = [[0, 0], [0, 9], [0, 18], [1, 0]]
    [said] = [note for note in notes(manifest, records, groups) if "one document fills" in note]
    assert said.startswith("one document fills more than half of 1 draws")
    assert said.endswith("(3 of 4 sequences)")
    drawn[0].draw["loader"] = "gptq"  # one joined text is meant to be the only one
    assert not any("one document fills" in note for note in notes(manifest, records, groups))


def test_documents_that_cleaning_dropped_are_said_once_a_source():
    manifest, records = simulate(World(documents=4))
    groups = make_groups(manifest, records)
    drawn = [record for record in records if record.case["draw"]]
    for record in drawn:
        counts = {"read": 126, "empty": 0, "duplicates": 0}
        record.draw = {**record.draw, "source": record.case["draw"]["source"], "cleaned_documents": counts}
    assert not any("were dropped" in note for note in notes(manifest, records, groups))
    for record in drawn:
        if record.draw["source"] == drawn[0].draw["source"]:
            record.draw["cleaned_documents"] = {"read": 126, "empty": 1, "duplicates": 5}
    found = [note for note in notes(manifest, records, groups) if "were dropped" in note]
    assert found == [f"{drawn[0].draw['source']}: of 126 documents 1 empty and 5 repeated ones were dropped"]
