"""What the command line names, by kind: language models and their methods, or networks and distilled images.

``--models``, ``--methods`` and ``--sources`` serve both. An option that is given leaves only the kinds that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from benchmarks.grid import Overrides
from fixtures.image_cases import SOURCES

IMAGES: dict[str, Callable[[str], object]] = {
    "models": re.compile(r"convnet\d").match,
    "methods": re.compile(r"\w+-ipc\d").match,
    "sources": SOURCES.__contains__,
}


def by_kind(overrides: Overrides) -> tuple[Overrides | None, Overrides | None]:
    """(for language models, for distilled images); None for a kind that an option leaves out.

    A source that nobody knows is taken for one of images where models and methods are theirs alone.
    """
    given = {name: getattr(overrides, name) for name in IMAGES if getattr(overrides, name) is not None}
    parts = {name: [[v for v in values if bool(IMAGES[name](v)) == kind] for kind in (False, True)]
             for name, values in given.items()}  # fmt: skip
    others = [parts[name] for name in ("models", "methods") if name in parts]
    if "sources" in parts and others and not any(language for language, _ in others):
        parts["sources"] = [[], list(given["sources"])]
    found: list[Overrides | None] = []
    for kind in (0, 1):
        mine = {name: tuple(values[kind]) for name, values in parts.items()}
        found.append(replace(overrides, **mine) if all(mine.values()) else None)  # type: ignore[arg-type]
    return found[0], found[1]
