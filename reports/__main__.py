"""``python -m reports render STORE``, ``python -m reports merge A B -o C``, ``python -m reports compare A B``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fixtures.files import StoreError
from reports.merging import MergeError, merge, render


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 if ``compare`` refuses to pair, 2 with a message for a store that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="Reports of stored runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("render", help="write the report of a store again")
    one.add_argument("store")
    one.add_argument("-o", "--out", help="folder of the report (default: the store)")
    several = commands.add_parser("merge", help="join stores of several machines into a new one, and render it")
    several.add_argument("stores", nargs="+")
    several.add_argument("-o", "--out", required=True, help="folder of the joined store")
    two = commands.add_parser("compare", help="say what differs between two runs, and pair them if it may be done")
    two.add_argument("before")
    two.add_argument("after")
    two.add_argument("--csv", type=Path, metavar="FILE", help="write each case's paired difference there")
    options = parser.parse_args(arguments)
    try:
        if options.command == "compare":
            return _compare(options)
        if options.command == "merge":
            store, count = merge(options.stores, options.out)
            print(f"{count} records in {store.root}; judge them: pytest benchmarks --judge-only --store {store.root}")
            print(f"report (not judged yet): {render(store.root)}")
        else:
            print(f"report: {render(options.store, options.out)}")
    except (MergeError, StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _compare(options: argparse.Namespace) -> int:
    from reports import comparing
    from reports.pages import write_text

    found = comparing.compare(options.before, options.after)
    print(comparing.text(found, [options.before, options.after]))
    if options.csv and not found.refused:
        write_text(options.csv, comparing.cases_csv(found))
    return int(bool(found.refused))


if __name__ == "__main__":
    sys.exit(main())
