"""Family B, calibration on questions and answers of tasks against web text (B26, arXiv 2410.07461)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from benchmarks.claims import rules
from benchmarks.claims.common import SHARE, Settings, chosen_methods, gather
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.outcomes import informative
from benchmarks.claims.panels import NoEvidence, Panel
from benchmarks.claims.world import World
from reports.statistics.group_contrast import group_contrast

EXAMPLES = re.compile(r"examples\((\w+)(?:,shots=(\d+))?\)")


def against_web(world: World, settings: Settings) -> list[Cell]:
    """Bits a byte lost with web text minus those lost with a task's rows, on that task and on the others, of the
    informative ones; whether the two are equal within 2 % of the damage stands beside it, and few-shot against
    zero-shot rows.
    """

    def cells() -> Iterator[Cell]:
        for panel in world.all(settings.get("models", "")):
            if panel.dense is None:
                continue
            tasks = informative(panel.dense)
            for method in chosen_methods(panel, settings):
                sources = panel.sources([method])
                for source in filter(EXAMPLES.fullmatch, sources):
                    name = EXAMPLES.fullmatch(source)[1]  # type: ignore[index]
                    for group in ([name], [task for task in tasks if task != name]):
                        if group and set(group) <= set(tasks):
                            where = f"on {group[0]}" if group == [name] else f"on {len(group)} other tasks"
                            if settings["base"] in sources:
                                yield from _cell(panel, method, settings["base"], source, group, where)
                            if f"examples({name})" in sources and source != f"examples({name})":
                                yield from _cell(panel, method, f"examples({name})", source, group, where, True)

    return gather(cells())


def _cell(
    panel: Panel, method: str, worse: str, better: str, tasks: list[str], where: str, beside: bool = False
) -> Iterator[Cell]:
    try:
        views = [panel.view(f"bpb:{task}") for task in tasks]
    except NoEvidence:
        return
    groups = [np.mean([view.means(method, source) for view in views], axis=0) for source in (worse, better)]
    if min(map(len, groups)) < 2:
        return
    evidence, damage = Effect(group_contrast(groups, [1, -1])), float(np.mean(groups[0]))
    same = rules.no_effect(evidence, SHARE * max(0.0, damage))
    words = {rules.REPLICATES: "equal", rules.DOES_NOT: "not equal", rules.CANNOT_TELL: "cannot tell"}[same]
    name = f"{panel.name} {method} {worse} minus {better} {where}"
    detail = f"equal within 2 % of the damage: {words}"
    yield Cell(name, "bpb", evidence, "bits a byte", 0.0, detail, damage, beside)
