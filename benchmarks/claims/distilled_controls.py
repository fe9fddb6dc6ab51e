"""What distilled images are held against: random real images as accurate, as many of them, and all of them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.claims.distilled_sets import Sets

MATCHED = 0.03  # a control of the same accuracy: within three points


def control(sets: Sets, among: Sequence[Sets]) -> Sets | None:
    """Random real images, trained alike, whose accuracy is nearest and near enough."""
    same = [
        s for s in among
        if (s.first["backbone"], s.first["loss"]) == ("random", "ce")
        and (s.first["model"], s.first["epochs"]) == (sets.first["model"], sets.first["epochs"])
    ]  # fmt: skip
    best = min(same, key=lambda s: abs(s.accuracy - sets.accuracy), default=None)
    return best if best and abs(best.accuracy - sets.accuracy) <= MATCHED else None


def as_many(sets: Sets, among: Sequence[Sets]) -> Sets | None:
    """As many random real images, networks trained alike: in as many epochs, else in the nearest number."""
    same = [
        s for s in among
        if (s.first["backbone"], s.first["loss"]) == ("random", "ce")
        and (s.first["model"], s.first["ipc"]) == (sets.first["model"], sets.first["ipc"])
    ]  # fmt: skip
    return min(same, key=lambda s: abs(s.first["epochs"] - sets.first["epochs"]), default=None)


def full_data(sets: Sets, among: Sequence[Sets]) -> Sets | None:
    """Networks that learned all real images, with the same loss; those that did so for longest."""
    same = [
        s for s in among
        if s.first["backbone"] == "full" and all(s.first[k] == sets.first[k] for k in ("model", "loss"))
    ]  # fmt: skip
    return max(same, key=lambda s: int(s.first["epochs"]), default=None)
