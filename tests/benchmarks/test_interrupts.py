"""An interrupt at an instruction without a line is an interrupt still."""

from __future__ import annotations

import traceback
from types import FunctionType

import pytest

from benchmarks import interrupts
from tests.helpers_suite import ROOT

pytest_plugins = ["pytester"]


def without_lines(function: FunctionType) -> FunctionType:
    """The same function, each of whose instructions has no line, as some that the compiler adds have none."""
    units = len(function.__code__.co_code) // 2
    # An entry of PEP 657's table: 0x80, code 15 (no location) in bits 3 to 6, one less than up to 8 instructions.
    table = bytes(0x80 | 15 << 3 | min(8, units - start) - 1 for start in range(0, units, 8))
    return FunctionType(function.__code__.replace(co_linetable=table), function.__globals__)


def pressed() -> None:
    raise KeyboardInterrupt


def pressed_while_failing() -> None:
    try:
        raise ValueError("first")
    except ValueError:
        raise KeyboardInterrupt from None


def caught(function: FunctionType) -> pytest.ExceptionInfo[BaseException]:
    with pytest.raises(KeyboardInterrupt) as info:
        function()
    return info


def test_python_has_instructions_without_a_line():
    trace = caught(without_lines(pressed)).tb
    assert trace.tb_next.tb_lineno is None


@pytest.mark.parametrize("function", [pressed, pressed_while_failing])
def test_pytest_can_print_it_then(function):
    info = caught(without_lines(function))
    interrupts.mend(info)
    assert "KeyboardInterrupt" in str(info.getrepr(funcargs=True))
    assert info.traceback[-1].frame.code.name == function.__name__
    assert info.traceback[-1].lineno + 1 == function.__code__.co_firstlineno


def test_lines_that_are_known_stay():
    info = caught(pressed_while_failing)
    before = [(frame.name, frame.lineno) for frame in traceback.extract_tb(info.tb)]
    interrupts.mend(info)
    assert [(entry.frame.code.name, entry.lineno + 1) for entry in info.traceback] == before


def test_exceptions_behind_it_have_lines_too():
    lost = without_lines(pressed)

    def handler() -> None:
        try:
            lost()
        except KeyboardInterrupt as first:
            raise KeyboardInterrupt("again") from first

    info = caught(handler)
    interrupts.mend(info)
    assert "again" in str(info.getrepr(funcargs=True))


def test_a_run_that_is_interrupted_there_ends_with_status_two(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(
        """
        import pytest
        from benchmarks.session import Session
        from tests.benchmarks.test_interrupts import pressed, without_lines

        class Plugin:
            pytest_keyboard_interrupt = Session.pytest_keyboard_interrupt

        def pytest_configure(config):
            config.pluginmanager.register(Plugin())

        def pytest_runtest_call(item):
            without_lines(pressed)()
        """
    )
    pytester.makepyfile("def test_one(): pass")
    done = pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:cacheprovider")
    assert done.ret == pytest.ExitCode.INTERRUPTED, done.stdout.str() + done.stderr.str()
