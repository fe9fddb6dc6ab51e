"""One GPU a worker: chosen by the controller before anything is imported, without importing torch itself."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any

SECONDS = 60  # for the driver to answer; a first call on a cold or busy machine takes many
DEVICE = re.compile(r"^(?P<slice>\s*)\w.*\(UUID: (?P<uuid>(?:GPU|MIG)-[^)]+)\)", re.M)


def visible(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, spelled as ``CUDA_VISIBLE_DEVICES`` has or takes them.

    What the variable says holds, also if it says none; without it the driver is asked. No driver, no GPUs.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return installed()
    devices = []
    for name in (piece.strip() for piece in named.split(",")):
        if name in ("", "-1", "NoDevFiles"):
            break  # CUDA reads the list up to the first name that is none
        devices.append(name)
    return devices


def installed() -> list[str]:
    """UUIDs by the driver's own tool; of a GPU that is cut into slices (MIG) those of the slices."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    found: list[list[str]] = []
    for match in DEVICE.finditer(done.stdout):
        if match["uuid"].startswith("GPU-"):
            found.append([match["uuid"]])
        elif found:
            found[-1].append(match["uuid"])
    return [name for gpu in found for name in (gpu[1:] or gpu)]


def pin(specs: list[Any], devices: list[str]) -> None:
    """Workers take the GPUs in turn; xdist gives a replacement the environment of the worker it replaces."""
    for number, spec in enumerate(specs):
        if devices:
            spec.env["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]


def wanted(device: str | None, grids: list[dict[str, Any]]) -> bool:
    """Whether cases run on whatever GPU a worker sees: not if none is asked for, nor if one is by its number."""
    return (device or "") == "cuda" or (device is None and any(grid.get("device") == "cuda" for grid in grids))
