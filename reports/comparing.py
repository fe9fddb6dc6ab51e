"""Two runs side by side: what differs between them, and, where it may be paired, by how much the results do.

Runs of other code or on other data are different experiments: they are described and not paired. Another machine,
other versions or another training of the model is what a comparison is often about: named, and paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fixtures.records import Record
from reports import comparing_images, statistics
from reports.distilled import is_image
from reports.drawing import to_csv
from reports.groups import Group, make_groups
from reports.merging import open_store, read
from reports.statistics import Interval

KINDS = ("code", "data", "model", "versions", "device", "settings")
REFUSED = ("code", "data")  # kinds of difference that forbid pairing
UNITS = {
    "loss": (1, "nats a token"),
    "accuracy": (100, "points"),
    "nll": (1, "nats an image"),
    "ece": (100, "points of ECE"),
}
UNKNOWN = "not recorded"
ABSENT = "none"


@dataclass(frozen=True)
class Difference:
    """``kind`` is code, data, model, versions, device or settings; ``cases`` are the ids that it was seen in."""

    kind: str
    what: str
    before: str
    after: str
    cases: tuple[str, ...]

    def __str__(self) -> str:
        seen = f"{len(self.cases)} cases, for instance {self.cases[0]}" if len(self.cases) > 1 else self.cases[0]
        return f"{self.kind}: {self.what}: {_short(self.before)} against {_short(self.after)} ({seen})"


@dataclass(frozen=True)
class Change:
    """B minus A: ``loss`` is damage in nats a token, ``accuracy`` the share of right answers lost; of distilled images
    also ``nll`` in nats an image and ``ece``. ``subject`` is a case or a whole group.
    """

    subject: str
    outcome: str
    interval: Interval
    items: int
    draws: int
    flips: tuple[int, int] | None = None
    p: float | None = None


@dataclass
class Comparison:
    common: list[str]
    only_before: list[str]
    only_after: list[str]
    differences: list[Difference]
    groups: list[Change] = field(default_factory=list)
    cases: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def refused(self) -> str:
        """Why nothing is paired; empty if it is."""
        if not self.common:
            return "the runs have no case in common"
        kinds = [kind for kind in REFUSED if any(d.kind == kind for d in self.differences)]
        verb = "differs" if len(kinds) == 1 else "differ"
        return f"the {' and the '.join(kinds)} {verb}: these are different experiments" if kinds else ""


def compare(before: str | Path, after: str | Path) -> Comparison:
    """Raises ``MergeError`` if a folder is no store."""
    (manifest, first, _), (_, second, _) = (read(open_store(folder)) for folder in (before, after))
    return compare_records(manifest, first, second)


def compare_records(manifest: dict[str, Any], before: Sequence[Record], after: Sequence[Record]) -> Comparison:
    a, b = ({r.id: r for r in records} for records in (before, after))
    common = [name for name in a if name in b]
    found = Comparison(
        common, [name for name in a if name not in b], [name for name in b if name not in a],
        differences((a[name], b[name]) for name in common),
    )  # fmt: skip
    if not found.refused:
        images = [name for name in common if is_image(a[name])]
        language = [name for name in common if not is_image(a[name])]
        cases = [a[name].case for name in language]
        sides = [make_groups({**manifest, "cases": cases}, [side[name] for name in language]) for side in (a, b)]
        for pair in zip(*sides, strict=True):
            _pair(found, *pair)
        _pair_images(found, [(a[name], b[name]) for name in images])
    return found


def _pair_images(found: Comparison, pairs: Sequence[tuple[Record, Record]]) -> None:
    """Every case of distilled images, and those that differ in the distilled set alone together."""
    groups: dict[str, list[tuple[Record, Record]]] = {}
    for pair in pairs:
        groups.setdefault(comparing_images.label(pair[0]), []).append(pair)
        items = len(next(iter(pair[0].tasks.values())).target)
        for outcome, interval, more in comparing_images.case_changes(*pair):
            found.cases.append(Change(pair[0].id, outcome, interval, items, 1, **more))
    for label, members in groups.items():
        items = len(next(iter(members[0][0].tasks.values())).target)
        for outcome, interval, more in comparing_images.group_changes(members):
            found.groups.append(Change(label, outcome, interval, items, len(members), **more))


def differences(pairs: Iterable[tuple[Record, Record]]) -> list[Difference]:
    """What differs between the two records of each case, alike ones together."""
    seen: dict[tuple[str, str, str, str], list[str]] = {}
    for a, b in pairs:
        for row in _differences(a, b):
            seen.setdefault(row, []).append(a.id)
    ordered = sorted(seen.items(), key=lambda row: (KINDS.index(row[0][0]), row[0]))
    return [Difference(*row, tuple(cases)) for row, cases in ordered]


def _differences(a: Record, b: Record) -> Iterable[tuple[str, str, str, str]]:
    facts = [dict(_facts(record)) for record in (a, b)]
    rows = []
    for kind, what in dict.fromkeys([*facts[0], *facts[1]]):
        one, other = str(facts[0].get((kind, what), ABSENT)), str(facts[1].get((kind, what), ABSENT))
        # A record made before the fact was kept says nothing about it.
        if one != other and UNKNOWN not in (one, other):
            rows.append((kind, what, one, other))
    keys = (a.keys.get("evaluation_key", UNKNOWN), b.keys.get("evaluation_key", UNKNOWN))
    known = is_image(a) or all("evaluation_code" in record.keys for record in (a, b))
    if not known and keys[0] != keys[1]:
        rows.append(("code", "key of the scores (an older record: code, data or versions)", *keys))
    return rows


def _facts(record: Record) -> Iterable[tuple[tuple[str, str], Any]]:
    yield from comparing_images.facts(record) if is_image(record) else _language_facts(record)
    environment = record.environment
    for name, value in environment.get("versions", {}).items():
        yield ("versions", name), value
    for name in ("processor", "machine", "cpu_capability", "system", "device_name"):
        yield ("device", name), environment.get(name, UNKNOWN)
    yield ("device", "device"), record.case.get("device", UNKNOWN)


def _language_facts(record: Record) -> Iterable[tuple[tuple[str, str], Any]]:
    case = record.case
    yield ("code", f"compressor {case['method']}"), record.keys.get("method_code", UNKNOWN)
    yield ("code", "scoring"), record.keys.get("evaluation_code", UNKNOWN)
    if case.get("draw"):
        source = case["draw"]["source"]
        yield ("data", f"text of {source}"), record.draw.get("source_fingerprint", UNKNOWN)
        yield ("data", f"draw {source} s{case['draw']['seed']}"), record.draw.get("sha256", UNKNOWN)
    for name, scores in record.nll.items():
        yield ("data", f"documents of {name}"), _hash([scores.document_hash, scores.tokens])
    for name, task in record.tasks.items():
        yield ("data", f"items of {name}"), _hash([task.document_hash, task.prompt_hash, [task.metric]])
    yield ("model", f"files of {case['model']}"), record.keys.get("model_hash", UNKNOWN)
    for name in ("dtype", "threads", "batch_size"):
        yield ("settings", name), case.get(name, UNKNOWN)


def _hash(value: Any) -> str:
    from fixtures.records import fingerprint

    return fingerprint(value)


def _short(value: str) -> str:
    return value[:12] if len(value) == 64 and set(value) <= set("0123456789abcdef") else value


def _pair(found: Comparison, before: Group, after: Group) -> None:
    """Every case of a group, and the group over its draws; each side against its own dense model where it has one."""
    try:
        if before.documents:
            _losses(found, before, after)
        if before.informative:
            _answers(found, before, after)
    except ValueError as error:
        found.notes.append(f"{before.label}: not paired: {error}")


def _losses(found: Comparison, before: Group, after: Group) -> None:
    retrained = _model(before) != _model(after)
    if retrained and (before.dense is None or after.dense is None):
        raise ValueError("the model's files differ and a run lacks the dense model's record")
    sides = [group.damage if group.dense is not None else group.loss for group in (before, after)]
    if (before.dense is None) != (after.dense is None):
        sides = [before.loss, after.loss]
    matrices = {source: sides[1](source) - sides[0](source) for source in before.sources}
    for source, matrix in matrices.items():
        for record, column in zip(before.draws[source], matrix.T, strict=True):
            if column.size > 1:
                interval = statistics.paired_difference(column, np.zeros_like(column))
                found.cases.append(Change(record.id, "loss", interval, column.size, 1))
    found.groups.append(_group(before.label, "loss", list(matrices.values())))


def _group(label: str, outcome: str, matrices: list[np.ndarray], **more: Any) -> Change:
    """Mean over sources, whose draws are samples and whose items are shared."""
    weights = [m.shape[1] / sum(x.shape[1] for x in matrices) for m in matrices]
    interval = statistics.contrast(matrices, weights)
    return Change(label, outcome, interval, matrices[0].shape[0], sum(m.shape[1] for m in matrices), **more)


def _answers(found: Comparison, before: Group, after: Group) -> None:
    tasks = before.informative
    matrices, flips = [], [0, 0]
    for source in before.sources:
        a, b = before.correct(source, tasks), after.correct(source, tasks)
        matrices.append(a - b)
        for record, x, y in zip(before.draws[source], a.T, b.T, strict=True):
            test = statistics.mcnemar(x, y)
            interval = statistics.paired_difference(x, y)
            found.cases.append(Change(record.id, "accuracy", interval, x.size, 1, (test.worse, test.better), test.p))
            flips = [flips[0] + test.worse, flips[1] + test.better]
    found.groups.append(_group(before.label, "accuracy", matrices, flips=(flips[0], flips[1])))


def _model(group: Group) -> str | None:
    return next(iter(group.records.values())).keys.get("model_hash") if group.records else None


def cases_csv(found: Comparison) -> str:
    """One row a case and outcome."""
    header = ["case", "outcome", "difference", "low", "high", "items", "lost", "gained", "p_one_sided"]
    return to_csv(header, (
        [c.subject, c.outcome, c.interval.estimate, c.interval.low, c.interval.high, c.items, *(c.flips or ("", "")),
         "" if c.p is None else c.p]
        for c in found.cases
    ))  # fmt: skip


def text(found: Comparison, names: Sequence[str], most: int = 40) -> str:
    """What differs, then the paired differences: of each group, and of each case if there are at most ``most``."""
    lines = [f"{len(found.common)} cases in both runs"]
    for rows, name in ((found.only_before, names[0]), (found.only_after, names[1])):
        if rows:
            lines.append(f"{len(rows)} only in {name}: {', '.join(rows[:3])}{' ...' if len(rows) > 3 else ''}")
    lines += [str(difference) for difference in found.differences]
    if not found.differences and found.common:
        lines.append("nothing differs: code, data, model, versions, device and settings are the same")
    if found.refused:
        return "\n".join([*lines, *found.notes, f"not paired: {found.refused}"])
    lines += ["", f"{names[1]} minus {names[0]} (positive is worse), 95 % intervals over items and draws"]
    lines += [_line(change) for change in found.groups]
    if len(found.cases) <= most:
        lines += ["", "each case, 95 % intervals over items", *(_line(change) for change in found.cases)]
    else:
        lines.append(f"{len(found.cases)} cases: --csv FILE writes each with its interval")
    return "\n".join([*lines, *found.notes])


def _line(change: Change) -> str:
    i = change.interval
    scale, unit = UNITS[change.outcome]
    line = f"  {change.subject}: {i.estimate * scale:+.3g} [{i.low * scale:+.3g}, {i.high * scale:+.3g}] {unit}"
    line += f", {change.items} items"
    if change.draws > 1:
        line += f" x {change.draws} draws"
    if change.flips is not None:
        line += f", {change.flips[0]} answers lost, {change.flips[1]} gained"
    return line + (f", p {change.p:.2g}" if change.p is not None else "")
