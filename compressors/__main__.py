"""``python -m compressors [ALGORITHM ...]``: how methods are spelled, and each setting's default. Needs no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from compressors.method import MethodError, example
from compressors.registry import RECONSTRUCTION_SETTINGS, SUFFIXES, Setting, algorithms
from compressors.settings import nearest, show


def settings_table(settings: Mapping[str, Setting]) -> list[str]:
    """One line a setting: its default, what it may be, what it does."""
    rows = []
    for name, setting in settings.items():
        bounds = "|".join(setting.choices)
        if setting.low is not None:
            bounds = f"from {setting.low:g}" + (f" to {setting.high:g}" if setting.high is not None else "")
        rows.append((f"{name}={show(setting.default)}", f"{setting.help}" + (f" ({bounds})" if bounds else "")))
    width = max((len(left) for left, _ in rows), default=0)
    return [f"    {left:<{width}}  {right}" for left, right in rows]


def table(names: list[str]) -> str:
    """What there is to know of the algorithms named, or of all; raises ``MethodError`` for a name that is none."""
    known = algorithms()
    for name in names:
        if name not in known:
            raise MethodError(f"unknown algorithm {name!r}{nearest(name, list(known))} There are: {', '.join(known)}")
    lines: list[str] = []
    for name in names or known:
        entry = known[name]
        spelled = " ".join(example(entry, kind) for kind in entry.targets)
        kind = "" if entry.calibrated or not entry.module else "; calibration-free"
        lines += [f"{spelled}    {entry.paper}{kind}", *settings_table(entry.settings)]
    if not names:
        suffixes = "".join(f"+{suffix}" for suffix in SUFFIXES)
        lines += [f"wanda-0.5{suffixes}    suffixes of a pruning method"]
        lines += [f"    +{name}  {text}" for name, text in SUFFIXES.items()] + settings_table(RECONSTRUCTION_SETTINGS)
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(table(sys.argv[1:]), flush=True)
    except MethodError as error:
        sys.exit(str(error))
    except BrokenPipeError:  # `| head` has read enough; Python would complain again when it closes the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
