"""From a spelling such as ``dc``, real images and seeds to distilled sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from compressors.distillation import augment
from compressors.distillation.convnet import Shape
from compressors.distillation.distribution import DistributionMatching
from compressors.distillation.gradient import GradientMatching
from compressors.distillation.images import DistillationError, Images, class_labels
from compressors.distillation.masking import Run
from compressors.distillation.memories import AddressableMemories, Memory
from compressors.distillation.schedules import COLOR, Budget
from compressors.distillation.streams import stream
from compressors.distillation.trajectory import Trajectory, TrajectoryMatching

BACKBONES = ("random", "dm", "dc", "dsa", "mtt", "rtp")


@dataclass
class Distilled:
    """``pixels [runs, classes * ipc, channels, size, size]`` and ``labels [classes * ipc]``.

    ``share`` is that of the published iterations (None for random real images); ``losses`` ``[iterations, runs]``.
    """

    backbone: str
    runs: tuple[Run, ...]
    pixels: Tensor
    labels: Tensor
    share: float | None
    losses: Tensor
    seconds: float
    extra: dict[str, Any] = field(default_factory=dict)


def real_images(images: Images, ipc: int, seeds: Sequence[int], purpose: str) -> Tensor:
    """``ipc`` random real images of each class for every seed: ``[seeds, classes, ipc, channels, size, size]``."""
    device = images.pixels.device
    return images.pixels[images.draw(ipc, [stream(seed, purpose, device) for seed in seeds])]


def distil(
    backbone: str, shape: Shape, images: Images, ipc: int, runs: Sequence[Run], budget: Budget,
    strategies: Sequence[str] = COLOR, half: bool = False, graphs: bool = True,
    progress: Callable[[int, int], None] = lambda done, of: None, plan: Trajectory | Memory | None = None,
) -> Distilled:  # fmt: skip
    """Distils every run: ``random`` (real images, the control), ``dm``, ``dc``, ``dsa``, ``mtt`` or ``rtp``.

    Images are on the device that computes. DC starts from noise, RTP from random memories, the others from random real
    images. Runs of one seed share everything but their masks. ``half`` treats real images in bfloat16 (DC, DSA, DM);
    ``plan`` holds the settings of MTT and RTP. RTP makes as many images as fit into the storage of ``ipc`` a class.
    Raises :class:`DistillationError` if a class has fewer than ``ipc`` images or the backbone is unknown.
    """
    images.check_count(ipc, "images a class")
    augment.check_strategies(strategies)
    if backbone not in BACKBONES:
        raise DistillationError(f"unknown backbone {backbone!r}; there are {', '.join(BACKBONES)}")
    start = time.perf_counter()
    seeds = [run.seed for run in runs]
    synthetic = real_images(images, ipc, seeds, "initial")
    if backbone == "dc":
        noise = [torch.randn(synthetic.shape[1:], generator=stream(s, "noise", synthetic.device),
                             device=synthetic.device) for s in seeds]  # fmt: skip
        synthetic = torch.stack(noise).to(images.pixels.dtype)
    work: Any = None
    if backbone in ("dc", "dsa"):
        used = strategies if backbone == "dsa" else ()
        work = GradientMatching(shape, images, runs, synthetic, budget, used, half, graphs)
    elif backbone == "dm":
        work = DistributionMatching(shape, images, runs, synthetic, budget, strategies, half, graphs)
    elif backbone == "mtt":
        work = TrajectoryMatching(shape, images, runs, synthetic, budget, strategies, plan)
    elif backbone == "rtp":
        work = AddressableMemories(shape, images, runs, budget, ipc, plan)
    if work is not None:
        work.run(progress)
    pixels = work.pixels().detach() if backbone == "rtp" else synthetic.detach().flatten(1, 2)
    if pixels.is_cuda:
        torch.cuda.synchronize()  # else the seconds would be those of launching
    labels = class_labels(images.classes, pixels.shape[1] // images.classes, pixels.device)
    losses = torch.stack(work.losses) if work and work.losses else torch.empty(0, len(runs))
    extra = {"rate": work.rate.tolist()} if backbone == "mtt" else {}
    share = budget.share(backbone)
    return Distilled(backbone, tuple(runs), pixels, labels, share, losses, time.perf_counter() - start, extra)
