"""Small text, a small tokenizer and small records, made here: no test that uses them needs a network."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from fixtures.known_corpus import train_tokenizer
from fixtures.records import Case, DomainScores, DrawSpec, EvaluationSpec, Record

SYLLABLES = ("ka", "lo", "mi", "ner", "tas", "vu", "pel", "dor", "sin", "wex", "hul", "bra", "jo", "fem", "quon", "zar")


def documents(count: int, seed: int = 0, shortest: int = 20, longest: int = 120) -> list[str]:
    """Distinct texts of ``shortest`` to ``longest`` made-up words."""
    generator = np.random.default_rng(seed)
    texts = []
    for number in range(count):
        words = generator.choice(SYLLABLES, size=(generator.integers(shortest, longest + 1), 2))
        texts.append(f"{number}: " + " ".join(a + b for a, b in words))
    return texts


def write_jsonl(path: Path, texts: list[str]) -> str:
    """Writes the texts and returns the name of the source."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return f"jsonl:{path}#text"


@functools.cache
def tokenizer():
    """A byte-pair tokenizer of 400 tokens."""
    return train_tokenizer(documents(50, seed=9), 400)


def record(key: str = "k0", nll: float = 1.25) -> Record:
    """A small valid record under the key ``key``."""
    case = Case("tiny", "wanda-0.5", DrawSpec("news", 0, 2, 8), EvaluationSpec(domains=("news",), documents=2))
    scores = DomainScores(["a" * 64, "b" * 64], [nll, 2.5], [3, 4])
    made = Record(case=case.to_dict(), keys={"record": key}, nll={"news": scores})
    return Record.from_dict(json.loads(json.dumps(made.to_dict())))


def start_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Another Python process that runs ``script`` in the root of the checkout, its output piped."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    root = Path(__file__).parents[1]
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
