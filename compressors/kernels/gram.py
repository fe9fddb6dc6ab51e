"""X'X of half-precision inputs on tensor cores: products are exact, sums are float32, one triangle is computed.

Measured on an H100 (8 x 16384 tokens, 4096 columns) against float64: off by 2.6e-5 (Frobenius norm), the diagonal too
small by 6e-5, since the tensor cores' sums are cut, not rounded. Float32 arithmetic: off by 1.1e-6, at 18 times the
time.
"""

from __future__ import annotations

import torch
from torch import Tensor

PANEL = 1024  # columns: enough for the tensor cores' full speed, few enough to skip most of the other triangle


def applies(rows: Tensor) -> bool:
    """Whether ``add`` can take these inputs: a product of two bfloat16 or float16 numbers is exact in float32."""
    return rows.is_cuda and rows.dtype in (torch.bfloat16, torch.float16)


def add(total: Tensor, rows: Tensor) -> None:
    """Add rows' rows to the upper triangle (and a bit of the lower) of ``total`` [n, n] in float32; ``rows`` is
    [tokens, n].
    """
    n = total.shape[0]
    panels = max(1, round(n / PANEL))
    size = -(-n // panels)
    size += -size % 16  # leading offsets stay aligned for the tensor cores
    for first in range(0, n, size):
        part = total[first : first + size, first:]
        torch.addmm(part, rows[:, first : first + size].T, rows[:, first:], out_dtype=torch.float32, out=part)


def mirror(total: Tensor) -> Tensor:
    """Copy the upper triangle onto the lower one, in place."""
    upper = total.triu(1)
    return total.triu_().add_(upper.T)
