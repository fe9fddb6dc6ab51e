"""From the ``[[distillation]]`` tables of a profile to cases of distilled data. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.grid import GridError, Overrides, nearest, parse_seeds
from benchmarks.study_options import network
from compressors.distillation.spelling import SpellingError, parse
from fixtures.image_cases import SOURCES, ImageBudget, ImageCase, ImageCaseError
from fixtures.images import ImageError

KEYS = ("models", "methods", "calibrators", "sources", "seeds", "iterations", "device", "threads")
BUDGET = ("batch_real", "outer", "inner", "epochs", "rate", "nets", "augment")


def build_image_cases(profile: dict[str, Any], overrides: Overrides) -> list[ImageCase]:
    """Every case of the tables, those of one distilled set as neighbours.

    ``overrides`` are those of this kind (`benchmarks.kinds`). A method that is named there is run with the budget of
    the first table that has what it trains on, else of the first that names its iterations; beside it the same
    uncalibrated. Raises :class:`GridError` for unknown names.
    """
    cases: dict[str, ImageCase] = {}
    try:
        for table in _tables(profile, overrides):
            for case in _cases(table, overrides):
                cases.setdefault(case.id, case)
    except (SpellingError, ImageCaseError, ImageError) as error:
        named = {SpellingError: ["methods"], ImageError: ["models"]}.get(type(error), ["methods", "sources"])
        asked = [f"--{name}" for name in named if getattr(overrides, name)]
        raise GridError(f"{', '.join(asked) or '--profile: [[distillation]]'}: {error}") from error
    except KeyError as error:
        raise GridError(f"--profile: [[distillation]] has no {error}") from error
    return list(cases.values())


def _tables(profile: dict[str, Any], overrides: Overrides) -> list[dict[str, Any]]:
    """The tables as the command line narrows them; ``methods`` hold ``(trained, calibrators)``."""
    for name in overrides.sources or ():
        if name not in SOURCES:
            raise GridError(f"--sources: no calibration source {name!r} of images{nearest(name, SOURCES)}")
    tables = [dict(table) for table in profile.get("distillation", [])]
    for table in tables:
        for key in table:
            if key not in (*KEYS, *BUDGET):
                raise GridError(f"--profile: [[distillation]]: no setting {key!r}{nearest(key, (*KEYS, *BUDGET))}")
        table["plan"] = [(text, ["", *table["calibrators"]]) for text in table["methods"]]
        table["models"] = overrides.models or table["models"]
        table["sources"] = overrides.sources or table["sources"]
    if overrides.methods is not None:
        tables = _asked(tables, overrides.methods, profile["name"])
    return tables


def _asked(tables: list[dict[str, Any]], methods: Sequence[str], profile: str) -> list[dict[str, Any]]:
    """For each method the table whose budget it is run with."""
    found = []
    for text in methods:
        method = parse(text)
        listed = [table for table in tables if method.trained in [parse(name).trained for name in table["methods"]]]
        spent = (f"{method.backbone}-ipc{method.ipc}", method.backbone)
        budgeted = [t for t in tables if method.backbone == "random" or any(name in t["iterations"] for name in spent)]
        if not (listed or budgeted):
            known = ", ".join(sorted({name for table in tables for name in table["iterations"]}))
            raise GridError(
                f"--methods: the profile {profile!r} has no [[distillation]] table with iterations of "
                f"{method.backbone!r} (it has: {known or 'none'}); --profile distillation names those of all"
            )
        calibrator = str(method).removeprefix(method.trained).lstrip("+")
        table = (listed or budgeted)[0]
        found.append({**table, "plan": [(method.trained, list(dict.fromkeys(["", calibrator])))]})
    return found


def _cases(table: dict[str, Any], overrides: Overrides) -> list[ImageCase]:
    budget = ImageBudget(
        iterations=tuple(sorted(table.get("iterations", {}).items())), **{k: table[k] for k in BUDGET if k in table}
    )
    seeds = overrides.seeds if overrides.seeds is not None else parse_seeds(str(table["seeds"]))
    device, threads = overrides.device or table.get("device", "cpu"), overrides.threads or table.get("threads", 1)
    settings: dict[str, Any] = {"device": device, "threads": threads}
    found = []
    for model in table["models"]:
        network(model)
        for trained, calibrators in table["plan"]:
            budget.of(parse(trained).backbone, parse(trained).ipc)
            for seed in seeds:
                for calibrator in calibrators:
                    method = str(parse(f"{trained}+{calibrator}" if calibrator else trained))
                    sources = table["sources"] if calibrator and calibrator != "oracle" else [None]
                    found += [ImageCase(model, method, source, seed, budget, **settings) for source in sources]
    return found
