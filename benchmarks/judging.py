"""After the cases: collect records, judge the gates once, report each verdict to pytest, write the report."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.gates_settings import BASELINE_SCHEMA
from benchmarks.grid import PROFILES, GridError
from fixtures.records import Case, Record, Verdict, label
from fixtures.store import Store

if TYPE_CHECKING:
    from fixtures.image_cases import ImageCase

INCONCLUSIVE_EXIT = 6
CHANGE = ("regression", "reconstruction")  # gates against the baseline
BASELINES = Path(__file__).parent / "baselines"


def make_manifest(profile: dict[str, Any], cases: list[Case], narrowed: bool = False) -> dict[str, Any]:
    """What the run is about, whatever ``-k`` leaves of it: the family of the gates is this one's."""
    import fixtures

    return {
        "profile": profile["name"],
        "title": _title(profile, cases if narrowed else ()),
        "cases": [case.to_dict() for case in cases],
        "gates": profile.get("gates", {}),
        "narrowed": narrowed,
        "licences": fixtures.licences(),
    }


def _title(profile: dict[str, Any], narrowed_to: Sequence[Case]) -> str:
    """The profile's; of a run that options narrowed to a few models, what is left: its title would mislead."""
    models = list(dict.fromkeys(label(case.model) for case in narrowed_to))
    methods = {case.method for case in narrowed_to if case.method != "dense"}
    sources = {case.draw.source for case in narrowed_to if case.draw}
    seeds = {case.draw.seed for case in narrowed_to if case.draw}
    if not 1 <= len(models) <= 3 or not methods:
        return str(profile.get("title", profile["name"]))
    counts = ((len(methods), "method"), (len(sources), "source"), (len(seeds), "draw"))
    return f"{', '.join(models)}: " + ", ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts)


def find_records(store: Store, cases: list[Case]) -> tuple[list[Record], dict[str, str]]:
    """The current record of each case; and for those without one, why. Records of other code are not current."""
    import fixtures
    from fixtures import runner

    records, missing = [], {}
    for case in cases:
        record = store.follow(runner.case_pointer(case))
        try:
            why = "not run yet" if record is None else _outdated(case, record)
        except fixtures.SourceUnavailable as error:
            why = f"unavailable: {str(error).splitlines()[0]}"
        if why or record is None:
            missing[case.id] = why
        else:
            # Another profile may have made it under another id of the same work.
            records.append(record if record.id == case.id else dataclasses.replace(record, case=case.to_dict()))
    return records, missing


def _outdated(case: Case, record: Record) -> str:
    """Why a record does not stand for its case any more; empty if it does."""
    import compressors
    from fixtures import runner

    if record.keys["method_code"] != compressors.code_hash(compressors.parse(case.method)):
        return "its record was made by other code of the compressor; run the case again"
    if record.keys["evaluation_key"] != runner.evaluation_fingerprint(case):
        return "its record was scored by other code, data or versions; run the case again"
    changed = _changed(case, record)
    return f"its record was made from {changed}; run the case again" if changed else ""


def _changed(case: Case, record: Record) -> str:
    """What of the user's own files has changed since the record was made; empty if nothing has."""
    import fixtures

    model = fixtures.resolve_model(case.model)
    if model.kind == "folder" and model.content_hash != record.keys["model_hash"]:
        return "other files of the model"
    if case.draw and fixtures.get_source(case.draw.source, case.model).fingerprint != record.draw["source_fingerprint"]:
        return "other text of the source"
    return ""


def gate_error() -> type[Exception]:
    """``gates.GateError``, without importing the statistics when pytest starts."""
    from benchmarks import gates

    return gates.GateError


def baseline_path(profile: dict[str, Any]) -> Path:
    """Ours lie together in the checkout; the baseline of a profile that is a file of the user's lies beside it."""
    path: Path = profile["path"]
    return BASELINES / f"{path.stem}.json" if path.parent == PROFILES else path.with_suffix(".baseline.json")


def load_baseline(profile: dict[str, Any]) -> dict[str, Any] | None:
    """The baseline of a profile; None if there is no such file, ``GridError`` if the file is something else."""
    path = baseline_path(profile)
    if not path.is_file():
        return None
    problem = ""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not isinstance(found.get("groups"), dict):
            problem = "has no table of groups"
        elif found.get("schema") != BASELINE_SCHEMA:
            problem = f"is of schema {found.get('schema')!r}, not {BASELINE_SCHEMA}"
    except ValueError as error:
        problem = f"is not valid JSON ({error})"
    if problem:
        raise GridError(f"the baseline {path} {problem}; move it away, and --update-baselines makes a new one")
    return found


def judge(
    store: Store, manifest: dict[str, Any], cases: list[Case], profile: dict[str, Any]
) -> tuple[list[Record], list[Verdict]]:
    """Records and verdicts of a manifest."""
    from benchmarks import gates

    records, missing = find_records(store, cases)
    reasons = manifest.get("unavailable", {})
    manifest["missing"] = {
        case: f"unavailable: {reasons[case].splitlines()[0]}" if case in reasons else why
        for case, why in missing.items()
    }
    manifest["set_aside"] = [f"{name}: {why}" for name, why in store.aside()]
    questions = manifest.get("questions", {})
    gated = {**manifest, "cases": [case for case in manifest["cases"] if case["id"] not in questions]}
    return records, gates.judge(gated, records, load_baseline(profile))


