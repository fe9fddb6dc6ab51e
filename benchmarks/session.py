"""One pytest session of the suite: its cases, its store, its progress, and the judging at the end.

Registered as a plugin of its own by ``conftest.py``. Under xdist the workers run cases and write records; the
controller, which never collects, knows the manifest from the options and judges from the store.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import github, interrupts, judging, options, selection, sharding, starting
from benchmarks.controls import with_controls
from benchmarks.gates_settings import Settings
from benchmarks.grid import QUESTIONS, GridError, Overrides, build_cases, build_questions, load_profile
from benchmarks.kinds import by_kind
from benchmarks.measures import left_out
from benchmarks.progress import Progress, StageFile
from fixtures.records import Case, Record, Verdict

if TYPE_CHECKING:
    from fixtures.image_cases import ImageCase
    from fixtures.image_runner import ImageRunner
    from fixtures.runner import Runner
    from fixtures.store import Store


class Session:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_controller = not hasattr(config, "workerinput")
        self.root = options.store_root(config)
        self.seen = 0  # reports of cases
        self.failures = 0
        self.unwritten = 0  # of them: cases whose record could not be written
        self.summing_up = False
        self.records: list[Record] = []
        self.verdicts: list[Verdict] = []
        self.manifest: dict[str, Any] = {}
        self.notes: list[str] = []
        self.unavailable: dict[str, str] = {}  # case -> why its source could not be had
        self.report: Path | None = None
        self.progress = Progress(config, self.root / "progress")

    # -- the grid ---------------------------------------------------------------------------------

    @property
    def asks_for_benchmarks(self) -> bool:
        """Whether an argument names the benchmarks, or a folder or file that holds or lies in them."""
        here = Path(__file__).parent
        invocation = self.config.invocation_params.dir
        for argument in self.config.args:
            path = (invocation / argument.split("::")[0]).resolve()
            if path == here or here in path.parents or path in here.parents:
                return True
        return False

    @cached_property
    def profile(self) -> dict[str, Any]:
        return load_profile(self.config.getoption("profile"))

    @cached_property
    def kinds(self) -> tuple[Overrides | None, Overrides | None]:
        """What the command line says of language models and of distilled images; None where it leaves them out."""
        return by_kind(options.overrides(self.config))

    @cached_property
    def cases(self) -> list[Case]:
        language = self.kinds[0]
        cases = [] if language is None else build_cases(self.profile, language)
        return with_controls(self.profile, cases, self.narrowed)

    @cached_property
    def image_cases(self) -> list[ImageCase]:
        """The profile's cases of distilled data."""
        from benchmarks.image_grid import build_image_cases

        return [] if self.kinds[1] is None else build_image_cases(self.profile, self.kinds[1])

    def image_cases_to_run(self) -> list[ImageCase]:
        """This shard's cases of distilled data."""
        return sharding.shard(self.image_cases, sharding.trained_networks, *self.shard)

    @property
    def shard(self) -> tuple[int, int]:
        return self.config.getoption("shard") or (1, 1)

    @property
    def narrowed(self) -> bool:
        """Whether options took the grid away from what the profile says; the number of threads does not."""
        return replace(options.overrides(self.config), threads=None) != Overrides()

    @cached_property
    def questions(self) -> dict[str, str]:
        """The question of every case that is not of the default one, by id."""
        asked = {} if self.kinds[0] is None else build_questions(self.profile, self.kinds[0])
        return {name: question for name, question in asked.items() if question != QUESTIONS[0]}

    def cases_to_run(self, question: str | None = None) -> list[Case]:
        """This shard's cases of a question. The manifest, and so the family of the gates, is the whole."""
        import compressors
        import fixtures

        # Read the code now: what an editor saves while cases run is not what they run.
        fixtures.evaluation_code_hash()
        for method in dict.fromkeys(case.method for case in self.cases):
            compressors.code_hash(method)
        mine = sharding.shard(self.cases, sharding.compressed_weights, *self.shard)
        return [case for case in mine if question in (None, self.questions.get(case.id, QUESTIONS[0]))]

    @cached_property
    def store(self) -> Store:
        from fixtures.store import Store

        return Store(self.root)

    @cached_property
    def stage(self) -> StageFile:
        return StageFile(self.root / "progress")

    @cached_property
    def runner(self) -> Runner:
        from fixtures.runner import Runner

        return Runner(self.store, status=self.stage, rerun=self.config.getoption("rerun_cases"))

    @cached_property
    def image_runner(self) -> ImageRunner:
        from fixtures.image_runner import ImageRunner
        from reports.statistics import expected_calibration_error

        rerun = self.config.getoption("rerun_cases")
        return ImageRunner(self.store, expected_calibration_error, status=self.stage, rerun=rerun)

    def asked_for(self, source: str) -> bool:
        """Whether the command line names the source: then it is an error that it cannot be had."""
        return any(source in name for name in self.config.getoption("sources") or ())

    # -- hooks ------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Checks the grid before anything is collected, so that a typo is a usage error on every path."""
        if not (self.is_controller and self.asks_for_benchmarks):
            return
        try:
            cases, images = self.cases, self.image_cases
            if not (cases or images):
                raise GridError("the profile and the options leave no case; see --models, --methods, --sources")
            # What the end of the run would stumble over.
            Settings.read(self.profile.get("gates"))
            judging.load_baseline(self.profile)
        except (GridError, ValueError) as error:
            raise pytest.UsageError(str(error)) from error
        absent = left_out(self.profile, options.overrides(self.config))
        starting.check(self.config, self.root, cases, images, absent)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """``--judge-only`` runs no case. Speed cases and claims run only when asked for (``-m``): the first mean
        nothing beside other work, the others need the records of all cases.
        """
        judge_only = config.getoption("judge_only")

        def dropped(item: pytest.Item) -> bool:
            if selection.without_case(item):
                return True  # a question that no grid asks: not there, rather than skipped
            for name in starting.OTHERS:
                if item.get_closest_marker(name):
                    return not starting.asks_for(config, name)
            return judge_only and selection.is_case(item)

        gone = [item for item in items if dropped(item)]
        if gone:
            config.hook.pytest_deselected(items=gone)
            items[:] = [item for item in items if not dropped(item)]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if self.is_controller:
            self._begin(sum(selection.is_case(item) for item in session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        if not self.progress.total:
            self._begin(sum(node.startswith("benchmarks/") for node in ids))

    def _begin(self, total: int) -> None:
        if total and not self.config.option.collectonly:
            self.progress.total = total
            self.progress.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if not self.is_controller or "case" not in properties:
            return
        self.failures += report.failed
        self.unwritten += report.failed and "unwritten" in properties
        if "unavailable" in properties:
            self.unavailable[str(properties["case"])] = str(properties["unavailable"])
        if report.when == "call":
            self.seen += 1
            self.progress.finished(report, bool(properties.get("found")))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not self.is_controller:
            return
        self.progress.stop()
        judge_only = self.config.getoption("judge_only") and self.asks_for_benchmarks
        if int(exitstatus) == pytest.ExitCode.NO_TESTS_COLLECTED and not judge_only:
            self._say_what_selects_nothing()
        if self.config.option.collectonly or not (self.seen or judge_only):
            return
        if int(exitstatus) == pytest.ExitCode.INTERRUPTED:
            self.notes.append(
                f"interrupted: {self.seen} of {self.progress.total} cases have their record in {self.root}; the same "
                "command goes on from there. Nothing was judged."
            )
            return
        status = self._finish(int(exitstatus), bool(judge_only))
        # Nothing failed but the writing: that says nothing about the models.
        if 0 < self.unwritten == session.testsfailed:
            status = int(pytest.ExitCode.INTERNAL_ERROR)
        session.exitstatus = status

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        interrupts.mend(excinfo)

    def _say_what_selects_nothing(self) -> None:
        markers, keywords = self.config.option.markexpr, self.config.option.keyword
        if self.asks_for_benchmarks and (markers or keywords):
            self.notes.append(selection.hint(markers, keywords, [*self.cases, *self.image_cases]))

    def _finish(self, status: int, judge_only: bool) -> int:
        from fixtures.store import StoreError

        try:
            self.manifest = judging.make_manifest(self.profile, self.cases, self.narrowed)
            self.manifest["questions"] = self.questions
            self.manifest["unavailable"] = self.unavailable
            self.notes += [
                f"not run: {count} cases: {why}" for why, count in Counter(self.unavailable.values()).most_common()
            ]
            self.records, self.verdicts = judging.judge(self.store, self.manifest, self.cases, self.profile)
            images, verdicts = judging.judge_images(self.store, self.manifest, self.image_cases)
            self.records, self.verdicts = [*self.records, *images], [*self.verdicts, *verdicts]
            judging.send_reports(self.config, self.verdicts)
            cases_failed = bool(self.failures) or status not in (0, int(pytest.ExitCode.NO_TESTS_COLLECTED))
            status = judging.exit_status(status, judge_only, self.verdicts, self.config.getoption("strict_gates"))
            self.store.save_json("manifest", self.manifest)
            self.store.save_json("verdicts", [verdict.to_dict() for verdict in self.verdicts])
            if self.records:
                self.report = self._write_report()
                github.write_step_summary(self.report.with_name("report.md").read_text(encoding="utf-8"))
            else:
                reasons = Counter(self.manifest["missing"].values()).most_common()
                self.notes += [f"nothing to report: {count} cases: {reason}" for reason, count in reasons]
            if self.config.getoption("update_baselines"):
                path, difference = judging.update_baseline(
                    self.profile, self.manifest, self.records, self.verdicts, cases_failed
                )
                self.notes.append(f"baseline written: {path}\n{difference}")
        except (StoreError, GridError, judging.gate_error()) as error:
            self.notes.append(f"error: {error}")
            if status in (0, judging.INCONCLUSIVE_EXIT, pytest.ExitCode.NO_TESTS_COLLECTED):
                broken = isinstance(error, StoreError)
                status = int(pytest.ExitCode.INTERNAL_ERROR if broken else pytest.ExitCode.TESTS_FAILED)
        return status

    def _write_report(self) -> Path:
        from fixtures.store import StoreError
        from reports import write

        try:
            return write(self.manifest, self.records, self.verdicts, self.root)
        except OSError as error:
            raise StoreError(
                f"{self.root}: the report cannot be written ({error.strerror or error}); the records are kept: make "
                "room, and --judge-only writes it"
            ) from error

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        self.summing_up = True
        if self.records:
            from reports import summary

            width = terminalreporter._tw.fullwidth
            terminalreporter.section("calibench")
            terminalreporter.write_line(summary(self.manifest, self.records, self.verdicts, width=width))
        for line in (*self.notes, *github.failure_annotations(self.verdicts)):
            terminalreporter.write_line(line)
        if self.report:
            terminalreporter.write_line(f"report: {self.report}")
