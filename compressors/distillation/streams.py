"""Where randomness comes from: one generator for each seed and purpose, and nothing else.

Runs of several seeds go through one computation; each still draws from its own generators, so that what is drawn for
a seed does not depend on which other seeds run beside it.
"""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator for one purpose of one seed, such as ``stream(0, "networks")``."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def streams(seeds: list[int] | tuple[int, ...], purpose: str, device: str | torch.device) -> list[torch.Generator]:
    """One generator a seed."""
    return [stream(seed, purpose, device) for seed in seeds]
