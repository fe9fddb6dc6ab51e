"""``python -m benchmarks.likeness --store DIR``: does similarity, known before compressing, order the sources?

Of records that ``python -m fixtures similarity`` has been over: every measure's rank correlation with how little damage
the sources do, a source counting once, with its 95 % interval (claims B14, B15); for the natural sources, those that no
model wrote or chose and nothing was done to, and for all. Then what was measured, and the Jaccard index by amount.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims.__main__ import records_of
from benchmarks.claims.contrasts import similarities
from benchmarks.claims.judge import ClaimError
from benchmarks.claims.panels import NoEvidence, View
from benchmarks.claims.world import World
from fixtures.bundle import BundleError
from fixtures.similarity import MEASURES
from fixtures.store import StoreError
from reports.statistics.rank_association import rank_association

FEWEST = 12  # sources
OUTCOME = "nll"
MADE = "selfgen|~|unigram|cola|covercal|zipcal|lowppl|longest"  # in names of written, corrupted and chosen text
AMOUNTS = (512, 1024, 2048, 4096, 8192)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables as Markdown; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.likeness", description=__doc__)
    parser.add_argument("--store", action="append", required=True, help="records with draw['similarity']; repeatable")
    parser.add_argument("--curve", action="store_true", help="draw again, and show the Jaccard index by amount")
    options = parser.parse_args(arguments)
    try:
        world = World([record for store in options.store for record in records_of(Path(store))])
        for view in found_views(world):
            print("\n".join([*correlations(view), "", *measured(view)]))
            if options.curve:
                print("\n" + "\n".join(curve(view)))
    except (ClaimError, NoEvidence, StoreError, BundleError) as error:
        print(f"likeness: {error}", file=sys.stderr)
        return 2
    return 0


def found_views(world: World) -> list[View]:
    """The panels in which enough sources have a similarity; raises ``NoEvidence`` if none has."""
    found = []
    for panel in world.panels:
        if panel.dense is None or not panel.calibrated:
            continue
        try:
            view = panel.view(OUTCOME)
        except NoEvidence:
            continue  # tasks alone, or no neutral text
        if any(len(held) >= FEWEST for held in similarities(view, panel.calibrated[0]).values()):
            found.append(view)
    if not found:
        raise NoEvidence(
            f"no model has {FEWEST} sources with draw['similarity'] and the dense model's record: run "
            "python -m fixtures similarity --store DIR first"
        )
    return found


def correlations(view: View) -> list[str]:
    """Markdown: one line a method, measure and kind of sources; positive is the expected direction."""
    lines = [f"# {view.panel.name}: likeness to the training text against damage ({OUTCOME})", ""]
    lines += [
        "| method | measure | sources | Spearman's r | 95 % interval | detectable |",
        "|---|---|---:|---:|---|---:|",
    ]
    for method in view.panel.calibrated:
        for kind, left_out in (("natural", MADE), ("all", "")):
            for measure, held in sorted(similarities(view, method, left_out).items()):
                x = [_sign(measure) * value for value in held.values()]
                y = [-float(view.means(method, source).mean()) for source in held]
                if len(x) < FEWEST or len(set(x)) < 2:
                    continue
                found = rank_association(x, y)
                interval = f"{found.low:.2f} to {found.high:.2f}"
                cells = (method, measure, f"{len(x)} {kind}", f"{found.r:.2f}", interval, f"{found.detectable:.2f}")
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def _sign(measure: str) -> int:
    return MEASURES.get(measure.split(" to ")[0], 1)


def measured(view: View) -> list[str]:
    """Markdown: the mean over draws of every measure, and of the damage by every method, source by source."""
    by_method = {method: similarities(view, method) for method in view.panel.calibrated}
    methods = [m for m, held in by_method.items() if any(len(values) >= FEWEST for values in held.values())]
    held = by_method[methods[0]]
    first = next(iter(held))
    sources = sorted(held[first], key=lambda source: -_sign(first) * held[first][source])
    lines = [f"| source | {' | '.join(held)} | {' | '.join(f'damage {method}' for method in methods)} |"]
    lines.append("|---|" + "---:|" * (len(held) + len(methods)))
    for source in sources:
        values = [f"{held[measure][source]:.4g}" if source in held[measure] else "" for measure in held]
        for method in methods:
            known = (method, source) in view.panel.cells
            values.append(f"{float(view.means(method, source).mean()):.4f}" if known else "")
        lines.append(f"| {source} | {' | '.join(values)} |")
    return lines


def curve(view: View) -> list[str]:
    """Markdown: the 3-gram index of draw 0 with the training text at equal amounts, of natural sources unmixed."""
    import fixtures
    from fixtures.ngrams import jaccard_curve
    from fixtures.similarity import training_reference

    model, length = view.panel.model, view.panel.case["draw"]["sequence_length"]
    amounts = [amount for amount in AMOUNTS if length <= amount <= view.panel.tokens]
    tokenizer, reference = fixtures.load_tokenizer(model), training_reference(model, max(amounts))
    lines = [f"| source | {' | '.join(f'{amount} tokens' for amount in amounts)} |", "|---|" + "---:|" * len(amounts)]
    for source in view.panel.sources():
        if re.search(MADE + r"|\+|\(", source):
            continue
        drawn = fixtures.draw_calibration_set(source, tokenizer, 0, max(amounts) // length, length, model=model)
        found = jaccard_curve(drawn.token_ids, reference.token_ids, amounts)
        lines.append(f"| {source} | {' | '.join(f'{value:.4f}' for value in found.values())} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
