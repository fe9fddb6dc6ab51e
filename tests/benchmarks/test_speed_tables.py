"""The tables of compression speed: of whole runs, of sweeps, of a session that was cut short."""

from __future__ import annotations

import json

import pytest

from benchmarks import speed

STAGES = {"forward": 1.0, "statistics": 0.25, "solve": 0.5, "total": 2.0}
RUN = {"method": "wanda-0.5", "blocks": 4, "floor": 1.6, "peak_memory": 3 * 2**30, "fallbacks": 0, **STAGES}
SWEEP = {
    "method": "wanda-0.5", "blocks": 4, "length": 64, "amounts": [1, 2, 4], "sweep": STAGES, "largest": {"total": 1.6}
}  # fmt: skip


def written(folder, *infos):
    path = folder / "speed.json"
    runs = [{"name": f"case[{i}]", "extra_info": info} for i, info in enumerate(infos)]
    path.write_text(json.dumps({"datetime": "2026-11-22T14:00:00", "benchmarks": runs}))
    return str(path)


def test_both_tables_and_what_was_cut(tmp_path, capsys):
    assert speed.main([written(tmp_path, RUN, {**RUN, "offload": True, "floor": 0}, SWEEP, {})]) == 0
    printed = capsys.readouterr().out
    assert "| `wanda-0.5` | 2.00 | 0.500 | 1.00 | 0.25 | 0.50 | 3.0 | 1.25 |" in printed
    assert "| `wanda-0.5` offloaded | 2.00 | 0.500 | 1.00 | 0.25 | 0.50 | 3.0 | – |" in printed
    assert "| `wanda-0.5` | 1 to 4 x 64 (3) | 2.00 | 0.50 | 1.60 | 1.25 |" in printed
    assert "interrupted, so without figures: case[3]" in printed


@pytest.mark.parametrize("content", [None, "{", "[]", '{"benchmarks": [{}], "datetime": "2026"}'])
def test_a_file_that_is_none_is_named(tmp_path, capsys, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    assert speed.main([str(path)]) == 2
    assert f"{path} is no file of pytest's --benchmark-json" in capsys.readouterr().err


def test_no_file_is_how_it_is_used(capsys):
    assert speed.main([]) == 2
    assert "FILE" in capsys.readouterr().err
