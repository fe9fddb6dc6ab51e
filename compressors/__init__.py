"""Compressors of language models: tensors in, tensors out.

``parse`` and ``algorithms`` need no torch; ``compress`` loads it when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compressors.codehash import code_hash
from compressors.method import Method, MethodError, Target, parse
from compressors.registry import Algorithm, algorithms
from compressors.report import CompressionError, CompressionReport, LinearReport

if TYPE_CHECKING:
    from compressors.models import linears
    from compressors.walker import compress

__all__ = [
    "Algorithm",
    "CompressionError",
    "CompressionReport",
    "LinearReport",
    "Method",
    "MethodError",
    "Target",
    "algorithms",
    "code_hash",
    "compress",
    "linears",
    "parse",
]


def __getattr__(name: str) -> Any:
    # These import torch, which takes seconds: only on first use.
    if name == "compress":
        from compressors.walker import compress

        return compress
    if name == "linears":
        from compressors.models import linears

        return linears
    raise AttributeError(f"module 'compressors' has no attribute {name!r}")
