"""The command line of the suite. Values are checked here, so that a typo is a usage error and not a traceback."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.grid import Overrides, parse_seeds, split_list
from benchmarks.speed import SHAPES
from fixtures.packages import unknown_terms


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Turns a ``ValueError`` into argparse's own error, which names the option."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"expected a whole number of at least 1, not {text!r}")
    return int(text)


def _items(text: str) -> int:
    """0 stands for all items."""
    return 0 if text in ("all", "0") else _positive(text)


def _names(text: str) -> tuple[str, ...]:
    names = split_list(text)
    if not names:
        raise ValueError("expected at least one name")
    return names


def _switches(text: str) -> tuple[bool, ...]:
    known = {"false": False, "true": True}
    if any(name not in known for name in split_list(text)):
        raise ValueError(f"expected false, true or false,true, not {text!r}")
    return tuple(known[name] for name in split_list(text))


def _terms(text: str) -> tuple[str, ...]:
    if wrong := unknown_terms(_names(text)):
        raise ValueError(wrong)
    return _names(text)


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", text):
        raise ValueError(f"expected cpu, cuda or cuda:1, not {text!r}")
    return text


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError(f"{text!r} is no file")
    return text


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"expected i/n with 1 <= i <= n, for instance 2/4, not {text!r}")
    return int(part), int(parts)


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("calibench", "calibench: the grid of cases, and what is done with the results")

    def option(name: str, **kwargs: Any) -> None:
        group.addoption(name, **kwargs)

    names = _checked(_names)
    option("--profile", default="quick", metavar="NAME", help="grid to run: a name or a .toml file (default: quick)")
    option("--models", type=names, metavar="A,B", help="models: names, hub ids (name@revision) or folders")
    option("--methods", type=names, metavar="A,B", help="methods by spelling, e.g. wanda-0.5,gptq-w4g64")
    option("--register", type=names, metavar="A,B", help="modules that register algorithms of yours when imported")
    option("--sources", type=names, metavar="A,B", help="calibration sources, e.g. web,news,text:my.txt")
    option("--seeds", type=_checked(parse_seeds), metavar="N|A,B", help="the first N draws, or those listed")
    option("--tasks", type=names, metavar="A,B", help="lm-eval tasks to score")
    option("--tasks-path", metavar="DIR", help="folder with tasks of your own, as lm-eval's YAML files")
    option("--items", type=_checked(_items), metavar="N|all", help="items a task, chosen by seed")
    option("--domains", type=names, metavar="A,B", help="sources whose held-out text the loss is measured on")
    option("--documents", type=_checked(_positive), metavar="N", help="held-out documents a domain")
    option("--sequences", type=_checked(_positive), metavar="N", help="calibration sequences a draw")
    option("--length", type=_checked(_positive), metavar="N", help="tokens a calibration sequence")
    option("--slices", type=_checked(_positive), metavar="N", help="disjoint draws a source is dealt into (default 10)")
    option("--packing", type=names, metavar="A,B", help="how documents fill sequences: stream, document")
    option("--bos", type=_checked(_switches), metavar="A,B", help="begin each sequence with the BOS token: false, true")
    option("--loader", type=names, metavar="A,B", help="who draws: calibench, or as the gptq or wanda code does")
    option("--propagation", choices=("sequential", "dense"), help="whose outputs feed the next block")
    option("--dtype", choices=("float32", "bfloat16", "float16"), help="weights and arithmetic")
    option("--device", type=_checked(_device), metavar="NAME", help="cpu, cuda, cuda:1 ...")
    option("--threads", type=_checked(_positive), metavar="N", help="threads a process (changes float results)")
    option("--batch-size", type=_checked(_positive), metavar="N", help="sequences a forward pass")
    option("--store", metavar="DIR", help="results: found again by later runs (default: reports/out)")
    option("--accept-terms", type=_checked(_terms), metavar="NAME", help="accept a model's terms of use: gemma")
    option("--cache-dir", metavar="DIR", help="downloads, converted models, tokenized sources")
    option("--data-dir", metavar="DIR", help="local mirror of sources and tasks, used before the hub (CALIBENCH_DATA)")
    parser.addini("calibench_data", "local mirror of sources and tasks, as --data-dir")
    option("--rerun-cases", action="store_true", help="ignore finished records and make them again")
    option("--judge-only", action="store_true", help="run no case: judge and report from the store")
    option("--strict-gates", action="store_true", help="exit status 6 if a gate is inconclusive")
    option("--update-baselines", action="store_true", help="write benchmarks/baselines/<profile>.json from this run")
    option("--shard", type=_checked(_shard), metavar="I/N", help="run the I-th of N parts of the cases")
    option("--shape", choices=tuple(SHAPES), help="speed cases (default: 7b on a GPU, else small)")
    option("--blocks", type=_checked(_positive), metavar="N", help="speed cases: decoder blocks of the shape")
    option("--weights", metavar="MODEL", help="speed cases: a model's own weights in place of random ones")
    option("--text", type=_checked(_file), metavar="FILE", help="speed cases: text, not random tokens (with --weights)")
    option("--dry-run", action="store_true", help="print the cases and what they cost, run nothing")


def overrides(config: pytest.Config) -> Overrides:
    return Overrides(**{name: config.getoption(name) for name in Overrides.__dataclass_fields__})


def store_root(config: pytest.Config) -> Path:
    """``--store``, else the environment's CALIBENCH_STORE, else ``reports/out`` in the checkout."""
    chosen = config.getoption("store") or os.environ.get("CALIBENCH_STORE")
    return Path(chosen).expanduser().resolve() if chosen else config.rootpath / "reports" / "out"
