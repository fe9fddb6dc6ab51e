"""``--dry-run``: the cases a command would run, how much text they calibrate on, and what that costs on a GPU."""

from __future__ import annotations

from collections import Counter

from benchmarks.estimate import estimate
from fixtures.records import Case


def plan(cases: list[Case], images: int = 0) -> str:
    """One line a model and method, then the totals; ``images`` is the number of cases of distilled images beside."""
    counts = Counter((case.model, case.method) for case in cases)
    lines = [f"{'model':<32} {'method':<28} {'cases':>6}  draws"]
    for (model, method), count in counts.items():
        group = [case.draw for case in cases if (case.model, case.method) == (model, method) and case.draw]
        what = "no calibration"
        if group:
            sources = sorted({draw.source for draw in group})
            shape = f"{group[0].n_sequences} x {group[0].sequence_length}"
            what = f"{len({draw.seed for draw in group})} of {shape} tokens from {', '.join(sources)}"
        lines.append(f"{model:<32} {method:<28} {count:>6}  {what}")
    tokens = sum(case.draw.n_sequences * case.draw.sequence_length for case in cases if case.draw)
    lines.append(f"{len(cases)} cases, {tokens:,} calibration tokens")
    lines.append(f"{estimate(cases)} (from measured rates; processes that share a GPU take less)")
    if images:
        lines.append(f"and {images} cases of distilled images, not in these totals")
    return "\n".join(lines)
