"""Before the first case: do the user's models take the group sizes and patterns that the methods ask for?

A run whose method does not fit would fail case by case; the widths of a model's linears follow from its configuration.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.axes import GridError
from fixtures.cache import cache_dir, file_sha256
from fixtures.files import StoreError, write_bytes
from fixtures.records import Case, fingerprint

SMALLEST = 8  # columns of a group, as compressors offer them


def check_fit(cases: Sequence[Case]) -> None:
    """Raises :class:`GridError` with every method that does not fit a folder's model, and the sizes that would.

    Models that have to be fetched or trained first, and those that cannot be built, are left to their cases.
    """
    import compressors
    import fixtures

    asked: dict[str, dict[str, compressors.Target]] = {}
    for case in cases:
        target = compressors.parse(case.method).target
        if target.group is not None or target.group_size not in (-1, None):
            asked.setdefault(case.model, {})[case.method] = target
    lines = []
    for name, targets in asked.items():
        model = fixtures.resolve_model(name)
        if model.kind == "folder":
            columns = widths(model.folder())
            lines += [f"  {method} on {name}: {why}" for method, t in targets.items() if (why := misfit(t, columns))]
    if lines:
        raise GridError("\n".join(["methods that do not fit their model; nothing was run:", *lines]))


def misfit(target: object, columns: dict[int, str]) -> str:
    """Why a target does not fit a model of these ``widths``, with the sizes that fit all of its linears; else empty."""
    bits, size, group = (getattr(target, name) for name in ("bits", "group_size", "group"))
    if bits is not None and size not in (-1, None):
        for width, linear in columns.items():
            if width % size:
                common = math.gcd(*columns)
                fitting = ", ".join(str(n) for n in range(SMALLEST, common + 1) if common % n == 0)
                offered = f"{fitting} or -1 (one group a row)" if fitting else "only -1 (one group a row)"
                return (
                    f"group size {size} does not divide the {width} columns of {linear}; group sizes that fit all "
                    f"linears: {offered}"
                )
    if group is not None:
        for width, linear in columns.items():
            if width % group:
                return f"{linear} has {width} columns, which {group} does not divide"
    return ""


def widths(folder: Path) -> dict[int, str]:
    """Columns of the linears that would be compressed, each with the first linear that has so many.

    Built from the configuration without weights, once for a configuration and code; empty if that cannot be done.
    """
    import compressors

    # transformers decides what a configuration builds, the walker which of it are linears.
    decides = [file_sha256(folder / "config.json"), version("transformers"), compressors.code_hash("dense")]
    kept = cache_dir() / "widths" / f"{fingerprint(decides)}.json"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return {int(width): str(name) for width, name in json.loads(kept.read_text()).items()}
    try:
        found = _built(folder)
    except Exception:  # whatever a configuration can do wrong, the case that loads it says it with its weights
        return {}
    with contextlib.suppress(OSError, StoreError):  # a cache that cannot be written costs seconds each time
        write_bytes(kept, json.dumps(found).encode())
    return found


def _built(folder: Path) -> dict[int, str]:
    import torch
    import transformers

    from compressors.models import linears, matrix
    from fixtures.progress import quiet_transformers

    with quiet_transformers(), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    found: dict[int, str] = {}
    for name, linear in linears(model):
        found.setdefault(matrix(linear).shape[1], name)
    return found
