"""How far the gradients of two sets of images are apart: the distance of dataset condensation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from compressors.distillation.convnet import Shape, cross_entropy, split

TINY = 1e-6  # added to the denominator, as in the authors' code


def distance(real: Tensor, synthetic: Tensor, shape: Shape) -> Tensor:
    """Sum over layers and output rows of 1 - cosine (arXiv 2006.05929, equation 10), ``[nets]``.

    Gradients are ``[nets, parameters]``. Biases and the norm's parameters do not count.
    """
    total = torch.zeros(real.shape[0], device=real.device, dtype=real.dtype)
    for (_, dims), a, b in zip(shape.tensors, split(real, shape), split(synthetic, shape), strict=True):
        if len(dims) == 2:
            cosine = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + TINY)
            total = total + (1 - cosine).sum(-1)
    return total


def class_gradients(
    parameters: Tensor, images: Tensor, labels: Tensor, shape: Shape, create_graph: bool = False
) -> Tensor:
    """Gradient of the mean cross-entropy of every class by itself: ``[sets, classes, parameters]``.

    ``parameters [sets, parameters]``, ``images [sets, classes, n, channels, size, size]``, ``labels [sets, classes,
    n]``.
    Each class gets a copy of the parameters of its own, so that one backward pass keeps the classes apart.
    """
    sets, classes = images.shape[:2]
    copies = parameters.detach()[:, None].expand(-1, classes, -1).flatten(0, 1).clone().requires_grad_()
    loss = cross_entropy(copies, images.flatten(0, 1), labels.flatten(0, 1), shape).sum()
    (gradient,) = torch.autograd.grad(loss, copies, create_graph=create_graph)
    return gradient.unflatten(0, (sets, classes))


def matching_gradient(
    parameters: Tensor, real: Tensor, synthetic: Tensor, labels: Tensor, shape: Shape,
    change: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loss ``[sets]`` summed over the classes, and its gradient for the synthetic images.

    ``real [sets, classes, parameters]`` are gradients; ``synthetic [sets, classes, ipc, channels, size, size]``;
    ``change`` augments and masks the synthetic images on their way into the network.
    """
    leaf = synthetic.detach().requires_grad_()
    found = class_gradients(parameters, change(leaf), labels, shape, create_graph=True)
    loss = distance(real.flatten(0, 1), found.flatten(0, 1), shape).unflatten(0, real.shape[:2]).sum(1)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return loss.detach(), gradient
