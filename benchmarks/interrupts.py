"""An interrupt ends a run with status 2 wherever it lands.

A signal is handled between any two instructions, also at those to which CPython 3.11 and later give no line (jumps
that the compiler adds); ``tb_lineno`` is None there. pytest computes with that number while it notes where the
interrupt came, and a TypeError with exit status 1 would take the interrupt's place.
"""

from __future__ import annotations

from types import TracebackType

import pytest


def numbered(trace: TracebackType | None) -> TracebackType | None:
    """The same frames, each with a line: of its instruction, else the first line of its function."""
    entries: list[TracebackType] = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    whole = None
    for entry in reversed(entries):
        line: int | None = entry.tb_lineno  # typeshed says int
        frame = entry.tb_frame
        whole = TracebackType(whole, frame, entry.tb_lasti, frame.f_code.co_firstlineno if line is None else line)
    return whole


def mend(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Gives every entry that pytest is about to print a line, those of the exceptions behind it too."""
    # pytest exports no class for tracebacks, so that of the one at hand.
    excinfo.traceback = type(excinfo.traceback)(numbered(excinfo.tb) or excinfo.tb)
    behind, seen = excinfo.value.__cause__ or excinfo.value.__context__, {id(excinfo.value)}
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        behind.__traceback__ = numbered(behind.__traceback__)
        behind = behind.__cause__ or behind.__context__
