"""The last look before the first case: what would stop a run after minutes or hours is said now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.axes import GridError
from benchmarks.devices import missing_device
from benchmarks.fitting import check_fit
from benchmarks.own_text import check_own_text
from fixtures.records import Case

if TYPE_CHECKING:
    from fixtures.image_cases import ImageCase

OTHERS = ("speed", "claims")  # marks of what is no cell of the grid, and writes no record


def check(
    config: pytest.Config, root: Path, cases: list[Case], images: Sequence[ImageCase], left_out: dict[str, str]
) -> None:
    """Methods fit, texts long enough, device there, store writable; ``--dry-run`` ends here. Raises ``UsageError``.

    ``left_out`` are tasks that the profile names and that are not here, with the reason, which is said.
    """
    runs = not (config.option.collectonly or config.getoption("judge_only"))
    planned = config.getoption("dry_run")
    others = asks_for(config, *OTHERS)
    try:
        if planned or (runs and not others):
            check_fit(cases)
            check_own_text(cases)
    except GridError as error:
        raise pytest.UsageError(str(error)) from error
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    if planned:
        from benchmarks.plan import plan

        terminal.write_line(plan(cases, images))
    for name, why in left_out.items():
        terminal.write_line(f"not scored: {name}: {why}")
    if planned:
        pytest.exit("dry run: nothing was run", returncode=0)
    if problem := missing_device([*cases, *images]) if runs else "":
        raise pytest.UsageError(problem)
    if runs and not others:
        _check_store(root)


def asks_for(config: pytest.Config, *marks: str) -> bool:
    """Whether ``-m`` names one of these marks."""
    return any(mark in (config.option.markexpr or "") for mark in marks)


def _check_store(root: Path) -> None:
    """Before hours of work that could not be kept."""
    from fixtures.files import StoreError, check_writable

    try:
        check_writable(root)
    except StoreError as error:
        raise pytest.UsageError(str(error)) from error
