"""Networks trained on all real images but the held-out tenth: the cells ``full`` and ``full+mixup`` of a study.

A set is a seed of networks. What they are calibrated on in place of distilled images is a sample of those they were
trained on, as many of each class as are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.study_files import StudyFiles

FULL = "full"
EPOCHS = 30  # unless told; a distilled set is learned in 300 or 1000, and is a thousandth of this


def full_sets(splits: Any, classes: int, seeds: Sequence[int], device: str) -> tuple[Any, tuple[Any, Any]]:
    """(samples of the images, as distilled sets of the seeds; all pixels ``[n, ...]`` and labels that train)."""
    import torch

    from compressors.distillation.backbones import Distilled, real_images
    from compressors.distillation.images import Images, class_labels
    from compressors.distillation.masking import Run

    train, held = splits["train"], splits["held-out"]
    images = Images(torch.tensor(train.pixels, device=device), torch.tensor(train.labels, device=device), classes)
    count = min(*images.counts, int(np.bincount(held.labels, minlength=classes).min()))
    sample = real_images(images, count, seeds, "seen").flatten(1, 2)
    runs, labels = tuple(Run(seed) for seed in seeds), class_labels(classes, count, device)
    made = Distilled(FULL, runs, sample, labels, None, torch.empty(0), 0.0, {"ipc": min(images.counts)})
    return made, (images.pixels, images.labels)


def full_of(shape: Any, splits: Any, options: Any) -> tuple[StudyFiles, Any, tuple[Any, Any]]:
    """The files of a study of full data, and :func:`full_sets`. The images are not kept: there are those of the set."""
    import torch

    from fixtures.image_runner import code_hash

    device = "cuda" if torch.cuda.is_available() else "cpu"
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    facts = {
        "model": options.model, "classes": shape.classes, "seeds": seeds, "recipe": options.recipe, "device": device,
        "torch": torch.__version__, "code": code_hash(),
    }  # fmt: skip
    recipe = f"-{options.recipe}" if options.recipe else ""
    options.out.mkdir(parents=True, exist_ok=True)
    files = StudyFiles(options.out / f"{FULL}{recipe}-s{options.first_seed}", facts)
    return files, *full_sets(splits, shape.classes, seeds, device)
