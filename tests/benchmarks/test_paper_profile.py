"""Every model family of the paper profile, as a tiny random model of that architecture: compressed and scored."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.grid import GridError, Overrides, build_cases, load_profile
from benchmarks.measures import left_out
from tests.helpers_evaluation import write_mirror

SIZES = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {**SIZES, "intermediate_size": 64, "num_key_value_heads": 2}
FAMILIES = {
    "llama": ("LlamaConfig", LLAMA),
    "mistral": ("MistralConfig", LLAMA),
    "qwen3": ("Qwen3Config", {**LLAMA, "head_dim": 8}),
    "gemma3": ("Gemma3TextConfig", {**LLAMA, "head_dim": 8}),
    "olmo2": ("Olmo2Config", LLAMA),
    "opt": ("OPTConfig", {**SIZES, "ffn_dim": 64, "word_embed_proj_dim": 32}),
}
# How a hub name begins -> its architecture. DCLM-7B has Llama's blocks.
NAMES = {
    "huggyllama/": "llama",
    "lmsys/vicuna": "llama",
    "facebook/opt": "opt",
    "apple/DCLM": "llama",
    "meta-llama/": "llama",
    "Qwen/Qwen3": "qwen3",
    "google/gemma-3": "gemma3",
    "mistralai/Mistral": "mistral",
    "allenai/OLMo-2": "olmo2",
}


def family(model):
    return next(kind for start, kind in NAMES.items() if model.startswith(start))


def paper_models():
    return [model for grid in load_profile("paper")["grid"] for model in grid["models"]]


def test_every_model_of_the_profile_has_a_family_that_is_exercised():
    assert {family(model) for model in paper_models()} == set(FAMILIES)


def tasks(profile):
    return build_cases({"grid": profile["grid"][:1]}, Overrides())[0].evaluation.tasks


def test_the_task_that_its_owners_give_out_is_scored_where_the_mirror_has_it(tmp_path, monkeypatch):
    monkeypatch.delenv("CALIBENCH_DATA", raising=False)
    profile = load_profile("paper")
    assert len(tasks(profile)) == 10
    ((name, why),) = left_out(profile, Overrides()).items()
    assert name == "storycloze_2018"
    assert "tasks/storycloze_2018/validation.jsonl" in why
    assert not left_out(profile, Overrides(tasks=("piqa",)))

    folder = write_mirror(tmp_path)
    (folder / "tasks/storycloze_2018").mkdir()
    shutil.copy(folder / "tasks/storycloze/test.jsonl", folder / "tasks/storycloze_2018/validation.jsonl")
    monkeypatch.setenv("CALIBENCH_DATA", str(folder))
    assert tasks(profile)[-1] == "storycloze_2018"
    assert len(tasks(profile)) == 11
    assert not left_out(profile, Overrides())


@pytest.mark.parametrize(("name", "message"), [("piqa", "anyone can have piqa"), ("storyclose", "did you mean 'stor")])
def test_only_a_gated_task_may_be_left_out(name, message):
    profile = load_profile("paper")
    profile["grid"][0]["evaluation"]["gated"] = [name]
    with pytest.raises(GridError, match=rf"\[grid.evaluation\]: gated: .*{message}"):
        build_cases(profile, Overrides())


def tiny(kind):
    import torch
    import transformers

    name, sizes = FAMILIES[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**sizes)).eval()


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("method", ["gptq-w4g16", "awq-w4g16", "spqr-w4g16", "wanda-2of4", "sparsegpt-2of4"])
def test_a_tiny_model_of_the_family_is_compressed(kind, method):
    import torch

    import compressors

    model = tiny(kind)
    ids = torch.randint(3, 128, (4, 32), generator=torch.Generator().manual_seed(1))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    report = compressors.compress(model, ids, method)
    linears = dict(compressors.linears(model))
    assert len(report.linears) == len(linears) > 8
    assert all(not torch.equal(module.weight, before[f"{name}.weight"]) for name, module in linears.items())
    if "2of4" in method:
        assert all(int((m.weight.unflatten(1, (-1, 4)) == 0).sum(2).min()) >= 2 for m in linears.values())
    with torch.no_grad():
        assert torch.isfinite(model(input_ids=ids).logits).all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_tiny_model_of_the_family_is_scored_as_one_request_at_a_time_would_be(kind):
    import torch

    from fixtures.prefix_tree import build_plan
    from fixtures.scoring import can_share, model_length, score

    model = tiny(kind)
    for weight in model.parameters():
        weight.data.mul_(8 if weight.dim() > 1 else 1)  # else every prediction is the same
    numbers = torch.Generator().manual_seed(2)
    contexts = [torch.randint(3, 128, (length,), generator=numbers).tolist() for length in (5, 9, 14)]
    requests = [(context, [ending, 7 + ending][: 1 + ending % 2]) for context in contexts for ending in (5, 6, 40)]
    plan = build_plan(requests, max_length=model_length(model), batch_size=4, share=can_share(model))
    expected = []
    with torch.no_grad():
        for context, answer in requests:
            logits = model(input_ids=torch.tensor([context + answer])).logits[0, len(context) - 1 : -1]
            picked = logits.double().log_softmax(-1)[range(len(answer)), answer]
            expected.append(float(picked.sum()))
    assert score(model, plan).loglikelihood == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 2) for value in expected}) > 3
