"""Is the device there that a case asks for? torch is asked only where a case wants a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def missing_device(cases: Iterable[Any]) -> str:
    """Why the cases cannot run here, in a sentence; empty if they can."""
    wanted = sorted({case.device for case in cases if case.device.startswith("cuda")})
    if not wanted:
        return ""
    import torch

    if torch.cuda.is_available():
        return ""
    return (
        f"the grid asks for device {wanted[0]!r} and this machine has no GPU that torch can use; "
        "--device cpu --dtype float32 runs it here, slowly (--dry-run says how much work it is)"
    )
