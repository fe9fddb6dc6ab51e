"""A function of tensors as a CUDA graph: recorded once, replayed with one launch. On a CPU, the function itself."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collects garbage now and not meanwhile: to free another graph breaks a recording."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Graphed:
    """``Graphed(function)(*tensors)``: recorded at the first call, for the shapes of that call.

    The function must draw nothing at random and must not look at values. Tensors that it changes in place must be
    passed through ``state``: those are the caller's own memory, and keep their addresses. Results are valid until the
    next call.
    """

    def __init__(self, function: Callable[..., Any], state: tuple[Tensor, ...] = (), enabled: bool = True) -> None:
        self.function, self.state, self.enabled = function, state, enabled
        self.graph: Any = None
        self.inputs: tuple[Tensor, ...] = ()
        self.result: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        if not (self.enabled and inputs and inputs[0].is_cuda):
            return self.function(*inputs)
        if self.graph is None:
            self._record(inputs)
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.result

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self.inputs = tuple(tensor.detach().clone() for tensor in inputs)
        before = [tensor.detach().clone() for tensor in self.state]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # cuBLAS and autograd set themselves up outside of the recording
            for _ in range(2):
                self.function(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with _no_collection(), torch.cuda.graph(self.graph):
            self.result = self.function(*self.inputs)
        with torch.no_grad():
            for tensor, value in zip(self.state, before, strict=True):
                tensor.copy_(value)