def judge_images(store: Store, manifest: dict[str, Any], cases: list[ImageCase]) -> tuple[list[Record], list[Verdict]]:
    """Records and verdicts of the cases of distilled data; the manifest is told of them. Needs no torch."""
    if not cases:
        return [], []
    from benchmarks import gates_images
    from fixtures.image_runner import code_hash, numerics
    from fixtures.images import image_licences

    manifest["image_cases"] = [case.to_dict() for case in cases]
    manifest["licences"] = [*manifest.get("licences", []), *image_licences(case.model for case in cases)]
    found = {case.id: store.follow(case.pointer) for case in cases}
    current = {
        case.id: record
        for case in cases
        if (record := found[case.id]) is not None
        and (record.keys["method_code"], record.keys["evaluation_key"]) == (code_hash(), numerics(case))
    }
    for name, record in found.items():
        if name not in current:
            manifest["missing"][name] = "not run yet" if record is None else "its record was made by other code"
    return list(current.values()), gates_images.judge(manifest, list(current.values()))


def verdict_reports(verdict: Verdict) -> list[pytest.TestReport]:
    """A verdict as reports of its own, so that terminal, JUnit and the exit status have it.

    The second ends the test case: JUnit takes properties from the teardown alone.
    """
    outcome: Any = {"pass": "passed", "fail": "failed"}.get(verdict.outcome, "skipped")
    nodeid = f"benchmarks/gates.py::{verdict.id}"
    where = ("benchmarks/gates.py", 0, verdict.id)
    text = f"{verdict.id}: {verdict.outcome}: {verdict.reason}"
    longrepr: Any = None if outcome == "passed" else text if outcome == "failed" else (*where[:2], text)
    scalars = ("estimate", "low", "high", "p", "p_adjusted", "margin", "detectable", "unit")
    properties = [("gate", verdict.outcome)] + [
        (name, getattr(verdict, name)) for name in scalars if getattr(verdict, name) is not None
    ]
    if verdict.flips is not None:
        properties += zip(("answers_lost", "answers_gained"), verdict.flips, strict=True)
    call = pytest.TestReport(
        nodeid, where, {"gate": 1}, outcome, longrepr, when="call", user_properties=properties
    )  # fmt: skip
    end = pytest.TestReport(
        nodeid, where, {"gate": 1}, "passed", None, when="teardown", user_properties=properties
    )  # fmt: skip
    return [call, end]


def send_reports(config: pytest.Config, verdicts: list[Verdict]) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and config.get_verbosity() <= 0:
        terminal.showfspath = False
    for verdict in verdicts:
        reports = verdict_reports(verdict)
        here = {"nodeid": reports[0].nodeid, "location": reports[0].location}
        config.hook.pytest_runtest_logstart(**here)
        for report in reports:
            config.hook.pytest_runtest_logreport(report=report)
        config.hook.pytest_runtest_logfinish(**here)


def exit_status(previous: int, ran_nothing_expected: bool, verdicts: list[Verdict], strict: bool) -> int:
    """0 all pass, 1 a case or gate failed, 6 only inconclusive gates under ``--strict-gates``, else pytest's own."""
    outcomes = {verdict.outcome for verdict in verdicts}
    no_tests = int(pytest.ExitCode.NO_TESTS_COLLECTED)
    status = 0 if previous == no_tests and ran_nothing_expected else previous
    if status == 0 and "fail" in outcomes:
        return int(pytest.ExitCode.TESTS_FAILED)
    if status == 0 and strict and outcomes & {"inconclusive", "refused"}:
        return INCONCLUSIVE_EXIT
    return status


def update_baseline(
    profile: dict[str, Any],
    manifest: dict[str, Any],
    records: list[Record],
    verdicts: list[Verdict],
    failed: bool,
) -> tuple[Path, str]:
    """Writes the baseline of the profile; returns its path, and what changed and what it is too coarse for.

    Raises ``GateError`` on failures.
    """
    from benchmarks import gates

    if failed:
        raise gates.GateError("the run had failures, so the baseline stays as it is; see the failures above")
    previous = load_baseline(profile)
    baseline = gates.make_baseline(manifest, records, verdicts, previous)
    said = [gates.baseline_difference(previous, baseline)]
    if blind := [v for v in gates.judge(manifest, records, baseline) if v.outcome == "refused" and v.gate in CHANGE]:
        # No later run could pass them: whoever commits the baseline should not learn that from its CI.
        said.append(
            f"with it {len(blind)} gates cannot pass, whatever a later run finds: they will be refused, which "
            f"--strict-gates exits {INCONCLUSIVE_EXIT} for, or fail where it is surely worse than their margin; "
            "[gates] gates = [...] may leave them out:"
        )
        said += [f"  {verdict.id}: {verdict.reason}" for verdict in blind]
    return write_baseline(profile, baseline), "\n".join(said)


def write_baseline(profile: dict[str, Any], baseline: dict[str, Any]) -> Path:
    """Writes a profile's baseline atomically."""
    path = baseline_path(profile)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        json.dump(baseline, file, indent=1, sort_keys=True)
        file.write("\n")
    os.chmod(file.name, 0o644)  # a temporary file is its owner's alone; a baseline is committed and shared
    os.replace(file.name, path)
    return path
