"""What distilled images are held against: random real images as accurate, as many of them, and all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.claims.distilled_sets import Sets

MATCHED = 0.03  # a control of the same accuracy: within three points


def control(sets: Sets, among: Sequence[Sets]) -> Sets | None:
    """Random real images, trained alike, whose accuracy is nearest and near enough."""
    same = _like(sets, among, backbone="random", loss="ce", epochs=sets.first["epochs"])
    best = min(same, key=lambda s: abs(s.accuracy - sets.accuracy), default=None)
    return best if best and abs(best.accuracy - sets.accuracy) <= MATCHED else None


def as_many(sets: Sets, among: Sequence[Sets]) -> Sets | None:
    """As many random real images, networks trained alike: in as many epochs, else in the nearest number."""
    same = _like(sets, among, backbone="random", loss="ce", ipc=sets.first["ipc"])
    return min(same, key=lambda s: abs(s.first["epochs"] - sets.first["epochs"]), default=None)


def full_data(sets: Sets, among: Sequence[Sets]) -> Sets | None:
    """Networks that learned all real images, with the same loss; those that did so for longest."""
    same = _like(sets, among, backbone="full", loss=sets.first["loss"])
    return max(same, key=lambda s: int(s.first["epochs"]), default=None)


def _like(sets: Sets, among: Sequence[Sets], **wanted: Any) -> list[Sets]:
    """Those of the same network and images whose rows say what is wanted."""
    wanted["model"] = sets.first["model"]
    return [s for s in among if all(s.first[key] == value for key, value in wanted.items())]
