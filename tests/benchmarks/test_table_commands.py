"""Commands that print tables of records say in a sentence what is not there, and end with status 2."""

from __future__ import annotations

import pytest

from benchmarks import bridge_table, study_records, study_table
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
    assert study_table.main([str(tmp_path)]) == 2
    assert "no study of distilled images" in capsys.readouterr().err
