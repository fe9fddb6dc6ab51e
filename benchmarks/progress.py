"""What a person sees while cases run: position, share done, time left, and the stage of the case at work.

A case tells its stage through a small file in the store, because under xdist it runs in another process. On a
terminal one line at the bottom is rewritten; elsewhere each finished case is one plain line.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

SHORTEST_ID = 20


class StageFile:
    """The worker's side: writes the stage of the case at work; the file goes when the process ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{os.getpid()}.json"
        self.case = self._stage = ""
        self._last = 0.0

    def begin(self, case: str) -> None:
        self.case, self._stage = case, ""
        self("start")

    def __call__(self, stage: str) -> None:
        # Ten a second of one stage is more than anyone reads; the first of the next must not be lost, since it may
        # last for minutes. Errors of the disk are harmless here.
        now, name = time.monotonic(), stage.partition(" ")[0]
        if name == self._stage and now - self._last < 0.1:
            return
        self._last, self._stage = now, name
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps({"case": self.case, "stage": stage}), encoding="utf-8")
            temporary.replace(self.path)
        except OSError:
            pass

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def clock(seconds: float) -> str:
    """``75`` -> ``"1:15"``; hours appear when there are any."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def fit(position: str, case: str, rest: str, width: int | None) -> str:
    """One line of at most ``width`` columns: the middle of a long id goes, since both its ends tell cases apart.

    >>> fit("[1/9] ", "known-corpus-1m-wanda-0.5-web-s0", "  1.0 s", 36)
    '[1/9] known-corpu…-0.5-web-s0  1.0 s'
    """
    room = len(case) if width is None else max(SHORTEST_ID, width - len(position) - len(rest))
    if len(case) > room:
        left = (room - 1) // 2
        case = f"{case[:left]}…{case[len(case) - (room - 1 - left) :]}"
    return f"{position}{case}{rest}"


class Progress:
    """The controller's side. ``total`` may be unknown (0) until the workers have collected."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.total = 0
        self.done = 0
        self.found = 0
        self.started = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown = ""
        self._first: float | None = None
        self._lock = threading.Lock()

    @property
    def terminal(self) -> Any:
        return self.config.pluginmanager.get_plugin("terminalreporter")

    @property
    def interactive(self) -> bool:
        return bool(self.terminal and self.terminal.isatty) and self.config.get_verbosity() >= 0

    def start(self) -> None:
        for stale in self.folder.glob("*.json"):
            with contextlib.suppress(OSError):  # a store that cannot be written is said where a record is due
                stale.unlink(missing_ok=True)
        self.started = time.monotonic()
        if self.terminal is not None and self.config.get_verbosity() <= 0:
            self.terminal.showfspath = False  # pytest would print the file's name before every line of ours
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        with self._lock:
            self._wipe()
            if self.found and self.config.get_verbosity() >= 0:
                self.terminal.write_line(f"{self._count()}  {self.found} records found in the store")

    def finished(self, report: pytest.TestReport, found: bool) -> None:
        """One case is done: print its line. Found cases are summed up in a line every hundred."""
        with self._lock:
            self.done += 1
            self.found += found
            if not found and self._first is None:
                self._first = time.monotonic()
            if self.config.get_verbosity() < 0:
                return
            self._wipe()
            if found and report.passed:
                if self.found % 100 == 0:
                    self.terminal.write_line(f"{self._position()}  {self.found} records found in the store")
                return
            properties = dict(report.user_properties)
            case = str(properties.get("case", report.nodeid))
            words = {"passed": "", "failed": "  FAILED", "skipped": "  skipped"}[report.outcome]
            detail = properties.get("finding", "")
            if "unavailable" in properties:
                words = "  unavailable"
            rest = f"  {report.duration:.1f} s  {detail}".rstrip() + words
            self.terminal.write_line(fit(f"{self._position()}  ", case, rest, self._width()))

    def _width(self) -> int | None:
        """Columns of the terminal; None for a log, which has no width."""
        known = self.interactive or "COLUMNS" in os.environ
        return self.terminal._tw.fullwidth if known else None

    def _position(self) -> str:
        if not self.total:
            return self._count()
        made = self.done - self.found
        left = self.total - self.done
        # The first case also pays for imports, downloads and training; it says nothing about the others.
        elapsed = time.monotonic() - (self._first or self.started)
        rate = f"{clock(elapsed / (made - 1) * left):>6} left" if made >= 3 else ""
        return f"{self._count()} {rate}"

    def _count(self) -> str:
        if not self.total:
            return f"[{self.done}]"
        return f"[{self.done:>{len(str(self.total))}}/{self.total} {100 * self.done // self.total:>3} %]"

    def _watch(self) -> None:
        last = 0.0
        while not self._stop.wait(0.5):
            stages = self._stages()
            if not stages:
                continue
            text = " | ".join(f"{stage['case']}: {stage['stage']}" for stage in stages)
            with self._lock:
                if self._stop.is_set():  # while the files were read: the summary comes last
                    return
                if self.interactive:
                    self._rewrite(f"{self._position()}  {text}")
                elif time.monotonic() - last > 30:
                    # A long preparation (a download, training) would otherwise look like a hang in a log.
                    last = time.monotonic()
                    self.terminal.write_line(f"{self._position()}  at work: {text}")

    def _stages(self) -> list[dict[str, str]]:
        stages = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                stages.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                continue
        return stages

    def _rewrite(self, text: str) -> None:
        width = self.terminal._tw.fullwidth - 1
        text = text if len(text) <= width else text[: width - 1] + "…"
        self.terminal._tw.write("\r" + text.ljust(len(self._shown)))
        self.terminal._tw.flush()
        self._shown = text

    def _wipe(self) -> None:
        if self._shown:
            self.terminal._tw.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""
