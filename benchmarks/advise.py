"""``python -m benchmarks.advise``: which of my candidate sources should I calibrate on?

    python -m benchmarks.advise --model M --method wanda-2of4 --sources web,news,dialogue --target text:mine.txt

First, without compressing anything: how like the *target* (the text that the compressed model will be judged on) draws
of every source are, in the inputs that the linears see and in n-grams. Then, with ``--pilot``, the model is compressed
on a few draws of each and its loss on the target measured. Either answer says which sources cannot be told apart. Of
several targets, apart by commas, the mean counts.

``--accuracy STORE`` reads finished records instead, and says how often the first advice would have been right, and how
often that of a pilot of ``--seeds`` draws. For known-corpus models the target is a domain that is no candidate: that
the same text is best is no news.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import advice_text as text
from benchmarks.advice import rank, summary
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
        if options.json and not Path(options.json).parent.is_dir():
            raise ValueError(f"--json {options.json}: no such folder")
        if missing := [path for path in options.accuracy or () if not (Path(path) / "records").is_dir()]:
            raise ValueError(f"--accuracy {missing[0]}: no store of records (a folder with 'records')")
        if options.accuracy:
            return _accuracy(options)
        check(options)
        return _advise(options)
    except (*problems, compressors.MethodError, fixtures.StoreError, ValueError) as error:
        print(f"advise: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.advise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="known-corpus-1m", help="whose calibration data it is: a name or a folder (%(default)s)")
    add("--method", default="wanda-0.5", help="compresses in the pilot (%(default)s)")
    add("--sources", type=split_list, default=(), help="candidates, apart by commas")
    add("--target", type=split_list, default=(), help="sources of text like that which the model will be used on")
    add("--seeds", type=int, default=3, help="draws of each source (%(default)s)")
    add("--sequences", type=int, default=32, help="sequences a draw (%(default)s)")
    add("--length", type=int, default=256, help="tokens a sequence (%(default)s)")
    add("--documents", type=int, default=32, help="documents of each target that a pilot scores (%(default)s)")
    add("--slices", type=int, default=10, help="draws that a source is dealt into (%(default)s)")
    add("--pilot", action="store_true", help="also compress on these draws and measure the target's loss")
    add("--store", default="reports/out", help="records of the pilot (%(default)s)")
    add("--device", default="cpu", help="where the model runs (%(default)s)")
    add("--json", metavar="FILE", help="write the figures there too")
    add("--accuracy", metavar="STORE", action="append", help="judge such advice on finished records; repeatable")
    return parser


def check(options: argparse.Namespace) -> None:
    """Raises ``ValueError`` (or the error of the source or method) for what would fail later, or say nothing."""
    import compressors
    import fixtures

    if len(options.sources) < 2 or not options.target:
        raise ValueError(
            "expected at least two --sources and a --target: the text that the model will be judged on, such as "
            "--target text:mine.txt, or several for general use, --target web,news,dialogue"
        )
    twice = [name for name in options.sources if options.sources.count(name) > 1]
    if twice:
        raise ValueError(f"--sources names {twice[0]!r} twice; expected different candidates")
    for option in ("seeds", "sequences", "documents", "slices"):
        if getattr(options, option) < 1:
            raise ValueError(f"--{option} {getattr(options, option)}: expected 1 or more")
    if options.seeds > options.slices:
        raise ValueError(f"--seeds {options.seeds}: a source is dealt into {options.slices} draws (see --slices)")
    if not compressors.parse(options.method).calibrated:
        raise ValueError(
            f"--method {options.method} looks at no calibration data: every source gives the same weights; expected a "
            "method that does, such as gptq-w4g64 or wanda-0.5"
        )
    for name in options.sources:
        fixtures.get_source(name, options.model)
    for name in options.target:
        if not fixtures.get_source(name, options.model).has_text:
            raise ValueError(f"--target {name}: it has no documents to measure a loss on; expected a source of text")
        if options.pilot:
            try:
                fixtures.held_out_documents(name, options.documents)
            except fixtures.SourceError as error:
                raise ValueError(f"--target {name}: {error}; ask for fewer (--documents), or give more text") from error


def _advise(options: argparse.Namespace) -> int:
    judges = ", ".join(options.target)
    values, statistics, notes = likeness(options)
    before = rank({source: [row[MEASURE] for row in rows] for source, rows in values.items()})
    print(f"# {options.method} on {options.model}, judged on {judges}\n\n## Before compressing\n")
    print(text.likeness_table(before, values, statistics, SHOWN) + "\n")
    print("\n".join([*notes, text.verdict(before, "by likeness to the target")]))
    second = rank({source: [-row["jaccard-3"] for row in rows] for source, rows in values.items()})
    if second.first != before.first:
        print(f"Its n-grams name another first, {second.first}: take this advice as open until a pilot.")
    print("\n" + text.experience(options.method))
    found: dict[str, Any] = {"measures": values, "before": asdict(before)}
    if options.pilot:
        damage, free = pilot(options)
        after = rank(damage)
        print(f"\n## After a pilot of {options.seeds} draws each\n\n" + text.pilot_table(after, damage, free))
        print("\n" + text.verdict(after, "by the pilot") + "\n" + text.stakes(after, free))
        if said := text.experience(options.method, "pilot"):
            print("\n" + said)
        found |= {"damage": damage, "after": asdict(after), "without data": free}
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0


def likeness(options: argparse.Namespace) -> tuple[dict[str, list[dict[str, float]]], dict[str, float], list[str]]:
    """Measures of every draw of every source against the target (the mean over several), the share of distinct tokens
    of each source, and what there is to say about the comparison."""
    import fixtures
    from fixtures.similarity import Reference, similarity

    tokenizer, tokens = fixtures.load_tokenizer(options.model), options.sequences * options.length
    references = [target_reference(name, tokenizer, tokens, options.length) for name in options.target]
    # All draws first: a source with too little text is said before the model has run on the others.
    draws = {
        source: [Reference("", draw(options, source, seed, tokenizer)) for seed in range(options.seeds)]
        for source in options.sources
    }
    model, _ = fixtures.load_model(options.model, device=options.device)
    values: dict[str, list[dict[str, float]]] = {}
    for source, sets in draws.items():
        found = [[similarity(ids, reference, model, SHOWN).values for reference in references] for ids in sets]
        values[source] = [{name: float(np.mean([row[name] for row in rows])) for name in SHOWN} for rows in found]
    kinds = {
        source: float(np.mean([len(np.unique(ids.token_ids)) / ids.token_ids.size for ids in sets]))
        for source, sets in draws.items()
    }
    notes = [
        f"{reference.name} has only {reference.token_ids.size} held-out tokens: compared at that amount, not at the "
        f"{tokens} of a draw."
        for reference in references
        if reference.token_ids.size < tokens
    ]
    return values, kinds, notes


def draw(options: argparse.Namespace, source: str, seed: int, tokenizer: Any) -> np.ndarray:
    """Token ids of one draw, as the pilot will take it."""
    import fixtures

    found = fixtures.draw_calibration_set(
        source, tokenizer, seed, options.sequences, options.length, slices=options.slices, model=options.model
    )
    return found.token_ids


def target_reference(target: str, tokenizer: Any, tokens: int, length: int) -> Any:
    """Held-out text of the target, up to ``tokens`` tokens, as windows of ``length``; raises ``ValueError`` naming the
    target if there is less than a window."""
    import fixtures
    from fixtures.known_corpus import stream_windows
    from fixtures.similarity import Reference

    rows, wanted, count = fixtures.get_source(target).split("held-out"), max(1, tokens // length), 64
    while True:  # a public source may hold out millions of tokens: only as many documents as it takes
        try:
            windows = stream_windows(tokenizer, rows[:count]["text"], length)
        except ValueError as error:
            if count >= len(rows):
                raise ValueError(f"--target {target}: {error} ({len(rows)} documents are held out)") from error
        else:
            if len(windows) >= wanted or count >= len(rows):
                return Reference(target, windows[:wanted])
        count *= 4


def pilot(options: argparse.Namespace) -> tuple[dict[str, list[float]], tuple[str, float] | None]:
    """Loss on the target (the mean over several) minus the dense model's, nats a token, one value a draw; and that of
    the method of the same kind that needs no calibration data, if there is one."""
    import fixtures
    from fixtures.runner import Runner

    evaluation = fixtures.EvaluationSpec(domains=options.target, documents=options.documents)
    runner = Runner(fixtures.Store(options.store))

    def loss(method: str, spec: Any) -> float:
        case = fixtures.Case(options.model, method, spec, evaluation, device=options.device)
        scores = [runner.run(case)[0].nll[target] for target in options.target]
        return float(np.mean([score.mean_of_tokens for score in scores]))

    def drawn(source: str, seed: int) -> Any:
        return fixtures.DrawSpec(source, seed, options.sequences, options.length, slices=options.slices)

    dense = loss("dense", None)
    damage = {
        source: [loss(options.method, drawn(source, seed)) - dense for seed in range(options.seeds)]
        for source in options.sources
    }
    plain = without_data(options.method)
    free = None if plain is None else (plain, loss(plain, drawn(options.sources[0], 0)) - dense)
    return damage, free


def without_data(method: str) -> str | None:
    """The method that aims at the same without calibration data: magnitude for pruning, rounding for bits.

    >>> without_data("sparsegpt-2of4"), without_data("gptq-w3g64:actorder=true"), without_data("sparsegpt-0.5-w4g64")
    ('magnitude-2of4', 'rtn-w3g64', None)
    """
    import compressors

    target = compressors.parse(method).target
    plain = {"sparsity": "magnitude", "pattern": "magnitude", "bits": "rtn"}.get(target.kind)
    return None if plain is None else f"{plain}-{target}"


def _accuracy(options: argparse.Namespace) -> int:
    from benchmarks.advice_accuracy import found_hits, pilot_hits, provenance

    hits, lost = found_hits(options.accuracy, MEASURE)
    for line in lost:
        print(f"advise: left out: {line}", file=sys.stderr)
    found: dict[str, Any] = {"accuracy": summary(hits), "records": provenance(options.accuracy, hits)}
    print(text.hit_table(hits) + "\n\n" + text.sentence(found["accuracy"], found["records"]))
    tried = pilot_hits(options.accuracy, options.seeds)
    if tried:
        records = provenance(options.accuracy, tried)
        found["pilot"] = {"draws": options.seeds, **summary(tried), "records": records}
        print("\n" + text.sentence(found["pilot"], records, "pilot"))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
