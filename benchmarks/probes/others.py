"""Other networks in place of ConvNet, and what masking costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.distillation_study import RATIOS, calibration_pixels, fits, parse_cell
from benchmarks.probes.common import Context, Row, answers, facts

ROUNDS, TRIES = 5, 3  # of timing
SHRUNK = 8  # times that ResNet-18 makes a side shorter
WARM, STEPS = 2, 20  # of a distillation; the first record graphs and choose algorithms
REPEATS = 9  # of one calibration, whose median counts


def network(context: Context, cells: dict[str, Any]) -> Iterator[Row]:
    """Rows as those of the study, for networks that are no ConvNet."""
    import torch

    from benchmarks.confidence_scores import COLUMNS, scores
    from compressors.distillation import architectures

    names = context.networks or tuple(architectures.ARCHITECTURES)
    check_size(names, context.shape.size)
    truth = answers(context)
    images = torch.tensor(context.splits["test"].pixels, device=context.device)[None]
    for cell, sets in cells.items():
        seeds = context.seeds(sets.runs)
        wide = sets.pixels.repeat_interleave(context.nets, 0)
        for name in names:
            nets = architectures.train(name, context.shape, wide, sets.labels, seeds, context.recipe())
            test = architectures.look(nets, images)
            plain = scores(test, truth, torch.ones(len(seeds), device=context.device))
            owners = [run.seed for run in sets.runs for _ in range(context.nets)]
            sources = {
                source: fits(_looking(nets), given, labels, test, truth, owners, RATIOS)
                for source, given, labels in calibration_pixels(context.splits, sets, context.nets, context.device)
                if source != "real"
            }
            for k in range(len(seeds)):
                yield {
                    **facts("network", cell, sets, context, k), "network": name, "columns": list(COLUMNS),
                    "none": plain[k].tolist(),
                    "sources": {
                        source: {fit: {key: [row[k] for row in value] for key, value in by.items()}
                                 for fit, by in found.items()}
                        for source, found in sources.items()
                    },
                }  # fmt: skip


def check_size(names: Sequence[str], size: int) -> None:
    """Raises ``ValueError`` for images that ResNet-18 shrinks to one pixel: its norm over that pixel is always zero, so
    that the network says the same of every image.
    """
    if "resnet18" in names and size <= SHRUNK:
        raise ValueError(
            f"resnet18 shrinks images of {size}x{size} to one pixel, over which nothing can be normed; it needs more "
            f"than {SHRUNK} pixels a side: --networks vit asks the transformer alone"
        )


def _looking(nets: Sequence[Any]) -> Callable[[Any], Any]:
    from compressors.distillation.architectures import look

    return lambda pixels: look(nets, pixels)


def cost(context: Context, cells: dict[str, Any]) -> Iterator[Row]:
    """Seconds of a few iterations of each backbone with and without masks, in turn; and of calibrating one network."""
    import torch

    from compressors.distillation.backbones import distil
    from compressors.distillation.images import Images
    from compressors.distillation.masking import Run
    from compressors.distillation.schedules import COLOR, DIGITS, Budget

    train_split = context.splits["train"]
    pixels, labels = (torch.tensor(p, device=context.device) for p in (train_split.pixels, train_split.labels))
    images = Images(pixels, labels, context.shape.classes)
    strategies, half = COLOR if context.image_set.mirrored else DIGITS, context.device == "cuda"
    for cell, sets in cells.items():
        backbone, ipc, mdt, _ = parse_cell(cell)
        if backbone == "random" or mdt:
            continue
        for number in range(ROUNDS):
            laps = {"plain": Laps(context.device), "masked": Laps(context.device)}
            for k in range(TRIES * len(laps)):  # in turn, and each round the other first
                name, ratio = [("plain", 0.0), ("masked", 0.3)][(k + number) % 2]
                runs, budget = [Run(number, ratio)], Budget(WARM + STEPS)
                distil(backbone, context.shape, images, ipc, runs, budget, strategies, half, progress=laps[name])
            seconds = {name: min(lap.seconds) for name, lap in laps.items()}  # the least disturbed
            row = facts("cost", cell, sets, context, 0) | {"seed": number}
            yield {**row, "seconds": {**seconds, **_calibration_seconds(context, sets, number)}}


def clock(device: str) -> float:
    """Seconds: of the wall once a GPU is done; of the processor on a CPU, whatever else the machine does meanwhile."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


class Laps:
    """The time from the end of the ``WARM``-th iteration to that of the last."""

    def __init__(self, device: str) -> None:
        self.device, self.start = device, 0.0
        self.seconds: list[float] = []

    def __call__(self, done: int, of: int) -> None:
        if done == WARM:
            self.start = clock(self.device)
        if done == of:
            self.seconds.append(clock(self.device) - self.start)


def _calibration_seconds(context: Context, sets: Any, seed: int) -> dict[str, float]:
    """Of one network: a forward pass over the set, temperature scaling, and masked temperature scaling."""
    from benchmarks.confidence_scores import losses
    from compressors.confidence.masked import Mask, masked
    from compressors.confidence.temperature import bisect
    from compressors.distillation.convnet import initial
    from compressors.distillation.streams import stream
    from compressors.distillation.training import predict

    parameters = initial(context.shape, [stream(seed, "cost", context.device)])
    pixels, random = sets.pixels[0], stream(seed, "cost masks", context.device)

    def forward() -> Any:
        return predict(parameters, pixels, context.shape)

    def scale() -> None:
        bisect(losses(forward(), sets.labels), (1,))

    def masked_scale() -> None:
        given = masked(pixels, Mask(0.3), random)[0]
        bisect(losses(predict(parameters, given, context.shape), sets.labels), (1,))

    works = {"forward": forward, "ts": scale, "mts": masked_scale}
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(1 + REPEATS):  # in turn, so that a slow spell meets all of them; the first warms up
        for name, work in works.items():
            start = clock(context.device)
            work()
            found[name].append(clock(context.device) - start)
    return {name: median(times[1:]) for name, times in found.items()}
