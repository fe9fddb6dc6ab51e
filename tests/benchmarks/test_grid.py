"""The grid: spellings of lists and seeds, profiles, overrides, and errors that name the option."""

from __future__ import annotations

import itertools

import pytest

from benchmarks import grid
from benchmarks.grid import GridError, Overrides, build_cases, load_profile, parse_seeds, split_list


def test_settings_stay_with_their_method():
    text = "gptq-w3g64:groups=block,sym=false,rtn-w3g64,owl(wanda)-0.7:lambda=0.08,m=5"
    assert split_list(text) == (
        "gptq-w3g64:groups=block,sym=false",
        "rtn-w3g64",
        "owl(wanda)-0.7:lambda=0.08,m=5",
    )


@pytest.mark.parametrize(("text", "seeds"), [("5", (0, 1, 2, 3, 4)), ("0,3", (0, 3)), ("3,", (3,)), ("0,", (0,))])
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "says"), [("0", "no draws"), (",", "no draws"), ("x", "count"), ("1,1", "once"), ("-1,", "0 or more")]
)
def test_seeds_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_seeds(text)


def test_unknown_profile_offers_the_nearest():
    with pytest.raises(GridError, match="did you mean 'quick'"):
        load_profile("quik")


def test_profile_that_is_not_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[[grid]\n")
    with pytest.raises(GridError, match=r"mine\.toml is not valid TOML"):
        load_profile(str(path))


def test_profile_without_a_grid(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("title = 'x'\n")
    with pytest.raises(GridError, match="no \\[\\[grid\\]\\]"):
        load_profile(str(path))


def cases(**options):
    return build_cases(load_profile("quick"), Overrides(**options))


def test_quick_profile_has_every_combination_once():
    found = cases()
    assert len({case.id for case in found}) == len(found)
    known = [case for case in found if case.model == "known-corpus-1m" and case.draw]
    assert {case.draw.source for case in known} >= {"web", "code", "encyclopedia", "news", "dialogue", "random-tokens"}
    assert {case.draw.seed for case in known} == {0, 1, 2, 3, 4}
    assert len(known) == 7 * 6 * 5


def test_every_model_has_its_dense_case_first():
    found = cases()
    models = list(dict.fromkeys(case.model for case in found))
    for model in models:
        first = next(case for case in found if case.model == model)
        assert (first.method, first.draw) == ("dense", None)


def test_cases_of_one_model_are_neighbours():
    models = [case.model for case in cases()]
    changes = sum(a != b for a, b in itertools.pairwise(models))
    assert changes == len(set(models)) - 1


def test_methods_are_replaced_and_spelled_canonically():
    found = cases(methods=("gptq-w3g64:damp=0.01",), models=("known-corpus-1m",), seeds=(0,), sources=("web",))
    assert [case.id for case in found] == ["known-corpus-1m-dense", "known-corpus-1m-gptq-w3g64-web-s0"]


def test_a_seed_beyond_the_slices_is_refused_and_more_slices_are_asked_for_by_name():
    chosen = {"models": ("known-corpus-1m",), "methods": ("wanda-0.5",), "sources": ("web",)}
    with pytest.raises(GridError, match=r"seed 11 is beyond the 10 draws.*--slices 12"):
        cases(**chosen, seeds=tuple(range(12)))
    with pytest.raises(GridError, match="seed 10 is beyond the 10 draws"):  # they are counted from 0
        cases(**chosen, seeds=(10,))
    found = cases(**chosen, seeds=tuple(range(12)), slices=12)
    assert {case.draw.slices for case in found if case.draw} == {12}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"methods": ("wnda-0.5",)}, "wanda"),
        ({"methods": ("wanda-1.2",)}, "sparsity"),
        ({"methods": ("wanda-0.6-2of4",)}, "2of4"),
        ({"models": ("known-corpus-1n",)}, "known-corpus-1m"),
        ({"sources": ("encyclopedias",)}, "encyclopedia"),
        ({"tasks": ("arc_esy",)}, "arc_easy"),
    ],
)
def test_unknown_names_offer_the_nearest(options, says):
    with pytest.raises(ValueError, match=says):
        cases(**options)


def test_evaluation_table_with_an_unknown_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[[grid]]\nmodels=['known-corpus-1m']\nmethods=['wanda-0.5']\nsources=['web']\nseeds=1\nsequences=2\nlength=8\n"
        "[grid.evaluation]\ndomain=['web']\n"
    )
    with pytest.raises(GridError, match="domain"):
        build_cases(load_profile(str(path)), Overrides())


def test_nearest_lists_what_is_known():
    assert grid.nearest("nws", ["news", "web"]) == "; did you mean 'news'? Known: news, web"


def test_packing_bos_and_loader_are_axes():
    only = {"methods": ("wanda-0.5",), "sources": ("web",), "models": ("known-corpus-1m",), "seeds": (0,)}
    found = [case for case in cases(**only, packing=("stream", "document"), bos=(False, True)) if case.draw]
    assert {(case.draw.packing, case.draw.bos) for case in found} == {
        (packing, bos) for packing in ("stream", "document") for bos in (False, True)
    }
    assert len({case.id for case in found}) == 4
    published = [case for case in cases(**{**only, "seeds": (77,)}, loader=("gptq",)) if case.draw]
    assert [case.id for case in published] == ["known-corpus-1m-wanda-0.5-web-s77-loader=gptq"]
    with pytest.raises(GridError, match="--loader: 'awq' is none of calibench, gptq, wanda"):
        cases(loader=("awq",))


def test_a_list_is_not_split_inside_parentheses():
    assert split_list("news,selfgen(0.5*web+0.5*code,t=1,k=20),mix(a(b),c(d))") == (
        "news",
        "selfgen(0.5*web+0.5*code,t=1,k=20)",
        "mix(a(b),c(d))",
    )
