"""``python -m benchmarks.gate BASELINE CANDIDATE``: the regression gate on two folders of lm-eval results.

Each folder holds what ``lm_eval --log_samples --output_path FOLDER`` wrote, for one run or for several seeds. The
informative tasks are pooled into one decision; the tasks are shown for diagnosis. Exit status: 0 pass, or undecided
without ``--strict-gates``; 1 fail; 2 cannot be read; 6 undecided under ``--strict-gates``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import gate_outputs, github
from benchmarks.gates_change import judgement, of_answers
from benchmarks.gates_samples import TaskRuns, read_folder
from benchmarks.gates_settings import GateError
from fixtures.records import Verdict
from reports import statistics
from reports.pages import TEMPLATES, write_text
from reports.statistics import Interval

EXIT = {"pass": 0, "fail": 1}
UNDECIDED = 6


def compare(
    before: dict[str, TaskRuns], after: dict[str, TaskRuns], margin: float, alpha: float = 0.05, power: float = 0.8
) -> list[Verdict]:
    """The pooled verdict first, which decides; then one a task. Differences are shares of right answers lost."""
    why = unpaired(before, after)
    if why:
        return [Verdict("regression", "pooled", "inconclusive", why, margin=margin)]
    informative = [task for task, runs in before.items() if is_informative(runs)]
    used = informative or list(before)
    pooled = _verdict("pooled", [before[t] for t in used], [after[t] for t in used], margin, alpha, power)
    tasks = [_verdict(task, [before[task]], [after[task]], margin, alpha, power) for task in before]
    pooled.details["tasks"] = used
    pooled.details["left_out"] = [task for task in before if task not in used]
    return [pooled, *tasks]


def unpaired(before: dict[str, TaskRuns], after: dict[str, TaskRuns]) -> str | None:
    """Why two sides cannot be compared item by item, or None."""
    if before.keys() != after.keys():
        only = sorted(before.keys() ^ after.keys())
        return f"the folders hold different tasks; only in one: {', '.join(only)}"
    for task, runs in before.items():
        if runs.metric != after[task].metric:
            return f"{task} was scored by {runs.metric} and by {after[task].metric}; choose one with --metric"
        if runs.items != after[task].items:
            shared = len(set(runs.items) & set(after[task].items))
            return f"{task}: {shared} of {len(runs.items)} items have the same document and prompt hash; all must"
    return None


def is_informative(runs: TaskRuns) -> bool:
    """The baseline is surely above chance and the most frequent answer."""
    n = len(runs.items)
    low, _ = statistics.wilson(round(float(runs.correct.mean()) * n), n)
    return low > max(runs.chance, runs.majority)


def _verdict(
    subject: str, before: list[TaskRuns], after: list[TaskRuns], margin: float, alpha: float, power: float
) -> Verdict:
    """Exact on one run a side; with several seeds on a side also by the items x seeds interval: the larger p counts."""
    draws = [min(side.correct.shape[1] for side in sides) for sides in (before, after)]
    a, b = (np.concatenate([s.correct[:, :k] for s in sides]) for sides, k in zip((before, after), draws, strict=True))
    n = a.shape[0]
    drop = a.mean(axis=1) - b.mean(axis=1)
    interval = Interval.of_t(drop.mean(), drop.std(ddof=1) / math.sqrt(n) if n > 1 else 0.0, max(1, n - 1))
    p = statistics.exact_sign_flip(a.sum(axis=1) * draws[1] - b.sum(axis=1) * draws[0])
    if max(draws) > 1 and n > 1:
        interval = statistics.contrast([a, b], [1, -1])
        p = max(p, interval.p_greater())
    worse, better = (int(x.sum()) for x in (drop > 0, drop < 0))
    detectable = statistics.detectable_difference(interval.error, alpha, power)
    detectable, more = of_answers(detectable, margin, n, alpha)
    need = f"it needs about {more} items instead of {n}"
    details = {"accuracy": [float(a.mean()), float(b.mean())], "items": n, "runs": draws}
    base = {
        "gate": "regression",
        "subject": subject,
        "unit": "share",
        "p": p,
        "flips": (worse, better),
        "details": details,
    }
    verdict = judgement(base, interval, margin, detectable, need)
    if verdict.outcome == "fail" and p >= alpha:
        return dataclasses.replace(verdict, outcome="inconclusive", reason=f"{verdict.reason}, but not significant")
    return verdict


def page(verdicts: Sequence[Verdict], names: Sequence[str]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from reports.svg import DARK, LIGHT

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    template = environment.get_template("gate.html")
    return template.render(verdicts=verdicts, names=names, style=style, light=LIGHT, dark=DARK)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__.split("\n\n")[1])
    parser.add_argument("baseline", type=Path)
    parser.add_argument("candidate", type=Path)
    parser.add_argument("--margin", type=float, default=0.02, help="loss of accuracy that matters, a share (0.02)")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--metric", help="metric to pair, e.g. acc_norm (default: acc or exact_match)")
    parser.add_argument("--strict-gates", action="store_true", help=f"exit {UNDECIDED} unless the gate passes")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("reports/out/gate"),
        help="folder of the report: gate.html, .md, .json and .xml (JUnit); default reports/out/gate",
    )
    options = parser.parse_args(arguments)
    if not 0 < options.margin < 1 or not 0 < options.alpha < 1:
        parser.error("--margin and --alpha are shares between 0 and 1, such as 0.02")
    try:
        gate_outputs.refuse_overlap(options.baseline, options.candidate)
        sides = [read_folder(folder, options.metric) for folder in (options.baseline, options.candidate)]
        verdicts = compare(sides[0], sides[1], options.margin, options.alpha)
        write_text(options.out / "gate.json", json.dumps([v.to_dict() for v in verdicts], indent=1) + "\n")
        names = [str(options.baseline), str(options.candidate)]
        write_text(options.out / "gate.html", page(verdicts, names))
        write_text(options.out / "gate.md", summary := gate_outputs.markdown(verdicts, names))
        write_text(options.out / "gate.xml", gate_outputs.junit(verdicts))
        github.write_step_summary(summary)
    except (GateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from reports.terminal import verdict_text

    for role, folder, side in zip(("baseline", "candidate"), (options.baseline, options.candidate), sides, strict=True):
        print(gate_outputs.what_was_read(role, folder, side))
    print(verdict_text(verdicts[0]))
    for verdict in verdicts[1:]:
        print(f"  for diagnosis: {verdict_text(verdict)}")
    print(f"report: {options.out / 'gate.html'} (also .md, .json, and .xml for JUnit)")
    for line in gate_outputs.workflow_commands(verdicts[0]):
        print(line)
    return EXIT.get(verdicts[0].outcome, UNDECIDED if options.strict_gates else 0)


if __name__ == "__main__":
    sys.exit(main())
