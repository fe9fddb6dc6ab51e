"""How fast is gradient matching, against the plain loop over classes? ``python -m benchmarks.distillation_speed``.

Random images of FashionMNIST's shape: time does not depend on what they show. Seconds an iteration of one distilled
set; both ways on the same device in one run, the first iteration (recording, algorithm choice) not counted.
With ``--unrolled`` the memory of trajectory matching by its number of steps instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.study_options import count

WARM = 1
# Sets at once, and settings. A CPU has no graphs, and its bfloat16 is not what real images are treated in there.
ON_CPU: dict[str, tuple[int, dict[str, bool]]] = {"batched": (1, {}), "batched, 5 sets": (5, {})}
WAYS: dict[str, tuple[int, dict[str, bool]]] = {
    "batched": (1, {"graphs": False}),
    "graphs": (1, {}),
    "graphs, bf16 real": (1, {"half": True}),
    "graphs, bf16 real, 5 sets": (5, {"half": True}),
}


def seconds(function: Callable[[], object], repeats: int, device: str) -> float:
    """Mean time of a call after ``WARM`` of them."""
    import torch

    def settled() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(WARM):
        function()
    start = settled()
    for _ in range(repeats):
        function()
    return (settled() - start) / repeats


def random_images(shape: Any, count: int, device: str) -> Any:
    import torch

    from compressors.distillation.images import Images
    from compressors.distillation.streams import stream

    pixels = torch.randn(
        count * shape.classes, shape.channels, shape.size, shape.size, generator=stream(0, "x", device), device=device
    )
    return Images(pixels, torch.arange(len(pixels), device=device) % shape.classes, shape.classes)


def plain(shape: Any, images: Any, ipc: int, budget: Any, strategies: tuple[str, ...], repeats: int) -> float:
    """Seconds an iteration of the loop over classes."""
    import torch

    from benchmarks.plain_condensation import iterate
    from compressors.distillation.backbones import real_images
    from compressors.distillation.streams import stream

    device = images.pixels.device
    synthetic = real_images(images, ipc, [0], "initial")[0].requires_grad_()
    optimiser = torch.optim.SGD([synthetic], lr=0.1, momentum=0.5)
    random = stream(0, "plain", device)
    return seconds(
        lambda: iterate(shape, images, synthetic, optimiser, budget, strategies, random), repeats, device.type
    )


def batched(
    shape: Any, images: Any, ipc: int, budget: Any, strategies: tuple[str, ...], repeats: int, sets: int, **how: bool
) -> float:
    """Seconds an iteration and set of the batched form."""
    from compressors.distillation.backbones import real_images
    from compressors.distillation.gradient import GradientMatching
    from compressors.distillation.masking import Run

    synthetic = real_images(images, ipc, list(range(sets)), "initial")
    runs = [Run(seed) for seed in range(sets)]
    work = GradientMatching(shape, images, runs, synthetic, budget, strategies, **how)
    return seconds(work.iterate, repeats, images.pixels.device.type) / sets


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    import torch

    from compressors.distillation.convnet import Shape
    from compressors.distillation.schedules import COLOR, Budget

    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else f"no GPU, {torch.get_num_threads()} CPU threads"
    print(f"{name}, torch {torch.__version__}", flush=True)
    shape = Shape(1, arguments.size, 10, arguments.width, arguments.depth)
    images = random_images(shape, max(arguments.real, 10), device)
    rows = []
    for backbone in ("dc", "dsa"):
        strategies = COLOR if backbone == "dsa" else ()
        for ipc, repeats in ((1, arguments.repeats), (10, max(1, arguments.repeats // 10))):
            budget = Budget(1, arguments.real, None if ipc == 1 else arguments.outer, arguments.inner)
            row: dict[str, Any] = {"backbone": backbone, "ipc": ipc, "device": device}
            row["plain loop"] = plain(shape, images, ipc, budget, strategies, repeats)
            for name, (sets, how) in (WAYS if device == "cuda" else ON_CPU).items():
                row[name] = batched(shape, images, ipc, budget, strategies, repeats, sets, **how)
            rows.append(row)
            times = ", ".join(f"{k} {v * 1e3:.1f}" for k, v in row.items() if isinstance(v, float))
            print(f"{backbone} ipc {ipc}: ms an iteration and set: {times}", flush=True)
    return rows


def unrolled(shape: Any, images: Any, steps: int, ipc: int = 10, sets: int = 5) -> int:
    """Bytes of a GPU that trajectory matching through ``steps`` steps takes at most, beyond what is there before it."""
    import torch

    from compressors.distillation.backbones import real_images
    from compressors.distillation.masking import Run
    from compressors.distillation.schedules import COLOR, Budget
    from compressors.distillation.trajectory import Trajectory, TrajectoryMatching

    runs = [Run(seed) for seed in range(sets)]
    synthetic = real_images(images, ipc, [run.seed for run in runs], "initial")
    work = TrajectoryMatching(
        shape, images, runs, synthetic, Budget(1), COLOR, Trajectory(steps, expert_epochs=1, max_start=1)
    )
    work.iterate()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work.iterate()
    return torch.cuda.max_memory_allocated() - before


def measure_memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a number of steps. Raises ``ValueError`` without a GPU, whose memory it is."""
    import torch

    from compressors.distillation.convnet import Shape

    if not torch.cuda.is_available():
        raise ValueError("--unrolled measures the memory of a GPU, and there is none")
    shape = Shape(1, arguments.size, 10, arguments.width, arguments.depth)
    images, rows = random_images(shape, max(arguments.real, 10), "cuda"), []
    for steps in arguments.unrolled:
        rows.append({"backbone": "mtt", "ipc": 10, "sets": 5, "steps": steps, "peak": unrolled(shape, images, steps)})
        print(f"mtt ipc 10, 5 sets, {steps} steps: {rows[-1]['peak'] / 2**20:.1f} MiB at most", flush=True)
    return rows


def _counts(text: str) -> list[int]:
    return [count(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation_speed", description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--real", type=int, default=256, help="real images a class")
    parser.add_argument("--outer", type=int, help="outer steps at ten images a class (published: 10)")
    parser.add_argument("--inner", type=int, help="epochs between them (published: 50)")
    parser.add_argument("--unrolled", type=_counts, help="peak memory of trajectory matching instead: 10,20,40 steps")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_float32_matmul_precision("high")  # TF32, as torch's convolutions use by default
    torch.backends.cudnn.benchmark = True
    try:
        rows = measure_memory(options) if options.unrolled else measure(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
