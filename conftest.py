"""The pytest plugin: options become a grid, the grid becomes cases; gates are judged when the session ends.

Nothing heavy is imported here: torch and transformers load when a case runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import gpus, options
from benchmarks.grid import GridError, load_profile
from benchmarks.properties import properties
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
    if config.getoption("register"):
        named = [*os.environ.get("CALIBENCH_COMPRESSORS", "").split(","), *config.getoption("register")]
        os.environ["CALIBENCH_COMPRESSORS"] = ",".join(dict.fromkeys(filter(None, named)))
    if config.getoption("tasks_path"):
        os.environ["CALIBENCH_TASKS"] = os.path.abspath(config.getoption("tasks_path"))
    if config.getoption("dist", "no") == "load":
        # Contiguous blocks: neighbours share a model. The loadgroup family mishandles crashes (pytest-xdist #1189).
        config.option.dist = "worksteal"
    config.stash[SESSION] = Session(config)
    config.pluginmanager.register(config.stash[SESSION], "calibench-session")


def _gpus(config: pytest.Config) -> list[str]:
    """The GPUs to share out among workers; none where the cases run elsewhere."""
    try:
        profile = load_profile(config.getoption("profile"))
        grids = [*profile.get("grid", []), *profile.get("distillation", [])]
    except GridError:
        return []  # said where the cases are built
    return gpus.visible() if gpus.wanted(config.getoption("device"), grids) else []


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    gpus.pin(specs, _gpus(config))


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """``-n auto``: a worker for each GPU; None leaves it to xdist, which counts processors."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return len(_gpus(config)) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        # A file asks one question: the cases of the grids that name it.
        cases = metafunc.config.stash[SESSION].cases_to_run(getattr(metafunc.module, "QUESTION", None))
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
            if isinstance(error, fixtures.StoreError):
                record_property("unwritten", True)
        if missing:
            record_property("unavailable", missing)
            pytest.skip(problem.splitlines()[0])
        if problem:  # outside of the handler, else pytest shows the chain of exceptions above the sentence
            pytest.fail(problem, pytrace=False)
        for name, value in properties(record, found).items():
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
    if undecided and report.when == "call":
        return properties["gate"], "", properties["gate"].upper()
    if "unavailable" in properties:
        return "unavailable" if report.when == "call" else "", "", "UNAVAILABLE"
    if ("case" in properties or "gate" in properties) and config.get_verbosity() <= 0:
        # While cases run the progress lines say it; the short summary at the end needs the word.
        word = report.outcome.upper() if config.stash[SESSION].summing_up else ""
        return (report.outcome if report.when == "call" or report.failed else ""), "", word
    return None
