"""Before the first case: do the user's own files hold the draws and the documents that the grid asks for?

A run over files that are too short would fail case by case, after minutes; what is missing follows from the files and
the tokenizer alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.axes import GridError
from fixtures.cache import cache_dir
from fixtures.files import write_bytes
from fixtures.records import Case, DrawSpec, fingerprint
from fixtures.text_files import FILE_SHARES, file_and_field

KINDS = ("text:", "jsonl:", "csv:", "parquet:", "chat:")


@dataclass(frozen=True)
class Short:
    """One source that lacks text: what is asked for, and what its smallest wanted draw could have."""

    source: str
    asked: DrawSpec
    most: int  # sequences with the slices as they are
    fewest: int  # slices that the seeds need
    best: int  # sequences with that many slices


def check_own_text(cases: Sequence[Case]) -> None:
    """Raises :class:`GridError` with every file that is too short, and the options that would fit them all.

    Raises the error of a file that cannot be read. Models that would have to be fetched or trained first are left to
    their cases. What was found to fit is not counted again while files and tokenizers are the same.
    """
    import fixtures

    passed = _passed(cases)
    if passed is None or passed.is_file():
        return
    short: list[Short] = []
    for name in dict.fromkeys(case.model for case in cases):
        model = fixtures.resolve_model(name)
        if model.kind != "folder" or not _files(cases, name):
            continue
        try:
            short += _short(name, [case for case in cases if case.model == name])
        except (fixtures.SourceError, fixtures.DrawError, fixtures.ModelError) as error:
            raise GridError(str(error)) from error
    for name, documents in dict.fromkeys((d, c.evaluation.documents) for c in cases for d in c.evaluation.domains):
        if name.startswith(KINDS):
            _check_held_out(name, documents)
    if short:
        raise GridError(_message(list(dict.fromkeys(short))))
    with contextlib.suppress(OSError, fixtures.StoreError):  # a cache that cannot be written costs seconds each time
        write_bytes(passed, b"")


def _passed(cases: Sequence[Case]) -> Path | None:
    """The file in the cache that says that these files hold these draws; None if no case reads a file of the user's."""
    draws = {(model, draw) for model in {case.model for case in cases} for draw in _files(cases, model)}
    domains = {(d, case.evaluation.documents) for case in cases for d in case.evaluation.domains if d.startswith(KINDS)}
    if not (draws or domains):
        return None
    named = {draw.source for _, draw in draws} | {name for name, _ in domains}
    files = [Path(_path(name)) for name in sorted(named)]
    for folder in sorted({model for model, _ in draws}):
        files += sorted(Path(folder).expanduser().glob("*token*"))
    state = [[str(file.resolve()), *_stamp(file.expanduser())] for file in files]
    asked = [sorted([model, *map(repr, dataclasses.astuple(draw))] for model, draw in draws), sorted(domains)]
    return cache_dir() / "own-text" / fingerprint([asked, state, FILE_SHARES])


def _path(name: str) -> str:
    kind, _, rest = name.partition(":")
    return rest if kind == "text" else file_and_field(rest)[0]


def _stamp(file: Path) -> list[int]:
    found = file.stat() if file.is_file() else None
    return [found.st_size, found.st_mtime_ns] if found else []


def _files(cases: Sequence[Case], model: str) -> list[DrawSpec]:
    """The draws of a model from files of the user's, as Calibench's own loader makes them."""
    drawn = (case.draw for case in cases if case.model == model and case.draw)
    return list(dict.fromkeys(d for d in drawn if d.source.startswith(KINDS) and d.loader == "calibench"))


def _short(model: str, cases: Sequence[Case]) -> list[Short]:
    import fixtures

    tokenizer = fixtures.load_tokenizer(model)
    by_shape: dict[tuple[str, int, int, str, int], list[DrawSpec]] = {}
    for draw in _files(cases, model):
        length = draw.sequence_length - draw.bos
        by_shape.setdefault((draw.source, draw.n_sequences, length, draw.packing, draw.slices), []).append(draw)
    found = []
    for (name, wanted, length, packing, slices), draws in by_shape.items():
        source = fixtures.get_source(name, model)
        seeds = [draw.seed for draw in draws]
        most = _least(source, tokenizer, length, packing, slices, seeds)
        if most < wanted:
            fewest = max(seeds) + 1
            best = _least(source, tokenizer, length, packing, fewest, seeds)
            found.append(Short(name, draws[0], most, fewest, best))
    return found


def _least(source: object, tokenizer: object, length: int, packing: str, slices: int, seeds: list[int]) -> int:
    """Sequences that the smallest of the wanted slices holds."""
    import fixtures

    room = fixtures.capacity(source, tokenizer, length, packing, slices)  # type: ignore[arg-type]
    return min(room.windows[seed] for seed in seeds)


def _message(short: list[Short]) -> str:
    """What lacks, and one set of options that fits every file."""
    asked = short[0].asked
    lines = ["the files are too short for the draws; nothing was run:"]
    for one in short:
        lines.append(
            f"  {one.source}: {one.most} sequences of {one.asked.sequence_length} tokens in the smallest of its draws "
            f"({one.asked.slices} slices), {one.asked.n_sequences} asked for"
        )
    most, fewest = min(one.most for one in short), max(one.fewest for one in short)
    best = min(one.best for one in short)
    if best > most and fewest < asked.slices:
        lines.append(f"these options fit them all: --slices {fewest} --sequences {min(best, asked.n_sequences)}")
    elif most:
        lines.append(f"this option fits them all: --sequences {most}")
    else:
        lines.append("fewer --seeds, a shorter --length, or more text: no number of sequences fits them all")
    return "\n".join(lines)


def _check_held_out(name: str, documents: int) -> None:
    import fixtures

    try:
        fixtures.held_out_documents(name, documents)
    except fixtures.SourceError as error:
        raise GridError(f"--domains: {error}; a fifth of a file is held out. --documents asks for fewer") from error
