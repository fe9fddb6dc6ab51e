"""Commands that print tables of records say in a sentence what is not there, and end with status 2."""

from __future__ import annotations

import json

import pytest

from benchmarks import bridge_table, study_figure, study_records, study_table
from fixtures.store import Store
from tests.helpers_claims import Truth, records


def test_a_bridge_without_a_store_or_tasks_is_said(tmp_path, capsys):
    assert bridge_table.main(["--store", str(tmp_path / "nowhere")]) == 2
    assert "is neither a store" in capsys.readouterr().err
    for record in records(Truth(methods=("wanda-0.5",), seeds=2, tasks=())):
        Store(tmp_path).save(record.keys["record"], record)
    assert bridge_table.main(["--store", str(tmp_path)]) == 2
    assert "no model has two informative tasks" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "content"), [("rows.json", b"{"), ("rows.json.gz", b"no gzip")])
def test_a_damaged_study_is_named(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert study_records.main([str(tmp_path), "--store", str(tmp_path / "store")]) == 2
    assert f"{name} cannot be read" in capsys.readouterr().err
    assert study_table.main([str(tmp_path)]) == 2
    assert f"{name} cannot be read" in capsys.readouterr().err


def test_a_folder_without_studies_is_said(tmp_path, capsys):
    assert study_records.main([str(tmp_path), "--store", str(tmp_path / "store")]) == 2
    assert "no rows of benchmarks.distillation_study" in capsys.readouterr().err
    assert study_records.main([str(tmp_path), "--pack", str(tmp_path / "packed")]) == 2
    assert "no rows of benchmarks.distillation_study" in capsys.readouterr().err
    assert study_table.main([str(tmp_path)]) == 2
    assert f"{tmp_path}: no study of distilled images" in capsys.readouterr().err


@pytest.mark.parametrize("command", [study_table, study_figure, study_records], ids=lambda module: module.__name__)
def test_a_folder_that_is_none_is_not_called_empty(tmp_path, capsys, command):
    (tmp_path / "rows.txt").touch()
    more = {study_figure: ["-o", str(tmp_path)], study_records: ["--store", str(tmp_path / "store")]}.get(command, [])
    for name, said in {"nowhere": "no such folder", "rows.txt": "a file, not a folder"}.items():
        assert command.main([str(tmp_path / name), *more]) == 2
        assert capsys.readouterr().err == f"error: {tmp_path / name}: {said}\n"


def test_packed_rows_are_the_rows_to_five_decimals(tmp_path, capsys):
    row = {"cell": "dc-ipc1", "seed": 0, "none": [0.123456789, 1.0], "oracle_T": None, "seconds": {"ts": 1.23456789e-7}}
    study = {"model": "convnet2w16-digits", "seconds": 2.0, "facts": {"torch": "2"}, "rows": [row]}
    (tmp_path / "dc-ipc1-s0.json").write_text(json.dumps(study))
    assert study_records.main([str(tmp_path), "--pack", str(tmp_path / "packed")]) == 0
    (path,) = (tmp_path / "packed").iterdir()
    assert path.name == "digits-dc-ipc1-s0.json.gz"
    assert str(path) in capsys.readouterr().out
    (found,) = study_records.read_studies(tmp_path / "packed")
    want = {**row, "none": [0.12346, 1.0], "seconds": {"ts": 1.2346e-7}}
    assert found == {"model": "convnet2w16-digits", "seconds": 2.0, "rows": [want]}
    first = path.read_bytes()
    study_records.pack(tmp_path / "packed", tmp_path / "packed-again")  # packing what is packed changes nothing
    (again,) = (tmp_path / "packed-again").iterdir()
    assert again.name == "digits-digits-dc-ipc1-s0.json.gz"
    assert again.read_bytes() == first


def test_where_rows_go_is_said_once(tmp_path, capsys):
    with pytest.raises(SystemExit):
        study_records.main([str(tmp_path)])
    assert "give --store or --pack" in capsys.readouterr().err


def test_what_was_cut_is_packed_under_its_share(tmp_path):
    """It must not take the place of the full budget, and a share of a millionth is kept."""
    rows = [{"cell": "rtp-ipc1", "seed": 0, "share": share} for share in (1.0, 0.0000123456, None)]
    for folder, row in zip(("full", "short", "real"), rows, strict=True):
        (tmp_path / folder).mkdir()
        text = json.dumps({"model": "convnet3-digits", "seconds": 1.0, "rows": [row]})
        (tmp_path / folder / "rtp-ipc1-s0.json").write_text(text)
        study_records.pack(tmp_path / folder, tmp_path / f"{folder}-packed")
    names = [[p.name for p in (tmp_path / f"{f}-packed").iterdir()] for f in ("full", "short", "real")]
    assert names == [[f"digits-rtp-ipc1-s0{share}.json.gz"] for share in ("", "-share1.23456e-05", "")]
    (short,) = study_records.read_studies(tmp_path / "short-packed")
    assert short["rows"][0]["share"] == 1.2346e-5
    (again,) = study_records.pack(tmp_path / "short-packed", tmp_path / "again")
    assert again.name.count("-share") == 1


def test_a_study_without_rows_yet_is_packed_with_the_others(tmp_path):
    (tmp_path / "dc-ipc1-s0.json").write_text(json.dumps({"model": "convnet3-digits", "seconds": 1.0, "rows": []}))
    (path,) = study_records.pack(tmp_path, tmp_path / "packed")
    assert path.name == "digits-dc-ipc1-s0.json.gz"
