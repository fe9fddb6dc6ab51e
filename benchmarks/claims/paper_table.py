"""The papers' own table: mean accuracy over all tasks and its SD over draws, by method and source."""

from __future__ import annotations

import numpy as np

from benchmarks.claims import outcomes
from benchmarks.claims.dispersion import parts
from benchmarks.claims.world import NoEvidence, Panel, World

# SD over ten draws of the mean zero-shot accuracy, points (arXiv 2311.09755, as third-party notes quote it: grade N).
PUBLISHED = {"spqr": ".1-.2", "gptq": ".2-.4", "wanda": ".1-.4", "sparsegpt": ".1-.6"}


def paper_tables(world: World) -> str:
    """Markdown, a table for each model with tasks; empty without any."""
    parts_of = [_table(panel) for panel in world.some() if panel.dense is not None and panel.dense.tasks]
    return "\n\n".join(part for part in parts_of if part)


def _table(panel: Panel) -> str:
    try:
        view = panel.view("acc9")
    except NoEvidence:
        return ""
    assert panel.dense is not None
    found = outcomes.vector(panel.dense, panel.dense, "acc9", panel.neutral)
    assert found is not None
    dense, sources = -float(found.mean()), panel.sources()
    lines = [
        f"## {panel.name}: mean accuracy of {len(panel.dense.tasks)} tasks, points, ± SD over draws",
        "",
        f"Dense {dense:.1f}. *SD* is pooled over sources, *items* what changed answers alone would make of it, *range* "
        "best minus worst draw of a source; *published* is the SD of 7B to 33B models by the same algorithm (arXiv "
        "2311.09755, from notes on it).",
        "",
        f"| method | {' | '.join(sources)} | SD | items | range | published SD |",
        "|---|" + "---:|" * (len(sources) + 4),
    ]
    for method in panel.methods:
        shown = [_cell(dense - view.means(method, s)) if (method, s) in panel.cells else "" for s in sources]
        held = [view.means(method, s) for s in sources if (method, s) in panel.cells]
        spread = max(float(np.ptp(values)) for values in held)
        sd, floor = "0", "0"
        if method in panel.calibrated and any(values.size > 1 for values in held):
            part = parts(view, method)
            sd, floor = f"{part.observed:.2f}", f"{part.floor:.2f}"
        said = PUBLISHED.get(method.partition("-")[0], "")
        lines.append(f"| `{method}` | {' | '.join(shown)} | {sd} | {floor} | {spread:.1f} | {said} |")
    return "\n".join(lines)


def _cell(values: np.ndarray) -> str:
    return f"{values.mean():.1f} ±{values.std(ddof=1):.2f}" if values.size > 1 else f"{values.mean():.1f}"
