"""Compressors of language models: tensors in, tensors out.

``parse`` and ``algorithms`` need no torch; ``compress`` loads it when called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from compressors.codehash import code_hash
from compressors.current import on_its_gpu
from compressors.method import Method, MethodError, Target, parse
from compressors.registry import Algorithm, algorithms
from compressors.report import CompressionError, CompressionReport, LinearReport

if TYPE_CHECKING:
    from compressors.models import linears
    from compressors.prefixes import Prefix, compress_prefixes
    from compressors.walker import compress

__all__ = [
    "Algorithm",
    "CompressionError",
    "CompressionReport",
    "LinearReport",
    "Method",
    "MethodError",
    "Prefix",
    "Target",
    "algorithms",
    "code_hash",
    "compress",
    "compress_prefixes",
    "linears",
    "parse",
]


_LAZY = {
    "compress": "compressors.walker",
    "compress_prefixes": "compressors.prefixes",
    "Prefix": "compressors.prefixes",
    "linears": "compressors.models",
}


def __getattr__(name: str) -> Any:
    # These import torch, which takes seconds: only on first use.
    if name in _LAZY:
        found = getattr(import_module(_LAZY[name]), name)
        # Kept, so that a process pool finds by name the very function that it was given.
        globals()[name] = on_its_gpu(found) if name.startswith("compress") else found
        return globals()[name]
    raise AttributeError(f"module 'compressors' has no attribute {name!r}")
