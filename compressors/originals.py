"""The weights as they were, on the host, until a walk has ended well."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

STAGING = 32 * 2**20  # bytes of pinned memory; pinning room for a whole model would take as long as compressing it


class Originals:
    """Copies of weights, made before they are replaced; ``restore`` puts them back.

    From a GPU they are copied by a thread, on a stream of its own, while the device goes on: ``keep`` returns at once,
    ``wait`` when the copy is made. As a context manager, waits for the thread at the end.
    """

    def __init__(self, device: torch.device) -> None:
        self._kept: dict[str, Future[Tensor]] = {}
        self._threads = ThreadPoolExecutor(1) if device.type == "cuda" else None
        self._copy: Callable[[Tensor, torch.cuda.Event], Tensor] | None = None
        if self._threads is not None:
            self._copy = staged_copy(device)

    def __enter__(self) -> Originals:
        return self

    def __exit__(self, *error: object) -> None:
        if self._threads is not None:
            self._threads.shutdown()

    def keep(self, name: str, weight: Tensor) -> None:
        """Copy ``weight``, which must not change until ``wait(name)`` returns."""
        if self._threads is not None and self._copy is not None and weight.is_cuda:
            ready = torch.cuda.Event()
            ready.record()
            self._kept[name] = self._threads.submit(self._copy, weight, ready)
        else:
            self._kept[name] = Future()
            self._kept[name].set_result(weight.cpu().clone())

    def wait(self, name: str) -> None:
        """Return when the copy is made, if one was asked for."""
        if name in self._kept:
            self._kept[name].result()

    def get(self, name: str) -> Tensor | None:
        """The weight as it was, or None if it was never kept."""
        return self._kept[name].result() if name in self._kept else None


def staged_copy(device: torch.device) -> Callable[[Tensor, torch.cuda.Event], Tensor]:
    """A function that copies a tensor to the host once an event has happened; for one thread."""
    return _Staged(device)


class _Staged:
    """Device to host through a small pinned buffer: pageable copies are many times slower."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.buffer = torch.empty(STAGING, dtype=torch.uint8, pin_memory=True)

    def __call__(self, weight: Tensor, ready: torch.cuda.Event) -> Tensor:
        host = torch.empty(weight.shape, dtype=weight.dtype)
        target = host.view(-1).view(torch.uint8)
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(ready)
            source = weight.reshape(-1).view(torch.uint8)
            for part, into in zip(source.split(STAGING), target.split(STAGING), strict=True):
                staged = self.buffer[: part.numel()]
                staged.copy_(part, non_blocking=True)
                self.stream.synchronize()
                into.copy_(staged)
        return host
