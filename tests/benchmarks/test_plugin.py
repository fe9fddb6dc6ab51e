"""The plugin as a user meets it: a miniature `pytest benchmarks` in a process of its own, on a model made here."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from reports import comparing
from tests.helpers_suite import ROOT, command, counts, model_hashes, records, wait_for

pytest_plugins = ["pytester"]


def test_a_miniature_run_from_cases_to_report(finished):
    store, output = finished
    assert len(records(store)) == 1 + 2 * 2 * 2
    report = re.search(r"report: (\S+)", output)
    assert report
    assert "wanda-0.5" in Path(report[1]).read_text()
    verdicts = json.loads((store / "verdicts.json").read_text())
    assert {(verdict["gate"], verdict["outcome"]) for verdict in verdicts} >= {("null", "pass")}


def test_a_second_run_finds_every_record(suite, copied):
    files = sorted((copied / "records").glob("*"))
    before, times = records(copied), [path.stat().st_mtime_ns for path in files]
    done = suite()
    assert done.returncode == 0, done.stdout
    assert records(copied) == before
    assert [path.stat().st_mtime_ns for path in files] == times, "a finished record was written again"
    assert "[9/9 100 %]  9 records found in the store" in done.stdout


def test_two_workers_give_the_same_records_as_none(suite, finished):
    both = suite("-n", "2")
    assert both.returncode == 0, both.stdout + both.stderr
    assert records(finished[0]) == records(suite.store)


def test_selection_by_marker_is_exact_and_the_gates_keep_their_family(suite):
    done = suite("-m", "case(method='wanda-0.5', seed=1)")
    assert counts(done.stdout)["passed"] == 2
    assert len(records(suite.store)) == 2
    verdicts = json.loads((suite.store / "verdicts.json").read_text())
    assert any(verdict["outcome"] == "inconclusive" for verdict in verdicts)
    assert not any(verdict["outcome"] == "pass" and "not run" in verdict["reason"] for verdict in verdicts)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_marker_that_matches_nothing_is_explained(suite, workers):
    done = suite("-m", "case(method='wanda-0.6')", *workers)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "none of the 9 cases: no case has method 'wanda-0.6' (did you mean 'wanda-0.5'?" in done.stdout


def test_judge_only_runs_nothing_and_strict_gates_exit_with_six_when_something_is_undecided(suite, copied):
    done = suite("--judge-only")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "report:" in done.stdout
    strict = suite("--judge-only", "--strict-gates")
    assert strict.returncode == 6, strict.stdout


CRASH = """
import os
from pathlib import Path

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        return
    from fixtures import runner
    run = runner.Runner.run
    def crash_once(self, case):
        if case.method == "wanda-0.5":
            try:  # one of the workers makes it, however close together they are
                Path(os.environ["CRASH_FLAG"]).touch(exist_ok=False)
            except FileExistsError:
                return run(self, case)
            os._exit(9)
        return run(self, case)
    runner.Runner.run = crash_once
"""


def test_a_crashed_worker_costs_one_case_once(suite, tmp_path):
    (tmp_path / "crash_plugin.py").write_text(CRASH)
    env = {"PYTHONPATH": str(tmp_path), "CRASH_FLAG": str(tmp_path / "flag")}
    done = suite("-n", "2", "-p", "crash_plugin", env=env)
    assert done.returncode == 1
    assert len(re.findall(r"^FAILED \S*test_calibration_source.py::", done.stdout, re.M)) == 1, done.stdout
    assert len(records(suite.store)) == 8
    assert suite("-n", "2").returncode == 0
    assert len(records(suite.store)) == 9


WAIT = """
import os
import time
from pathlib import Path

from fixtures import runner

run = runner.Runner.run

def wait_in_the_fourth(self, case, cases=[]):
    cases.append(case)
    if len(cases) == 4:
        Path(os.environ["WAITING_FLAG"]).touch()
        time.sleep(600)
    return run(self, case)

