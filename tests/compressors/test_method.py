"""How methods are spelled, what is refused and with which words, and the hash of the code behind them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compressors
from compressors import MethodError, codehash, parse, registry
from compressors.__main__ import table
from compressors.settings import show

CANONICAL = [
    "dense",
    "rtn-w3g64",
    "gptq-w4g-1",
    "gptq-w3g64:actorder=true,damp=0.1,groups=static",
    "magnitude-0.5:per=row",
    "wanda-2of4",
    "sparsegpt-0.5-w4g64",
]


@pytest.mark.parametrize("spelling", CANONICAL)
def test_a_canonical_spelling_is_kept(spelling):
    assert str(parse(spelling)) == spelling
    assert hash(parse(spelling)) == hash(parse(spelling))


def test_defaults_are_dropped_and_settings_ordered():
    assert str(parse("gptq-w3g64:sym=false,groups=block")) == "gptq-w3g64"
    assert str(parse("gptq-w3g64:groups=static,actorder=true")) == "gptq-w3g64:actorder=true,groups=static"
    assert str(parse("wanda-0.50")) == "wanda-0.5"
    assert parse("gptq-w3g64").setting("damp") == 0.01


@given(sparsity=st.floats(0, 0.999), damp=st.floats(0, 10))
def test_spelling_and_parsing_are_inverse(sparsity, damp):
    method = parse(f"sparsegpt-{sparsity:f}:damp={damp!r}")
    assert parse(str(method)) == method
    assert method.setting("damp") == damp


def test_which_methods_depend_on_calibration():
    free = {name for name, entry in compressors.algorithms().items() if not entry.calibrated}
    assert free == {"dense", "rtn", "magnitude", "nf4"}
    assert not parse("dense").calibrated
    assert parse("magnitude-0.5+br").calibrated  # what is trained afterwards sees text
    assert not parse("magnitude-0.5").calibrated


REFUSED = [
    ("gtpq-w3g64", "did you mean 'gptq-w3g64'"),
    ("Sparse-GPT-0.5", "did you mean 'sparsegpt-0.5'"),
    ("owl(wandaa)-0.7", "did you mean 'owl(wanda)-0.7'"),
    ("wanda_0.5", "did you mean 'wanda-0.5'"),
    (None, "None (NoneType)"),
    ("wanda-0.6-2of4", "2of4 is a sparsity of 0.5 by itself"),
    ("wanda-1.2", "0 <= sparsity < 1"),
    ("wanda--0.1", "sparsity -0.1 is the share of zeros; expected 0 <= sparsity < 1"),
    ("wanda-5of4", "1 <= kept <= group"),
    ("wanda-2:4", "2:4 is spelled 2of4, kept of group; did you mean 'wanda-2of4'?"),
    ("sparsegpt-2:4-w4g64:damp=0.1", "did you mean 'sparsegpt-2of4-w4g64:damp=0.1'?"),
    ("wanda-5:4", "5:4 is spelled 5of4, kept of group"),
    ("dsnot(wanda)-2:4", "did you mean 'dsnot(wanda)-2of4'?"),
    ("wanda-2:4+br", "did you mean 'wanda-2of4+br'?"),
    ("wanda-50%", "did you mean 'wanda-0.5'?"),
    ("wanda-62.5", "did you mean 'wanda-0.625'?"),
    ("wanda-0,5", "did you mean 'wanda-0.5'?"),
    ("gptq-4bit-g128", "unknown target '4bit'; targets look like 0.5, 2of4 or w4g128; write 'w4g128'"),
    ("gptq-int3", "write 'w3g128', or 'w3g-1' for one group a row"),
    ("gptq-w4g128-sym", "settings follow a colon, as in :sym=true"),
    ("gptq-w4g128:sym", "not spelled name=value, as in sym=true"),
    ("wanda-0.5+BR", "did you mean 'br'?"),
    ("wanda-w4g64", "'wanda-0.5' or 'wanda-2of4'"),
    ("wanda", "'wanda-0.5'"),
    ("gptq-w4", "w4g128"),
    ("gptq-w1g64", "2 to 8"),
    ("gptq-w4g0", "group size 0"),
    ("gptq-w3g64:grops=block", "did you mean 'groups'"),
    ("gptq-w3g64:groups=blok", "did you mean 'block'"),
    ("gptq-w3g64:sym=yes", "true or false"),
    ("gptq-w3g64:damp=-1", "0.0 to 100.0"),
    ("gptq-w3g64:damp=nan", "0.0 to 100.0"),
    ("gptq-w3g64:damp", "name=value"),
    ("gptq-w3g64:damp=1,damp=2", "twice"),
    ("sparsegpt-0.5:sym=true", "how to quantize"),
    ("wanda-0.5-0.6", "twice"),
    ("wanda-0.5+bx", "did you mean 'br'?"),
    ("wanda-0.5+gp", "+br+gp"),
    ("wanda-0.5+br+cr", "+br+gp+cr"),
    ("gptq-w4g64+br", "pruning method"),
    ("wanda-0.5:epochs=3", "no setting 'epochs'"),
    ("wanda-0.5:epochs=-1+br", "at least 0"),
    ("dsnot-0.5", "dsnot(wanda)-0.5"),
    ("dsnot(gptq)-0.5", "starts from a pruning method"),
    ("owl(dsnot)-0.5", "starts from a pruning method"),
    ("owl(wanda)-2of4", "'owl(wanda)-0.5'"),
    ("wanda(rtn)-0.5", "takes no base"),
    ("", "not spelled"),
]


@pytest.mark.parametrize(("spelling", "words"), REFUSED)
def test_refused_with_a_reason(spelling, words):
    with pytest.raises(MethodError) as caught:
        parse(spelling)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused(text):
    try:
        method = parse(text)
    except MethodError:
        return
    assert parse(str(method)) == method


def test_the_command_shows_every_setting_with_its_default():
    text = table([])
    for name, entry in compressors.algorithms().items():
        lines = table([name]).splitlines()
        assert lines[0] in text
        assert entry.paper in lines[0]
        for setting, about in entry.settings.items():
            assert any(line.strip().startswith(f"{setting}={show(about.default)} ") for line in lines[1:])
    with pytest.raises(MethodError, match="did you mean 'gptq'"):
        table(["gtpq"])


def test_a_module_is_one_of_ours_or_any_other(monkeypatch):
    for module in ("theirs", "their.pruner"):
        monkeypatch.setitem(registry._ALGORITHMS, "own", registry.Algorithm("own", module, ("sparsity",), "none", ""))
        assert codehash.module_name("own") == module
    assert codehash.module_name("rtn") == "compressors.rtn"
    assert codehash.module_name("dense") == ""


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="registered already"):
        registry.register(registry.Algorithm("wanda", "wanda", ("sparsity",), "norms", ""))


def forget_files():
    codehash._read.cache_clear()
    codehash._code_hash.cache_clear()


@pytest.fixture(autouse=True)
def no_file_outlives_a_test():
    yield
    forget_files()


def rewritten(monkeypatch, module, change):
    """Hash as if the source of a module were changed."""
    real = codehash._tree

    def tree(name):
        if name != f"compressors.{module}":
            return real(name)
        source = Path(codehash._file_of(name)).read_text(encoding="utf-8")
        assert change(source) != source
        return codehash.ast.parse(change(source))

    monkeypatch.setattr(codehash, "_tree", tree)
    forget_files()


def test_the_hash_ignores_comments_and_docstrings_but_not_code(monkeypatch):
    before = compressors.code_hash("wanda-0.5")
    assert len(before) == 64
    with monkeypatch.context() as patch:
        rewritten(patch, "wanda", lambda source: source.replace('"""Wanda:', '"""Otherwise:') + "\n# a remark\n")
        assert compressors.code_hash("wanda-0.5") == before
    with monkeypatch.context() as patch:
        rewritten(patch, "wanda", lambda source: source.replace("norms.sqrt()", "norms"))
        assert compressors.code_hash("wanda-0.5") != before


@pytest.mark.parametrize("module", ["walker", "statistics", "capture", "masks", "wanda"])
def test_the_hash_covers_what_a_method_uses(monkeypatch, module):
    before = compressors.code_hash("wanda-0.5")
    rewritten(monkeypatch, module, lambda source: source + "\nADDED = 1\n")
    assert compressors.code_hash("wanda-0.5") != before


def test_the_hash_leaves_out_other_methods(monkeypatch):
    before = compressors.code_hash("wanda-0.5"), compressors.code_hash("gptq-w4g64")
    rewritten(monkeypatch, "gptq", lambda source: source + "\nADDED = 1\n")
    after = compressors.code_hash("wanda-0.5"), compressors.code_hash("gptq-w4g64")
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_hash_knows_the_settings_resolved():
    assert compressors.code_hash("gptq-w4g64") != compressors.code_hash("gptq-w4g64:damp=0.1")
    assert compressors.code_hash("dense") != compressors.code_hash("rtn-w4g64")
