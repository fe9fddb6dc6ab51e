"""What is measured on the compressed models of a grid: tasks, and the loss on held-out documents of domains."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.axes import GridError
from fixtures.records import EvaluationSpec

DOCUMENTS = 48  # of a domain that is named on the command line, where the profile has none


def evaluation_spec(table: dict[str, Any], overrides: Any) -> EvaluationSpec:
    """A grid's table ``evaluation`` with what the command line says instead.

    Its ``gated`` are tasks that only a mirror can have: scored where it has them, else left out (``left_out``). Raises
    :class:`GridError` for an unknown task, source or perturbation.
    """
    import fixtures

    table = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    gated = table.pop("gated", ())
    table["tasks"] = (*table.get("tasks", ()), *(name for name in gated if not _lacking(name)))
    try:
        spec = EvaluationSpec(**table)
    except TypeError as error:
        raise GridError(f"--profile: [grid.evaluation]: {error}") from error
    if spec.inputs:
        from fixtures.perturb import perturbation

        try:
            perturbation(spec.inputs)
        except fixtures.SourceError as error:
            raise GridError(f"--profile: [grid.evaluation]: inputs: {error}") from error
    changes: dict[str, Any] = {}
    if overrides.tasks is not None:
        changes["tasks"] = overrides.tasks
    if overrides.items is not None:
        changes["items"] = overrides.items or None
    if overrides.domains is not None:
        changes["domains"] = overrides.domains
        changes["documents"] = spec.documents or DOCUMENTS
    if overrides.documents is not None:
        changes["documents"] = overrides.documents
    spec = dataclasses.replace(spec, **changes)
    _check(spec, overrides)
    return spec


def left_out(profile: dict[str, Any], overrides: Any) -> dict[str, str]:
    """Gated tasks of the profile that are not here, and how each can be had; none if the command line names tasks."""
    grids = profile.get("grid", []) if overrides.tasks is None else []
    named = dict.fromkeys(name for grid in grids for name in grid.get("evaluation", {}).get("gated", ()))
    return {name: why for name in named if (why := _lacking(name))}


def _lacking(name: str) -> str:
    """Why the rows of a gated task are not here; "" if they are. Raises :class:`GridError` for another task."""
    import fixtures
    from fixtures.task_table import get_task

    try:
        if not get_task(name).gated:
            raise GridError(f"--profile: [grid.evaluation]: gated: anyone can have {name}; name it in tasks")
    except fixtures.TaskError as error:
        raise GridError(f"--profile: [grid.evaluation]: gated: {error}") from error
    try:
        fixtures.check_task(name)
    except fixtures.TaskError as error:
        return str(error)
    return ""


def _check(spec: EvaluationSpec, overrides: Any) -> None:
    import fixtures
    from fixtures.task_ready import check_splits

    for name in overrides.domains or ():
        try:
            fixtures.check_source(name)
        except fixtures.SourceError as error:
            raise GridError(f"--domains: {error}") from error
    for name in spec.tasks:
        try:
            fixtures.check_task(name)
            check_splits(name)
        except fixtures.TaskError as error:
            raise GridError(f"--tasks: {error}") from error
