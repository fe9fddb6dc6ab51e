"""The GPU's way through the algorithms: the results of eager torch, in few launches.

``gram`` sums Hessians on tensor cores, ``columns`` runs the loop of GPTQ and SparseGPT, ``select`` chooses entries to
prune. Triton is imported when a kernel is launched; without a CUDA device or Triton nothing here runs.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def usable(tensor: Tensor) -> bool:
    """Whether the kernels can run on this tensor: float32 on a CUDA device, with Triton there."""
    return tensor.is_cuda and str(tensor.dtype) == "torch.float32" and has_triton()
