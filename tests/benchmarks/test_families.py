"""``python -m benchmarks.families``: what it says of types that compress, that are refused and that are not built."""

from __future__ import annotations

import pytest

from benchmarks import families, tiny_families
from benchmarks.families import Found, chosen, examine, main, table


def test_the_command_writes_a_table_of_the_types_asked_for(tmp_path, capfd):
    out = tmp_path / "deep" / "families.md"
    assert main(["--types", "opt, zaya,musicgen", "--out", str(out), "--jobs", "1", "--seconds", "600"]) == 0
    said = out.read_text()
    assert "**1 compressed, 1 refused, 1 not built**" in said
    assert f"python -m benchmarks.families --types opt,zaya,musicgen --out {out}\n" in said
    assert "| `opt` | compressed | `model.decoder.layers x 4` | 24 |  |  | 0 | |" in said
    assert "| `zaya` | refused | | | | | | model.layers.1 is given something that depends" in said
    assert "| `musicgen` | not built | | | | | | AttributeError" in said
    assert "opt: compressed" in capfd.readouterr().err


def test_a_model_that_its_blocks_are_not_is_wrong_and_so_is_the_status(monkeypatch, capsys):
    def off(model, ids, chain=tiny_families.chain):
        found = chain(model, ids)
        return found._replace(walked=1.001 * found.walked)

    monkeypatch.setattr(tiny_families, "chain", off)
    found = examine("llama")
    assert found.outcome == "wrong"
    assert "off by" in found.words
    monkeypatch.setattr(families, "scan", lambda kinds, **limits: [found])
    assert main(["--types", "llama"]) == 1
    assert "| `llama` | wrong |" in capsys.readouterr().out


def test_a_refusal_that_changes_weights_is_wrong(monkeypatch):
    import torch

    import compressors

    def spoils(model, ids, method, **options):
        with torch.no_grad():
            next(model.parameters()).add_(1)
        raise compressors.CompressionError("not this one")

    monkeypatch.setattr(compressors, "compress", spoils)
    assert examine("opt") == Found("opt", "wrong", "refused, and weights changed: not this one")


def test_a_method_that_changes_nothing_is_wrong(monkeypatch):
    import compressors

    monkeypatch.setattr(compressors, "compress", lambda model, *rest, **options: Report(model))
    assert examine("opt").words == "AssertionError: wanda-0.5 changes nothing"


class Report:
    def __init__(self, model):
        import compressors

        self.linears = [type("Linear", (), {"name": name}) for name, _ in compressors.linears(model)]


def test_a_type_that_is_not_done_in_time_is_said():
    (found,) = families.scan(["llama"], seconds=0)
    assert found == Found("llama", "not built", "not done after 0 seconds")


def test_a_type_without_the_memory_is_said():
    (found,) = families.scan(["llama"], seconds=600, gigabytes=0)
    assert found.outcome == "not built"
    assert found.words


def test_too_many_parameters_are_not_built(monkeypatch):
    monkeypatch.setattr(tiny_families, "MOST_PARAMETERS", 1000)
    found = examine("llama")
    assert found.outcome == "not built"
    assert found.words.endswith(" parameters with these sizes")


def test_a_type_that_does_not_exist_is_said_with_the_nearest(capsys):
    assert main(["--types", "llama,qwen33"]) == 2
    assert "'qwen33' is no type mapped to a causal language model; nearest: qwen3" in capsys.readouterr().err
    with pytest.raises(ValueError, match="names no type"):
        chosen(",", ["llama"])


def test_a_row_has_the_counts_and_the_precision():
    row = Found("x", "compressed", "", 30, 2, 4, 3e-7, "float32", "layers x 4").row()
    assert row == "| `x` | compressed | `layers x 4` | 30 | 2 | 4 | 3e-07 (float32) | |"
    columns = {line.count("|") for line in table([Found("x", "refused", "why")], "c").splitlines() if line[:1] == "|"}
    assert columns == {row.count("|")}
