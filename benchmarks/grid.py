"""From a profile and the command line to cases: the grid is data, and nothing heavy is imported to read it."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import axes
from benchmarks.axes import GridError
from benchmarks.measures import evaluation_spec
from fixtures.records import Case, DrawSpec

PROFILES = Path(__file__).resolve().parent / "profiles"
# Each is a file benchmarks/test_<question>.py, which runs the cases of the grids that name it.
QUESTIONS = (
    "calibration_source",
    "sparsity",
    "amount",
    "sequence_length",
    "data_vs_algorithm",
    "model_size",
    "known_corpus",
    "reconstruction",
    "self_generation",
    "similarity",
)
KEYS = (
    *("models", "methods", "sources", "seeds", "sequences", "length", "slices", "loader", "evaluation"),
    *("packing", "bos", "dtype", "device", "threads", "batch_size", "propagation"),
    *("question", "default", "tag", "amounts", "lengths", "batch_sizes", "propagations", "claims"),
)


@dataclass(frozen=True)
class Overrides:
    """What the command line says instead of the profile; None keeps the profile's value."""

    models: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    tasks: tuple[str, ...] | None = None
    items: int | None = None
    domains: tuple[str, ...] | None = None
    documents: int | None = None
    sequences: int | None = None
    length: int | None = None
    slices: int | None = None
    packing: tuple[str, ...] | None = None
    bos: tuple[bool, ...] | None = None
    loader: tuple[str, ...] | None = None
    dtype: str | None = None
    device: str | None = None
    threads: int | None = None
    batch_size: int | None = None
    propagation: str | None = None


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'? Known: ..."`` for an error message."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Known: {', '.join(known)}"


def split_list(text: str) -> tuple[str, ...]:
    """Items of a comma-separated option. A piece like ``sym=false`` belongs to the method before it.

    Commas within parentheses split nothing: they belong to a source such as ``selfgen(web,t=1)``.

    >>> split_list("gptq-w3g64:groups=block,sym=false,rtn-w3g64")
    ('gptq-w3g64:groups=block,sym=false', 'rtn-w3g64')
    >>> split_list("news,selfgen(0.5*web+0.5*code,t=1,k=20),unigram(web)")
    ('news', 'selfgen(0.5*web+0.5*code,t=1,k=20)', 'unigram(web)')
    """
    items: list[str] = []
    for piece in _pieces(text):
        if items and re.match(r"^\s*\w+=", piece):
            items[-1] += "," + piece.strip()
        elif piece.strip():
            items.append(piece.strip())
    return tuple(items)


def _pieces(text: str) -> list[str]:
    """The text cut at the commas that lie in no parentheses."""
    pieces, depth = [""], 0
    for character in text:
        depth = max(0, depth + (character == "(") - (character == ")"))
        if character == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"5"`` is the first five seeds, ``"0,3"`` those two, ``"3,"`` seed 3 alone. Raises ``ValueError``."""
    try:
        if "," in text:
            seeds = tuple(int(piece) for piece in text.split(",") if piece.strip())
        else:
            seeds = tuple(range(int(text)))
    except ValueError:
        raise ValueError(f"expected a count (5) or a list of seeds (0,1,2), not {text!r}") from None
    if not seeds:
        raise ValueError(f"{text!r} asks for no draws at all; 1 is the least ('0,' is seed 0 alone)")
    if min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be 0 or more and each named once, not {text!r}")
    return seeds


def load_profile(name: str) -> dict[str, Any]:
    """The profile's tables. ``name`` is one of `benchmarks/profiles/` or the path of a TOML file."""
    path = Path(name) if name.endswith(".toml") else PROFILES / f"{name}.toml"
    if not path.is_file():
        known = [p.stem for p in PROFILES.glob("*.toml")]
        raise GridError(f"--profile: no profile {name!r}{nearest(name, known)}, or the path of a .toml file")
    try:
        profile = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GridError(f"--profile: {path} is not valid TOML: {error}") from error
    if not (profile.get("grid") or profile.get("distillation")):
        raise GridError(f"--profile: {path} has no [[grid]] or [[distillation]] table, so it describes no cases")
    return {"name": path.stem, "path": path.resolve(), **profile}


def _joins(grid: dict[str, Any], key: str, wanted: Sequence[str] | None, grids: list[dict[str, Any]]) -> list[str]:
    """The values of one axis of a grid: the wanted ones it lists, and on the default grid those that none lists."""
    listed = list(grid[key])
    if wanted is None:
        return listed
    unlisted = [name for name in wanted if not any(name in other[key] for other in grids)]
    default = grid.get("default", len(grids) == 1)
    return [name for name in wanted if name in listed or (default and name in unlisted)]


