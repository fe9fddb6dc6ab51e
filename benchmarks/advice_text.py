"""What ``benchmarks.advise`` says: tables and sentences of a ranking, and how often such advice was right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.advice import Hit, Ranking

REFERENCE = Path(__file__).parents[1] / "reports" / "reference" / "advice.json"


def verdict(ranking: Ranking, how: str) -> str:
    """The first choice, how sure, what cannot be told from it, and what would tell."""
    first = ranking.first
    if ranking.deviation is None:
        return f"{first} comes first {how}; with one draw of each there is no saying how sure that is (see --seeds)."
    if ranking.sure:
        return f"{first} comes first {how}, and stands apart from all others (95 %, SD over draws)."
    said = (
        f"{first} comes first {how}, but cannot be told from {', '.join(ranking.tied)}: take any of them, or decide "
        f"with more draws (these do not show differences below {ranking.detectable:.3g}"
    )
    if ranking.needed is not None:
        second = ranking.order[1]
        gap = ranking.mean[second] - ranking.mean[first]
        said += f"; one like that of {first} and {second}, {gap:.2g}, takes about {ranking.needed} draws each"
    return said + ")."


def likeness_table(
    ranking: Ranking, values: Mapping[str, list[dict[str, float]]], kinds: Mapping[str, float], shown: Sequence[str]
) -> str:
    """Markdown: the mean over draws of every measure, with the SD of the one that ranks."""
    lines = [f"| source | {' | '.join(shown)} | distinct tokens |", "|---|" + "---:|" * (len(shown) + 1)]
    for source in ranking.order:
        cells = [with_spread([row[name] for row in values[source]], ".4g") for name in shown[:1]]
        cells += [f"{np.mean([row[name] for row in values[source]]):.4g}" for name in shown[1:]]
        lines.append(f"| {source} | {' | '.join(cells)} | {100 * kinds[source]:.1f} % |")
    return "\n".join(lines)


def pilot_table(ranking: Ranking, damage: Mapping[str, Sequence[float]], free: tuple[str, float] | None) -> str:
    """Markdown: every source's damage, and how much more that is than the first's, beside what needs no data."""
    lines = ["| source | loss on the target minus dense (nats a token) | more than the first |", "|---|---:|---:|"]
    least = ranking.mean[ranking.first]
    for source in ranking.order:
        more = f"{ranking.mean[source] - least:.4f}" if source != ranking.first else "–"
        lines.append(f"| {source} | {with_spread(damage[source], '.4f')} | {more} |")
    if free is not None:
        lines.append(f"| no calibration data ({free[0]}) | {free[1]:.4f} | {free[1] - least:.4f} |")
    return "\n".join(lines)


def with_spread(values: Sequence[float], form: str) -> str:
    """The mean, and the SD over draws if there are two."""
    spread = f" ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{spread}"


def stakes(ranking: Ranking, free: tuple[str, float] | None) -> str:
    """What the choice is worth: the worst candidate against the first, and the first against no calibration data."""
    least, worst = ranking.mean[ranking.first], ranking.order[-1]
    more = ranking.mean[worst] - least
    said = f"The worst choice, {worst}, costs {more:.3g} nats a token more than the first"
    # Of a damage about zero a share says nothing.
    said += f", {100 * more / least:.0f} % of its damage." if least >= more else "."
    useless = [name for name in ranking.order if free is not None and ranking.mean[name] > free[1]]
    if useless and free is not None:
        said += f" {', '.join(useless)}: on average worse than {free[0]}, which needs no calibration data."
    return said


def experience(method: str, kind: str = "before") -> str:
    """How often such advice was right on known-corpus models; ``kind`` is ``before`` or ``pilot``."""
    if not REFERENCE.is_file():
        return "How often such advice is right has not been measured here yet: see --accuracy."
    known = json.loads(REFERENCE.read_text())
    if kind == "pilot" and "pilot" not in known:
        return ""
    found = known["accuracy"] if kind == "before" else known["pilot"]
    said = sentence(found, found.get("records", known["records"]), kind)
    own = found.get("methods", {}).get(method)
    if own is not None:
        said += (
            f" With {method} itself: the best in {100 * own['first']:.0f} %, one not told from it in "
            f"{100 * own['within']:.0f} % of {own['cells']:.0f} cells."
        )
    return said


def sentence(found: Mapping[str, Any], records: Mapping[str, Any], kind: str = "before") -> str:
    """The accuracy of advice in words, with the scale and machine that it was measured at."""
    such = "such advice" if kind == "before" else f"a pilot of {found['draws']:.0f} draws each, judged by other draws,"
    said = (
        f"On {', '.join(records['models'])} (records made {' and '.join(records['made'])} on "
        f"{', '.join(records['devices'])}), {such} named the best source in {100 * found['first']:.0f} % of "
        f"{found['cells']:.0f} cells and one not told from it in {100 * found['within']:.0f} % (a source taken at "
        f"random: {100 * found['random_within']:.0f} %); its regret was {100 * found['regret']:.1f} % of the damage, "
        f"that of a source taken at random {100 * found['random_regret']:.1f} %."
    )
    if "within_when_sure" in found:
        said += (
            f" It called itself sure in {100 * found['sure']:.0f} % of the cells, and named the best source or one not "
            f"told from it in {100 * found['within_when_sure']:.0f} % of those."
        )
    return said


def hit_table(hits: Sequence[Hit]) -> str:
    """Markdown: one line a cell."""
    lines = ["| cell | advised | best | within | regret (share of the damage) |", "|---|---|---|---|---:|"]
    lines += [
        f"| {hit.cell} | {hit.advised} | {hit.best} | {'yes' if hit.within else 'no'} | {100 * hit.share:.1f} % |"
        for hit in hits
    ]
    return "\n".join(lines)
