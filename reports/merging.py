"""Stores as a whole: render one, join several. Needs neither torch nor the machine that made the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fixtures.records import Record, Verdict, canonical_json
from fixtures.store import Store
from reports.distilled import is_image

KINDS = ("cases", "image_cases")
MUST_AGREE = ("model_hash", "method_code", "evaluation_key")  # of records that stand for the same case


class MergeError(ValueError):
    """Stores that cannot be read or joined; the message names the store and the case."""


def open_store(folder: str | Path) -> Store:
    """Raises :class:`MergeError` if the folder holds no records."""
    store = Store(folder)
    if not (store.root / "records").is_dir():
        raise MergeError(f"{folder} is no store: it has no folder 'records' (a run's --store, by default reports/out)")
    return store


def read(store: Store) -> tuple[dict[str, Any], list[Record], list[Verdict]]:
    """Manifest, the latest record of each of its cases, and the verdicts; without one the records' own cases."""
    stored = store.load_json("manifest")
    planned = {case["id"]: canonical_json(case) for kind in KINDS for case in (stored or {}).get(kind, ())}
    latest: dict[str, tuple[tuple[bool, str], Record]] = {}
    for record in store.records():
        # An id does not say the amount of data, say: of two runs in one store, the manifest's own comes first.
        place = planned.get(record.id) == canonical_json(record.case), record.created
        if record.id not in latest or place >= latest[record.id][0]:
            latest[record.id] = place, record
    records = [record for _, record in latest.values()]
    manifest = stored or {
        "profile": store.root.name,
        "cases": [record.case for record in records if not is_image(record)],
        "image_cases": [record.case for record in records if is_image(record)],
        "gates": {},
    }
    aside = [f"{name}: {why}" for name, why in store.aside()]
    manifest["set_aside"] = list(dict.fromkeys([*manifest.get("set_aside", []), *aside]))
    verdicts = [Verdict.from_dict(value) for value in store.load_json("verdicts") or []]
    return manifest, records, verdicts


def render(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a store again, by default into it; the path of the HTML."""
    from reports import write

    store = open_store(folder)
    manifest, records, verdicts = read(store)
    if not records:
        raise MergeError(f"{folder} holds no readable record")
    return write(manifest, records, verdicts, out or store.root)


def merge(folders: Sequence[str | Path], out: str | Path) -> tuple[Store, int]:
    """Join stores into ``out``; the number of records written.

    Raises :class:`MergeError` if two stores hold the same case made by other code, from another model or scored
    otherwise: those are different experiments.
    """
    stores = [open_store(folder) for folder in folders]
    contents = [read(store) for store in stores]
    for folder, (_, records, _) in zip(folders, contents, strict=True):
        if not records:
            raise MergeError(f"{folder} holds no readable record; merge joins runs that have some")
    _refuse_conflicts(stores, contents)
    target = Store(out)
    cases: dict[str, dict[str, dict[str, Any]]] = {"cases": {}, "image_cases": {}}
    written = 0
    for store, (manifest, _, _) in zip(stores, contents, strict=True):
        for kind, found in cases.items():
            for case in manifest.get(kind, []):
                found.setdefault(case["id"], case)
        for record in store.records():  # all of them: a store holds other amounts under the same ids
            target.save(record.keys["record"], record)
            written += 1
        for kind in ("cases", "image-cases", "scores"):
            for path in sorted((store.root / kind).glob("*.json")):
                name = f"{kind}/{path.stem}"
                if target.load_json(name) is None:
                    target.save_json(name, store.load_json(name))
    first = contents[0][0]
    set_aside = [entry for manifest, _, _ in contents for entry in manifest["set_aside"]]
    joined = {kind: list(found.values()) for kind, found in cases.items()}
    target.save_json("manifest", {**first, **joined, "set_aside": set_aside, "missing": {}})
    return target, written


def _refuse_conflicts(stores: Sequence[Store], contents: Sequence[tuple[Any, list[Record], Any]]) -> None:
    seen: dict[str, tuple[Store, Record]] = {}
    for store, (_, records, _) in zip(stores, contents, strict=True):
        for record in records:
            other, held = seen.setdefault(record.id, (store, record))
            differ = [key for key in MUST_AGREE if held.keys.get(key) != record.keys.get(key)]
            if differ:
                raise MergeError(
                    f"{record.id} is in {other.root} and in {store.root} with another {' and '.join(differ)}: "
                    "runs of different code, models or data are not joined"
                )
