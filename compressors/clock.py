"""Seconds by stage. On a GPU the marks are events, so that measuring does not make the host wait."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch


class Clock:
    """Each moment belongs to the innermost stage that is open."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._open: list[str] = []
        self._marks: list[tuple[str, Any]] = []  # (stage that begins here, mark)
        self._start = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._open.append(name)
        self._mark(name)
        try:
            yield
        finally:
            self._open.pop()
            self._mark(self._open[-1] if self._open else "")

    def _mark(self, name: str) -> None:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds of ``forward``, ``statistics`` and ``solve``, and ``total`` since the clock was made."""
        if self._cuda:
            torch.cuda.synchronize()
        found = {"forward": 0.0, "statistics": 0.0, "solve": 0.0}
        for (name, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            if name:
                found[name] += begin.elapsed_time(end) / 1000 if self._cuda else end - begin
        return {**found, "total": time.perf_counter() - self._start}


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's allocator, or the process's high-water mark of resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not ru_maxrss, where there is a choice: it keeps the peak of the program that this process replaced at its start.
    with suppress(OSError), open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
