"""From the ``[[distillation]]`` tables of a profile to cases of distilled data. Nothing heavy is imported."""

from __future__ import annotations

from typing import Any

from benchmarks.grid import GridError, Overrides, nearest, parse_seeds
from benchmarks.study_options import network
from compressors.distillation.spelling import SpellingError, parse
from fixtures.image_cases import ImageBudget, ImageCase, ImageCaseError
from fixtures.images import ImageError

KEYS = ("models", "methods", "calibrators", "sources", "seeds", "iterations", "device", "threads")
BUDGET = ("batch_real", "outer", "inner", "epochs", "rate", "nets", "augment")


def build_image_cases(profile: dict[str, Any], overrides: Overrides) -> list[ImageCase]:
    """Every case of the tables, those of one distilled set as neighbours.

    ``--models``, ``--methods`` and ``--sources`` name language models, their methods and texts: with one of them the
    tables are left out. Raises :class:`GridError` for unknown names.
    """
    if any(value is not None for value in (overrides.models, overrides.methods, overrides.sources)):
        return []
    cases: dict[str, ImageCase] = {}
    for table in profile.get("distillation", []):
        try:
            for case in _cases(table, overrides):
                cases.setdefault(case.id, case)
        except (SpellingError, ImageCaseError, ImageError) as error:
            raise GridError(f"--profile: [[distillation]]: {error}") from error
        except KeyError as error:
            raise GridError(f"--profile: [[distillation]] has no {error}") from error
    return list(cases.values())


def _cases(table: dict[str, Any], overrides: Overrides) -> list[ImageCase]:
    for key in table:
        if key not in (*KEYS, *BUDGET):
            raise GridError(f"--profile: [[distillation]]: no setting {key!r}{nearest(key, (*KEYS, *BUDGET))}")
    budget = ImageBudget(
        iterations=tuple(sorted(table.get("iterations", {}).items())), **{k: table[k] for k in BUDGET if k in table}
    )
    seeds = overrides.seeds if overrides.seeds is not None else parse_seeds(str(table["seeds"]))
    device, threads = overrides.device or table.get("device", "cpu"), overrides.threads or table.get("threads", 1)
    settings: dict[str, Any] = {"device": device, "threads": threads}
    found = []
    for model in table["models"]:
        network(model)
        for trained in table["methods"]:
            budget.of(parse(trained).backbone, parse(trained).ipc)
            for seed in seeds:
                for calibrator in ["", *table["calibrators"]]:
                    method = str(parse(f"{trained}+{calibrator}" if calibrator else trained))
                    sources = table["sources"] if calibrator and calibrator != "oracle" else [None]
                    found += [ImageCase(model, method, source, seed, budget, **settings) for source in sources]
    return found
