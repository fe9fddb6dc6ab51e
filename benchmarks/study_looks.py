"""What a study looks at in its networks besides their confidence: features, attributions, masked logits.

``looks`` is called once a cell of `benchmarks.distillation_study`, and adds ``row["looks"]`` to every network's row:

- ``probe``: accuracy on test images of a linear read-out of the features, for the class and for attributes outside of
  it (thirds of brightness, orientation and size of the foreground), fitted on real training images (claim C12);
- ``attribution``: share of |gradient x input| inside the foreground, and its entropy in nats (C22);
- ``masked``: mean and SD of the largest logits of the distilled images as they are and masked (C15);
- ``constant``: ECE on the test images at one temperature for all, the mean of what masked scaling gave *other* sets
  (C15; None for a single set).
"""

from __future__ import annotations

from typing import Any

import numpy as np

MASKED = 0.3
TRAIN, TEST, EXPLAINED = 4000, 2000, 500  # images that are looked at, evenly spread over their split
RIDGE = 1e-2  # times the mean square of the features
PARTS = 3  # of each attribute: a guess is right one time in three
FOREGROUND = 0.1  # of the range of a pixel: what is brighter is not background
BATCH = 5000  # images that all networks together look at in one go
ATTRIBUTES = ("brightness", "orientation", "size")


def looks(
    parameters: Any, shape: Any, splits: Any, image_set: Any, found: Any, distilled: Any, test: Any, answers: Any
) -> list[dict[str, Any]]:
    """One dict a network ``[nets]``; ``found`` are the fits on the distilled images, ``test`` the test logits."""
    device = parameters.device
    nets = len(parameters) // len(distilled.runs)
    parts = {name: _spread(splits[name], count, device) for name, count in (("train", TRAIN), ("test", TEST))}
    probes = probe(parameters, shape, parts, image_set)
    explained = _spread(splits["test"], EXPLAINED, device)
    inside = attribution(parameters, explained[0], explained[1], shape, image_set)
    masked = masked_logits(parameters, distilled.pixels.repeat_interleave(nets, 0), shape)
    constant = at_constant(found, nets, test, answers)
    return [
        {
            "probe": {name: float(values[k]) for name, values in probes.items()},
            "attribution": [float(value) for value in inside[k]],
            "masked": [[float(value) for value in pair] for pair in masked[k]],
            "constant": None if constant is None else float(constant[k]),
        }
        for k in range(len(parameters))
    ]


def spectrum(images: Any) -> Any:
    """Effective rank [sets]: exp of the entropy of the singular values of centred rows (Roy and Vetterli, 2007)."""
    import torch

    rows = images.flatten(2).double()
    rows = (rows - rows.mean(1, keepdim=True)).cpu()
    # Of the small products of rows, on the host: a GPU takes a second for each of many little decompositions.
    products = rows @ rows.transpose(1, 2)
    lost = ~products.isfinite().all(-1).all(-1)  # images that ran away have no rank
    values = torch.linalg.eigvalsh(products.nan_to_num(0, 0, 0)).clamp(min=0).sqrt()
    values[lost] = torch.nan
    share = values / values.sum(-1, keepdim=True)
    return torch.exp(-(share * share.clamp(min=1e-300).log()).sum(-1))


def _spread(split: Any, count: int, device: Any) -> tuple[Any, Any]:
    """``count`` images of a split and their labels; the same for every network."""
    import torch

    index = np.unique(np.linspace(0, len(split.labels) - 1, count).round().astype(int))
    return torch.tensor(split.pixels[index], device=device), torch.tensor(split.labels[index], device=device)


def raw(pixels: Any, image_set: Any) -> Any:
    """Normalised pixels ``[n, channels, size, size]`` back between 0 and 1, channels averaged: ``[n, size, size]``."""
    mean, deviation = (pixels.new_tensor(v)[:, None, None] for v in (image_set.mean, image_set.deviation))
    return (pixels * deviation + mean).mean(1).clamp(0, 1)


def attributes(pixels: Any, image_set: Any) -> dict[str, Any]:
    """``{name: [n]}``: mean pixel, angle of the longest axis of the foreground (0 to pi), share of foreground."""
    import torch

    grey = raw(pixels, image_set)
    weight = grey * (grey > FOREGROUND)
    place = torch.arange(grey.shape[-1], device=grey.device, dtype=grey.dtype)
    total = weight.sum((1, 2)).clamp(min=1e-6)
    y, x = (weight.sum(2) @ place / total, weight.sum(1) @ place / total)
    dy, dx = place[None] - y[:, None], place[None] - x[:, None]
    across = (weight * dy[:, :, None] * dx[:, None, :]).sum((1, 2)) / total
    down, right = (weight.sum(2) * dy**2).sum(1) / total, (weight.sum(1) * dx**2).sum(1) / total
    angle = (0.5 * torch.atan2(2 * across, right - down)) % torch.pi
    return {"brightness": grey.mean((1, 2)), "orientation": angle, "size": (grey > FOREGROUND).double().mean((1, 2))}


