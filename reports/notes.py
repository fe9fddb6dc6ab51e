"""Everything that was repaired, skipped or is missing: counted from the records, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from fixtures.records import Record, label
from reports.groups import FAR, Group, is_calibrated


def notes(manifest: dict[str, Any], records: Sequence[Record], groups: Sequence[Group]) -> list[str]:
    """One line a kind of event; an empty list means that nothing happened."""
    lines = list(_missing(manifest, groups))
    planned = {case["id"] for case in manifest["cases"]}
    foreign = [record.id for record in records if record.id not in planned]
    if foreign:
        lines.append(f"{len(foreign)} records belong to no case of this run and were left out: {foreign[0]} ...")
    lines += _set_aside(manifest.get("set_aside") or [])
    lines += [*_far_domains(groups), *_single_draws(groups), *_cleaned(records), *_cut_documents(records)]
    lines += _one_document(records)
    for name, counts in _repairs(records).items():
        lines += [f"{name}: {text}" for text in counts]
    return lines


def _set_aside(files: Sequence[str]) -> Iterable[str]:
    """How many, and the first three by name with the reason; the others are in the folder ``set-aside``."""
    if files:
        what = "1 unreadable record was" if len(files) == 1 else f"{len(files)} unreadable records were"
        more = f"; {len(files) - 3} more are listed in set-aside" if len(files) > 3 else ""
        yield f"{what} set aside: {'; '.join(files[:3])}{more}"


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


def _far_domains(groups: Sequence[Group]) -> Iterable[str]:
    """Domains that are scored but not judged, a line a model."""
    far = {group.name: group.far_domains for group in groups if group.far_domains}
    for model, domains in far.items():
        losses = ", ".join(f"{name} ({loss:.2f} nats a token)" for name, loss in domains.items())
        why = f"the dense model is more than {FAR:g} nats worse there than on its best domain"
        yield f"{model}: scored but not judged, since {why}: {losses}"


def _single_draws(groups: Sequence[Group]) -> Iterable[str]:
    """Gates that are not planned for want of draws, a line a model."""
    for model in dict.fromkeys(
        group.name for group in groups if is_calibrated(group.method) and group.planned_draws < 2
    ):
        yield f"{model}: one draw a source, so no gate asks about draws or sources there (two draws, better five)"


def _cleaned(records: Sequence[Record]) -> Iterable[str]:
    """Documents that a source lost before it was drawn from, a line a source."""
    counts = {label(r.draw["source"]): r.draw["cleaned_documents"] for r in records if r.draw.get("cleaned_documents")}
    for name, found in counts.items():
        words = [f"{found[kind]} {word}" for kind, word in (("empty", "empty"), ("duplicates", "repeated"))]
        dropped = [text for text in words if not text.startswith("0 ")]
        if dropped:
            yield f"{name}: of {found['read']} documents {' and '.join(dropped)} ones were dropped"


def _cut_documents(records: Sequence[Record]) -> Iterable[str]:
    """Documents used in part (the last of a draw usually is) or passed over as too short: a line a model."""
    draws: dict[str, dict[str, int]] = {}
    for record in records:
        if record.draw:
            found = draws.setdefault(label(record.case["model"]), {})
            found[record.draw["sha256"]] = int(record.draw.get("truncated_documents") or 0)
    for model, cut in draws.items():
        if any(cut.values()):
            yield f"{model}: {sum(cut.values())} calibration documents were used in part, in {len(cut)} draws"
    skipped: dict[str, dict[str, int]] = {}
    for record in records:
        if record.draw.get("skipped_documents"):
            found = skipped.setdefault(label(record.case["model"]), {})
            found[record.draw["sha256"]] = int(record.draw["skipped_documents"])
    for model, found in skipped.items():
        yield f"{model}: {sum(found.values())} documents shorter than a window were passed over, in {len(found)} draws"


def _one_document(records: Sequence[Record]) -> Iterable[str]:
    """Draws of which one long document fills more than half: their differences are those of single texts."""
    filled: dict[str, int] = {}
    for draw in (record.draw for record in records if record.draw.get("windows")):
        if draw.get("loader", "calibench") == "calibench":
            most = Counter(window[0] for window in draw["windows"]).most_common(1)[0][1]
            if most > 1 and most > len(draw["windows"]) / 2:
                filled[f"{label(draw['source'])} s{draw['seed']} ({most} of {len(draw['windows'])} sequences)"] = most
    if filled:
        names = sorted(filled, key=lambda name: -filled[name])
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        yield f"one document fills more than half of {len(names)} draws: {', '.join(names[:4])}{more}"


def _repairs(records: Sequence[Record]) -> dict[str, list[str]]:
    """Per model and method: fall-backs, dead columns, skipped linears, starved experts, truncated items."""
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
            columns = (linear.get("shape") or [0, 0])[1]
            total["few"] += "expert" in linear.get("name", "") and 0 < (linear.get("tokens") or 0) < columns
        kept = record.compression.get("details", {}).get("kept_dense", {}).values()
        total["kept"] += sum(entry["entries"] for entry in kept)
        total["truncated items"] += sum(scores.truncated for scores in record.tasks.values())
    words = {
        "fallbacks": "times the Cholesky factorization failed and damping was raised",
        "dead": "dead columns (inputs that were zero for every token)",
        "skipped": "linears stayed dense",
        "kept": "weights in blocks stayed dense that are no linear's (routers, gates, states)",
        "few": "linears of experts saw fewer tokens than they have inputs",
        "truncated items": "task items were cut to the model's context",
    }
    return {
        name: [f"{total[key]} {text}, over {runs[name]} records" for key, text in words.items() if total[key]]
        for name, total in totals.items()
    }
