"""The gradient of a loss after many SGD steps, for what the steps learned from - with memory for one step's graph.

Steps are run forward without a graph; only the weights after each are kept, on the host. The adjoint then walks back,
rebuilding one step at a time (the exact reverse of SGD with momentum, as in arXiv 2206.02916, algorithm 1):

    v_t = mu v_{t-1} + g(w_{t-1}; x_t),   w_t = w_{t-1} - rate v_t
    lambda_v += -rate lambda_w;   (x, w) += d <g(w_{t-1}; x_t), lambda_v> / d(x, w);   lambda_v *= mu
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from compressors.distillation.convnet import Shape, cross_entropy

View = Callable[[tuple[Tensor, ...], int], tuple[Tensor, Tensor]]  # (leaves, step) -> images and labels of each run


class Unrolled(NamedTuple):
    """``loss [runs]``, its gradients for the ``leaves``, and for the ``rate [runs]``."""

    loss: Tensor
    leaves: tuple[Tensor, ...]
    rate: Tensor


def gradient(weights: Tensor, images: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Of the mean cross-entropy of each run for its weights, ``[runs, parameters]``; without a graph."""
    leaf = weights.detach().requires_grad_()
    (found,) = torch.autograd.grad(cross_entropy(leaf, images, labels, shape).sum(), leaf)
    return found


def unroll(
    start: Tensor, leaves: tuple[Tensor, ...], view: View, steps: int, rate: Tensor, momentum: float,
    outer: Callable[[Tensor], Tensor], shape: Shape,
) -> Unrolled:  # fmt: skip
    """Runs ``steps`` from ``start [runs, parameters]`` and differentiates ``outer(weights) [runs]`` at their end.

    ``view(leaves, step)`` gives images ``[runs, n, channels, size, size]`` and labels ``[runs, n]`` of a step; it is
    called twice for each and must give the same both times.
    """
    column = rate[:, None]
    weights, velocity = start.detach(), torch.zeros_like(start)
    trail: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for step in range(steps):
            images, labels = view(leaves, step)
            with torch.enable_grad():
                found = gradient(weights, images, labels, shape)
            velocity = momentum * velocity + found
            trail.append((weights.cpu(), velocity.cpu()))
            weights = weights - column * velocity
    last = weights.requires_grad_()
    loss = outer(last)
    (lambda_w,) = torch.autograd.grad(loss.sum(), last)
    lambda_v, of_rate = torch.zeros_like(lambda_w), torch.zeros_like(rate)
    totals = [torch.zeros_like(leaf) for leaf in leaves]
    for step in reversed(range(steps)):
        before, after = (tensor.to(start.device) for tensor in trail.pop())
        of_rate -= (lambda_w * after).sum(-1)
        lambda_v = lambda_v - column * lambda_w
        mine = tuple(leaf.detach().requires_grad_() for leaf in leaves)
        point = before.requires_grad_()
        images, labels = view(mine, step)
        inner = cross_entropy(point, images, labels, shape).sum()
        (found,) = torch.autograd.grad(inner, point, create_graph=True)
        *parts, of_weights = torch.autograd.grad(found, (*mine, point), grad_outputs=lambda_v)
        for total, part in zip(totals, parts, strict=True):
            total += part
        lambda_w, lambda_v = lambda_w + of_weights, momentum * lambda_v
    return Unrolled(loss.detach(), tuple(totals), of_rate)
