"""Networks trained on sets that lost some of what they hold, and on sets with uneven classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.distillation_study import parse_cell
from benchmarks.probes.common import Context, Row, answers, facts, train

REMOVED = ("none", "top", "bottom", "pixels")
SHARE, PIXELS = 0.2, 0.3  # of the singular components, of the pixels
MANY, FEW = 10, 1  # images of the classes of an imbalanced set


def remove(pixels: Any, what: str, seed: int) -> Any:
    """``pixels [n, channels, size, size]`` without some of what they hold; ``none`` leaves all.

    Singular components are those of the rows less their mean, which stays; at least one is removed.
    """
    import torch

    from compressors.distillation.streams import stream

    if what == "none":
        return pixels
    if what == "pixels":
        drawn = torch.rand(pixels.shape[-2:], generator=stream(seed, "removal", pixels.device), device=pixels.device)
        return pixels * (drawn >= PIXELS)
    rows = pixels.flatten(1).double()
    mean = rows.mean(0)
    u, s, v = torch.linalg.svd(rows - mean, full_matrices=False)
    rank = min(len(s), len(rows) - 1)  # centred rows have one component less
    count = max(1, round(SHARE * rank))
    keep = torch.ones_like(s)
    keep[slice(0, count) if what == "top" else slice(rank - count, None)] = 0
    return ((u * (s * keep)) @ v + mean).to(pixels.dtype).view_as(pixels)


def removal(context: Context, cells: dict[str, Any]) -> Iterator[Row]:
    """Test accuracy of networks by what their training images lost."""
    import torch

    from benchmarks.confidence_scores import scores

    truth = answers(context)
    for cell, sets in cells.items():
        seeds, found = context.seeds(sets.runs), {}
        for what in REMOVED:
            own = torch.stack([remove(p, what, run.seed) for p, run in zip(sets.pixels, sets.runs, strict=True)])
            _, test = train(context, own.repeat_interleave(context.nets, 0), sets.labels, seeds)
            found[what] = scores(test, truth, torch.ones(len(seeds), device=context.device))
        for k in range(len(seeds)):
            values = {what: found[what][k].tolist() for what in REMOVED}
            yield {**facts("removal", cell, sets, context, k), "removed": values}


def uneven(classes: int, seed: int) -> list[int]:
    """Images of each class of an imbalanced set; which classes have many alternates with the seed."""
    return [MANY if (k + seed) % 2 else FEW for k in range(classes)]


def imbalance(context: Context, cells: dict[str, Any]) -> Iterator[Row]:
    """Class-wise ECE of imbalanced sets against balanced ones of equal size, for every backbone with IPC 1 and 10.

    Few images are those distilled as few. Exact for matching class by class without training (DM); under DC the
    networks in between learned balanced sets. The balanced set takes the first images of each class at IPC 10.
    """
    import torch

    from benchmarks.confidence_scores import scores

    truth, classes = answers(context), context.shape.classes
    for cell, many in cells.items():
        backbone, ipc, mdt, _ = parse_cell(cell)
        few = cells.get(f"{backbone}-ipc{FEW}")
        if ipc != MANY or mdt or few is None:
            continue
        results: dict[str, Any] = {"imbalanced": [], "balanced": []}
        ones_of = {run.seed: pixels for run, pixels in zip(few.runs, few.pixels, strict=True)}
        if missing := [run.seed for run in many.runs if run.seed not in ones_of]:
            raise ValueError(f"{backbone}-ipc{FEW} has no sets of the seeds {missing} of {cell}")
        for n, run in enumerate(many.runs):
            counts = uneven(classes, run.seed)
            even = [sum(counts) // classes + (k < sum(counts) % classes) for k in range(classes)]
            tens, ones = many.pixels[n].unflatten(0, (classes, MANY)), ones_of[run.seed].unflatten(0, (classes, FEW))
            sets = {
                "imbalanced": [tens[k] if counts[k] == MANY else ones[k] for k in range(classes)],
                "balanced": [tens[k, : even[k]] for k in range(classes)],
            }
            seeds = [1000 * run.seed + k for k in range(context.nets)]
            for name, parts in sets.items():
                labels = torch.arange(classes, device=truth.device).repeat_interleave(
                    torch.tensor([len(part) for part in parts], device=truth.device)
                )
                wide = torch.cat(parts)[None].expand(context.nets, -1, -1, -1, -1)
                _, test = train(context, wide, labels, seeds)
                results[name].append(scores(test, truth, torch.ones(context.nets, device=context.device)))
        stacked = {name: torch.cat(parts) for name, parts in results.items()}
        for k in range(len(many.runs) * context.nets):
            values = {name: part[k].tolist() for name, part in stacked.items()}
            share = many.share if many.share is None else min(many.share, few.share)
            yield {**facts("imbalance", cell, many, context, k), "share": share, "scores": values}
