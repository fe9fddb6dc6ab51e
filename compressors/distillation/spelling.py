"""How a distilled-data method is spelled: ``backbone-ipcN[+mdt[ratio]][+loss][+calibrator]``. Imports no torch.

``dc-ipc10+mdt+mts``: dataset condensation, ten images a class, masked while they are distilled, and masked temperature
scaling of the networks trained on them. ``mts`` masks .3; ``mts0.5`` says otherwise, ``mts0.5:unit=patch,fill=mean``
what is masked and with what, ``draws=5`` over how many masks the loss is averaged; ``mts-calib`` takes the ratio with
the least ECE on the calibration data, ``mts-oracle`` on the test data, which only the name ``oracle`` may do.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

BACKBONES = ("random", "dm", "dc", "dsa", "mtt", "rtp")
LOSSES = ("smooth", "focal", "mixup", "cutmix", "cutout")
CALIBRATORS = ("ts", "ts-legacy", "mts", "mts-legacy", "mts-calib", "mts-oracle", "vector", "isotonic", "oracle")
UNITS = ("element", "pixel", "patch")  # those of compressors.confidence.masked, which needs torch
FILLS = ("zero", "black", "mean")
RATIO = 0.3
RATIOS = tuple(round(0.1 * k, 1) for k in range(10))  # what mts-calib and mts-oracle choose from; 0 is no mask


class SpellingError(ValueError):
    """A spelling that names no distilled-data method."""


@dataclass(frozen=True)
class Distillation:
    """``mdt`` and ``ratio`` are shares in [0, 1), ``ratio`` that of ``mts``; ``calibrator`` is empty for none.

    ``unit``, ``fill`` and ``draws`` are settings of ``mts``: see ``compressors.confidence.masked.Mask``.
    """

    backbone: str
    ipc: int
    mdt: float = 0.0
    loss: str = "ce"
    calibrator: str = ""
    ratio: float = RATIO
    unit: str = UNITS[0]
    fill: str = FILLS[0]
    draws: int = 1

    @property
    def trained(self) -> str:
        """The spelling without its calibrator: what networks are trained on, and how."""
        parts = [f"{self.backbone}-ipc{self.ipc}"]
        if self.mdt:
            parts.append("mdt" if self.mdt == RATIO else f"mdt{self.mdt:g}")
        return "+".join(parts + ([self.loss] if self.loss != "ce" else []))

    @property
    def masks(self) -> bool:
        """Whether the calibrator masks its images."""
        return self.calibrator.startswith("mts")

    def __str__(self) -> str:
        ratio = f"{self.ratio:g}" if self.calibrator == "mts" and self.ratio != RATIO else ""
        set_ = [f"{name}={getattr(self, name)}" for name, usual in SETTINGS.items() if getattr(self, name) != usual]
        settings = f":{','.join(set_)}" if set_ else ""
        return self.trained + (f"+{self.calibrator}{ratio}{settings}" if self.calibrator else "")


SETTINGS: dict[str, str | int] = {"unit": UNITS[0], "fill": FILLS[0], "draws": 1}  # of mts, with their defaults


def parse(text: str) -> Distillation:
    """The method of a spelling such as ``dsa-ipc1+mdt0.1+ts``. Raises :class:`SpellingError`."""
    first, *rest = text.strip().split("+")
    match = re.fullmatch(r"([a-z]+)-ipc(\d+)", first)
    if match is None or match[1] not in BACKBONES:
        close = difflib.get_close_matches(first.split("-")[0], BACKBONES, n=1)
        hint = f"; did you mean {close[0]}-ipc10?" if close else "."
        raise SpellingError(
            f"method {text!r}: {first!r} is no backbone{hint} They are {', '.join(BACKBONES)}, as in dc-ipc10"
        )
    if int(match[2]) < 1:
        raise SpellingError(f"method {text!r}: at least one image a class")
    found: dict[str, object] = {}
    for part in rest:
        key, values = _suffix(part, text)
        if key in found or (key == "mdt" and found) or (key == "loss" and "calibrator" in found):
            raise SpellingError(
                f"method {text!r}: +{part} is given twice or out of order: +mdt, then a loss, then a calibrator"
            )
        found.update(values)
        found.setdefault(key, True)
    return Distillation(match[1], int(match[2]), **found)  # type: ignore[arg-type]


def _suffix(part: str, text: str) -> tuple[str, dict[str, object]]:
    """(field, fields set) of one suffix."""
    if match := re.fullmatch(r"(mts[\d.]*):(.*)", part):
        key, values = _suffix(match[1], text)
        return key, values | _settings(match[2], text)
    if match := re.fullmatch(r"(mdt|mts)(\d*\.?\d+)?", part):
        ratio = float(match[2] or RATIO)
        if not 0 <= ratio < 1:
            raise SpellingError(f"method {text!r}: mask ratio {ratio:g}; expected 0 <= ratio < 1, the share masked")
        return ("mdt", {"mdt": ratio}) if match[1] == "mdt" else ("calibrator", {"calibrator": "mts", "ratio": ratio})
    if part in LOSSES:
        return "loss", {"loss": part}
    if part in CALIBRATORS:
        return "calibrator", {"calibrator": part}
    known = ["mdt", *LOSSES, *CALIBRATORS]
    close = difflib.get_close_matches(part, known, n=1)
    hint = f"; did you mean +{close[0]}?" if close else "."
    raise SpellingError(f"method {text!r}: unknown suffix '+{part}'{hint} There are: +{', +'.join(known)}")


def _settings(given: str, text: str) -> dict[str, object]:
    """The settings of ``unit=patch,draws=5``."""
    found: dict[str, object] = {}
    for piece in given.split(","):
        name, _, value = piece.partition("=")
        if name not in SETTINGS:
            close = difflib.get_close_matches(name, SETTINGS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise SpellingError(f"method {text!r}: mts has no setting {name!r}{hint} It has {', '.join(SETTINGS)}")
        known = {"unit": UNITS, "fill": FILLS}.get(name)
        if known and value not in known:
            raise SpellingError(f"method {text!r}: {name}={value}; expected one of {', '.join(known)}")
        if name == "draws" and not (value.isdecimal() and int(value) >= 1):
            raise SpellingError(f"method {text!r}: draws={value}; expected the number of masks, 1 or more")
        found[name] = int(value) if name == "draws" else value
    return found
