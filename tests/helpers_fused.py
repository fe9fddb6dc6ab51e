"""The layers of ``compressors.distillation.fused_layers`` by torch's own derivatives: no kernels, any type, a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import jvp, vjp

from compressors.distillation import fused_layers


def normed(y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The norm alone, ``[n, width, side, side]``: what ReLU sees."""
    x = F.layer_norm(y.permute(0, 3, 1, 2), y.shape[1:3], eps=1e-5)
    return x * scale[..., None, None] + shift[..., None, None]


def block(y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Norm, ReLU and pooling of ``y [n, side, side, width]``, norm ``[n, width]``."""
    return F.avg_pool2d(normed(y, scale, shift).relu(), 2).permute(0, 2, 3, 1)


def _each(norm: Tensor, n: int) -> Tensor:
    return norm.repeat_interleave(n // len(norm), 0)


def _moved_gradient(function: Callable, at: tuple, moved: tuple, grad: Tensor, moved_grad: Tensor) -> Tensor:
    """The derivative of the gradient of ``function(*at)`` for its first argument."""

    def gradient(grad: Tensor, *at: Tensor) -> Tensor:
        return vjp(lambda first: function(first, *at[1:]), at[0])[1](grad)[0]

    return jvp(gradient, (grad, *at), (moved_grad, *moved))[1]


class PlainLayer(fused_layers.Layer):
    def _norms(self) -> tuple[Tensor, Tensor]:
        return _each(self.scale, self.images), _each(self.shift, self.images)

    def _from(self, y: Tensor) -> Tensor:
        return block(y, *self._norms())

    def margin(self) -> float:
        """How near the kink of ReLU any value comes."""
        return float(normed(self.y, *self._norms()).abs().min())

    def forward(self) -> Tensor:
        return self._from(self.y)

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        of_y, of_scale, of_shift = vjp(block, self.y, *self._norms())[1](grad)
        return of_y, torch.stack([of_scale, of_shift], 1)

    def tangent(self, moved: Tensor) -> Tensor:
        return jvp(self._from, (self.y,), (moved,))[1]

    def tangent_backward(self, moved: Tensor, grad: Tensor, moved_grad: Tensor) -> Tensor:
        return _moved_gradient(self._from, (self.y,), (moved,), grad, moved_grad)


class PlainFirst(fused_layers.First):
    def _convolved(self, images: Tensor, weight: Tensor) -> Tensor:
        """``weight [n, width, channels * 9]``: every image has its own."""
        patches = F.unfold(images, 3, padding=self.pad).unflatten(-1, 2 * (self.shape.size + 2 * self.pad - 2,))
        patches = patches[..., : self.shape.padded, : self.shape.padded]
        return torch.einsum("nchw,nkc->nhwk", patches, weight)

    def _from(self, images: Tensor, weight: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return block(self._convolved(images, weight), scale, shift)

    def margin(self) -> float:
        """How near the kink of ReLU any value comes."""
        images, weight, scale, shift = self._all()
        return float(normed(self._convolved(images, weight), scale, shift).abs().min())

    def _all(self) -> tuple[Tensor, ...]:
        return (self.images, *(_each(t, len(self.images)) for t in (self.weight, self.scale, self.shift)))

    def forward(self, dtype: torch.dtype) -> Tensor:
        return self._from(*self._all()).to(dtype)

    def backward(self, grad: Tensor, weights: bool, pixels: bool) -> tuple[Tensor | None, Tensor | None]:
        of_images, of_weight, of_scale, of_shift = vjp(self._from, *self._all())[1](grad)
        parts = torch.cat([of_weight.transpose(1, 2), of_scale[:, None], of_shift[:, None]], 1)
        return parts if weights else None, of_images if pixels else None

    def _moves(self, change: Tensor) -> tuple[Tensor, ...]:
        images, _, scale, shift = self._all()
        own = _each(change, len(images))
        return torch.zeros_like(images), own, torch.zeros_like(scale), torch.zeros_like(shift)

    def tangent(self, change: Tensor, dtype: torch.dtype) -> Tensor:
        return jvp(self._from, self._all(), self._moves(change))[1].to(dtype)

    def tangent_backward(self, change: Tensor, grad: Tensor, moved_grad: Tensor) -> Tensor:
        return _moved_gradient(self._from, self._all(), self._moves(change), grad, moved_grad)
