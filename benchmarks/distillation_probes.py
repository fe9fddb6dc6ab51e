"""What needs more networks than a study trains: on its distilled images, cut, mixed, or given to other networks.

    python -m benchmarks.distillation_probes convnet3-fashion-mnist FOLDER --probes removal,imbalance,network,cost

``FOLDER`` is that of `benchmarks.distillation_study`: images are read from its ``.npz``, rows are written to
``probes-<probe>-<cells>.json`` beside them, which `benchmarks.study_records` reads too.

- ``removal`` (claim C5): networks trained on sets that lost the upper or the lower fifth of their singular components,
  or three pixels in ten (the same of all images), beside networks trained on the whole set;
- ``imbalance`` (C21): half of the classes with ten images and half with one, against as many images spread evenly;
- ``network`` (C23): ResNet-18 and a small transformer in place of ConvNet, calibrated as in the study;
- ``cost`` (C16): seconds of matching with and without masks, and of temperature scaling with and without them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.probes import others, sets
from benchmarks.probes.common import Context, Row, read_cells
from fixtures.files import StoreError, write_bytes

PROBES: dict[str, Callable[[Context, dict[str, Any]], Iterator[Row]]] = {
    "removal": sets.removal,
    "imbalance": sets.imbalance,
    "network": others.network,
    "cost": others.cost,
}


def run_probe(name: str, context: Context, cells: dict[str, Any], folder: Path) -> None:
    """Runs one probe on all cells and writes its rows."""
    start = time.perf_counter()
    rows = list(PROBES[name](context, cells))
    spent = time.perf_counter() - start
    text = json.dumps({"model": context.model, "seconds": spent, "probes": rows})
    chosen = "".join(f"-{network}" for network in context.networks) if name == "network" else ""
    cell_names = "-".join(cells).replace("+", "") if len(cells) < 4 else f"{len(cells)}cells"
    path = folder / f"probes-{name}{chosen}-{cell_names}.json"
    write_bytes(path, text.encode())  # whoever collects meanwhile gets all of it or nothing
    print(f"{name}: {len(rows)} rows of {', '.join(cells)} in {spent:.1f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 with what was asked for and is not there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation_probes", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", help="default: all that the folder has images of")
    parser.add_argument("--probes", default=",".join(PROBES))
    parser.add_argument("--nets", type=int, default=3, help="networks on each set")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--networks", help="of the probe network: resnet18,vit (default: both)")
    parser.add_argument("--images", help="where the images are (default: CALIBENCH_IMAGES)")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except (ValueError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    import torch

    from compressors.distillation.convnet import Shape
    from fixtures.images import image_model, load_images

    wanted = options.probes.split(",")
    if unknown := [name for name in wanted if name not in PROBES]:
        raise ValueError(f"--probes: no {', '.join(unknown)}; there are {', '.join(PROBES)}")
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = image_model(options.model)
    known = model.images
    shape = Shape(known.channels, known.size, known.classes, model.width, model.depth)
    splits = load_images(known.name, options.images)
    networks = tuple(options.networks.split(",")) if options.networks else ()
    context = Context(options.model, splits, shape, known, options.nets, options.epochs, device, networks)
    names = options.cells.split(",") if options.cells else []
    cells = read_cells(options.folder, names, device)
    if not cells:
        raise ValueError(f"{options.folder}: no images and rows of benchmarks.distillation_study (*.npz and *.json)")
    cells = {name: cells[name] for name in names or cells}
    for name in wanted:
        run_probe(name, context, cells, options.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
