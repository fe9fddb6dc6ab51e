"""The fleet: cases without a record, in an order that wastes little, until the time is up; a failure stops no other."""

from __future__ import annotations

import pytest

from benchmarks import fleet
from benchmarks.grid import GridError, Overrides, build_claims, load_profile
from fixtures import Store
from tests.helpers_suite import killed_at_the_second
from tests.miniature import write_model, write_text


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    texts = [write_text(folder / f"{name}.txt", seed) for seed, name in enumerate(("one", "two"))]
    model = write_model(folder / "tiny", texts)
    path = folder / "small.toml"
    sources = [f"text:{text}" for text in texts]
    grid = f"""
[[grid]]
models = ["{model}"]
methods = ["wanda-0.5"]
sources = {sources}
seeds = 2
sequences = 2
length = 32
slices = 2
[grid.evaluation]
domains = ["{sources[0]}"]
documents = 2
document_tokens = 32
"""
    path.write_text(grid + grid.replace("seeds = 2", 'seeds = 2\namounts = [1]\nquestion = "amount"'))
    return path


def order(profile, store):
    cases, total = fleet.pending(load_profile(str(profile)), Overrides(), store)
    return [case.id for case in cases], total


def test_dense_first_then_seed_by_seed_and_sweeps_last(profile, tmp_path):
    found, total = order(profile, Store(tmp_path))
    assert total == len(found) == 9
    assert found[0] == "tiny-dense"
    assert [name.rpartition("-")[2] for name in found[1:]] == ["s0", "s0", "s1", "s1", "n1", "n1", "n1", "n1"]


def test_claims_that_come_first_are_made_first_and_seed_by_seed(profile, tmp_path):
    loaded = load_profile(str(profile))
    loaded["grid"][1]["claims"] = ["A9"]
    plain = [case.id for case in fleet.pending(loaded, Overrides(), Store(tmp_path))[0]]
    assert not plain[1].endswith("n1")
    loaded["fleet"] = {"first": ["A9"]}
    found = [case.id for case in fleet.pending(loaded, Overrides(), Store(tmp_path))[0]]
    assert sorted(found) == sorted(plain)
    assert [name[-5:] for name in found[1:5]] == ["s0-n1", "s0-n1", "s1-n1", "s1-n1"]
    assert found[0] == "tiny-dense"
    only, total = fleet.pending(loaded, Overrides(), Store(tmp_path), claims=["A9"])
    assert [case.id for case in only] == found[:total]
    assert total == 5
    narrowed = Overrides(methods=("rtn-w3g64",), sequences=2)
    assert len(fleet.pending(loaded, narrowed, Store(tmp_path))[0]) == 5
    with pytest.raises(GridError, match=r"'A99'.*did you mean 'A9'"):
        fleet.pending(loaded, Overrides(), Store(tmp_path), claims=["A99"])


def test_the_first_draws_of_everything_come_before_any_other(profile, tmp_path, capsys):
    loaded = load_profile(str(profile))
    loaded["grid"][1]["claims"], loaded["fleet"] = ["A9"], {"first": ["A9"], "draws": 1}
    found = [case.id for case in fleet.pending(loaded, Overrides(), Store(tmp_path))[0]]
    ends = [["dense"], ["s0", "n1"], ["s0", "n1"], ["s0"], ["s0"], ["s1", "n1"], ["s1", "n1"], ["s1"], ["s1"]]
    assert [name.split("-")[-len(end) :] for name, end in zip(found, ends, strict=True)] == ends
    for wrong in ("0", "true", "'two'"):
        path = tmp_path / "wrong.toml"
        path.write_text(f"{profile.read_text()}\n[fleet]\ndraws = {wrong}\n")
        assert fleet.main(["--profile", str(path), "--store", str(tmp_path)]) == 2
        assert "[fleet] draws = " in capsys.readouterr().err


def test_a_case_of_two_grids_helps_the_claims_of_both(profile):
    loaded = load_profile(str(profile))
    loaded["grid"][0]["claims"], loaded["grid"][1]["claims"] = ["A1"], ["A9"]
    loaded["grid"][1]["amounts"] = [1, 2]
    named = build_claims(loaded, Overrides())
    assert {name[-2:]: claims for name, claims in named.items()}["s1"] == ("A1", "A9")
    assert {name[-2:]: claims for name, claims in named.items()}["n1"] == ("A9",)


@pytest.mark.slow
def test_runs_until_done_then_finds_nothing_to_do(profile, tmp_path, capsys):
    arguments = ["--profile", str(profile), "--store", str(tmp_path), "--processes", "2", "--seconds", "3000"]
    assert fleet.main(arguments) == 0
    assert "9 cases in" in capsys.readouterr().out
    assert order(profile, Store(tmp_path))[0] == []
    assert fleet.main(arguments) == 0
    assert "9 cases, 9 have their record" in capsys.readouterr().out


def test_time_that_is_up_starts_nothing(profile, tmp_path):
    cases, _ = fleet.pending(load_profile(str(profile)), Overrides(), Store(tmp_path))
    assert fleet.run(cases, tmp_path, 1, 0.0) == []


def test_failures_are_told_and_set_the_status():
    finished = [fleet.Finished("a", {"total": 2.0}), fleet.Finished("b", {}, "ValueError: no")]
    text = fleet.summary(finished, 5, 10.0, 2)
    assert "1 cases in 10 s by 2 processes, 4 left" in text
    assert "failed: b: ValueError: no" in text


def test_a_profile_that_cannot_be_used(tmp_path, capsys):
    assert fleet.main(["--profile", "nothing", "--store", str(tmp_path)]) == 2
    assert "no profile 'nothing'" in capsys.readouterr().err


def test_a_file_of_ids_says_which_and_in_what_order(profile, tmp_path, capsys):
    found, _ = order(profile, Store(tmp_path))
    wanted = tmp_path / "wanted.txt"
    wanted.write_text(f"{found[3]}\n\n{found[1]}\n")
    cases, total = fleet.pending(load_profile(str(profile)), Overrides(), Store(tmp_path), wanted)
    assert ([case.id for case in cases], total) == ([found[3], found[1]], 2)
    wanted.write_text(f"{found[1]}x\n")
    assert fleet.main(["--profile", str(profile), "--store", str(tmp_path), "--cases", str(wanted)]) == 2
    assert f"nearest: {found[1]}" in capsys.readouterr().err
    assert fleet.main(["--profile", str(profile), "--store", str(tmp_path), "--cases", str(tmp_path / "none")]) == 2


def test_a_killed_process_is_named_with_the_case_it_was_at(profile, tmp_path):
    cases, _ = fleet.pending(load_profile(str(profile)), Overrides(), Store(tmp_path))
    done, died = fleet.run(cases, tmp_path, 1, 3000.0, target=killed_at_the_second)
    assert (done.case, done.problem) == (cases[0].id, "")
    assert died.case == cases[1].id
    assert "killed by the system" in died.problem
    assert f"failed: {cases[1].id}: its process was killed" in fleet.summary([done, died], len(cases), 1.0, 1)
