"""Gradient matching on a GPU without second derivatives of autograd: one sweep forth and back, then its tangent.

The gradient of ``distance(real, g(x))`` for images ``x`` is ``(dg/dx)' v`` with ``v`` the distance's gradient for
``g = dL/dw``. Derivatives commute: it is also the derivative of ``dL/dx`` when the weights move along ``v``, which
takes no graph of a graph. Both sweeps share what all classes of a set have in common: its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from compressors.distillation.convnet import Shape, split
from compressors.distillation.fused_layers import First, Layer, convolve, spread, weight_gradients
from compressors.distillation.matching import distance


class Sweep(NamedTuple):
    """What a sweep leaves for its tangent. ``before[b]`` is the gradient for the result of block ``b``, ``inner[b]``
    for the result of its convolution, ``maps[b]`` the result of the block; ``features [parts, n, features]``.
    """

    gradient: Tensor
    first: First
    layers: list[Layer]
    maps: list[Tensor]
    before: list[Tensor]
    inner: list[Tensor]
    features: Tensor
    probability: Tensor
    error: Tensor


def _vectors(x: Tensor, parts: int) -> Tensor:
    """Maps ``[n, side, side, width]`` as features ``[parts, n / parts, width * side * side]``."""
    return x.permute(0, 3, 1, 2).reshape(parts, len(x) // parts, -1)


def _maps(features: Tensor, like: Tensor) -> Tensor:
    """The reverse of :func:`_vectors`."""
    images, side, _, width = like.shape
    return features.reshape(images, width, side, side).permute(0, 2, 3, 1).to(like.dtype).contiguous()


def sweep(parameters: Tensor, images: Tensor, labels: Tensor, shape: Shape, half: bool = False) -> Sweep:
    """Forth and back: gradients of the mean cross-entropy of every class, ``[sets, classes, parameters]``.

    ``parameters [sets, parameters]``, ``images [sets, classes, n, channels, size, size]``, ``labels [sets, classes,
    n]``.
    """
    sets, classes, n = images.shape[:3]
    parts, tensors = sets * classes, split(parameters, shape)
    first = First(images.flatten(0, 2), tensors[0], tensors[2], tensors[3], shape)
    maps, layers = [first.forward(torch.bfloat16 if half else parameters.dtype)], []
    for block in range(1, shape.depth):
        weight, _, scale, shift = tensors[4 * block : 4 * block + 4]
        layers.append(Layer(convolve(maps[-1], weight), scale, shift))
        maps.append(layers[-1].forward())
    found = _vectors(maps[-1], sets).to(parameters.dtype)
    probability = torch.baddbmm(tensors[-1][:, None], found, tensors[-2].transpose(1, 2)).softmax(-1)
    hot = torch.nn.functional.one_hot(labels.flatten(1), shape.classes)
    error = (probability - hot) / n
    of_class, vectors = error.reshape(parts, n, -1), found.reshape(parts, n, -1)
    gradients = [of_class.transpose(1, 2) @ vectors, of_class.sum(1)]
    before, inner = [_maps(error @ tensors[-2], maps[-1])], list[Tensor]()
    for block in reversed(range(1, shape.depth)):
        grad, norm = layers[block - 1].backward(before[0])
        weight = tensors[4 * block]
        example = weight[:1].expand(parts, -1, -1)
        norms = norm.view(parts, n, 2, -1).sum(1)
        of_weight = weight_gradients(grad, maps[block - 1], example)
        gradients = [of_weight, torch.zeros_like(norms[:, 0]), norms[:, 0], norms[:, 1], *gradients]
        inner.insert(0, grad)
        before.insert(0, spread(grad, weight))
    every, _ = first.backward(before[0], True, False)
    assert every is not None
    total = every.unflatten(0, (parts, n)).sum(1)
    own = [total[:, :-2].transpose(1, 2), torch.zeros_like(total[:, -1]), total[:, -2], total[:, -1]]
    gradient = torch.cat([tensor.flatten(1) for tensor in (*own, *gradients)], 1).unflatten(0, (sets, classes))
    return Sweep(gradient, first, layers, maps, before, inner, vectors, probability, error)


def tangent(found: Sweep, parameters: Tensor, change: Tensor, shape: Shape) -> Tensor:
    """The derivative of the gradient for the images ``[n in all, channels, size, size]`` along ``change [parts,
    parameters]`` of the weights of each class; changes of biases and norms do not count.
    """
    tensors, moves = split(parameters, shape), split(change, shape)
    sets, parts = len(parameters), len(change)
    moved = found.first.tangent(moves[0].contiguous(), found.maps[0].dtype)
    convolved: list[Tensor] = []
    for block in range(1, shape.depth):
        convolved.append(convolve(moved, tensors[4 * block]).add_(convolve(found.maps[block - 1], moves[4 * block])))
        moved = found.layers[block - 1].tangent(convolved[-1])
    logits = _vectors(moved, sets).to(parameters.dtype) @ tensors[-2].transpose(1, 2)
    logits = logits + (found.features @ moves[-2].transpose(1, 2)).view_as(logits)
    p, n = found.probability, found.features.shape[1]
    error = p * (logits - (p * logits).sum(-1, keepdim=True)) / n
    of_features = error @ tensors[-2]
    own = found.error.reshape(parts, n, -1) @ moves[-2]
    grad = _maps(of_features + own.view_as(of_features), moved)
    for block in reversed(range(1, shape.depth)):
        inner = found.layers[block - 1].tangent_backward(convolved[block - 1], found.before[block], grad)
        grad = spread(inner, tensors[4 * block]).add_(spread(found.inner[block - 1], moves[4 * block]))
    return found.first.tangent_backward(moves[0].contiguous(), found.before[0], grad)


def matching_gradient(
    parameters: Tensor, real: Tensor, synthetic: Tensor, labels: Tensor, shape: Shape,
    change: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As :func:`compressors.distillation.matching.matching_gradient`."""
    leaf = synthetic.detach().requires_grad_()
    shown = change(leaf)
    found = sweep(parameters, shown.detach(), labels, shape)
    mine = found.gradient.requires_grad_()
    loss = distance(real.flatten(0, 1), mine.flatten(0, 1), shape).unflatten(0, real.shape[:2]).sum(1)
    (along,) = torch.autograd.grad(loss.sum(), mine)
    moved = tangent(found, parameters, along.flatten(0, 1), shape).view_as(shown)
    (gradient,) = torch.autograd.grad(shown, leaf, moved)
    return loss.detach(), gradient
