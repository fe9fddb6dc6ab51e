"""What is measured on the compressed models of a grid: tasks, and the loss on held-out documents of domains."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.axes import GridError
from fixtures.records import EvaluationSpec

DOCUMENTS = 48  # of a domain that is named on the command line, where the profile has none


def evaluation_spec(table: dict[str, Any], overrides: Any) -> EvaluationSpec:
    """A grid's table ``evaluation`` with what the command line says instead.

    Raises :class:`GridError` for an unknown task, source or perturbation.
    """
    import fixtures

    table = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
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
