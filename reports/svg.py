"""Matplotlib figures as small SVGs that follow the page's theme, light or dark.

Figures are drawn in placeholder colours, which become CSS variables; a file that stands alone carries its own values.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Okabe and Ito's palette, told apart with every common colour blindness; black is the ink of the theme.
LIGHT = {
    "ink": "#1c1e21",
    "soft": "#5b6169",
    "line": "#d5d9de",
    "c0": "#0072b2",
    "c1": "#d55e00",
    "c2": "#009e73",
    "c3": "#b4578f",
    "c4": "#8a6d00",
    "c5": "#3a9fd8",
    "c6": "#1c1e21",
}
DARK = {
    "ink": "#e8eaed",
    "soft": "#a3abb5",
    "line": "#3a4048",
    "c0": "#56a8e8",
    "c1": "#f28a3c",
    "c2": "#2fc497",
    "c3": "#e08fc0",
    "c4": "#e6c84a",
    "c5": "#9fd8f7",
    "c6": "#e8eaed",
}
MARKERS = "osD^vPX"
# Placeholders that matplotlib writes unchanged and that nothing else uses.
PLACES = {name: f"#0102{k:02x}" for k, name in enumerate(LIGHT)}


def series(k: int) -> tuple[str, str]:
    """Colour and marker of the k-th source: shape tells them apart where colour does not."""
    return PLACES[f"c{k % 7}"], MARKERS[(k + k // 7) % 7]


@contextmanager
def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Any, Any]]:
    """A figure (inches) without pyplot's global state, and its axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ink, soft, line = PLACES["ink"], PLACES["soft"], PLACES["line"]
    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "calibench",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.edgecolor": line,
        "axes.labelcolor": soft,
        "axes.titlecolor": ink,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.axis": "x",
        "axes.axisbelow": True,
        "grid.color": line,
        "grid.linewidth": 0.6,
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": soft,
        "ytick.labelcolor": ink,
        "ytick.major.size": 0,
        "text.color": ink,
        "legend.frameon": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def to_svg(figure: Any, title: str) -> str:
    """The figure as one ``<svg>`` element with a title for screen readers; colours are CSS variables."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    for name, place in PLACES.items():
        text = text.replace(place, f"var(--{name})")
    # Families are the page's: the drawing used DejaVu Sans only for its metrics.
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1system-ui, 'DejaVu Sans', sans-serif", text)
    width, height = (float(x) for x in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups())  # type: ignore[union-attr]
    text = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1)
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    pixels = f"{width * 96 / 72:.0f}px"
    size = f'style="width:100%;max-width:{pixels};--w:{pixels};aspect-ratio:{width:g}/{height:g}"'
    return text.replace("<svg", f'<svg role="img" aria-label="{label}" {size}', 1)


def unique_ids(text: str, prefix: str) -> str:
    """Ids of several SVGs in one page must differ, or clip paths and markers are taken from the wrong one."""
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", text)
    return re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{prefix}\1"', text)


def standalone(text: str) -> str:
    """A file of its own: the colours of both themes inside."""
    light = ";".join(f"--{k}:{v}" for k, v in LIGHT.items())
    dark = ";".join(f"--{k}:{v}" for k, v in DARK.items())
    night = f"@media(prefers-color-scheme:dark){{svg{{{dark};background:#16181b}}}}"
    style = f"<style>svg{{{light};background:#fff}}{night}</style>"
    end = text.index(">") + 1
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text[:end]}{style}{text[end:]}'
