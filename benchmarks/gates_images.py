"""What records of distilled data must show, whatever the budget: an exact temperature keeps every answer.

Which calibrator is better is a claim with an interval (`benchmarks/claims.toml`), not a gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compressors.distillation.spelling import parse
from fixtures.records import Record, Verdict

# Not the legacy fits: those can end at a temperature below 0, which turns answers round.
TEMPERATURES = ("ts", "mts", "mts-calib", "mts-oracle", "oracle")


def judge(manifest: dict[str, Any], records: Sequence[Record]) -> list[Verdict]:
    """One verdict a network: ``answers`` compares every temperature with the same networks uncalibrated, exactly."""
    by_id = {record.id: record for record in records}
    models = dict.fromkeys(case["model"] for case in manifest["image_cases"])
    return [_answers(model, manifest["image_cases"], by_id) for model in models]


def _answers(model: str, cases: Sequence[dict[str, Any]], by_id: dict[str, Record]) -> Verdict:
    plain = {
        (c["method"], c["seed"]): c["id"] for c in cases if c["model"] == model and not parse(c["method"]).calibrator
    }
    compared, moved, missing = [], [], 0
    for case in cases:
        method = parse(case["method"])
        if case["model"] != model or method.calibrator not in TEMPERATURES or case["source"] == "distilled-held-out":
            continue  # networks for held-out images are others: trained without them
        pair = [by_id.get(case["id"]), by_id.get(plain.get((method.trained, case["seed"]), ""))]
        if pair[0] is None or pair[1] is None:
            missing += 1
            continue
        compared.append(case["id"])
        if any(pair[0].tasks[net].correct != scores.correct for net, scores in pair[1].tasks.items()):
            moved.append(case["id"])
    if missing or not compared:
        reason = f"{missing} records are missing" if missing else "no temperature was fitted"
        return Verdict("answers", model, "inconclusive", reason, records=tuple(compared))
    if moved:
        reason = f"a temperature changed answers in {len(moved)} of {len(compared)} cases, first in {moved[0]}"
        return Verdict("answers", model, "fail", reason, records=tuple(compared))
    reason = f"no temperature changed an answer, in {len(compared)} cases"
    return Verdict("answers", model, "pass", reason, estimate=0.0, unit="answers", records=tuple(compared))
