"""``python -m benchmarks.advise``: which of my candidate sources should I calibrate on?

    python -m benchmarks.advise --model M --method wanda-2of4 --sources web,news,dialogue --target text:mine.txt

First, without compressing anything: how like the *target* (the text that the compressed model will be judged on) draws
of every source are, in the inputs that the linears see and in n-grams. Then, with ``--pilot``, the model is compressed
on a few draws of each and its loss on the target measured. Either answer says which sources cannot be told apart.

``--accuracy STORE`` reads finished records instead, and says how often the first advice would have been right. For
known-corpus models the target is a domain that is no candidate: that the same text is best is no news.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.advice import Hit, Ranking, accuracy, rank
from benchmarks.grid import split_list

MEASURE = "activation-distance"
SHOWN = (MEASURE, "jaccard-3", "js-1", "perplexity")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the advice as Markdown; returns the exit status."""
    options = _parser().parse_args(arguments)
    import compressors
    import fixtures

    problems = (fixtures.ModelError, fixtures.SourceError, fixtures.CapacityError, fixtures.PackageError)
    try:
        if options.accuracy:
            from benchmarks.advice_accuracy import found_hits, provenance

            hits = found_hits(options.accuracy, MEASURE)
            return _show_accuracy(hits, provenance(options.accuracy), options)
        if options.seeds < 1:
            raise ValueError(f"--seeds {options.seeds}: expected 1 or more draws of each source")
        compressors.parse(options.method)
        if options.json and not Path(options.json).parent.is_dir():
            raise ValueError(f"--json {options.json}: no such folder")
        return _advise(options)
    except (*problems, compressors.MethodError, ValueError) as error:
        print(f"advise: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.advise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="known-corpus-1m", help="whose calibration data it is (%(default)s)")
    parser.add_argument("--method", default="wanda-0.5", help="compresses in the pilot (%(default)s)")
    parser.add_argument("--sources", type=split_list, default=(), help="candidates, apart by commas")
    parser.add_argument("--target", help="a source of text like that which the model will be used on")
    parser.add_argument("--seeds", type=int, default=3, help="draws of each source (%(default)s)")
    parser.add_argument("--sequences", type=int, default=32, help="sequences a draw (%(default)s)")
    parser.add_argument("--length", type=int, default=256, help="tokens a sequence (%(default)s)")
    parser.add_argument(
        "--documents", type=int, default=32, help="documents of the target that a pilot scores (%(default)s)"
    )
    parser.add_argument("--slices", type=int, default=10, help="draws that a source is dealt into (%(default)s)")
    parser.add_argument(
        "--pilot", action="store_true", help="also compress on these draws and measure the target's loss"
    )
    parser.add_argument("--store", default="reports/out", help="records of the pilot (%(default)s)")
    parser.add_argument("--device", default="cpu", help="where the model runs (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--accuracy", metavar="STORE", action="append", help="judge this advice on finished records")
    return parser


def _advise(options: argparse.Namespace) -> int:
    if len(options.sources) < 2 or not options.target:
        raise ValueError("expected at least two --sources and a --target (the text that the model will be judged on)")
    values, statistics = likeness(options)
    before = rank({source: [row[MEASURE] for row in rows] for source, rows in values.items()})
    print(f"# {options.method} on {options.model}, judged on {options.target}\n\n## Before compressing\n")
    print(_table(before, values, statistics) + "\n\n" + verdict(before, "by likeness to the target"))
    second = rank({source: [-row["jaccard-3"] for row in rows] for source, rows in values.items()})
    if second.first != before.first:
        print(f"Its n-grams name another first, {second.first}: take this advice as open until a pilot.")
    print("\n" + _experience())
    found: dict[str, Any] = {"measures": values, "before": before.__dict__}
    if options.pilot:
        damage = pilot(options)
        after = rank(damage)
        print(f"\n## After a pilot of {options.seeds} draws each\n")
        print("| source | loss on the target minus dense (nats a token) |\n|---|---:|")
        print("\n".join(f"| {source} | {after.mean[source]:.4f} |" for source in after.order))
        print("\n" + verdict(after, "by the pilot"))
        found |= {"damage": damage, "after": after.__dict__}
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0


def likeness(options: argparse.Namespace) -> tuple[dict[str, list[dict[str, float]]], dict[str, float]]:
    """Measures of every draw of every source against the target, and the share of distinct tokens of each source."""
    import fixtures
    from fixtures.similarity import similarity

    model, tokenizer = fixtures.load_model(options.model, device=options.device)
    reference = target_reference(options.target, tokenizer, options.sequences * options.length, options.length)
    values: dict[str, list[dict[str, float]]] = {}
    kinds = {}
    for source in options.sources:
        draws = [draw(options, source, seed, tokenizer) for seed in range(options.seeds)]
        values[source] = [similarity(ids, reference, model, SHOWN).values for ids in draws]
        kinds[source] = float(np.mean([len(np.unique(ids)) / ids.size for ids in draws]))
    return values, kinds


def draw(options: argparse.Namespace, source: str, seed: int, tokenizer: Any) -> np.ndarray:
    """Token ids of one draw, as the pilot will take it."""
    import fixtures

    found = fixtures.draw_calibration_set(
        source, tokenizer, seed, options.sequences, options.length, slices=options.slices, model=options.model
    )
    return found.token_ids


def target_reference(target: str, tokenizer: Any, tokens: int, length: int) -> Any:
    """Held-out text of the target, up to ``tokens`` tokens, as windows of ``length``."""
    import fixtures
    from fixtures.known_corpus import stream_windows
    from fixtures.similarity import Reference

    texts = fixtures.get_source(target).split("held-out")["text"][:]
    windows = stream_windows(tokenizer, texts, length)
    return Reference(target, windows[: max(1, tokens // length)])


def pilot(options: argparse.Namespace) -> dict[str, list[float]]:
    """Loss on the target minus the dense model's, nats a token, one value a draw."""
    import fixtures
    from fixtures.runner import Runner

    evaluation = fixtures.EvaluationSpec(domains=(options.target,), documents=options.documents)
    runner = Runner(fixtures.Store(options.store))

    def loss(method: str, spec: Any) -> float:
        case = fixtures.Case(options.model, method, spec, evaluation, device=options.device)
        scores = runner.run(case)[0].nll[options.target]
        return sum(scores.nll) / sum(scores.tokens)

    dense = loss("dense", None)
    damage: dict[str, list[float]] = {}
    for source in options.sources:
        for seed in range(options.seeds):
            spec = fixtures.DrawSpec(source, seed, options.sequences, options.length, slices=options.slices)
            damage.setdefault(source, []).append(loss(options.method, spec) - dense)
    return damage


def verdict(ranking: Ranking, how: str) -> str:
    """One sentence: the first choice, how sure, and what cannot be told from it."""
    if ranking.deviation is None:
        return f"{ranking.first} comes first {how}; with one draw of each there is no saying how sure that is."
    if ranking.sure:
        return f"{ranking.first} comes first {how}, and stands apart from all others (95 %, SD over draws)."
    tied = ", ".join(ranking.tied)
    return (
        f"{ranking.first} comes first {how}, but cannot be told from {tied}: any of them will do, or more draws must "
        f"decide (differences below {ranking.detectable:.3g} are not seen with these)."
    )


def _table(ranking: Ranking, values: dict[str, list[dict[str, float]]], kinds: dict[str, float]) -> str:
    lines = [f"| source | {' | '.join(SHOWN)} | distinct tokens |", "|---|" + "---:|" * (len(SHOWN) + 1)]
    for source in ranking.order:
        means = [f"{np.mean([row[name] for row in values[source]]):.4g}" for name in SHOWN]
        lines.append(f"| {source} | {' | '.join(means)} | {100 * kinds[source]:.1f} % |")
    return "\n".join(lines)


def _experience() -> str:
    path = Path(__file__).parents[1] / "reports" / "reference" / "advice.json"
    if not path.is_file():
        return "How often such advice is right has not been measured here yet: see --accuracy."
    known = json.loads(path.read_text())
    return _sentence(known["accuracy"], known["records"])


def _sentence(found: dict[str, float], records: dict[str, Any]) -> str:
    first, within = 100 * found["first"], 100 * found["within"]
    said = (
        f"On {', '.join(records['models'])} (records made {' and '.join(records['made'])} on "
        f"{', '.join(records['devices'])}), such advice named the best source in {first:.0f} % of "
        f"{found['cells']:.0f} cells and one not told from it in {within:.0f} % (a source taken at random: "
        f"{100 * found['random_within']:.0f} %); its regret was "
        f"{100 * found['regret']:.1f} % of the damage, that of a source taken at random "
        f"{100 * found['random_regret']:.1f} %."
    )
    if "within_when_sure" in found:
        said += (
            f" It called itself sure in {100 * found['sure']:.0f} % of the cells, and named the best source or one not "
            f"told from it in {100 * found['within_when_sure']:.0f} % of those."
        )
    return said


def _show_accuracy(hits: list[Hit], records: dict[str, Any], options: argparse.Namespace) -> int:
    found = accuracy(hits)
    print("| cell | advised | best | within | regret (share of the damage) |\n|---|---|---|---|---:|")
    for hit in hits:
        print(
            f"| {hit.cell} | {hit.advised} | {hit.best} | {'yes' if hit.within else 'no'} | {100 * hit.share:.1f} % |"
        )
    print("\n" + _sentence(found, records))
    if options.json:
        Path(options.json).write_text(json.dumps({"accuracy": found, "records": records}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
