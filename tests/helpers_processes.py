"""Commands that are ended in the middle of their work, and whether the processes that they started end with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

ROOT = Path(__file__).parents[1]
WAIT = 600.0  # seconds, of a machine that is busy with other things: ends what hangs, measures nothing


class Held:
    """A command in a session of its own, whose processes ``tests.held.hold`` keeps; ``close`` leaves none of them."""

    def __init__(self, folder: Path, command: Sequence[object], **environment: str) -> None:
        self.folder = folder
        folder.mkdir()
        env = {**os.environ, "PYTHONPATH": str(ROOT), **environment, "HELD": str(folder)}
        with (folder / "output").open("w") as output:  # a pipe would be held by those that are left
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def wait_for(self, count: int) -> None:
        """Until so many processes are at work."""
        until = time.monotonic() + WAIT
        while len(list(self.folder.glob("*.at"))) < count:
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{count} processes were not at work (status {self.process.poll()}):\n{self.output}")
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        """Sends the signal to the command alone; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(WAIT)

    def left(self) -> list[str]:
        """The processes that go on although the command has ended, after as long as they may need."""
        found = []
        until = time.monotonic() + WAIT
        for path in self.folder.glob("*.at"):
            try:
                FileLock(path.with_suffix(".lock")).acquire(timeout=max(0.0, until - time.monotonic()))
            except Timeout:
                found.append(path.stem)
        return found

    def untidy(self) -> list[str]:
        return [path.name for path in self.folder.glob("*.part")]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT)
