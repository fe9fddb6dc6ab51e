"""What groups are called in tables: words that all share are said once, evaluations that differ are kept apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fixtures.fingerprints import canonical_json
from fixtures.records import Case, DrawSpec, label

if TYPE_CHECKING:
    from reports.groups import Group


def name_groups(groups: Sequence[Group]) -> None:
    """Sets ``common``, ``usual`` and ``variant`` of each group, and completes labels that two groups share.

    Labels are what gates and baselines know a group by: they keep every word.
    """
    _tell_apart(groups)
    shared = [word for word in groups[0].words[1:] if all(word in g.words for g in groups)] if groups else []
    models: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        group.common = tuple(shared)
        models.setdefault(group.name, {}).setdefault(canonical_json(_evaluation(group)), []).append(group)
    for evaluations in models.values():
        sizes = Counter(group.size for members in evaluations.values() for group in members)
        for members in evaluations.values():
            for group in members:
                group.usual = sizes.most_common(1)[0][0]
        first, *others = evaluations.values()
        for members in others:
            outside = {word for held in evaluations.values() if held is not members for g in held for word in g.words}
            own = [w for w in members[0].words[1:] if w not in outside and all(w in g.words for g in members)]
            said = " ".join(own) or _difference(_evaluation(members[0]), _evaluation(first[0]))
            taken = {held[0].variant for held in evaluations.values()}
            for group in members:
                group.variant = said if said not in taken else f"{said} ({len(taken)})"
                # A verdict is found by its label: that of another evaluation must not be taken for this one.
                if any(g.label == group.label for held in evaluations.values() if held is not members for g in held):
                    group.label += f" {group.variant}"


def _evaluation(group: Group) -> dict[str, Any]:
    return group.cases[0]["evaluation"]


def _difference(here: dict[str, Any], first: dict[str, Any]) -> str:
    """In words, what is measured otherwise than in the first evaluation of the model."""
    found = []
    for name in ("items", "documents", "document_tokens"):
        if here.get(name) != first.get(name):
            count = "all" if here.get(name) is None else here[name]
            found.append(f"{count}-{name.replace('_', '-')}")
    found += [f"other-{name}" for name in ("tasks", "domains") if here.get(name) != first.get(name)]
    return " ".join(found) or "scored-otherwise"


def label_of(case: dict[str, Any]) -> str:
    """``model method`` and whatever is not the default, as in the id of the case."""
    parsed = Case.from_dict(case)
    extras = []
    if parsed.draw is not None:
        defaults = DrawSpec("", 0, 0, 0)
        for name in ("packing", "bos", "loader"):
            if getattr(parsed.draw, name) != getattr(defaults, name):
                extras.append(f"{name}={str(getattr(parsed.draw, name)).lower()}")
    for name in ("dtype", "device", "propagation"):
        if getattr(parsed, name) != Case.__dataclass_fields__[name].default:
            extras.append(getattr(parsed, name))
    extras += [f"inputs={parsed.evaluation.inputs}"] if parsed.evaluation.inputs else []
    extras += [parsed.tag] if parsed.tag else []
    return " ".join([label(parsed.model), parsed.method, *extras])


def _tell_apart(groups: Sequence[Group]) -> None:
    """Groups that differ only in the amount of data get it in their label."""
    labels = [group.label for group in groups]
    sizes = {name: {g.size for g in groups if g.label == name} for name in labels if labels.count(name) > 1}
    for group in groups:
        if len(sizes.get(group.label, ())) > 1:
            group.label += f" {group.size}"
