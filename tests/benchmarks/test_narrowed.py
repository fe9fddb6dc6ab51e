"""Which options make a run a part of its profile: its title and its baseline follow from that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.session import Session


@pytest.mark.parametrize(
    ("options", "narrowed"),
    [({}, False), ({"threads": 1}, False), ({"threads": 1, "seeds": (0,)}, True), ({"dtype": "bfloat16"}, True)],
)
def test_threads_leave_the_grid_as_it_is(options, narrowed):
    suite = SimpleNamespace(config=SimpleNamespace(getoption=options.get))
    assert Session.narrowed.fget(suite) is narrowed
