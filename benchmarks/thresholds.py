"""``python -m benchmarks.thresholds RUN ... NEW``: is the newest run slower, or worse, than noise and a margin explain?

For figures that have no items to pair. Each file is one run: what ``pytest --benchmark-json`` writes (medians, seconds)
or a JSON object of names and numbers (a perplexity, say); higher is worse. The last file is judged against all before
it: a figure fails if it exceeds mean + k SD of the earlier runs, k being the tolerance factor for so few of them, *and*
the margin. Fewer than five earlier runs are refused. Exit status: 0 pass, 1 fail, 2 cannot be read, 6 undecided under
``--strict-gates``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gates_noise import noise
from benchmarks.gates_settings import GateError
from fixtures.records import Verdict

UNDECIDED = 6


def read(path: Path) -> dict[str, float]:
    """Name and figure of everything that a run measured. Raises :class:`GateError` naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateError(f"{path} cannot be read: {error}") from error
    try:
        if isinstance(value, dict) and isinstance(value.get("benchmarks"), list):
            value = {row["fullname"]: row["stats"]["median"] for row in value["benchmarks"]}
        figures = {str(name): float(figure) for name, figure in value.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        figures = {}
    if not figures or not all(map(math.isfinite, figures.values())):
        raise GateError(f"{path}: expected what pytest --benchmark-json writes, or an object of names and numbers")
    return figures


def judge(runs: Sequence[dict[str, float]], margin: float) -> list[Verdict]:
    """One verdict a figure of the last run; a figure that the earlier runs had and it lacks is inconclusive."""
    *earlier, new = runs
    verdicts = []
    for name in dict.fromkeys([*new, *(name for run in earlier for name in run)]):
        history = [run[name] for run in earlier if name in run]
        if name not in new:
            verdicts.append(Verdict("noise", name, "inconclusive", "earlier runs have it and the new one does not"))
        else:
            verdicts.append(noise(name, history, new[name], margin))
    return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thresholds", description=__doc__.split("\n\n")[1])
    parser.add_argument("runs", nargs="+", type=Path, help="earlier runs, oldest first, and the new one last")
    parser.add_argument("--margin", type=float, default=0.05, help="relative rise that matters (0.05)")
    parser.add_argument("--strict-gates", action="store_true", help=f"exit {UNDECIDED} unless every figure passes")
    options = parser.parse_args(arguments)
    if len(options.runs) < 2 or not 0 < options.margin < math.inf:
        parser.error("expected earlier runs and a new one, and a margin above 0")
    try:
        verdicts = judge([read(path) for path in options.runs], options.margin)
    except GateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for v in verdicts:
        figure = "" if v.estimate is None else f" {v.estimate:.4g}:"
        print(f"{v.outcome.upper() if v.outcome == 'fail' else v.outcome} {v.subject}:{figure} {v.reason}")
    outcomes = {verdict.outcome for verdict in verdicts}
    if "fail" in outcomes:
        return 1
    return UNDECIDED if options.strict_gates and outcomes != {"pass"} else 0


if __name__ == "__main__":
    sys.exit(main())
