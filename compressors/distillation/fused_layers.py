"""The layers of :mod:`fused` and :mod:`fused_matching`, without autograd: kernels launched, convolutions by cuDNN."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compressors.distillation.convnet import Shape
from compressors.kernels import usable

# Of each kernel: numbers in the four tiles of a program (corners x windows x channels), and its warps. For speed only.
TILES = {
    "first_forward": (1 << 13, 4),
    "first_backward": (1 << 14, 8),
    "first_tangent": (1 << 13, 16),
    "first_tangent_backward": (1 << 13, 16),
    "pool_forward": (1 << 13, 8),
    "pool_backward": (1 << 13, 8),
    "pool_tangent": (1 << 13, 8),
    "pool_tangent_backward": (1 << 13, 16),
}
LARGEST = 64  # side of an image after the first convolution


def usable_for(parameters: Tensor, shape: Shape) -> bool:
    """Whether the kernels can run: float32 on a CUDA device with Triton, images of 64 pixels a side or less."""
    return usable(parameters) and shape.padded <= LARGEST


def _blocks(name: str, side: int, width: int) -> dict[str, int]:
    """Sizes of a program's tiles."""
    cells, warps = TILES[name]
    pooled = max(16, 1 << ((side // 2) ** 2 - 1).bit_length())
    block = max(1, min(cells // (4 * pooled), 1 << (width - 1).bit_length()))
    return {"POOLED": pooled, "BLOCK": block, "num_warps": max(1, min(warps, 4 * pooled * block * warps // cells))}


class Layer:
    """Norm, ReLU and pooling: ``y [n, side, side, width]`` to ``[n, side / 2, side / 2, width]``; norm ``[nets,
    width]``, the same for ``n / nets`` images after each other.
    """

    def __init__(self, y: Tensor, scale: Tensor, shift: Tensor) -> None:
        self.y, self.scale, self.shift = y.contiguous(), scale.contiguous(), shift.contiguous()
        self.images, self.side, _, self.width = y.shape
        self.batch = self.images // len(scale)

    def _launch(self, name: str, *tensors: Tensor) -> None:
        from compressors.distillation import triton_blocks, triton_tangents

        blocks = _blocks(name, self.side, self.width)
        kernel = getattr(triton_tangents if "tangent" in name else triton_blocks, name)
        kernel[(self.images, -(-self.width // blocks["BLOCK"]))](
            *tensors, self.batch, self.width, SIDE=self.side, **blocks
        )

    def forward(self) -> Tensor:
        out = self.y.new_empty(self.images, self.side // 2, self.side // 2, self.width)
        self._launch("pool_forward", self.y, self.scale, self.shift, out)
        return out

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient for ``y``; and of every image those for scale and shift, ``[n, 2, width]``."""
        of_y, parts = torch.empty_like(self.y), self.scale.new_empty(self.images, 2, self.width)
        self._launch("pool_backward", self.y, self.scale, self.shift, grad.contiguous(), of_y, parts)
        return of_y, parts

    def tangent(self, moved: Tensor) -> Tensor:
        """The derivative of the result, given that of ``y``."""
        out = self.y.new_empty(self.images, self.side // 2, self.side // 2, self.width)
        self._launch("pool_tangent", self.y, moved, self.scale, self.shift, out)
        return out

    def tangent_backward(self, moved: Tensor, grad: Tensor, moved_grad: Tensor) -> Tensor:
        """The derivative of the gradient for ``y``, given those of ``y`` and of the gradient of the result."""
        out = torch.empty_like(self.y)
        given = (self.y, moved, self.scale, self.shift, grad.contiguous(), moved_grad.contiguous(), out)
        self._launch("pool_tangent_backward", *given)
        return out


class First:
    """The first block: ``images [n, channels, size, size]`` and ``weight [nets, width, channels * 9]`` to ``[n, side /
    2, side / 2, width]``.
    """

    def __init__(self, images: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, shape: Shape) -> None:
        self.images, self.weight = images.contiguous(), weight.contiguous()
        self.scale, self.shift, self.shape = scale.contiguous(), shift.contiguous(), shape
        self.pad = 1 + (shape.padded - shape.size + 1) // 2
        self.batch = len(images) // len(scale)

    def _launch(self, name: str, tensors: Sequence[Tensor], batches: Sequence[int], **flags: bool) -> None:
        from compressors.distillation import triton_blocks, triton_tangents

        kernel = getattr(triton_tangents if "tangent" in name else triton_blocks, name)
        shape, blocks = self.shape, _blocks(name, self.shape.padded, self.shape.width)
        grid = (len(self.images), -(-shape.width // blocks["BLOCK"]))
        given = (self.padded, self.weight, *tensors, *batches, shape.width)
        kernel[grid](*given, SIDE=shape.padded, CHANNELS=shape.channels, **blocks, **flags)

    @cached_property
    def padded(self) -> Tensor:
        """Images with the zeros that the first convolution sees around them, ``[n, channels, side + 2, side + 2]``."""
        after = self.shape.padded + 2 - self.shape.size - self.pad
        return F.pad(self.images, (self.pad, after, self.pad, after))

    def _columns(self, name: str, summands: int = 1) -> Tensor:
        programs = -(-self.shape.width // _blocks(name, self.shape.padded, self.shape.width)["BLOCK"])
        taps = self.shape.channels * 9
        return self.images.new_empty(len(self.images), summands * programs, taps, self.shape.padded**2)

    def _folded(self, columns: Tensor) -> Tensor:
        """Gradients for the pixels under taps, summed to those of images."""
        side, size = self.shape.padded, self.shape.size
        wide = columns.sum(1).unflatten(-1, (side, side))
        odd = (side - size) % 2  # a row and a column of the first convolution were then cut off
        wide = F.pad(wide, (0, odd, 0, odd)).flatten(2)
        return F.fold(wide, (size, size), 3, padding=self.pad)

    def _out(self, dtype: torch.dtype) -> Tensor:
        half = self.shape.padded // 2
        return self.images.new_empty(len(self.images), half, half, self.shape.width, dtype=dtype)

    def forward(self, dtype: torch.dtype) -> Tensor:
        out = self._out(dtype)
        self._launch("first_forward", (self.scale, self.shift, out), (self.batch,))
        return out

    def backward(self, grad: Tensor, weights: bool, pixels: bool) -> tuple[Tensor | None, Tensor | None]:
        """Of every image ``[n, channels * 9 + 2, width]``: gradients for weights, scale and shift; and for images."""
        parts = self.images.new_empty(len(self.images) if weights else 0, self.shape.channels * 9 + 2, self.shape.width)
        columns = self._columns("first_backward") if pixels else parts
        tensors = (self.scale, self.shift, grad.contiguous(), parts, columns)
        self._launch("first_backward", tensors, (self.batch,), WEIGHTS=weights, IMAGES=pixels)
        return parts if weights else None, self._folded(columns) if pixels else None

    def tangent(self, change: Tensor, dtype: torch.dtype) -> Tensor:
        """The derivative of the result along ``change [parts, width, channels * 9]`` of the weights."""
        out, part = self._out(dtype), len(self.images) // len(change)
        self._launch("first_tangent", (change, self.scale, self.shift, out), (self.batch, part))
        return out

    def tangent_backward(self, change: Tensor, grad: Tensor, moved_grad: Tensor) -> Tensor:
        """The derivative of the gradient for the images."""
        columns, part = self._columns("first_tangent_backward", 2), len(self.images) // len(change)
        tensors = (change, self.scale, self.shift, grad.contiguous(), moved_grad.contiguous(), columns)
        self._launch("first_tangent_backward", tensors, (self.batch, part))
        return self._folded(columns)


def _last(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights ``[nets, out, in * 9]`` as cuDNN likes them: ``[nets, out, in, 3, 3]``, channels last in memory."""
    wide = weight.unflatten(-1, (-1, 3, 3)).to(dtype)
    return wide.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def _nchw(x: Tensor, nets: int) -> Sequence[Tensor]:
    return x.permute(0, 3, 1, 2).chunk(nets)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """``[batch, channels, side, side]`` of each network as one tensor ``[n, side, side, channels]``."""
    last = [part.permute(0, 2, 3, 1) for part in parts]
    return last[0].contiguous() if len(last) == 1 else torch.cat(last)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution 3x3 of ``x [n, side, side, in]`` with ``weight [nets, out, in * 9]``, images in equal parts."""
    nets = len(weight)
    return _joined([F.conv2d(a, w, padding=1) for a, w in zip(_nchw(x, nets), _last(weight, x.dtype), strict=True)])


def _back(grad: Tensor, x: Tensor, weight: Tensor, which: list[bool]) -> Any:
    back = torch.ops.aten.convolution_backward
    return back(grad, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, which)


def spread(grad: Tensor, weight: Tensor) -> Tensor:
    """The gradient of :func:`convolve` for ``x``, given that of its result."""
    nets, wide = len(weight), _last(weight, grad.dtype)
    like = grad.new_empty(*grad.shape[:3], weight.shape[-1] // 9)
    every = zip(_nchw(grad, nets), _nchw(like, nets), wide, strict=True)
    return _joined([_back(g, a, w, [True, False, False])[0] for g, a, w in every])


def weight_gradients(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient of :func:`convolve` for its weights ``[nets, out, in * 9]``, of their type; its values do not
    count.
    """
    nets = len(weight)
    like = _last(weight[:1], x.dtype)[0]
    every = zip(_nchw(grad, nets), _nchw(x, nets), strict=True)
    return torch.stack([_back(g, a, like, [False, True, False])[1] for g, a in every]).flatten(2).to(weight.dtype)
