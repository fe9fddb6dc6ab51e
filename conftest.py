"""The pytest plugin: options become a grid, the grid becomes cases; gates are judged when the session ends.

Nothing heavy is imported here: torch and transformers load when a case runs.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import options
from benchmarks.session import Session

SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("cache_dir"):
        # By environment, so that xdist's workers see the same folder.
        os.environ["CALIBENCH_CACHE"] = os.path.abspath(config.getoption("cache_dir"))
    data = config.getoption("data_dir") or config.getini("calibench_data")
    if data:
        os.environ["CALIBENCH_DATA"] = os.path.abspath(os.path.expanduser(data))
    if config.getoption("accept_terms"):
        os.environ["CALIBENCH_ACCEPT_TERMS"] = ",".join(config.getoption("accept_terms"))
    if config.getoption("tasks_path"):
        os.environ["CALIBENCH_TASKS"] = os.path.abspath(config.getoption("tasks_path"))
    if config.getoption("dist", "no") == "load":
        # Contiguous blocks: neighbours share a model. The loadgroup family mishandles crashes (pytest-xdist #1189).
        config.option.dist = "worksteal"
    config.stash[SESSION] = Session(config)
    config.pluginmanager.register(config.stash[SESSION], "calibench-session")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """One of the caller's GPUs a worker, before any import; a replacement worker inherits it."""
    devices = visible_gpus()
    for number, spec in enumerate(specs):
        if devices:
            spec.env["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]


def visible_gpus(folder: str = "/dev") -> list[str]:
    """The GPUs that the caller lets us see, else all that the driver shows; torch is not asked, it would load."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(len(glob.glob(f"{folder}/nvidia[0-9]*")))]
    return [name.strip() for name in named.split(",") if name.strip()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = metafunc.config.stash[SESSION].cases_to_run()
        metafunc.parametrize("case", [_param(case) for case in cases])


def _param(case: Any) -> Any:
    mark = pytest.mark.case(
        model=case.model,
        method=case.method,
        source=case.draw.source if case.draw else None,
        seed=case.draw.seed if case.draw else None,
    )
    return pytest.param(case, id=case.id, marks=mark)


@pytest.fixture
def run_case(request: pytest.FixtureRequest, record_property: Any) -> Iterator[Any]:
    """Runs a case, or finds its record; what the terminal and JUnit show goes into the report's properties."""
    session = request.config.stash[SESSION]

    def run(case: Any) -> Any:
        import fixtures

        record_property("case", case.id)
        session.stage.begin(case.id)
        problem = missing = ""
        try:
            record, found = session.runner.run(case)
        except fixtures.SourceUnavailable as error:
            problem = f"{case.id}: {error}"
            missing = "" if session.asked_for(error.source) else str(error)
        except errors_for_people() as error:
            problem = f"{case.id}: {error}"
        if missing:
            record_property("unavailable", missing)
            pytest.skip(problem.splitlines()[0])
        if problem:  # outside of the handler, else pytest shows the chain of exceptions above the sentence
            pytest.fail(problem, pytrace=False)
        for name, value in session.properties(case, record, found).items():
            record_property(name, value)
        return record

    yield run
    session.stage.end()


def errors_for_people() -> tuple[type[Exception], ...]:
    """Errors that say by themselves what is wrong and what to do: a traceback would bury it."""
    import compressors
    import fixtures

    ours = (
        fixtures.ModelError,
        fixtures.SourceError,
        fixtures.DrawError,
        fixtures.PackageError,
        fixtures.StoreError,
    )
    return (*ours, fixtures.TaskError, fixtures.ScoringError, compressors.MethodError, compressors.CompressionError)


def pytest_report_teststatus(report: Any, config: pytest.Config) -> Any:
    """The progress lines speak for cases and the summary for gates; an undecided gate is never shown as a pass."""
    properties = dict(getattr(report, "user_properties", ()))
    undecided = properties.get("gate") in ("inconclusive", "refused")
    if undecided:
        return properties["gate"], "", properties["gate"].upper()
    if "unavailable" in properties:
        return "unavailable" if report.when == "call" else "", "", "UNAVAILABLE"
    if ("case" in properties or "gate" in properties) and config.get_verbosity() <= 0:
        return (report.outcome if report.when == "call" or report.failed else ""), "", ""
    return None
