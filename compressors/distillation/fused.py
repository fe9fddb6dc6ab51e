"""ConvNet on a GPU, for first derivatives: the numbers of :mod:`convnet` in few passes over memory.

::

    images --[one kernel: convolution, norm, ReLU, pooling]--> --[cuDNN]--> --[one kernel: norm, ReLU, pooling]--> ...

The first block recomputes its convolution going back, so that its activations, two thirds of all, are never stored.
Biases of convolutions are left out: the norm that follows takes any constant away, and their gradient is zero.
Activations are channels last. Convolutions use the tensor cores: TF32, or bfloat16 if asked for (``half``).
Where the kernels cannot run, :mod:`convnet` does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compressors.distillation import convnet
from compressors.distillation.convnet import Shape, check, split
from compressors.distillation.fused_layers import First, Layer, convolve, spread, usable_for, weight_gradients


class _First(torch.autograd.Function):
    """The first block of every network: ``images [nets, batch, channels, size, size]`` to ``[nets * batch, ...]``."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, shape: Shape, dtype: torch.dtype
    ) -> Tensor:
        ctx.layer = First(images.flatten(0, 1), weight, scale, shift, shape)
        return ctx.layer.forward(dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_images, learns, *_ = ctx.needs_input_grad
        parts, pixels = ctx.layer.backward(grad, learns, of_images)
        found = (None, None, None)
        if parts is not None:
            total = parts.unflatten(0, (len(ctx.layer.scale), -1)).sum(1)
            found = (total[:, :-2].transpose(1, 2), total[:, -2], total[:, -1])
        if pixels is not None:
            pixels = pixels.unflatten(0, (len(ctx.layer.scale), -1))
        return (pixels, *found, None, None)


class _Pool(torch.autograd.Function):
    """Norm, ReLU and pooling of ``y [nets * batch, side, side, width]``; norm ``[nets, width]``."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.layer = Layer(y, scale, shift)
        return ctx.layer.forward()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        of_y, parts = ctx.layer.backward(grad)
        found = parts.unflatten(0, (len(ctx.layer.scale), -1)).sum(1)
        return of_y, found[:, 0], found[:, 1]


class _Convolve(torch.autograd.Function):
    """Every network's own convolution 3x3: ``x [nets * batch, side, side, in]``, ``weight [nets, out, in * 9]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolve(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_weight = weight_gradients(grad, x, weight) if ctx.needs_input_grad[1] else None
        return spread(grad, weight), of_weight


def features(parameters: Tensor, images: Tensor, shape: Shape, half: bool = False) -> Tensor:
    """As :func:`convnet.features`; ``half`` keeps activations in bfloat16. No second derivatives."""
    if not usable_for(parameters, shape):
        if half:
            parameters, images = parameters.bfloat16(), images.bfloat16()
        return convnet.features(parameters, images, shape)
    tensors = split(parameters, shape)
    nets, batch = images.shape[:2]
    x = _First.apply(images, tensors[0], tensors[2], tensors[3], shape, torch.bfloat16 if half else parameters.dtype)
    for block in range(1, shape.depth):
        weight, _, scale, shift = tensors[4 * block : 4 * block + 4]
        x = _Pool.apply(_Convolve.apply(x, weight), scale, shift)
    return x.view(nets, batch, -1, shape.width).transpose(2, 3).flatten(2).to(parameters.dtype)


def logits(parameters: Tensor, images: Tensor, shape: Shape) -> Tensor:
    """As :func:`convnet.logits`. No second derivatives."""
    if not usable_for(parameters, shape):
        return convnet.logits(parameters, images, shape)
    check(images, shape)
    *_, weight, bias = split(parameters, shape)
    return torch.baddbmm(bias[:, None], features(parameters, images, shape), weight.transpose(1, 2))


def cross_entropy(parameters: Tensor, images: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """As :func:`convnet.cross_entropy` with ``labels [nets, batch]``. No second derivatives."""
    if not usable_for(parameters, shape):
        return convnet.cross_entropy(parameters, images, labels, shape)
    found = logits(parameters, images, shape)
    return found.log_softmax(-1).gather(-1, labels[..., None]).squeeze(-1).mean(-1).neg()
