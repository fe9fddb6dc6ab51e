"""Everything that was repaired, skipped or is missing: counted from the records, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from fixtures.records import Record, label
from reports.groups import Group


def notes(manifest: dict[str, Any], records: Sequence[Record], groups: Sequence[Group]) -> list[str]:
    """One line a kind of event; an empty list means that nothing happened."""
    lines = list(_missing(manifest, groups))
    planned = {case["id"] for case in manifest["cases"]}
    foreign = [record.id for record in records if record.id not in planned]
    if foreign:
        lines.append(f"{len(foreign)} records belong to no case of this run and were left out: {foreign[0]} ...")
    if manifest.get("set_aside"):
        lines.append(f"{len(manifest['set_aside'])} unreadable records were set aside: {manifest['set_aside'][0]}")
    for name, counts in _repairs(records).items():
        lines += [f"{name}: {text}" for text in counts]
    return lines


def _missing(manifest: dict[str, Any], groups: Sequence[Group]) -> Iterable[str]:
    missing = list(dict.fromkeys(name for group in groups for name in group.missing))
    if not missing:
        return
    reasons = manifest.get("missing") or {}
    kinds = Counter(reasons.get(name, "not run yet") for name in missing)
    for reason, count in kinds.most_common():
        first = next(name for name in missing if reasons.get(name, "not run yet") == reason)
        more = f" and {count - 1} more" if count > 1 else ""
        yield f"{count} of {len(manifest['cases'])} records missing, {reason}: {first}{more}"


def _repairs(records: Sequence[Record]) -> dict[str, list[str]]:
    """Per model and method: fall-backs, dead columns, skipped linears, truncated documents."""
    totals: dict[str, Counter[str]] = {}
    runs: Counter[str] = Counter()
    for record in records:
        name = f"{label(record.case['model'])} {record.case['method']}"
        total = totals.setdefault(name, Counter())
        runs[name] += 1
        for linear in record.compression.get("linears", []):
            total["fallbacks"] += int(linear.get("fallbacks") or 0)
            total["dead"] += int(linear.get("dead_columns") or 0)
            total["skipped"] += bool(linear.get("skipped"))
        total["truncated"] += int(record.draw.get("truncated_documents") or 0)
        total["truncated items"] += int(record.checks.get("truncated") or 0)
    words = {
        "fallbacks": "times the Cholesky factorization failed and damping was raised",
        "dead": "dead columns (inputs that were zero for every token)",
        "skipped": "linears stayed dense",
        "truncated": "calibration documents were cut at the end of a draw",
        "truncated items": "task items were cut to the model's context",
    }
    return {
        name: [f"{total[key]} {text}, over {runs[name]} records" for key, text in words.items() if total[key]]
        for name, total in totals.items()
    }
