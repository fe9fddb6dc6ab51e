"""Compressed weights on their way from the device to the host, several at a time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from compressors.originals import STAGING


class Homeward:
    """Brings weights to the host. From a GPU a thread does, on a stream of its own, through a small pinned buffer,
    while the device goes on.
    """

    def __init__(self, device: torch.device) -> None:
        self._coming: list[Future[None]] = []
        self._new = 0  # of those, how many were sent since ``settle``
        self._thread: ThreadPoolExecutor | None = None
        if device.type == "cuda":
            self._thread = ThreadPoolExecutor(1)
            self._stream = torch.cuda.Stream(device)
            self._buffer = torch.empty(STAGING, dtype=torch.uint8, pin_memory=True)

    def send(self, stack: Tensor, homes: list[dict[str, Tensor]], name: str) -> None:
        """Put ``stack[i]`` into ``homes[i]`` under this name: now, or by the time that it has settled."""
        if self._thread is None or not stack.is_cuda:
            for home, weight in zip(homes, stack, strict=True):
                home[name] = weight.to("cpu", copy=True)
            return
        ready = torch.cuda.Event()
        ready.record()
        self._coming.append(self._thread.submit(self._bring, stack, homes, name, ready))
        self._new += 1

    def settle(self, *, last: bool = False) -> None:
        """Wait for all that was sent before the last call; with ``last`` for everything."""
        while len(self._coming) > (0 if last else self._new):
            self._coming.pop(0).result()
        self._new = 0

    def close(self) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.shutdown()

    def _bring(self, stack: Tensor, homes: list[dict[str, Tensor]], name: str, ready: torch.cuda.Event) -> None:
        weights = [torch.empty(stack.shape[1:], dtype=stack.dtype) for _ in homes]
        rooms = [weight.view(-1).view(torch.uint8) for weight in weights]
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(ready)
            for part in stack.reshape(-1).view(torch.uint8).split(STAGING):
                staged = self._buffer[: part.numel()]
                staged.copy_(part, non_blocking=True)
                self._stream.synchronize()
                rooms = dealt(staged, rooms)
        for home, weight in zip(homes, weights, strict=True):
            home[name] = weight


def dealt(piece: Tensor, rooms: list[Tensor]) -> list[Tensor]:
    """Copy a piece into the first of ``rooms``, what is left of it into the next ...; returns the room that is left."""
    rooms = list(rooms)
    while len(piece):
        length = min(len(piece), len(rooms[0]))
        rooms[0][:length].copy_(piece[:length])
        piece, rooms[0] = piece[length:], rooms[0][length:]
        if not len(rooms[0]):
            rooms.pop(0)
    return rooms