def thirds(train: Any, test: Any) -> tuple[Any, Any]:
    """Which of ``PARTS`` equal parts of the training values each value lies in."""
    import torch

    edges = torch.quantile(train.double(), torch.arange(1, PARTS, device=train.device).double() / PARTS)
    return tuple(torch.bucketize(values.double(), edges) for values in (train, test))


def probe(parameters: Any, shape: Any, parts: Any, image_set: Any) -> dict[str, Any]:
    """``{target: accuracy [nets]}`` of ridge regression on one-hot targets, all targets from one decomposition."""
    import torch
    import torch.nn.functional as F

    (seen, labels), (new, answers) = parts["train"], parts["test"]
    first, second = attributes(seen, image_set), attributes(new, image_set)
    targets = {"class": (labels, answers, shape.classes)}
    targets |= {name: (*thirds(first[name], second[name]), PARTS) for name in ATTRIBUTES}
    goal = torch.cat([F.one_hot(t.long(), n).double() for t, _, n in targets.values()], -1)
    middle, found = goal.mean(0), []
    for network in parameters:
        a, b = (_features(network, pixels, shape) for pixels in (seen, new))
        mean = a.mean(0)
        a, b = a - mean, b - mean
        gram = a.T @ a
        gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-12)
        found.append(b @ torch.linalg.solve(gram, a.T @ (goal - middle)) + middle)
    stacked, start, accuracy = torch.stack(found), 0, {}
    for name, (_, truth, n) in targets.items():
        accuracy[name] = (stacked[..., start : start + n].argmax(-1) == truth).double().mean(-1).cpu().numpy()
        start += n
    return accuracy


def _features(network: Any, pixels: Any, shape: Any) -> Any:
    """Of one network ``[n, features]``, in double precision."""
    import torch

    from compressors.distillation import fused

    with torch.no_grad():
        parts = [fused.features(network[None], part[None], shape)[0] for part in pixels.split(BATCH)]
    return torch.cat(parts).double()


def attribution(parameters: Any, pixels: Any, labels: Any, shape: Any, image_set: Any) -> Any:
    """``[nets, 2]``: share of |gradient of the answer's logit x input| in the foreground, and entropy over pixels."""
    import torch

    from compressors.distillation import fused

    batch = max(1, BATCH // 4 // len(parameters))
    front = (raw(pixels, image_set) > FOREGROUND).to(pixels.dtype)
    totals = torch.zeros(len(parameters), 2, device=pixels.device, dtype=torch.float64)
    for part, answer, where in zip(pixels.split(batch), labels.split(batch), front.split(batch), strict=True):
        leaf = part.expand(len(parameters), -1, -1, -1, -1).clone().requires_grad_()
        chosen = fused.logits(parameters, leaf, shape).gather(-1, answer.expand(len(parameters), -1)[..., None])
        (gradient,) = torch.autograd.grad(chosen.sum(), leaf)
        mass = (gradient * leaf).abs().sum(2).detach().double()  # [nets, n, size, size]
        share = mass / mass.sum((-1, -2), keepdim=True).clamp(min=1e-300)
        inside = (share * where).sum((-1, -2))
        entropy = -(share * share.clamp(min=1e-300).log()).sum((-1, -2))
        totals += torch.stack([inside.sum(1), entropy.sum(1)], -1)
    return (totals / len(pixels)).cpu().numpy()


def masked_logits(parameters: Any, pixels: Any, shape: Any) -> Any:
    """``[nets, 2, 2]``: (mean, SD) of the largest logit of each image, without and with a mask of ``MASKED``."""
    import torch

    from compressors.confidence.masked import Mask, masked
    from compressors.distillation.streams import stream
    from compressors.distillation.training import predict

    keep = masked(torch.ones_like(pixels[0]), Mask(MASKED), stream(0, "looks", pixels.device))[0]
    few = max(1, BATCH // len(parameters))
    largest = [predict(parameters, given, shape, few).double().max(-1).values for given in (pixels, pixels * keep)]
    return torch.stack([torch.stack([z.mean(-1), z.std(-1)], -1) for z in largest], 1).cpu().numpy()


def at_constant(found: Any, nets: int, test: Any, answers: Any) -> Any:
    """ECE (ten bins) of every network at the geometric mean temperature of the other sets' masked scaling."""
    import torch

    from benchmarks.confidence_scores import scores

    ratio = round(10 * MASKED)
    if len(found["T"]) <= ratio or len(found["T"][0]) < 2 * nets:
        return None
    logs = np.log(np.asarray(found["T"][ratio])).reshape(-1, nets).mean(1)
    others = np.exp((logs.sum() - logs) / (len(logs) - 1)).repeat(nets)
    return scores(test, answers, torch.tensor(others, device=test.device))[:, 4].cpu().numpy()
