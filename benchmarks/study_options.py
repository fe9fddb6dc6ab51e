"""The command line of `benchmarks.distillation_study`: what cannot be is said before anything is distilled."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study_full import FULL
from compressors.distillation.schedules import PUBLISHED
from compressors.distillation.spelling import parse
from fixtures.images import ImageError, ImageModel, image_model


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, not {text!r}")
    return int(text)


def share(text: str) -> float:
    """Above 0; more than 1 is more than was published."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError(f"expected a share above 0, such as 0.05 or 1, not {text!r}")
    return value


def network(name: str) -> ImageModel:
    """The network of a name; raises ``ImageError`` for one that is too deep for its images: a block halves them."""
    model = image_model(name)
    deepest = (2 * model.images.size).bit_length() - 1
    if not 1 <= model.depth <= deepest or model.width < 1:
        raise ImageError(
            f"network {name!r}: {model.depth} blocks of width {model.width}, and each halves images of "
            f"{model.images.size} pixels a side; expected a depth of 1 to {deepest} and a width of at least 1"
        )
    return model


def arguments_of(arguments: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation_study", description=description)
    parser.add_argument("model")
    parser.add_argument("--cells", required=True, help="such as dc-ipc1,dc-ipc1+mdt,random-ipc10,full")
    parser.add_argument("--seeds", type=count, default=5, help="distilled sets")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--nets", type=count, default=5, help="networks trained on each")
    parser.add_argument("--share", type=share, default=1.0, help="of the published iterations")
    parser.add_argument("--epochs", type=count, help="published: 300, or 1000 with augmentation; of full data 30")
    parser.add_argument(
        "--recipe", choices=("plain", "augmented"), help="default: plain for dc, random, full; else augmented"
    )
    parser.add_argument("--real", type=count, default=256, help="real images a class and step")
    parser.add_argument("--folder", help="where the images are (default: CALIBENCH_IMAGES)")
    parser.add_argument("--no-half", action="store_true", help="treat real images in float32 too")
    parser.add_argument("--no-graphs", action="store_true", help="launch every kernel by itself")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the rows and the distilled sets")
    return parser.parse_args(arguments)


def check(options: argparse.Namespace, splits: Any) -> None:
    """Raises ``ValueError`` for cells that cannot be made of these images, or a folder that cannot be written."""
    for text in options.cells.split(","):
        if text.split("+")[0] == FULL:  # which loss may follow is read with the cell
            continue
        method = parse(text)
        least = np.bincount(splits["train"].labels).min()
        if method.ipc > least:
            raise ValueError(f"--cells: {text}: {method.ipc} images a class, but a class has only {least}")
        published = PUBLISHED.get(method.backbone)
        if published and not round(options.share * published):
            raise ValueError(f"--share {options.share:g}: not one of the {published:,} iterations of {method.backbone}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:
        raise ValueError(f"--out {options.out} cannot be written: {error.strerror or error}") from error
