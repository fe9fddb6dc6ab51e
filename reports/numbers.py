"""Numbers as text for people: true minus signs, no more digits than they carry."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}g}".replace("-", "\u2212")


def plain(value: float, digits: int) -> str:
    """With so many digits and a true minus sign; what rounds to zero has none."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not float(text) else text.replace("-", "\u2212")


def signed(value: float, digits: int) -> str:
    """As ``plain``, with a plus sign above zero."""
    text = plain(value, digits)
    return f"+{text}" if value > 0 and float(f"{value:.{digits}f}") else text


def significant(value: float, of: float | None = None) -> str:
    """Four significant digits, or as many decimals as ``of`` is shown with."""
    if not math.isfinite(value):
        return "infinite"
    size = abs(of if of is not None and math.isfinite(of) else value)
    if size >= 1e6:
        return f"{value:.3g}"
    return f"{value:.{max(0, 3 - math.floor(math.log10(size or 1.0)))}f}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def figure_text(value: float | None, sd: float | None, digits: int, scale: float = 1) -> str:
    """``"12.3 ±0.4"``; empty for None, exactly ±0 for draws that are all alike."""
    if value is None:
        return ""
    spread = "" if sd is None else f" ±{sd * scale:.{digits}f}" if sd else " ±0"
    return plain(value * scale, digits) + spread
