"""Records of several machines in one world: what is compared bit for bit or item by item must be of one kind."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.claims import exactness
from benchmarks.claims.amounts import amounts
from benchmarks.claims.panels import NoEvidence
from benchmarks.claims.paper_table import paper_tables
from benchmarks.claims.world import World
from tests.helpers_claims import Truth, records


def test_other_bits_on_another_machine_break_no_promise():
    made = records(Truth(seeds=4))
    free = [record for record in made if record.case["method"] == "rtn-w4g64"]
    for record in free[::2]:
        record.environment = {**record.environment, "processor": "another"}
        record.keys["weights_hash"] = "other"
    cells = {cell.name: cell.evidence for cell in exactness.null(World(made), {})}
    (found,) = [evidence for name, evidence in cells.items() if name.endswith("rtn-w4g64")]
    assert (found.checked, found.broken) == (len(free) - 2, 0)
    free[0].keys["weights_hash"] = "a third"
    cells = {cell.name: cell.evidence for cell in exactness.null(World(made), {})}
    assert sum(evidence.broken for evidence in cells.values()) > 0


def test_as_many_documents_of_another_file_are_not_paired():
    made = records(Truth(seeds=2, methods=("wanda-0.5",)))
    panel = World(made).some()[0]
    method, source = next(iter(panel.cells))
    assert panel.view("nll").matrix(method, source).size
    record = next(iter(panel.cells[method, source].values()))
    domain = next(iter(record.nll))
    other = dataclasses.replace(record.nll[domain], document_hash=["0" * 64] * len(record.nll[domain].nll))
    record.nll = {**record.nll, domain: other}
    with pytest.raises(NoEvidence, match="scored on other items"):
        World(made).some()[0].view("nll").matrix(method, source)
    assert "No table: " in paper_tables(World(made))


def test_amounts_on_two_devices_are_two_sweeps():
    made = []
    for device, sizes in (("cpu", (8, 16)), ("cuda", (32, 64))):
        for size in sizes:
            for record in records(Truth(seeds=2, methods=("wanda-0.5",))):
                draw = record.case["draw"] and {**record.case["draw"], "n_sequences": size}
                record.case = {**record.case, "draw": draw, "device": device}
                made.append(record)
    world = World(made)
    assert len(world.panels) == 4
    assert list(amounts(world)) == []
    assert sorted(len(panels) for _, panels in amounts(world, 2)) == [2, 2]