runner.Runner.run = wait_in_the_fourth
"""


def test_interrupt_keeps_what_is_done_and_the_next_run_goes_on(suite, mini, tmp_path):
    """The keys are pressed while a case is under way. Where an interrupt may land else: test_interrupts.py."""
    (tmp_path / "waiting_plugin.py").write_text(WAIT)
    flag = tmp_path / "flag"
    paths = {"PYTHONPATH": str(tmp_path), "WAITING_FLAG": str(flag), "CALIBENCH_CACHE": str(mini / "cache")}
    process = subprocess.Popen(
        command(mini, suite.store, "-p", "waiting_plugin"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **paths},
        # A background job of a shell ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(flag.exists, process)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 2, output
    assert "interrupted: 3 of 9 cases have their record" in output
    assert "goes on from there" in output
    kept = records(suite.store)
    assert len(kept) == 3
    assert suite().returncode == 0
    whole = records(suite.store)
    assert len(whole) == 9
    assert {name: whole[name] for name in kept} == kept


def test_killed_in_the_middle_nothing_is_lost_and_nothing_done_twice(suite, mini, tmp_path):
    (tmp_path / "waiting_plugin.py").write_text(WAIT)
    flag = tmp_path / "flag"
    paths = {"PYTHONPATH": str(tmp_path), "WAITING_FLAG": str(flag), "CALIBENCH_CACHE": str(mini / "cache")}
    process = subprocess.Popen(
        command(mini, suite.store, "-n", "2", "-p", "waiting_plugin"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **paths},
    )
    wait_for(flag.exists, process)  # one worker has made three, and does not end the fourth
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=300)
    kept = {path: path.stat().st_mtime_ns for path in (suite.store / "records").glob("*.gz")}
    assert 3 <= len(kept) < 9
    done = suite("-n", "2")
    assert done.returncode == 0, done.stdout
    assert len(records(suite.store)) == 9
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert "set aside" not in done.stdout


def test_other_threads_and_batch_size_do_not_fail_a_gate(suite, copied, mini, tmp_path):
    """An A/A test: nothing was changed but what must not matter, so no gate may see a regression."""
    profile = tmp_path / "same.toml"
    shutil.copy(mini / "mini.toml", profile)
    made = suite("--profile", str(profile), "--judge-only", "--update-baselines")
    assert made.returncode == 0, made.stdout
    assert (tmp_path / "same.baseline.json").is_file()
    suite.store = tmp_path / "other"
    done = suite("--profile", str(profile), "--threads", "2", "--batch-size", "3")
    assert done.returncode == 0, done.stdout
    verdicts = json.loads((suite.store / "verdicts.json").read_text())
    assert "fail" not in {verdict["outcome"] for verdict in verdicts}
    judged = [verdict for verdict in verdicts if verdict["gate"] in ("regression", "reconstruction")]
    assert judged
    assert any(verdict["outcome"] == "pass" for verdict in judged)
    found = comparing.compare(copied, suite.store)
    assert {(d.kind, d.what) for d in found.differences} == {("settings", "threads"), ("settings", "batch_size")}
    assert len(found.common) == 9
    assert not found.refused
    assert [change.draws for change in found.groups] == [4, 4]
    assert max(abs(change.interval.estimate) for change in found.cases) < 1e-5


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_corrupt_record_is_set_aside_recomputed_and_said(suite, copied, workers):
    before = records(suite.store)
    victim = sorted((suite.store / "records").glob("*.gz"))[0]
    victim.write_bytes(victim.read_bytes()[:40])
    done = suite(*workers)
    assert done.returncode == 0
    assert "1 unreadable record was set aside" in done.stdout
    assert records(suite.store) == before
    assert list((suite.store / "set-aside").iterdir())
    assert "1 unreadable record was set aside" in (suite.store / "report.md").read_text()


def test_a_changed_tokenizer_is_another_model(mini, suite, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(mini / "tiny", folder)
    only = ["--models", str(folder), "--methods", "wanda-0.5", "--seeds", "1"]
    assert suite(*only).returncode == 0
    before = model_hashes(suite.store)
    tokenizer = folder / "tokenizer.json"
    content = json.loads(tokenizer.read_text())
    content["normalizer"] = {"type": "Lowercase"}
    tokenizer.write_text(json.dumps(content))
    judged = suite(*only, "--judge-only")
    assert "other files of the model" in judged.stdout
    assert suite(*only).returncode == 0
    assert len(before) == 1
    assert len(model_hashes(suite.store) - before) == 1, "dense and compressed were scored with different tokenizers"


def test_collecting_takes_seconds(suite):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = suite("--collect-only", "-q", "--profile", "quick")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout
    assert "smollm2-135m-gptq-w3g64-news-s0" in done.stdout
    # of the processor, not of the clock: other programs may be at work
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def test_junit_has_scalars_and_the_verdicts(finished, mini):
    text = (mini / "junit.xml").read_text()
    assert re.search(r'<property name="nll" value="\d+\.\d+"', text)
    assert "gates" in text


DISTILLATION = """
[[distillation]]
models = ["convnet2w4-digits"]
methods = ["dm-ipc1", "dc-ipc2+mdt"]
calibrators = ["ts", "mts"]
sources = ["distilled", "real"]
seeds = 2
batch_real = 8
outer = 1
inner = 1
epochs = 60
rate = 0.1
nets = 2
[distillation.iterations]
dm = 3
dc = 2
"""


def test_distilled_data_is_on_the_same_axes(suite, mini):
    profile = mini / "images.toml"
    profile.write_text((mini / "mini.toml").read_text() + DISTILLATION)
    done = suite("--profile", str(profile), "-m", "case(method='dm-ipc1+mts', seed=1)", "-v")
    assert "convnet2w4-digits-dm-ipc1+mts-real-s1" in done.stdout
    assert "2 passed" in done.stdout.replace(" gates", ""), done.stdout
    done = suite("--profile", str(profile), "-k", "convnet")
    report = json.loads((suite.store / "report.json").read_text())
    rows = [row for row in report["distilled"] if row["trained"] == "dc-ipc2+mdt"]
    assert {(row["calibrator"], row["source"]) for row in rows} == {
        ("", ""), ("ts", "distilled"), ("ts", "real"), ("mts", "distilled"), ("mts", "real")
    }  # fmt: skip
    assert all(row["sets"] == 2 and row["figures"]["ece"]["sd"] is not None for row in rows)
    page = (suite.store / "report.html").read_text()
    asked, there = set(re.findall(r'href="#([^"]+)"', page)), set(re.findall(r'id="([^"]+)"', page))
    assert "distilled" in asked
    assert asked <= there
    verdicts = json.loads((suite.store / "verdicts.json").read_text())
    assert [v["outcome"] for v in verdicts if v["gate"] == "answers"] == ["pass"]
    assert "0.2 % of the published" in done.stdout
    broken = mini / "broken.toml"
    broken.write_text((mini / "mini.toml").read_text() + DISTILLATION.replace("dm-ipc1", "dmm-ipc1"))
    done = suite("--profile", str(broken))
    assert done.returncode == 4
    assert "did you mean dm-ipc10?" in done.stdout + done.stderr
