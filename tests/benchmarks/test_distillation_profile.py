"""The profile of distilled images: its grid on the four axes, what it would cost, and a profile of nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.estimate_images import estimate_images
from benchmarks.grid import GridError, Overrides, load_profile
from benchmarks.image_grid import build_image_cases
from benchmarks.kinds import by_kind
from benchmarks.plan import plan
from benchmarks.selection import hint
from compressors.distillation.spelling import CALIBRATORS
from fixtures.image_cases import SOURCES

ROOT = Path(__file__).parents[2]
SMALL = """
title = "images only"
[[distillation]]
models = ["convnet2w4-digits"]
methods = ["random-ipc2", "dm-ipc2+mdt"]
calibrators = ["ts"]
sources = ["real-matched"]
seeds = 1
batch_real = 8
epochs = 40
rate = 0.05
nets = 1
[distillation.iterations]
dm = 3
"""


@pytest.fixture(scope="module")
def cases():
    return build_image_cases(load_profile("distillation"), Overrides())


def test_the_grid_has_the_cells_that_were_asked_for(cases):
    found = {(case.model, case.method, case.source) for case in cases}
    for images in ("fashion-mnist", "cifar10"):
        model = f"convnet3-{images}"
        for backbone in ("dc", "dsa", "dm", "mtt"):
            for ipc in (1, 10):
                trained = f"{backbone}-ipc{ipc}"
                assert (model, trained, None) in found
                for method in (f"{trained}+ts-legacy", f"{trained}+ts", f"{trained}+mts", f"{trained}+mdt+mts"):
                    assert (model, method, "distilled") in found
        assert (model, "rtp-ipc1+mdt+mts", "real") in found
    assert {case.source for case in cases} == {None, *SOURCES}
    assert {case.distillation.calibrator for case in cases} == {"", *CALIBRATORS}
    assert min(len({c.seed for c in cases if c.method == case.method}) for case in cases) == 5
    assert all(case.budget.nets >= 5 for case in cases)
    assert {case.device for case in cases} == {"cuda"}


def test_full_budgets_are_full_and_others_say_their_share(cases):
    text = plan([], cases)
    assert "1,000 iterations, 100 % of the published" in text
    assert "500 iterations, 0.1 % of the published" in text
    assert "GPU hours" in text
    assert "never timed: mtt-ipc1, mtt-ipc10, rtp-ipc1" in text
    assert f"{len(cases):,} cases of distilled images" in text


def test_calibrators_cost_nothing_and_sets_are_counted_once(cases):
    few = [case for case in cases if case.method == "dc-ipc1"]
    with_calibrators = [case for case in cases if case.distillation.trained == "dc-ipc1"]
    assert len(with_calibrators) > 10 * len(few)
    assert estimate_images(few) == estimate_images(with_calibrators)
    assert estimate_images(few).sets == 10  # two image sets, five seeds


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    profile = tmp_path / "images.toml"
    profile.write_text(SMALL, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider", "--profile", str(profile)]
    return subprocess.run(
        [*command, "--store", str(tmp_path / "store"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_a_profile_may_have_images_alone(tmp_path):
    done = run(tmp_path, "-m", "case(method='dm-ipc2+mdt+ts', source='real-matched', seed=0)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    again = run(tmp_path, "-m", "case(method='dm-ipc2+mdt+mts')")
    assert "no case has method 'dm-ipc2+mdt+mts' (did you mean 'dm-ipc2+mdt+ts'?" in again.stdout
    (report,) = (tmp_path / "store").glob("report.md")
    assert "dm-ipc2+mdt" in report.read_text(encoding="utf-8")


def test_options_that_leave_nothing_are_an_error(tmp_path):
    done = run(tmp_path, "--methods", "wanda-0.5")
    assert done.returncode == 4
    assert "leave no case" in done.stdout + done.stderr
    empty = tmp_path / "empty.toml"
    empty.write_text("title = 'x'", encoding="utf-8")
    with pytest.raises(GridError, match="no \\[\\[grid\\]\\] or \\[\\[distillation\\]\\] table"):
        load_profile(str(empty))


def built(**options):
    language, images = by_kind(Overrides(**options))
    found = [] if images is None else build_image_cases(load_profile("quick"), images)
    return language, [(case.method, case.source, case.seed, case.budget) for case in found]


def test_options_choose_cells_of_images_as_they_do_of_language_models():
    plain = {(case.method, case.budget) for case in build_image_cases(load_profile("quick"), Overrides())}
    budget = dict(plain)["dc-ipc10+mdt"]
    models, methods, sources = ("convnet2w16-digits",), ("dc-ipc10+mdt+mts-calib",), ("real", "distilled")
    language, found = built(models=models, methods=methods, sources=sources, seeds=(2,))
    assert language is None
    assert found == [  # the budget of the profile; beside it the same uncalibrated
        ("dc-ipc10+mdt", None, 2, budget),
        ("dc-ipc10+mdt+mts-calib", "real", 2, budget),
        ("dc-ipc10+mdt+mts-calib", "distilled", 2, budget),
    ]
    assert [method for method, *_ in built(methods=("dm-ipc5",), seeds=(0,))[1]] == ["dm-ipc5"]  # one nobody listed
    language, found = built(methods=("wanda-0.5", "dm-ipc1+ts"), seeds=(0,))
    assert language == Overrides(methods=("wanda-0.5",), seeds=(0,))
    assert {method for method, *_ in found} == {"dm-ipc1", "dm-ipc1+ts"}
    assert built(methods=("wanda-0.5",))[1] == []
    assert built(sources=("web",))[1] == []
    assert built(tasks=("piqa",))[0] == Overrides(tasks=("piqa",))
    assert len(built(tasks=("piqa",))[1]) == 150  # those of the profile


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": ("dcc-ipc1",)}, "--methods: .*did you mean dc-ipc10"),
        ({"methods": ("dc-ipc1+mts1",)}, "--methods: .*mask ratio 1"),
        ({"methods": ("rtp-ipc1",)}, "--methods: the profile 'quick' has no .* iterations of 'rtp' .*dc, dc-ipc10, dm"),
        ({"models": ("convnet2w16-digit",)}, "--models: .*did you mean 'convnet3-digits'"),
        ({"models": ("convnet9-digits",)}, "--models: .*expected a depth of 1 to 4"),
        ({"methods": ("dc-ipc1",), "sources": ("web",)}, "--sources: no calibration source 'web' of images"),
        ({"methods": ("dc-ipc1+ts",), "sources": ("distiled",)}, "--sources: .*did you mean 'distilled'"),
        ({"methods": ("dc-ipc1+ts",), "sources": ("distilled-held-out",)}, "--methods, --sources: .*would be empty"),
    ],
)
def test_options_that_name_no_cell_of_images_say_so(options, said):
    with pytest.raises(GridError, match=said):
        built(**options)


def test_a_misspelt_setting_is_no_setting(tmp_path):
    path = tmp_path / "images.toml"
    path.write_text(SMALL.replace("epochs", "epoch"), encoding="utf-8")
    with pytest.raises(GridError, match="no setting 'epoch'; did you mean 'epochs'"):
        build_image_cases(load_profile(str(path)), Overrides())


def test_hints_know_the_cases_of_images(cases):
    assert "did you mean 'dc-ipc10+mdt+mts'" in hint("case(method='dc-ipc10+mdt+mtss')", "", cases)
    assert "did you mean 'real-matched'" in hint("case(source='real-match')", "", cases)
