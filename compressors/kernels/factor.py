"""The triangular factor that the column loop needs: one Cholesky factorization and one triangular inverse."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEAF = 512  # below this a triangular solve beats splitting


class Factor(NamedTuple):
    """H^-1 = U'U with U upper triangular. ``unit`` [n, n] is U with each row divided by its diagonal entry, ``diagonal`` [n] holds
    1 / U_jj. ``info`` (a tensor on the device) is 0, or says at which column the factorization of H failed."""

    unit: Tensor
    diagonal: Tensor
    info: Tensor


def factorize(hessian: Tensor) -> Factor:
    """Factor a damped Hessian [n, n] (float32 or float64), as GPTQ needs it (arXiv 2210.17323, section 4, step 3).

    With rows and columns reversed, the lower Cholesky factor L of H gives U = inverse(L), reversed: H^-1 is never formed and factorized again,
    which saves more than half of the arithmetic and the rounding of an explicit inverse.
    """
    lower, info = torch.linalg.cholesky_ex(hessian.flip(0, 1))
    diagonal = lower.diagonal().clone()
    # Dividing the columns of L scales the rows of its inverse to a unit diagonal.
    inverse = invert_lower(lower.div_(diagonal).contiguous())
    return Factor(inverse.flip(0, 1), diagonal.flip(0), info)


def invert_lower(lower: Tensor) -> Tensor:
    """The inverse of a unit lower triangular matrix [n, n], by halves: nearly all of it is matrix products."""
    n = lower.shape[0]
    if n <= LEAF:
        return torch.linalg.solve_triangular(lower, torch.eye(n, dtype=lower.dtype, device=lower.device), upper=False)
    half = n // 2
    inverse = torch.zeros_like(lower)
    first = invert_lower(lower[:half, :half])
    last = invert_lower(lower[half:, half:])
    inverse[:half, :half], inverse[half:, half:] = first, last
    torch.mm(last, lower[half:, :half] @ first, out=inverse[half:, :half])
    inverse[half:, :half].neg_()
    return inverse
