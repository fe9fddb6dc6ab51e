"""A model, a tokenizer and rows of tasks small enough for every test."""

from __future__ import annotations

import json
from pathlib import Path

import torch

TEXT = "the a cat dog tree house river stone runs sleeps falls grows green old small why does it is not where who"
WORDS = TEXT.split()


def tiny_tokenizer(size: int = 300, bos: bool = False):
    """A byte-level byte-pair tokenizer learnt from a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator([" ".join(WORDS), *WORDS], trainer)
    if bos:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def tiny_model(vocabulary: int = 320, seed: int = 0, positions: int = 512, scale: float = 0.3):
    """A random Llama whose weights are large enough for its predictions to depend on the whole context."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=positions,
    )
    model = LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return model


def sentence(number: int, words: int) -> str:
    """Words that differ from number to number."""
    return " ".join(WORDS[(number * 7 + i * i + i) % len(WORDS)] for i in range(words))


def make_rows(n: int = 12) -> dict[str, list[dict]]:
    """Rows for one task of every kind: varying and fixed choices, several contexts, a last word."""
    options = [[sentence(5 * i + j, 1 + (i + j) % 4) + "." * (j + 1) for j in range(4)] for i in range(n)]
    return {
        "arc_easy/test": [
            {
                "id": str(i),
                "question": sentence(i, 3 + i),
                "choices": {"text": options[i], "label": list("ABCD")},
                "answerKey": "ABCD"[i * i % 4],
            }
            for i in range(n)
        ],
        "piqa/validation": [
            {"goal": sentence(i, 4), "sol1": sentence(i + 1, 5), "sol2": sentence(i + 2, 3), "label": i % 2}
            for i in range(n)
        ],
        "boolq/validation": [
            {"passage": sentence(i, 20), "question": sentence(i, 4), "label": i % 3 % 2, "idx": i} for i in range(n)
        ],
        "winogrande/validation": [
            {
                "sentence": f"{sentence(i, 6)} _ {sentence(i, 3)}",
                "option1": "cat",
                "option2": "dog",
                "answer": str(1 + i % 2),
            }
            for i in range(n)
        ],
        "lambada_openai/test": [{"text": sentence(i, 6 + i)} for i in range(n)],
        "hellaswag/validation": [
            {
                "ctx_a": sentence(i, 4),
                "ctx_b": sentence(i, 2),
                "activity_label": "Cat",
                "endings": options[i],
                "label": str(i % 4),
            }
            for i in range(n)
        ],
        **more_rows(n, options),
    }


def more_rows(n: int, options: list[list[str]]) -> dict[str, list[dict]]:
    """Rows of the other tasks."""
    subjects = ("anatomy", "virology", "astronomy")
    arc = {"label": list("ABCD")}
    return {
        "arc_challenge/test": [
            {
                "id": str(i),
                "question": sentence(i, 4),
                "choices": {"text": options[i], **arc},
                "answerKey": "DABC"[i % 4],
            }
            for i in range(n)
        ],
        "openbookqa/test": [
            {
                "id": str(i),
                "question_stem": sentence(i, 5),
                "choices": {"text": options[i], **arc},
                "answerKey": "BCDA"[i % 4],
            }
            for i in range(n)
        ],
        "rte/validation": [
            {"sentence1": sentence(i, 12), "sentence2": sentence(i + 1, 5), "label": i % 2, "idx": i} for i in range(n)
        ],
        "storycloze/test": [_story(i) for i in range(n)],
        "mmlu/test": [_question(i, subjects[i % 3], options[i]) for i in range(n)],
        "mmlu/dev": [_question(100 + i, subjects[i // 6], options[i % n]) for i in range(18)],
        "wikitext/test": [
            {"page": f" = {sentence(i, 2)} = \n\n {sentence(i, 30 + 5 * i)} , {sentence(i, 3)} . \n"} for i in range(n)
        ],
        "alpaca/train": [{"text": f"### Instruction:\n{sentence(i, 8)}\n\n{sentence(i, 9)}"} for i in range(n)],
    }


def _question(i: int, subject: str, choices: list[str]) -> dict:
    return {"question": f"{sentence(i, 4)} {i}", "subject": subject, "choices": choices, "answer": i * i % 4}


def _story(i: int) -> dict:
    row = {f"input_sentence_{k}": sentence(4 * i + k, 5) for k in range(1, 5)}
    return {
        **row,
        "sentence_quiz1": sentence(i, 4),
        "sentence_quiz2": sentence(i + 3, 4),
        "answer_right_ending": 1 + i % 2,
    }


def write_mirror(folder: Path, n: int = 12) -> Path:
    """A folder for ``CALIBENCH_DATA`` with the rows of ``make_rows``."""
    for name, rows in make_rows(n).items():
        path = folder / "tasks" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
