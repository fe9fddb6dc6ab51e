"""A model on the host, compressed on a device that holds one of its blocks at a time, and a few batches of hidden
states.

::

    host     block 0   block 1   block 2   ...      hidden states of every batch, pinned
                         |  ^                          | ahead of use, on a stream of its own
    device             block 1                       batch 3, batch 4

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compressors.models import Block
from compressors.originals import staged_copy
from compressors.report import CompressionError


class Visits:
    """Blocks that live elsewhere and come to ``device`` one at a time; blocks that live there are left alone.

    What a visitor's tensors held before is kept until ``restore`` or the end. After a visit that changed it, a thread
    brings the new values home while the next block is at work. As a context manager, waits for that.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._coming: list[tuple[Tensor, Future[Tensor]]] = []
        self._here: set[int] = set()
        self._thread: ThreadPoolExecutor | None = None
        self._copy: Callable[[Tensor, torch.cuda.Event], Tensor] | None = None

    def __enter__(self) -> Visits:
        return self

    def __exit__(self, *error: object) -> None:
        self._arrive(0)
        if self._thread is not None:
            self._thread.shutdown()

    def keeps(self, tensor: Tensor) -> bool:
        """Whether a parameter is a visitor's, so that what it held before is kept."""
        return id(tensor) in self._here

    @contextmanager
    def at(self, block: Block, *, changes: bool = True) -> Iterator[None]:
        """The block is on the device meanwhile; its values of before come back on an error, or if nothing ``changes``
        them.
        """
        tensors = _tensors(block.module)
        if any(tensor is coming for tensor in tensors for coming, _ in self._coming):
            self._arrive(0)
        homes = [(tensor, tensor.data) for tensor in tensors if not _same(tensor.device, self.device)]
        changed = False
        try:
            self._here |= {id(tensor) for tensor, _ in homes}
            for tensor, home in homes:
                tensor.data = home.to(self.device, copy=True)
            yield
            changed = changes
        finally:
            self._here -= {id(tensor) for tensor, _ in homes}
            for tensor, home in homes:
                if changed:
                    self._kept.append((tensor, home))
                    self._leave(tensor, home)
                else:
                    tensor.data = home
            self._arrive(len(homes))

    def restore(self) -> None:
        """Put back what every visitor held before."""
        self._arrive(0)
        while self._kept:
            tensor, home = self._kept.pop()
            tensor.data = home

    def _leave(self, tensor: Tensor, home: Tensor) -> None:
        if self.device.type != "cuda" or home.is_cuda:
            tensor.data = tensor.data.to(home.device)
            return
        if self._thread is None or self._copy is None:
            self._thread, self._copy = ThreadPoolExecutor(1), staged_copy(self.device)
        ready = torch.cuda.Event()
        ready.record()
        self._coming.append((tensor, self._thread.submit(self._copy, tensor.data, ready)))

    def _arrive(self, but: int) -> None:
        """Wait for all copies but the last ``but``, so that at most one block is still on its way home."""
        while len(self._coming) > but:
            tensor, copy = self._coming.pop(0)
            tensor.data = copy.result()


def device_for(model: nn.Module, device: str | torch.device | None, offload: bool, gradients: bool) -> torch.device:
    """Where blocks are run. Raises ``CompressionError`` for what cannot be done with the model on the host."""
    home = next(model.parameters()).device
    try:
        given = None if device is None else torch.device(device)
    except RuntimeError as error:
        raise CompressionError(f"device {device!r}: {error}") from None
    if given is not None and given.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (given.index or 0) >= count:
            found = f"torch finds {count or 'no'} CUDA device{'s' * (count != 1)}"
            raise CompressionError(f"device {str(given)!r}: {found}; try device='cpu'")
    if given is not None and given.type != "cuda":
        try:  # a build of torch may know a device and not have it; meta has no values
            torch.zeros(1, device=given).item()
        except Exception as error:  # whatever its back end raises
            raise CompressionError(f"device {str(given)!r}: {str(error).partition('. ')[0]}") from None
    if not offload:
        return given or home
    if home.type != "cpu":
        raise CompressionError(f"offload keeps the model on the host, but it is on {home}; call model.to('cpu') first")
    if gradients:
        raise CompressionError("gradients of the whole model need it on the device as a whole; not with offload")
    return given or torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _same(one: torch.device, other: torch.device) -> bool:
    # "cuda" without a number is the current device.
    return one.type == other.type and (other.index is None or one.index in (other.index, None))


def _tensors(module: nn.Module) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}.values())


class HostStates:
    """Hidden states by batch, a list to look at, kept in host memory (pinned for a GPU).

    Getting an entry copies it to the device and sends for the next one; setting one copies it to the host. All copies
    are on one stream, so that they come in the order in which they were asked for.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._host: list[Tensor] = []
        self._ahead: dict[int, Tensor] = {}
        self._stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def append(self, states: Tensor) -> None:
        pinned = self._stream is not None
        self._host.append(torch.empty(states.shape, dtype=states.dtype, pin_memory=pinned))
        self[len(self) - 1] = states

    def __setitem__(self, index: int, states: Tensor) -> None:
        self._ahead.pop(index, None)
        if self._stream is None or not states.is_cuda:
            self._host[index].copy_(states)
            return
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            self._host[index].copy_(states, non_blocking=True)
        states.record_stream(self._stream)

    def __getitem__(self, index: int) -> Tensor:
        if self._stream is None:
            return self._host[index].clone()
        found = self._ahead.pop(index, None)
        if found is None:
            found = self._send(index)
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._stream)
        found.record_stream(current)
        following = (index + 1) % len(self)
        if following not in self._ahead:
            self._ahead[following] = self._send(following)
        return found

    def _send(self, index: int) -> Tensor:
        with torch.cuda.stream(self._stream):
            return self._host[index].to(self.device, non_blocking=True)


States = list[Tensor] | HostStates


def held(like: States, tensors: Iterable[Tensor]) -> States:
    """The tensors, in the same kind of sequence."""
    if not isinstance(like, HostStates):
        return list(tensors)
    kept = HostStates(like.device)
    for tensor in tensors:
        kept.append(tensor)
    return kept
