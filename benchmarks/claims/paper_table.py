"""The papers' own table: mean accuracy over all tasks and its SD over draws, by method and source; flips and ECE."""

from __future__ import annotations

import numpy as np

from benchmarks.claims import outcomes
from benchmarks.claims.dispersion import parts
from benchmarks.claims.panels import NoEvidence, Panel
from benchmarks.claims.world import World
from fixtures.records import Record
from reports.accuracy import mean_accuracy
from reports.confidence import over_tasks
from reports.numbers import figure_text, signed

# SD over ten draws of the mean zero-shot accuracy, points (arXiv 2311.09755, as third-party notes quote it: grade N).
PUBLISHED = {"spqr": ".1-.2", "gptq": ".2-.4", "wanda": ".1-.4", "sparsegpt": ".1-.6"}


def paper_tables(world: World) -> str:
    """Markdown, a table for each model with tasks; empty without any."""
    parts_of = [_table_or_reason(panel) for panel in world.repeated() if panel.dense is not None and panel.dense.tasks]
    return "\n\n".join(parts_of)


def _table_or_reason(panel: Panel) -> str:
    try:
        return _table(panel)
    except NoEvidence as error:
        return f"## {panel.name}\n\nNo table: {error}."


def _table(panel: Panel) -> str:
    view = panel.view("acc9")
    assert panel.dense is not None
    found = outcomes.vector(panel.dense, panel.dense, "acc9", panel.neutral)
    assert found is not None
    dense, sources = -float(found.mean()), sorted(panel.real())
    items = panel.case["evaluation"].get("items")
    measured = panel.name if items is None else f"{panel.name}, at most {items} items a task"
    lines = [
        f"## {measured}: mean accuracy of {len(panel.dense.tasks)} tasks, points, ± SD over draws",
        "",
        f"Dense {dense:.1f}. *SD* is pooled over sources, *items* what changed answers alone would make of it, *range* "
        "best minus worst draw of a source; *published* is the SD of 7B to 33B models by the same algorithm (arXiv "
        "2311.09755, from notes on it).",
        "",
        f"| method | {' | '.join(sources)} | SD | items | range | published SD |",
        "|---|" + "---:|" * (len(sources) + 4),
    ]
    for method in sorted(panel.methods):
        shown = [_cell(dense - view.means(method, s)) if (method, s) in panel.cells else "" for s in sources]
        held = [view.means(method, s) for s in sources if (method, s) in panel.cells]
        spread = max(float(np.ptp(values)) for values in held)
        sd, floor = "0", "0"
        if method in panel.calibrated and any(values.size > 1 for values in held):
            part = parts(view, method)
            sd, floor = f"{part.observed:.2f}", f"{part.floor:.2f}"
        said = PUBLISHED.get(method.partition("-")[0], "")
        lines.append(f"| `{method}` | {' | '.join(shown)} | {sd} | {floor} | {spread:.1f} | {said} |")
    return "\n".join([*lines, "", *_answers(panel)])


def _answers(panel: Panel) -> list[str]:
    """Best and worst source, changed answers and calibration errors of each method, over all its draws."""
    assert panel.dense is not None
    tasks = list(panel.dense.tasks)
    lines = [
        "*Best* and *worst* source by mean accuracy, without a test; changed answers in % of all, against the dense "
        "model; ECE (ten bins) and gap (confidence minus accuracy) in points, of tasks with a choice; tasks have equal "
        "weight, ± SD over all draws.",
        "",
        "| method | draws | best | worst | right → wrong | wrong → right | ECE | gap | Brier | NLL |",
        "|---|---:|---|---|" + "---:|" * 6,
    ]
    held = {"dense": [panel.dense]} | {method: _records(panel, method) for method in sorted(panel.methods)}
    for method, records in held.items():
        row = over_tasks(method, records, tasks, panel.dense)
        means = {s: np.mean([mean_accuracy(r, tasks) for r in panel.cells[method, s].values()])
                 for s in panel.real() if (method, s) in panel.cells}  # fmt: skip
        ends = ("", "")
        if method in panel.calibrated and len(means) > 1:
            ends = (max(means, key=lambda s: means[s]), min(means, key=lambda s: means[s]))
        figures = [figure_text(row.worse, None, 1, 100), figure_text(row.better, None, 1, 100),
                   figure_text(row.ece, row.ece_sd, 1, 100), "" if row.gap is None else signed(100 * row.gap, 1),
                   figure_text(row.brier, row.brier_sd, 3), figure_text(row.nll, row.nll_sd, 2)]  # fmt: skip
        lines.append(f"| `{method}` | {len(records)} | {' | '.join([*ends, *figures])} |")
    return lines


def _records(panel: Panel, method: str) -> list[Record]:
    """Of all sources but the controls, in order of source and seed."""
    return [panel.cells[method, s][k] for s in sorted(panel.real()) for k in sorted(panel.cells.get((method, s), {}))]


def _cell(values: np.ndarray) -> str:
    if values.size == 1:
        return f"{values.mean():.1f}"
    apart = values - values[0]  # equal draws have the mean of one and no spread, not that of rounding
    mean, sd = values[0] + apart.mean(), apart.std(ddof=1)
    return f"{mean:.1f} ±{sd:.2f}" if sd else f"{mean:.1f} ±0"