def _check(names: Iterable[str], option: str, known: Iterable[str], what: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise GridError(f"{option}: no {what} {name!r}{nearest(name, known)}")


def canonical_method(text: str) -> str:
    """The canonical spelling of a method. Raises :class:`GridError` with the nearest spelling."""
    import compressors

    try:
        return str(compressors.parse(text))
    except compressors.MethodError as error:
        raise GridError(f"--methods: {error}") from error


def build_cases(profile: dict[str, Any], overrides: Overrides) -> list[Case]:
    """Every case of the profile, in the order in which they run: cases of one model are neighbours, dense first.

    Raises :class:`GridError` for unknown names and for a grid that comes out empty.
    """
    return [built.case for built in _build(profile, overrides)]


def build_questions(profile: dict[str, Any], overrides: Overrides) -> dict[str, str]:
    """The question (one of ``QUESTIONS``) of every case by id: that of the first grid that has it."""
    return {built.case.id: built.question for built in _build(profile, overrides)}


def build_claims(profile: dict[str, Any], overrides: Overrides) -> dict[str, tuple[str, ...]]:
    """The claims (``claims = ["A6"]`` of a grid) that each case helps to decide, by id: those of all grids with it."""
    return {built.case.id: tuple(built.claims) for built in _build(profile, overrides)}


@dataclass
class _Built:
    """A case, the question of the first grid that has it, and the claims of all that do."""

    case: Case
    question: str
    claims: dict[str, None]


def _build(profile: dict[str, Any], overrides: Overrides) -> list[_Built]:
    import fixtures
    from fixtures.mirror import mirror_folder

    mirror_folder()  # a misspelt one would leave the rows of a task to another place
    grids = [dict(grid) for grid in profile.get("grid", [])]
    for grid in grids:
        _check(grid, "--profile: [[grid]]", KEYS, "setting")
        _check([grid.get("question", QUESTIONS[0])], "--profile: question", QUESTIONS, "question")
        grid["methods"] = [canonical_method(text) for text in grid["methods"]]
    methods = None if overrides.methods is None else [canonical_method(text) for text in overrides.methods]
    cases: dict[str, _Built] = {}
    untagged: dict[Case, str] = {}
    for grid in grids:
        models = _joins(grid, "models", overrides.models, grids)
        # A method, source or seed named on the command line holds for every grid that is left.
        chosen = methods if methods is not None else grid["methods"]
        sources = list(overrides.sources) if overrides.sources is not None else list(grid["sources"])
        for name in sources:
            fixtures.check_source(name)
        for name in models:
            fixtures.resolve_model(name)
        for case in _grid_cases(grid, models, chosen, sources, overrides):
            plain, claims = dataclasses.replace(case, tag=""), dict.fromkeys(grid.get("claims", ()))
            if case.id not in cases and plain in untagged:
                cases[untagged[plain]].claims.update(claims)
                continue  # the same work under another id
            untagged.setdefault(plain, case.id)
            held = cases.setdefault(case.id, _Built(case, grid.get("question", QUESTIONS[0]), {}))
            held.claims.update(claims)
            if held.case != case:
                raise GridError(
                    f"two cases would both be called {case.id!r}: {_difference(held.case, case)}; give files and "
                    "folders different names, or put the grids into profiles of their own"
                )
    if grids and not cases:
        raise GridError("the profile and the options leave no case; see --models, --methods, --sources")
    return list(cases.values())


def _difference(one: Case, other: Case) -> str:
    """The first setting in which two cases differ, in words."""
    first, second = one.to_dict(), other.to_dict()
    name = next(name for name in first if first[name] != second[name])
    return f"{name} is {first[name]!r} in one and {second[name]!r} in the other"


def _grid_cases(
    grid: dict[str, Any], models: list[str], methods: list[str], sources: list[str], overrides: Overrides
) -> Iterable[Case]:
    evaluation = evaluation_spec(grid.get("evaluation", {}), overrides)
    seeds = overrides.seeds if overrides.seeds is not None else parse_seeds(str(grid["seeds"]))
    settings = {
        name: getattr(overrides, name) if getattr(overrides, name) is not None else grid[name]
        for name in ("dtype", "device", "threads", "batch_size", "propagation")
        if getattr(overrides, name) is not None or name in grid
    }
    slices = overrides.slices or grid.get("slices", 10)
    shapes, variants = axes.shapes(grid, overrides), axes.variants(grid, settings, overrides)
    if max(seeds) >= slices and any(variant.loader == "calibench" for variant in variants):
        raise GridError(
            f"--seeds: seed {max(seeds)} is beyond the {slices} draws that each source is dealt into (seeds 0 to "
            f"{slices - 1}); --slices {max(seeds) + 1} makes more, each with less text, and other draws of every seed"
        )
    for model in models:
        for size, tag in dict.fromkeys((v.batch_size, v.batch_tag) for v in variants):
            own = {"batch_size": size, "tag": _joined(grid.get("tag", ""), tag)}
            yield Case(model, "dense", None, evaluation, **{**settings, **own})
        for method in (name for name in methods if name != "dense"):
            for source, seed in product(sources, seeds):
                for shape, variant in product(shapes, variants):
                    packed = (variant.packing, variant.bos, slices, variant.loader)
                    draw = DrawSpec(source, seed, shape.sequences, shape.length, *packed)
                    tag = _joined(grid.get("tag", ""), shape.tag, variant.batch_tag)
                    own = {"propagation": variant.propagation, "batch_size": variant.batch_size, "tag": tag}
                    yield Case(model, method, draw, evaluation, **{**settings, **own})


def _joined(*parts: str) -> str:
    return "-".join(part for part in parts if part)
