"""A GPU as torch's current one.

Tensors know where they are, but events are recorded, and Triton's kernels started, on the *current* GPU: number 0,
unless somebody says so. On another GPU copies home would not be waited for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

Returned = TypeVar("Returned")


def current(device: Any) -> AbstractContextManager[Any]:
    """Within it, ``device`` (a name or a ``torch.device``) is current; nothing happens for what is no numbered GPU, or
    none that this machine has: who gets it will say so.
    """
    import torch

    try:
        where = torch.device(device)
    except (RuntimeError, TypeError):
        return nullcontext()
    there = where.type == "cuda" and where.index is not None and where.index < torch.cuda.device_count()
    return torch.cuda.device(where) if there else nullcontext()


def on_its_gpu(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """``function(model, ..., device=None)`` with that device current, or the model's if none is given."""

    @functools.wraps(function)
    def run(model: Any, *arguments: Any, device: Any = None, **options: Any) -> Returned:
        home = next((parameter.device for parameter in model.parameters()), None)
        with current(home if device is None else device):
            return function(model, *arguments, device=device, **options)

    run.__module__ = __package__  # where it can be had, for those who pickle it
    return run
