"""A tiny model, its tokenizer and its text, made in seconds and the same every time. No network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WORDS = 300


def documents(seed: int, count: int = 120, length: int = 80) -> list[str]:
    """Texts of made-up words whose frequencies differ by seed, so that two sources differ."""
    generator = np.random.default_rng([seed, 77])
    letters = np.array(list("abcdefghijklmnoprstuvw"))
    lexicon = ["".join(generator.choice(letters, size=generator.integers(2, 8))) for _ in range(WORDS)]
    weights = generator.dirichlet(np.full(WORDS, 0.3))
    return [" ".join(generator.choice(lexicon, size=length, p=weights)) for _ in range(count)]


def write_text(path: Path, seed: int) -> Path:
    """One document a line: JSON lines with a field ``text``, or plain text with blank lines between documents."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(seed)))
    else:
        path.write_text("\n\n".join(documents(seed)))
    return path


def write_model(folder: Path, texts: list[Path], hidden: int = 64) -> Path:
    """A random Llama of two blocks with a byte-pair tokenizer of 512 pieces, in the files that transformers reads."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pieces = ByteLevelBPETokenizer()
    pieces.train([str(path) for path in texts], vocab_size=512, special_tokens=["<|end|>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, eos_token="<|end|>", bos_token="<|end|>")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    # Global seeding stays inside: transformers initializes from torch's own generator.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    stream = tokenizer("\n".join(text for path in texts for text in read_text(path)))["input_ids"]
    train(model, torch.tensor(stream))
    model.save_pretrained(folder)
    return folder


def read_text(path: Path) -> list[str]:
    if path.suffix == ".jsonl":
        return [json.loads(line)["text"] for line in path.read_text().splitlines()]
    return path.read_text().split("\n\n")


def train(model, stream, steps: int = 120, batch: int = 16, length: int = 64) -> None:
    """Enough to beat chance: a random model is as good with its weights permuted."""
    import torch

    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        starts = torch.randint(0, len(stream) - length, (batch,), generator=generator)
        ids = torch.stack([stream[start : start + length] for start in starts])
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
