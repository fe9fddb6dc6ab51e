"""``pytest tests/compressors --compressor package.module:Class`` runs the conformance suite on a compressor from
elsewhere.

``Class`` is a subclass of ``tests.conformance.CompressorConformance`` whose fixture ``method`` gives a spelling; its
module registers the algorithm (``compressors.registry.register``) when imported. Only that suite is run then.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

GIVEN = pytest.StashKey[type]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compressor", metavar="PACKAGE:CLASS", help="run the conformance suite on this class instead")


def pytest_configure(config: pytest.Config) -> None:
    named = config.getoption("--compressor", None)
    if named:
        config.stash[GIVEN] = load(named)


def load(named: str) -> type:
    """The class that ``package.module:Class`` names; raises ``pytest.UsageError`` if it is none of the suite's."""
    from tests.conformance import CompressorConformance

    where, colon, name = named.partition(":")
    if not (where and colon and name):
        raise pytest.UsageError(f"--compressor {named!r} is not spelled package.module:Class")
    try:
        module = import_module(where)
    except ImportError as error:
        raise pytest.UsageError(
            f"--compressor {named!r}: {where} cannot be imported: {error}; it must lie on Python's path "
            "(PYTHONPATH=folder, or python -m pytest from there)"
        ) from error
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, CompressorConformance)):
        classes = [value for value in vars(module).values() if inspect.isclass(value)]
        suites = [
            c.__name__ for c in classes if issubclass(c, CompressorConformance) and c is not CompressorConformance
        ]
        raise pytest.UsageError(
            f"--compressor {named!r}: expected a subclass of tests.conformance.CompressorConformance; "
            f"{where} has: {', '.join(suites) or 'none'}"
        )
    return found


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if GIVEN in config.stash and collection_path.suffix == ".py" and collection_path.name != "test_conformance.py":
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Collector, name: str, obj: object
) -> pytest.Collector | list[object] | None:
    """In the suite's own file, the given class takes the place of the registered methods."""
    if not isinstance(collector, pytest.Module) or GIVEN not in collector.config.stash:
        return None
    if name != "TestRegistered":
        return []
    given = collector.config.stash[GIVEN]
    setattr(collector.obj, given.__name__, given)  # pytest looks a class up in the module that it is collected from
    return pytest.Class.from_parent(collector, name=given.__name__)
