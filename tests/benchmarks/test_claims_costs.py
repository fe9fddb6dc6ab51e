"""What a claim that was not run would cost: the cases that name it, by measured rates, on CPU cores or a GPU."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.claims.costs import cost, expected
from benchmarks.claims.judge import judge, load
from benchmarks.claims.table import as_json, markdown
from benchmarks.claims.world import World
from benchmarks.estimate import estimate, rates
from benchmarks.grid import PROFILES, Overrides, build_cases, load_profile

ROWS = {row.id: row for row in load()}


def test_only_the_cases_of_the_claim_count():
    whole = estimate(build_cases(load_profile("known-corpus"), Overrides()))
    some = cost(ROWS["A15"])
    assert 0 < some.cases < whole.cases / 10
    assert 0 < some.core_hours < whole.core_hours
    assert some.hours == whole.hours == 0  # on CPU cores
    assert expected(ROWS["A15"]) == f"{some.core_hours:.2g} core hours, {some.cases} cases"


def test_a_gpu_claim_costs_gpu_hours_and_the_papers_scale_more():
    found = cost(ROWS["M6"], "python -m benchmarks.fleet --profile self-generation --claims M6")
    assert found.hours > 0 == found.core_hours
    assert cost(ROWS["A6"], ROWS["A6"].elsewhere).hours > 10


def test_a_command_without_a_profile_has_no_price_unless_one_is_stated():
    row = replace(ROWS["A6"], command="python -m something")
    assert expected(row) == "–"
    assert expected(replace(row, hours=2.5)) == "2.5 GPU hours"
    assert expected(replace(row, command="pytest --profile nowhere")) == "–"


def test_the_rate_of_a_cpu_is_the_measured_one():
    """32 x 256 tokens of a million parameters: the shape that was measured."""
    cases = [
        c for c in build_cases(load_profile("known-corpus"), Overrides()) if c.id == "known-corpus-1m-spqr-w4g16-web-s0"
    ]
    tokens = 8 * 32 * 256
    seconds = rates()["cpu"]["seconds"]["spqr"] + 1e6 * tokens / rates()["cpu"]["forward"]
    assert estimate(cases).core_hours * 3600 == pytest.approx(seconds)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_command_names_what_there_is(row):
    """A profile that it names exists, and grids of it name the claim if the command asks for it."""
    commands = [part for command in filter(None, (row.command, row.elsewhere)) for part in command.split("; ")]
    for command in commands:
        if named := re.search(r"--profile (\S+)", command):
            profile = load_profile(named.group(1))
            if asked := re.search(r"--claims (\S+)", command):
                assert asked.group(1) == row.id
                assert any(row.id in grid.get("claims", ()) for grid in profile["grid"])


@pytest.mark.parametrize("row", [row for row in ROWS.values() if "--claims" in row.command], ids=lambda row: row.id)
def test_a_claim_names_every_profile_with_grids_for_it(row):
    profiles = [load_profile(path.stem) for path in PROFILES.glob("*.toml")]
    holding = {p["name"] for p in profiles if any(row.id in grid.get("claims", ()) for grid in p.get("grid", ()))}
    assert set(re.findall(r"--profile (\S+)", row.command)) == holding


def test_commands_of_two_profiles_cost_what_both_do():
    first, second = (cost(ROWS["B5"], part) for part in ROWS["B5"].command.split("; "))
    both = cost(ROWS["B5"])
    assert both.cases == first.cases + second.cases > first.cases > 0
    assert both.core_hours == pytest.approx(first.core_hours)
    assert both.hours == pytest.approx(second.hours)
    assert min(both.core_hours, both.hours) > 0


def test_both_tables_and_the_json_say_it():
    results = judge(list(ROWS.values()), World([]))
    text = markdown(results, {"records": 0})
    assert "core hours" in text
    assert "Not run at the papers' scale" in text
    assert {row["id"]: row["expected"] for row in as_json(results, {})["claims"]}["A15"] == expected(ROWS["A15"])
