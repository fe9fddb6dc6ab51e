"""How a method is spelled: ``algorithm[(base)]-target[:setting=value,...][+suffix...]``.

Targets: ``0.5`` (share of zeros), ``2of4`` (kept of group), ``w4g128`` (bits, group size; ``g-1`` is one group a row)
and joint ``0.5-w4g64``. The canonical spelling drops settings that have their default and orders the others by name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from compressors.registry import RECONSTRUCTION_SETTINGS, SUFFIXES, Algorithm, Setting, algorithms
from compressors.settings import MethodError, Value, likely_target, nearest, parse_settings, show

_SPELLING = re.compile(
    r"(?P<algorithm>[A-Za-z][A-Za-z0-9_]*)(?:\((?P<base>[^()]*)\))?"
    r"(?P<target>(?:-(?:w\d+g-\d+|[^-:+]+))*)(?::(?P<settings>[^+]*))?(?P<suffixes>(?:\+[^+]*)*)"
)
_RATIO = re.compile(r"-(\d+):(\d+)(?=[-+:]|$)")  # n:m as the papers have it; here a colon begins the settings
_EXAMPLES = {"none": "", "sparsity": "-0.5", "pattern": "-2of4", "bits": "-w4g128", "joint": "-0.5-w4g64"}


@dataclass(frozen=True)
class Target:
    """What a method aims at. ``sparsity`` is the share of zeros in [0, 1); ``keep`` of every ``group`` entries stay
    (n:m); ``bits`` a weight with one grid per ``group_size`` columns of a row (-1: the whole row). None where it does
    not apply.
    """

    sparsity: float | None = None
    keep: int | None = None
    group: int | None = None
    bits: int | None = None
    group_size: int | None = None

    @property
    def kind(self) -> str:
        """``none``, ``sparsity``, ``pattern``, ``bits`` or ``joint``."""
        prunes = self.sparsity is not None or self.keep is not None
        if self.bits is not None:
            return "joint" if prunes else "bits"
        if not prunes:
            return "none"
        return "sparsity" if self.sparsity is not None else "pattern"

    def __str__(self) -> str:
        parts = []
        if self.sparsity is not None:
            parts.append(format(Decimal(repr(self.sparsity)), "f"))  # never 1e-05: a "-" would end it
        if self.keep is not None:
            parts.append(f"{self.keep}of{self.group}")
        if self.bits is not None:
            parts.append(f"w{self.bits}g{self.group_size}")
        return "-".join(parts)


@dataclass(frozen=True)
class Method:
    """An algorithm, what it aims at and how. ``settings`` holds those that differ from the defaults, ordered by
    name.
    """

    algorithm: str
    target: Target = Target()
    base: str | None = None
    settings: tuple[tuple[str, Value], ...] = ()
    suffixes: tuple[str, ...] = ()

    @property
    def entry(self) -> Algorithm:
        return algorithms()[self.algorithm]

    @property
    def calibrated(self) -> bool:
        """Whether the compressed weights depend on calibration data."""
        entries = [self.entry] + ([algorithms()[self.base]] if self.base else [])
        return bool(self.suffixes) or any(entry.calibrated for entry in entries)

    @property
    def statistics(self) -> str:
        """What is gathered for a linear, for the algorithm and its base: ``none``, or words joined by ``+``."""
        entries = [self.entry] + ([algorithms()[self.base]] if self.base else [])
        words = {word for entry in entries for word in entry.statistics.split("+")} - {"none"}
        if words & {"hessian", "moments"}:
            words -= {"norms"}  # they are part of either
        return "+".join(sorted(words)) or "none"

    @property
    def base_method(self) -> Method:
        """The base in brackets as a method of its own, with the same target and its default settings."""
        assert self.base is not None
        return Method(self.base, self.target)

    @property
    def compares(self) -> str:
        """What entries are compared within: ``row``, ``matrix`` or ``block`` (of 128 columns); a base's own if there is
        one.
        """
        entry = algorithms()[self.base] if self.base else self.entry
        settings = entry.defaults if self.base else self.all_settings
        compares = str(settings.get("per", entry.compares))
        # DSnoT swaps entries within rows, so that those of SparseGPT's blocks move between blocks.
        return "matrix" if self.algorithm == "dsnot" and compares == "block" else compares

    def setting(self, name: str) -> Value:
        """The value of a setting, the default if the spelling does not name it."""
        return self.all_settings[name]

    @property
    def all_settings(self) -> dict[str, Value]:
        known = _settings_of(self.entry, self.suffixes)
        return {name: setting.default for name, setting in known.items()} | dict(self.settings)

    def __str__(self) -> str:
        text = self.algorithm + (f"({self.base})" if self.base else "")
        if str(self.target):
            text += f"-{self.target}"
        if self.settings:
            text += ":" + ",".join(f"{name}={show(value)}" for name, value in self.settings)
        return text + "".join(f"+{suffix}" for suffix in self.suffixes)


def parse(spelling: str | Method) -> Method:
    """The method that a spelling names, e.g. ``parse("gptq-w3g64:groups=static")``.

    Raises ``MethodError`` for an unknown algorithm, target, setting or suffix, or a value out of bounds.
    """
    if isinstance(spelling, Method):
        return spelling
    if not isinstance(spelling, str):
        raise MethodError(f"a method is spelled like 'wanda-0.5'; got {spelling!r} ({type(spelling).__name__})")
    text = spelling.strip()
    if pattern := _RATIO.search(text):
        hint = _suggested(_RATIO.sub(r"-\1of\2", text))
        raise MethodError(
            f"method {text!r}: {pattern[0][1:]} is spelled {pattern[1]}of{pattern[2]}, kept of group{hint}"
        )
    match = _SPELLING.fullmatch(text)
    if match is None:
        if negative := re.search(r"-(-[\d.]+)", text):
            raise MethodError(
                f"method {text!r}: sparsity {negative[1]} is the share of zeros; expected 0 <= sparsity < 1"
            )
        raise MethodError(
            f"method {spelling!r} is not spelled algorithm-target, as in 'gptq-w4g128' or 'wanda-0.5'"
            f"{nearest(text.lower(), _examples())} There are: {', '.join(_examples())}"
        )
    entry = _algorithm(match["algorithm"], text)
    base = _base(match["base"], entry, text)
    tokens = re.findall(r"-(w\d+g-\d+|[^-:+]+)", match["target"])
    target = _target(tokens, text)
    if target.kind not in entry.targets:
        shown = " or ".join(f"'{example(entry, kind)}'" for kind in entry.targets)
        raise MethodError(f"method {text!r}: {entry.name} is spelled like {shown}")
    if base is not None and target.kind not in algorithms()[base].targets:
        raise MethodError(f"method {text!r}: {base} does not take the target {target}")
    suffixes = _suffixes(match["suffixes"], target, text)
    settings = parse_settings(match["settings"], entry.name, _settings_of(entry, suffixes), text)
    if target.bits is None and (stray := [name for name, _ in settings if name in ("sym", "groups")]):
        raise MethodError(f"method {text!r}: {stray[0]} says how to quantize, but no target like w4g64 is given")
    return Method(entry.name, target, base, settings, suffixes)


def _suffixes(listed: str, target: Target, text: str) -> tuple[str, ...]:
    suffixes = tuple(listed.split("+")[1:])
    for suffix in suffixes:
        if suffix not in SUFFIXES:
            raise MethodError(
                f"method {text!r}: unknown suffix '+{suffix}'{nearest(suffix.lower(), list(SUFFIXES))} "
                f"There are: +{', +'.join(SUFFIXES)}"
            )
    if suffixes != tuple(SUFFIXES)[: len(suffixes)]:
        raise MethodError(f"method {text!r}: suffixes are spelled +br, +br+gp or +br+gp+cr")
    if suffixes and target.kind not in ("sparsity", "pattern"):
        raise MethodError(
            f"method {text!r}: +{suffixes[0]} trains what pruning has kept; it follows a pruning method only"
        )
    return suffixes


def _settings_of(entry: Algorithm, suffixes: tuple[str, ...]) -> Mapping[str, Setting]:
    return {**entry.settings, **RECONSTRUCTION_SETTINGS} if suffixes else entry.settings


def example(entry: Algorithm, kind: str = "") -> str:
    """How an algorithm is spelled with a target of this kind; the first that it takes unless given."""
    target = _EXAMPLES[kind or entry.targets[0]]
    if entry.name == "spqr":  # made for small groups
        target = "-w4g16"
    return entry.name + ("(wanda)" if entry.takes_base else "") + target


def _examples() -> list[str]:
    return [example(entry) for entry in algorithms().values()]


def _corrected(text: str, name: str, entry: Algorithm) -> str:
    """The spelling with the right algorithm in it, or an example of that where something else is wrong too."""
    corrected = text.replace(name, entry.name, 1)
    try:
        return str(parse(corrected))
    except MethodError:
        return example(entry)


def _suggested(text: str) -> str:
    """The end of a message: a question whether this spelling was meant, if it is one."""
    try:
        return f"; did you mean {str(parse(text))!r}?"
    except MethodError:
        return ""


def _algorithm(name: str, text: str) -> Algorithm:
    known = algorithms()
    if name in known:
        return known[name]
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {_corrected(text, name, known[found[0]])!r}?" if found else "."
    raise MethodError(f"method {text!r}: unknown algorithm {name!r}{hint} There are: {', '.join(_examples())}")


def _base(name: str | None, entry: Algorithm, text: str) -> str | None:
    if entry.takes_base != (name is not None):
        needs = f"needs a base, as in '{entry.name}(wanda)-0.5'" if entry.takes_base else "takes no base in brackets"
        raise MethodError(f"method {text!r}: {entry.name} {needs}")
    if name is None:
        return None
    base = _algorithm(name, text)
    if base.takes_base or not {"sparsity", "pattern"} & set(base.targets):
        known = [other.name for other in algorithms().values() if "sparsity" in other.targets and not other.takes_base]
        raise MethodError(f"method {text!r}: {entry.name} starts from a pruning method, one of {', '.join(known)}")
    return base.name


def _target(tokens: list[str], text: str) -> Target:
    fields: dict[str, float | int] = {}
    for token in tokens:
        part = _target_part(token, text)
        if {"sparsity", "keep"} <= fields.keys() | part.keys():
            both = {**fields, **part}
            share = 1 - both["keep"] / both["group"]
            raise MethodError(
                f"method {text!r}: {both['keep']}of{both['group']} is a sparsity of {share:g} by itself; "
                "give the pattern or the sparsity, not both"
            )
        if fields.keys() & part.keys():
            raise MethodError(f"method {text!r}: the target is given twice (at {token!r})")
        fields |= part
    return Target(**fields)  # type: ignore[arg-type]


def _target_part(token: str, text: str) -> dict[str, float | int]:
    if match := re.fullmatch(r"w(\d+)g(-?\d+)", token):
        bits, size = int(match[1]), int(match[2])
        if not 2 <= bits <= 8:
            raise MethodError(f"method {text!r}: {bits} bits a weight; expected 2 to 8")
        if size != -1 and size < 1:
            raise MethodError(
                f"method {text!r}: group size {size}; expected a positive number, or -1 for one group a row"
            )
        return {"bits": bits, "group_size": size}
    if match := re.fullmatch(r"(\d+)of(\d+)", token):
        keep, group = int(match[1]), int(match[2])
        if not 1 <= keep <= group or group < 2:
            raise MethodError(
                f"method {text!r}: {token} keeps {keep} of every {group}; expected 1 <= kept <= group, as in 2of4"
            )
        return {"keep": keep, "group": group}
    likely = likely_target(token)
    meant = _suggested(text.replace(f"-{token}", f"-{likely}", 1)) if likely else ""
    try:
        sparsity = float(token)
    except ValueError:
        if token in ("sym", "actorder"):
            meant = f"; settings follow a colon, as in :{token}=true"
        elif likely.startswith("w"):
            meant = f"; write {likely!r}, or '{likely[:2]}g-1' for one group a row"
        raise MethodError(
            f"method {text!r}: unknown target {token!r}; targets look like 0.5, 2of4 or w4g128{meant}"
        ) from None
    if not 0 <= sparsity < 1:
        raise MethodError(f"method {text!r}: sparsity {token} is the share of zeros; expected 0 <= sparsity < 1{meant}")
    return {"sparsity": sparsity}
