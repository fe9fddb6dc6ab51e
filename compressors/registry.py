"""The table of algorithms: one entry each, with targets, defaults, statistics and paper. Imports no torch.

A new algorithm is one file in this package with a function ``solve`` (see ``compressors/solving.py``) and one entry
here.

Algorithms of other packages join it without an edit: a module that calls ``register`` when it is imported is named by
the environment variable ``CALIBENCH_COMPRESSORS`` (several apart by commas), or by an entry point of the group
``calibench.compressors``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType

VARIABLE = "CALIBENCH_COMPRESSORS"
GROUP = "calibench.compressors"


class MethodError(ValueError):
    """A method that does not exist, is spelled wrongly or does not fit the model."""


@dataclass(frozen=True)
class Setting:
    """One setting: its default, what it may be, and what it does.

    ``choices`` lists the words a textual setting takes; ``low`` and ``high`` bound a number (both included).
    """

    default: bool | int | float | str
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Algorithm:
    """One entry of the registry.

    ``compares`` tells what a pruning method's entries are compared within, each of which gets exactly ``round(s * n)``
    zeros: ``row``, ``matrix``, or ``block`` of 128 columns (a setting named ``per`` overrides it).

    ``targets`` are the kinds of target it takes: ``none``, ``sparsity`` (0.5), ``pattern`` (2of4), ``bits`` (w4g128),
    ``joint`` (0.5-w4g64 or 2of4-w4g64). ``statistics`` is what it needs of its inputs: ``none``, ``norms`` (squared
    column norms), ``moments`` (and means), ``hessian``, ``size`` (mean magnitudes) or ``gradients``. ``module`` is the
    file that holds it, imported when it runs. ``defaults`` maps settings to their defaults.
    """

    name: str
    module: str
    targets: tuple[str, ...]
    statistics: str
    paper: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    takes_base: bool = False
    compares: str = "row"

    @property
    def calibrated(self) -> bool:
        """Whether the result depends on calibration data."""
        return self.statistics != "none"

    @property
    def defaults(self) -> dict[str, bool | int | float | str]:
        return {name: setting.default for name, setting in self.settings.items()}


SYM = Setting(False, "the grid is symmetric about zero (zero point in the middle, none stored)")
DAMP = Setting(0.01, "damping: share of the mean of the Hessian's diagonal added to it", low=0.0, high=100.0)
GROUPS = Setting(
    "block",
    "when a group's grid is fitted: static (before anything changes), block (weights as of the last finished block of "
    "128 columns, as the reference code), fresh (weights with every update so far)",
    choices=("static", "block", "fresh"),
)
ACTORDER = Setting(False, "columns in falling order of the Hessian's diagonal")
PER = Setting("matrix", "entries are compared within the whole matrix or within each row", choices=("matrix", "row"))

PRUNING = ("sparsity", "pattern")
BLOCK = Setting(64, "columns that share one constant", low=1)
RIA_SETTINGS = {
    "a": Setting(0.5, "power of the input's norm", low=0.0, high=10.0),
    "per": PER,
    "permute": Setting(
        "none",
        "order of the columns that an n:m pattern holds in: none (as they are), sort (dealt out by falling sum) or "
        "assign (sort, then linear sum assignment)",
        choices=("none", "sort", "assign"),
    ),
}
DSNOT_SETTINGS = {
    "cycles": Setting(50, "swaps a row may make", low=0),
    "threshold": Setting(0.1, "a row stops when its expected error, summed over 2,048 tokens, is this small", low=0.0),
    "only": Setting(
        "all", "linears whose entries are swapped; of the others the base's result stays", choices=("all", "attention")
    ),
    "samesign": Setting(False, "a row also stops before its error would change sign (n:m rows always do)"),
    "power": Setting(1.0, "power of the input's variance that an entry's gain is divided by", low=0.0),
}
OWL_SETTINGS = {
    "lambda": Setting(0.08, "blocks' sparsities span twice this", low=0.0, high=0.5),
    "m": Setting(5.0, "an entry of |w| ||x|| this many times the block's mean is an outlier", low=0.0),
}
SPQR_SETTINGS = {
    "actorder": replace(ACTORDER, default=True),
    "damp": replace(DAMP, default=1.0),
    "grid": Setting(
        "free",
        "free: a group's range and zero point are as they fall (the reference code); gptq: the range includes 0 and "
        "the zero point is whole",
        choices=("free", "gptq"),
    ),
    "statbits": Setting(3, "bits of a scale and of a zero point; 16: not quantized", low=2, high=16),
    "statgroup": Setting(16, "rows whose scales (and zero points) are quantized together", low=1),
    "threshold": Setting(0.2, "error at which a weight is kept, relative to var(column) / U_jj^2; inf: none", low=0.0),
}
AWQ_SETTINGS = {
    "clip": Setting(True, "shrink each group's range where that lowers the error"),
    "grid": Setting(20, "ratios tried between 0 and 1, and steps of the range between 0 and 1", low=1, high=1000),
    "scale": Setting(True, "search scales of the columns"),
    "sequences": Setting(
        16, "sequences of the draw that ratios are judged on where several linears share an input", low=1
    ),
    "sym": SYM,
}
GPTQ_SETTINGS = {"groups": GROUPS, "sym": SYM, "actorder": ACTORDER, "damp": DAMP}
SPARSEGPT_SETTINGS = {"damp": DAMP, "groups": replace(GROUPS, choices=("static", "block")), "sym": SYM}

_ALGORITHMS: dict[str, Algorithm] = {
    entry.name: entry
    for entry in (
        Algorithm("dense", "", ("none",), "none", "the model as it is"),
        Algorithm("rtn", "rtn", ("bits",), "none", "the baseline of arXiv 2210.17323, section 5", {"sym": SYM}),
        Algorithm("gptq", "gptq", ("bits",), "hessian", "arXiv 2210.17323", GPTQ_SETTINGS),
        Algorithm("magnitude", "magnitude", PRUNING, "none", "arXiv 1506.02626", {"per": PER}, compares="matrix"),
        Algorithm("wanda", "wanda", PRUNING, "norms", "arXiv 2306.11695"),
        Algorithm(
            "sparsegpt",
            "sparsegpt",
            (*PRUNING, "joint"),
            "hessian",
            "arXiv 2301.00774",
            SPARSEGPT_SETTINGS,
            compares="block",
        ),
        Algorithm("awq", "awq", ("bits",), "hessian+size", "arXiv 2306.00978", AWQ_SETTINGS),
        Algorithm("spqr", "spqr", ("bits",), "hessian", "arXiv 2306.03078", SPQR_SETTINGS),
        Algorithm("nf4", "nf4", ("none",), "none", "arXiv 2305.14314", {"block": BLOCK}),
        Algorithm("ria", "ria", PRUNING, "norms", "openreview Tr0lPx9woF", RIA_SETTINGS, compares="matrix"),
        Algorithm("dsnot", "dsnot", PRUNING, "moments", "arXiv 2310.08915", DSNOT_SETTINGS, takes_base=True),
        Algorithm("owl", "owl", ("sparsity",), "norms", "arXiv 2310.05175", OWL_SETTINGS, takes_base=True),
        Algorithm("prunerzero", "prunerzero", PRUNING, "gradients+norms", "arXiv 2406.02924"),
    )
}
# Suffixes of a pruning method, in this order; their settings are spelled before them: wanda-0.5:epochs=5+br+gp.
SUFFIXES: dict[str, str] = {
    "br": "train the kept weights of each block towards the dense block's output (arXiv 2406.15524)",
    "gp": "towards the output that the dense model has there",
    "cr": "in overlapping pairs of blocks",
}
RECONSTRUCTION_SETTINGS = {
    "batch": Setting(8, "sequences a step", low=1),
    "epochs": Setting(10, "passes over the sequences for each block (or pair)", low=0),
    "holdout": Setting(
        0.125, "share of the sequences held out of pruning and training, to measure the error on", low=0.0, high=0.9
    ),
    "lr": Setting(2e-4, "learning rate of AdamW at the start; it falls to 0 in a line", low=0.0, high=1.0),
}


_imported: set[str] = set()  # modules of others that were asked for


def algorithms() -> Mapping[str, Algorithm]:
    """Every registered algorithm by name (a read-only view), those of other packages too.

    Raises ``MethodError`` naming a module of others that cannot be imported.
    """
    _import_others()
    return MappingProxyType(_ALGORITHMS)


def register(entry: Algorithm) -> None:
    """Add an algorithm. ``entry.module`` is the full name of its module (or a file of this package, without ``.py``).

    Raises ``ValueError`` if the name is taken.
    """
    if entry.name in _ALGORITHMS:
        raise ValueError(f"an algorithm named {entry.name!r} is registered already")
    _ALGORITHMS[entry.name] = entry


def _import_others() -> None:
    named = {name.strip(): VARIABLE for name in os.environ.get(VARIABLE, "").split(",") if name.strip()}
    if not _imported:
        _imported.add(__name__)  # entry points are looked up once
        named |= {point.module: f"entry point {point.name!r} of {GROUP}" for point in entry_points(group=GROUP)}
    for name in [name for name in named if name not in _imported]:
        _imported.add(name)  # before: a module that asks for the table while it registers gets what is there
        try:
            import_module(name)
        except (Exception, SystemExit) as error:  # whatever their code raises
            _imported.discard(name)
            said = f"{type(error).__name__}: {error}"
            raise MethodError(
                f"{named[name]}: the module {name!r} cannot be imported ({said}); expected a module on Python's path "
                "that calls compressors.registry.register"
            ) from error
