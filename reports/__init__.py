"""Records in, answers out: statistics, tables, plots and pages. No torch; scipy and matplotlib are imported late."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fixtures.records import Record, Verdict

__all__ = ["summary", "write"]


def summary(manifest: dict[str, Any], records: Sequence[Record], verdicts: Sequence[Verdict], width: int = 100) -> str:
    """The run as plain text of at most ``width`` columns: the answer, a table a model, verdicts and notes."""
    from reports.terminal import render

    return render(manifest, records, verdicts, width)


def write(
    manifest: dict[str, Any], records: Sequence[Record], verdicts: Sequence[Verdict], out_dir: str | Path
) -> Path:
    """Write report.html, report.md, records.csv, report.json and plots/*.svg into ``out_dir``; the path of the HTML.

    Every file is written whole or not at all. Raises ``OSError`` if the folder cannot be written.
    """
    from reports.pages import write_all

    return write_all(manifest, records, verdicts, Path(out_dir))
