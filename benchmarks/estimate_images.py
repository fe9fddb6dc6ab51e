"""How long cases of distilled images would take, from measured rates (``[images]`` of ``benchmarks/rates.toml``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.estimate import rates
from fixtures.image_cases import ImageCase
from fixtures.images import image_model


@dataclass(frozen=True)
class ImageEstimate:
    """``hours`` of one GPU for ``sets`` distilled sets and their networks; ``unknown``: what was never timed."""

    sets: int
    hours: float
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        text = (
            f"about {self.hours:.2g} GPU hours on {rates()['images']['gpu']} for {self.sets:,} sets and their networks"
        )
        return text + (f"; not counted, since never timed: {', '.join(self.unknown)}" if self.unknown else "")


def estimate_images(cases: Iterable[ImageCase]) -> ImageEstimate:
    """Every distilled set and its networks once, whatever number of calibrators and sources they serve.

    The rates are those of grey images of ten classes; time is taken to grow with the number of classes.
    """
    table = rates()["images"]
    seconds = 0.0
    unknown: dict[str, None] = {}
    made = {
        (case.model, case.distillation.trained, case.seed, case.source == "distilled-held-out"): case for case in cases
    }
    for case in made.values():
        method, budget, classes = case.distillation, case.budget, image_model(case.model).images.classes
        seconds += table["train_image"] * method.ipc * classes * (budget.epochs + 1) * budget.nets
        name = f"{method.backbone}-ipc{method.ipc}"
        if method.backbone != "random" and name not in table["iteration"]:
            unknown[name] = None
        elif method.backbone != "random":
            seconds += table["iteration"][name] * classes / 10 * budget.of(method.backbone, method.ipc)
    return ImageEstimate(len(made), seconds / 3600, tuple(unknown))
