"""Time and memory of each method against the floor: the forward passes alone, and the dense model alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fixtures.records import Record
from reports.drawing import to_csv
from reports.groups import Group


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one method: medians over its cases, the lowest peak of memory.

    The lowest, since the peak of a process includes whatever earlier cases left behind. ``forward`` is the part of
    ``compress`` that no calibrated method can do without, ``compress_memory`` the peak until then, ``dense_memory`` the
    peak of the case that only scores the dense model; None where a record does not say.
    """

    label: str
    cases: int
    compress: float
    forward: float | None
    evaluate: float
    total: float
    compress_memory: int | None
    memory: int
    dense_memory: int | None
    bits: float | None
    sparsity: float | None

    @property
    def times(self) -> float | None:
        """How many floors the compression took; None without forward passes (a calibration-free method)."""
        return self.compress / self.forward if self.forward else None


def costs(groups: Sequence[Group]) -> list[Cost]:
    return [_cost(group, list(group.records.values())) for group in groups if group.records]


def _cost(group: Group, records: Sequence[Record]) -> Cost:
    linears = records[0].compression.get("linears", [])
    sizes = [float(np.prod(x["shape"])) for x in linears]
    forward = [r.compression.get("seconds", {}).get("forward") for r in records]
    passes = [f for f in forward if f is not None]

    def median(name: str) -> float:
        return float(np.median([r.seconds.get(name, 0.0) for r in records]))

    return Cost(
        label=f"{group.title} {group.method_name}",
        cases=len(records),
        compress=median("compress"),
        forward=float(np.median(passes)) if passes else None,
        evaluate=median("evaluate"),
        total=median("total"),
        compress_memory=min((p for r in records if (p := r.compression.get("peak_memory"))), default=None),
        memory=min(r.peak_memory for r in records),
        dense_memory=group.dense.peak_memory if group.dense and group.dense.peak_memory else None,
        bits=float(np.average([x["bits"] for x in linears], weights=sizes)) if sizes else None,
        sparsity=float(np.average([x["sparsity"] for x in linears], weights=sizes)) if sizes else None,
    )


def costs_csv(found: Sequence[Cost]) -> str:
    names = list(Cost.__dataclass_fields__)
    return to_csv([*names, "times_floor"], ([*(getattr(c, n) for n in names), c.times] for c in found))
