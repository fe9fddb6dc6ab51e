"""How long each backbone runs and how large its steps are: the published settings, and what share of them is run."""

from __future__ import annotations

from dataclasses import dataclass

# (outer steps, epochs of the network between them) by images a class, arXiv 2006.05929, appendix.
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
PUBLISHED = {"dc": 1000, "dsa": 1000, "dm": 20_000, "mtt": 5_000, "rtp": 500_000}
COLOR = ("color", "crop", "cutout", "flip", "scale", "rotate")
DIGITS = ("color", "crop", "cutout", "scale", "rotate")  # a mirrored digit is another sign


@dataclass(frozen=True)
class Budget:
    """What a distillation spends. ``iterations`` of ``PUBLISHED[backbone]``; ``batch_real`` images a class and step.

    ``outer`` and ``inner``: matching steps an iteration and epochs of the network between them; None means the
    published loop for the images a class, or the nearest one.
    """

    iterations: int
    batch_real: int = 256
    outer: int | None = None
    inner: int | None = None

    def loop(self, ipc: int) -> tuple[int, int]:
        """(outer, inner) for ``ipc`` images a class."""
        nearest = min(LOOPS, key=lambda known: (abs(known - ipc), known))
        outer, inner = LOOPS[nearest]
        return self.outer or outer, self.inner or inner

    def share(self, backbone: str) -> float | None:
        """Share of the published iterations, 1 or less; None for the control, which has none."""
        published = PUBLISHED.get(backbone)
        return None if published is None else min(1.0, self.iterations / published)


def published(backbone: str) -> Budget:
    """The full budget of the paper; raises ``KeyError`` for a backbone without one."""
    return Budget(PUBLISHED[backbone])
