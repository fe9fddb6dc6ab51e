"""Is the perplexity of whole texts that of lm-eval's own ``hf`` model?

``python -m benchmarks.perplexity_agreement --model smollm2-135m --tasks wikitext,alpaca --items 3``. Both score the
same rows in this process; ``hf`` by lm-eval's own ``evaluate`` over the stock task. The exit status is 1 if the loss of
any text differs by more than 1e-5 nats a token in float32; in half precision differences are only shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from fixtures.records import PerplexityScores

BOUND = 1e-5  # nats a token, float32
SHOWN = ("word_perplexity", "byte_perplexity", "bits_per_byte")


@dataclass(frozen=True)
class Agreement:
    """One task: texts and tokens scored, our and lm-eval's figures by metric, and the largest difference of a text's
    loss in nats a token.
    """

    task: str
    texts: int
    tokens: int
    ours: dict[str, float]
    theirs: dict[str, float]
    largest: float

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {self.ours[name]:.7f} and {self.theirs[name]:.7f}" for name in SHOWN)
        return (
            f"{self.task}: {self.texts} texts, {self.tokens:,} tokens: {figures} (ours and lm-eval's hf); "
            f"no text's loss differs by more than {self.largest:.2g} nats a token"
        )


def agreement(model: Any, tokenizer: Any, task: str, items: int | None = None, batch_size: int = 16) -> Agreement:
    """Scores a task of whole texts both ways; raises ``TaskError`` for one that is not scored by perplexity."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    import fixtures
    from fixtures.task_rows import load_rows
    from fixtures.task_stock import quiet, stock_task
    from fixtures.task_table import PERPLEXITY, TaskError, get_task
    from fixtures.task_texts import load_texts

    row = get_task(task)
    if row.metric != PERPLEXITY:
        raise TaskError(f"task {task!r} is scored by {row.metric}: benchmarks.scoring_speed --agree compares it")
    mine = fixtures.evaluate(model, tokenizer, [task], items=items, batch_size=batch_size)[task]
    # lm-eval's hf puts a second BOS before the text of a tokenizer that adds one by itself, and scores it.
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, add_bos_token=False)
    with quiet():
        stock = stock_task(row, {row.split: load_rows(row)[0]})
        found = evaluate(lm, {task: stock}, samples={task: sorted(load_texts(task, items).indices)}, bootstrap_iters=0)
    theirs = {name: found["results"][task][f"{name},none"] for name in SHOWN}
    loss = {sample["doc_hash"]: -_number(sample["filtered_resps"][0]) for sample in found["samples"][task]}
    scores = cast(PerplexityScores, mine.scores)
    each = zip(scores.document_hash, scores.nll, scores.tokens, strict=True)
    largest = max(abs(nll - loss[name]) / tokens for name, nll, tokens in each)
    ours = {name: mine[name] for name in SHOWN}
    return Agreement(task, len(scores.nll), sum(scores.tokens), ours, theirs, largest)


def _number(value: Any) -> float:
    return float(value[0] if isinstance(value, (list, tuple)) else value)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perplexity_agreement", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tasks", default="wikitext", help="tasks of whole texts (default: wikitext)")
    parser.add_argument("--items", type=int, help="texts a task (default: all)")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    import torch

    import fixtures

    torch.set_num_threads(asked.threads)
    try:
        model, tokenizer = fixtures.load_model(asked.model, dtype=asked.dtype, device=asked.device)
        found = []
        for task in asked.tasks.split(","):
            found.append(agreement(model, tokenizer, task, asked.items))
            print(found[-1], flush=True)
    except (fixtures.ModelError, fixtures.TaskError) as error:
        parser.error(str(error))
    return int(asked.dtype == "float32" and any(one.largest > BOUND for one in found))


if __name__ == "__main__":
    raise SystemExit(main())
