"""What the gates tolerate: the ``[gates]`` table of a profile, with defaults and errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.groups import Group

NAMES = ("variance", "source", "null", "repeat", "noise_floor", "regression", "release", "reconstruction")

BASELINE_SCHEMA = 1


class GateError(ValueError):
    """Settings, a baseline or a request that the gates cannot work with; the message says which and what to do."""


@dataclass(frozen=True)
class Settings:
    """Margins are in nats a token, accuracies in shares. A table by method may stand for a number, with ``default``.

    ``variance_limit`` bounds the SD that draws of one source cause; ``source_margin`` is the difference of sources
    that matters, ``regression_margin`` the rise in damage over the baseline that matters, ``reconstruction_margin`` the
    relative rise of one linear's output error. The release gate is made only if one of its margins is given.
    """

    alpha: float = 0.05
    power: float = 0.8
    confidence: float = 0.95
    gates: tuple[str, ...] = NAMES
    variance_limit: Any = 0.02
    variance_limit_accuracy: Any = 0.02
    source_margin: Any = 0.02
    source_margin_accuracy: Any = 0.02
    regression_margin: Any = 0.02
    regression_margin_accuracy: Any = 0.02
    release_margin: Any = None
    release_margin_accuracy: Any = None
    reconstruction_margin: Any = 0.1

    def of(self, name: str, group: Group) -> float | None:
        """The setting ``name`` for a group: of its model, else of its method, else the default."""
        value = getattr(self, name)
        if isinstance(value, Mapping):
            by_model = value.get(group.name, value.get("default"))
            return by_model if group.name in value else value.get(group.method, by_model)
        return value

    def need(self, name: str, group: Group) -> float:
        """As :meth:`of`; raises ``ValueError`` if the table has neither the model, the method nor a default."""
        value = self.of(name, group)
        if value is None:
            raise ValueError(f"[gates] {name} has no entry for {group.label} and no default")
        return value

    @classmethod
    def read(cls, table: Mapping[str, Any] | None) -> Settings:
        """Raises :class:`GateError` for an unknown key, or a value that is not a probability or a positive number."""
        table = dict(table or {})
        known = [f.name for f in fields(cls)]
        for key, value in table.items():
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                raise GateError(f"[gates] has no setting {key!r}{hint} Known: {', '.join(known)}")
            _check(key, value)
        if "gates" in table:
            table["gates"] = tuple(table["gates"])
        return cls(**table)


def _check(key: str, value: Any) -> None:
    if key == "gates":
        unknown = [name for name in value if name not in NAMES]
        if unknown:
            raise GateError(f"[gates] gates: there is no gate {unknown[0]!r}. Known: {', '.join(NAMES)}")
        return
    for number in value.values() if isinstance(value, Mapping) else [value]:
        good = isinstance(number, (int, float)) and not isinstance(number, bool) and number > 0
        if key in ("alpha", "power", "confidence"):
            good = good and number < 1
        if not good:
            bounds = "between 0 and 1" if key in ("alpha", "power", "confidence") else "above 0"
            raise GateError(f"[gates] {key} = {number!r}: expected a number {bounds}")
