"""``python -m benchmarks.sweeps --store DIR --out FOLDER``: the figures behind the claims about calibration data.

By sparsity and pattern, the SD between sources with its interval, its null and its share of the damage, beside
magnitude; by amount, mean and SD over draws apart; by prefix and filter, what the model wrote itself; and errors of
reconstruction on calibration and held-out text. Damage is nats a token above the dense model on *neutral* text, which
is neither calibrated on in these records nor trained on. ``sweeps.md`` and a drawing a kind are written into the
folder; without one the tables are printed. ``--store`` takes stores and bundles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.claims.__main__ import records_of
from benchmarks.claims.judge import ClaimError
from benchmarks.claims.world import World
from benchmarks.sweep_figures import drawable, figure
from benchmarks.sweep_tables import MAKERS, Sweep
from fixtures.bundle import BundleError
from fixtures.files import StoreError, write_bytes
from fixtures.records import label
from reports.svg import standalone

ABOUT = {
    "sparsity": (
        "Sparsity and structure",
        "SD between sources: the component beyond draws, with its 95 % interval (0 where draws explain all). The "
        "largest gap between two sources is compared with what draws alone would make of equal ones (95th percentile).",
    ),
    "amount": (
        "Amount of calibration data",
        "Amounts are prefixes of one draw. Mean over sources and draws; SD over draws of one source, pooled; the mean "
        "against that of the largest amount, same draws, with its 95 % interval, and whether both are equal by a 90 % "
        "interval (claim B9: the least amount that is, is enough). Tokens a column: narrowest linear to "
        "widest.",
    ),
    "similarity": (
        "Likeness to the training text",
        "Spearman's r of likeness and (less) damage, natural and mixed sources, each counting once. *to* names another "
        "reference than the training text. All measures and all sources: `python -m benchmarks.likeness`.",
    ),
    "self-written": (
        "Text that the model wrote",
        "Mean ± SD over draws. `t` tokens of real text before it (2 if not said), the `k` % of highest perplexity "
        "dropped (20). In the drawing the dashed line is the best real source.",
    ),
    "reconstruction": (
        "Error on calibration text against held-out text",
        "Mean squared error of the last block, before and after; the mean over draws. In the drawing each line begins "
        "where nothing was reconstructed, and both errors are equal on the dotted line.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints or writes the tables; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--store", type=Path, action="append", required=True, help="a run's folder or a bundle; repeat")
    parser.add_argument("--out", type=Path, help="folder of sweeps.md and the drawings (default: print)")
    options = parser.parse_args(arguments)
    try:
        sweeps = found(World(record for store in options.store for record in records_of(store)))
        if not sweeps:
            raise ClaimError(
                "these records hold no sweep: needed are four sparsities of a method with three sources, three "
                "amounts of a draw, sources that the model wrote, or methods with +br; two draws each"
            )
        if options.out is None:
            print("\n".join(markdown(sweeps, ())))
        else:
            print(*written(sweeps, options.out), sep="\n")
    except (ClaimError, BundleError, StoreError, OSError) as error:
        print(f"sweeps: {error}", file=sys.stderr)
        return 2
    return 0


def found(world: World) -> list[Sweep]:
    """Every sweep in the records, kind after kind."""
    return [sweep for maker in MAKERS for sweep in maker(world)]


def written(every: Sequence[Sweep], folder: Path) -> Iterator[Path]:
    """Writes the drawings and the page, each whole or not at all."""
    names = []
    for kind, held in groupby(every, lambda sweep: sweep.kind):
        if drawable(sweeps := list(held)):
            names.append(f"{kind}.svg")
            yield write_bytes(folder / names[-1], standalone(figure(sweeps)).encode())
    yield write_bytes(folder / "sweeps.md", ("\n".join(markdown(every, names)) + "\n").encode())


def markdown(sweeps: Sequence[Sweep], names: Sequence[str]) -> list[str]:
    """A chapter a kind: what it shows, its drawing if there is one, a table each."""
    lines = ["# What was swept", "", "By `python -m benchmarks.sweeps`, on neutral text."]
    for kind, held in groupby(sweeps, lambda sweep: sweep.kind):
        title, about = ABOUT[kind]
        lines += ["", f"## {title}", "", about]
        if f"{kind}.svg" in names:
            lines += ["", f"![{title}]({kind}.svg)"]
        for head, tables in groupby(held, lambda sweep: sweep.head):
            for sweep in tables:
                bars = "|---|" + "---:|" * (len(head) - 1)
                title = f"**{label(sweep.title)}**" + f", {sweep.note}" * bool(sweep.note)
                lines += ["", title, "", f"| {' | '.join(head)} |", bars]
                lines += [f"| {' | '.join(line)} |" for line in sweep.lines]
    return lines


if __name__ == "__main__":
    sys.exit(main())
