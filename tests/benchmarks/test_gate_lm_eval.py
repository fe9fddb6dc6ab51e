"""The gate reads what lm-eval itself writes: its evaluator scores, its tracker makes the files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.gate import main
from benchmarks.gates_samples import read_folder
from tests.helpers_evaluation import tiny_model, tiny_tokenizer, write_mirror

TASKS = ("arc_easy", "lambada_openai")


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    """A function that scores a model and writes its samples into a folder, as ``lm_eval --log_samples`` does."""
    from lm_eval.evaluator import evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM

    from fixtures.task_rows import get_task, load_rows
    from fixtures.task_stock import stock_task

    mirror = write_mirror(tmp_path_factory.mktemp("mirror"), n=40)

    def run(model, folder, name, shots=0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CALIBENCH_DATA", str(mirror))
            found = {name: get_task(name) for name in TASKS}
            tasks = {name: stock_task(task, {task.split: load_rows(task)[0]}) for name, task in found.items()}
        for task in tasks.values():
            task.set_config("num_fewshot", shots)
        lm = HFLM(pretrained=model, tokenizer=tiny_tokenizer(), batch_size=8, add_bos_token=False)
        found = evaluate(lm, tasks, bootstrap_iters=0, log_samples=True)
        samples = found.pop("samples")
        tracker = EvaluationTracker(output_path=str(folder))
        tracker.general_config_tracker.log_experiment_args("hf", f"pretrained={name}", "", "", False)
        tracker.save_results_aggregated(results=found, samples=samples)
        for task in TASKS:
            tracker.save_results_samples(task_name=task, samples=samples[task])
        return samples

    return run


def noisy(seed, scale=0.05):
    model = tiny_model()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += scale * weight.std() * torch.randn(weight.shape, generator=generator)
    return model


def test_answers_and_hashes_are_read_as_they_were_scored(score, tmp_path):
    samples = score(tiny_model(), tmp_path, "dense")
    runs = read_folder(tmp_path)
    assert set(runs) == set(TASKS)
    for task in TASKS:
        rows = {(row["doc_hash"], row["prompt_hash"]): row for row in samples[task]}
        assert [rows[item[:2]]["acc"] for item in runs[task].items] == runs[task].correct[:, 0].tolist()
    assert (runs["arc_easy"].chance, runs["lambada_openai"].chance) == (0.25, 0.0)


def test_several_seeds_are_columns_and_the_same_model_passes(score, tmp_path):
    for side in ("a", "b"):
        for seed in range(2):
            score(noisy(seed), tmp_path / side, f"seed-{seed}")
    # Two models in one folder: lm-eval gives each a folder of its own below it.
    assert read_folder(tmp_path / "a")["arc_easy"].correct.shape == (40, 2)
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "out"), "--margin", "0.3"]) == 0
    verdict = json.loads((tmp_path / "out" / "gate.json").read_text())[0]
    assert (verdict["outcome"], verdict["estimate"], verdict["flips"]) == ("pass", 0.0, [0, 0])
    assert verdict["details"]["runs"] == [2, 2]


def test_a_changed_model_is_compared_item_by_item(score, tmp_path):
    before = score(tiny_model(), tmp_path / "a", "dense")
    after = score(noisy(3, 0.4), tmp_path / "b", "noisy")
    main([str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "out")])
    verdicts = {v["subject"]: v for v in json.loads((tmp_path / "out" / "gate.json").read_text())}
    for task in TASKS:
        drop = np.array([x["acc"] - y["acc"] for x, y in zip(before[task], after[task], strict=True)])
        assert verdicts[task]["estimate"] == pytest.approx(drop.mean())
        assert verdicts[task]["flips"] == [int((drop > 0).sum()), int((drop < 0).sum())]


def test_other_shots_are_other_prompts(score, tmp_path):
    score(tiny_model(), tmp_path / "a", "dense")
    score(tiny_model(), tmp_path / "b", "dense", shots=1)
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "out"), "--strict-gates"]) == 6
    assert "of 40 items" in json.loads((tmp_path / "out" / "gate.json").read_text())[0]["reason"]
