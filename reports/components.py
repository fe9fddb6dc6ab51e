"""What moves a result: the source, the draw, the choice of items, and what is left (an item on a draw).

All four are standard deviations of the figure that one draw reports, a mean over items. With the components of the
items x draws table of one source, sigma_draw is that of the draws, sigma_items / sqrt(n) what another choice of as many
items would make (shared by all draws that are scored on the same items, so it cancels between them), and
sigma_residual / sqrt(n) the floor under every observed SD: what unrelated changes of single items show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reports import statistics
from reports.drawing import ROWS, WIDTH, Drawing, only_first, to_csv
from reports.groups import CONTROLS, is_calibrated
from reports.svg import PLACES, canvas, to_svg
from reports.tables import Row, Table

KINDS = (("source", "c1", "s"), ("draw", "c0", "o"), ("items", "c2", "D"), ("residual", "ink", "|"))


@dataclass(frozen=True)
class Components:
    """Standard deviations by cause, in the unit of the table; ``source`` is None with one source."""

    method: str
    source: float | None
    draw: float
    draw_low: float
    draw_high: float
    items: float
    residual: float
    n_items: int
    n_draws: int

    def share(self, name: str) -> float | None:
        """Of the variance of what one draw on other items would report."""
        parts = [self.source or 0.0, self.draw, self.items, self.residual]
        total = sum(p * p for p in parts)
        value = getattr(self, name)
        return None if value is None or total == 0 else value * value / total


def components(table: Table) -> list[Components]:
    """Every calibrated method with two draws of some source."""
    rows = [row for row in table.held if is_calibrated(row.group.method)]
    return [part for part in map(of_row, rows) if part is not None]


def of_row(row: Row) -> Components | None:
    """Of one method; None without two draws of some source."""
    if row.outcome is None:
        return None
    matrices = [m for m in row.outcome.pooled() if m.shape[1] > 1]
    if not matrices or matrices[0].shape[0] < 2:
        return None
    part = statistics.variance_component(matrices)
    tables = [statistics.mean_squares(m) for m in matrices]
    items = float(np.mean([max(0.0, t.items - t.residual) / t.n_draws for t in tables]))
    text = [c for c in row.cells.values() if c.source not in CONTROLS]
    source = None
    if len(text) > 1:
        # What the means of sources would spread by draws alone is taken off.
        noise = part.observed**2 * float(np.mean([1 / len(c.values) for c in text]))
        source = math.sqrt(max(0.0, float(np.var([c.mean for c in text], ddof=1)) - noise))
    return Components(
        row.group.method_name, source, part.sd, part.low, part.high, math.sqrt(items / part.n_items), part.floor,
        part.n_items, sum(t.n_draws for t in tables),
    )  # fmt: skip


def variance_components(table: Table) -> Drawing | None:
    """How far each cause alone moves the result of a draw; None without a second draw."""
    every = components(table)
    if not every:
        return None
    found, k = every[:ROWS][::-1], table.scale
    with canvas(WIDTH, 0.95 + 0.44 * len(found)) as (figure, axes):
        ax = axes[0, 0]
        for y, part in enumerate(found):
            ax.plot([part.draw_low * k, part.draw_high * k], [y + 0.09] * 2, color=PLACES["c0"], linewidth=1.6)
            for (name, colour, marker), shift in zip(KINDS, (0.27, 0.09, -0.09, -0.27), strict=True):
                value = getattr(part, name)
                if value is not None:
                    size = 8 if marker == "|" else 5
                    look = {"marker": marker, "color": PLACES[colour], "markersize": size}
                    ax.plot([value * k], [y + shift], ls="none", clip_on=False, **look)  # one at 0 is whole
        ax.set_yticks(range(len(found)), [part.method for part in found])
        ax.set_ylim(-0.5, len(found) - 0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel("standard deviation, " + ("nats a token" if table.outcome == "loss" else "points"))
        _legend(figure)
        svg = to_svg(figure, f"{table.model}: components of variance")
    caption = (
        "Standard deviation of what one draw reports, by cause. Source: spread of the source means beyond draws. Draw: "
        "caused by the text of a draw, with its 95 % interval. Items: what another choice of as many scored items "
        "would make; it cancels where the same items are compared. Residual: single items that change by themselves, "
        "the floor under any spread." + only_first(len(every), ROWS, "methods")
    )
    name = f"{table.model}-{table.outcome}-components"
    return Drawing(name, f"{table.model}: what moves the result", caption, svg, components_csv(every))


def components_csv(found: list[Components]) -> str:
    header = ["method", "source_sd", "draw_sd", "draw_low", "draw_high", "items_sd", "residual_sd", "items", "draws"]
    shares = [f"{name}_share" for name, _, _ in KINDS]
    return to_csv([*header, *shares], (
        [p.method, p.source, p.draw, p.draw_low, p.draw_high, p.items, p.residual, p.n_items, p.n_draws,
         *(p.share(name) for name, _, _ in KINDS)]
        for p in found
    ))  # fmt: skip


def _legend(figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=PLACES[c], marker=m, linewidth=1.6 if n == "draw" else 0.0, markersize=5.5, label=n)
        for n, c, m in KINDS
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=1.4, columnspacing=1.2)
