"""Settings of a method as they are spelled, ``name=value`` with commas between, and what is said of a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from compressors.registry import MethodError as MethodError
from compressors.registry import Setting

Value = bool | int | float | str


def nearest(word: str, known: list[str]) -> str:
    """The end of a message about an unknown word: a question if one of the known ones is near, else a full stop."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else "."


def likely_target(word: str) -> str:
    """How a target that is spelled as elsewhere (``50%``, ``0,5``, ``4bit``, ``int4``) is spelled here; empty if that
    is anyone's guess.
    """
    if (share := re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", word)) and (0 if share[2] else 2) <= float(share[1]) < 100:
        return f"{float(share[1]) / 100:g}"
    if re.fullmatch(r"0?,\d+", word):
        return "0." + word.partition(",")[2]
    bits = re.fullmatch(r"(?:w|int|uint)?([2-8])(?:-?bits?)?", word.lower())
    return f"w{bits[1]}g128" if bits else ""


def show(value: Value) -> str:
    """A value as it is spelled."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def parse_settings(
    listed: str | None, algorithm: str, known: Mapping[str, Setting], text: str
) -> tuple[tuple[str, Value], ...]:
    """The settings of a spelling, ``a=1,b=2``, that differ from the defaults, ordered by name; ``text`` is the whole
    spelling, for the errors.
    """
    found: dict[str, Value] = {}
    for item in [] if listed is None else listed.split(","):
        name, equals, value = item.partition("=")
        if not equals:
            default = known[item].default if item in known else ""
            hint = f", as in {item}={show(not default if default is False else default)}" if item in known else ""
            raise MethodError(f"method {text!r}: setting {item!r} is not spelled name=value{hint}")
        if name not in known:
            names = ", ".join(known) or "none"
            raise MethodError(
                f"method {text!r}: {algorithm} has no setting {name!r}"
                f"{nearest(name, list(known))} Its settings: {names}"
            )
        if name in found:
            raise MethodError(f"method {text!r}: setting {name!r} is given twice")
        found[name] = _value(value, name, known[name], text)
    return tuple(sorted((name, value) for name, value in found.items() if value != known[name].default))


def _value(word: str, name: str, setting: Setting, text: str) -> Value:
    where = f"method {text!r}: setting {name}={word!r}"
    if isinstance(setting.default, bool):
        if word not in ("true", "false"):
            raise MethodError(f"{where}; expected true or false")
        return word == "true"
    if isinstance(setting.default, str):
        if word not in setting.choices:
            hint = nearest(word, list(setting.choices))
            raise MethodError(f"{where}; expected one of {', '.join(setting.choices)}{hint}")
        return word
    try:
        number = type(setting.default)(word)
    except ValueError:
        raise MethodError(f"{where}; expected a number like {show(setting.default)}") from None
    low, high = setting.low, setting.high
    # Written so that NaN, which compares false with everything, is refused too.
    if not ((low is None or number >= low) and (high is None or number <= high)):
        raise MethodError(f"{where}; expected " + (f"{low} to {high}" if high is not None else f"at least {low}"))
    return number
