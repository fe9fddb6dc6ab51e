"""ConvNet, many at once: every tensor has a leading dimension of networks, and no network sees another.

The network of the distillation papers (arXiv 2006.05929, section 4.1): blocks of convolution 3x3, instance norm, ReLU
and average pooling 2x2, then one linear. Parameters of all networks are one matrix ``[nets, parameters]``, so that an
SGD step, a snapshot and a distance between networks are one operation each.

Convolutions are written as batched matrix products over gathered 3x3 patches: those stay fast for many networks, and
have second derivatives that are matrix products again, which grouped convolutions on a GPU do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-5  # of the instance norm, PyTorch's default


@dataclass(frozen=True)
class Shape:
    """What a network is for: images ``[channels, size, size]`` of ``classes`` classes; ``depth`` blocks of ``width``.

    Images are padded with zeros in the first convolution to the next multiple of ``2 ** depth`` (28 becomes 32).
    """

    channels: int = 1
    size: int = 28
    classes: int = 10
    width: int = 128
    depth: int = 3

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"a classifier needs at least two classes, not {self.classes}")
        if min(self.channels, self.size, self.width, self.depth) < 1:
            raise ValueError(f"channels, size, width and depth must be positive: {self}")

    @property
    def padded(self) -> int:
        """The side of an image after the first convolution."""
        step = 2**self.depth
        return -(-self.size // step) * step

    @property
    def features(self) -> int:
        """Length of the vector before the linear."""
        return self.width * (self.padded // 2**self.depth) ** 2

    @property
    def tensors(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of each parameter, in order; convolutions have their patches flattened."""
        found: list[tuple[str, tuple[int, ...]]] = []
        incoming = self.channels
        for block in range(self.depth):
            found += [(f"conv{block}.weight", (self.width, incoming * 9)), (f"conv{block}.bias", (self.width,))]
            found += [(f"norm{block}.weight", (self.width,)), (f"norm{block}.bias", (self.width,))]
            incoming = self.width
        return [*found, ("linear.weight", (self.classes, self.features)), ("linear.bias", (self.classes,))]

    @property
    def sizes(self) -> list[int]:
        return [math.prod(shape) for _, shape in self.tensors]

    @property
    def parameters(self) -> int:
        """317,706 for 28x28 grey images of ten classes."""
        return sum(self.sizes)


def split(parameters: Tensor, shape: Shape) -> list[Tensor]:
    """Parameters ``[nets, parameters]`` as tensors ``[nets, ...]``, in the order of ``shape.tensors``."""
    parts = torch.split(parameters, shape.sizes, dim=-1)
    return [part.reshape(-1, *dims) for part, (_, dims) in zip(parts, shape.tensors, strict=True)]


def initial(shape: Shape, generators: Sequence[torch.Generator], dtype: torch.dtype = torch.float32) -> Tensor:
    """Fresh parameters ``[nets, parameters]`` as PyTorch initialises them, one network a generator, on its device."""
    bounds, offset, fan_in = [], [], 1
    for name, dims in shape.tensors:
        norm, weight = name.startswith("norm"), name.endswith("weight")
        fan_in = dims[-1] if weight else fan_in  # a bias goes by the weight before it
        bounds.append(0.0 if norm else 1 / math.sqrt(fan_in))
        offset.append(float(norm and weight))
    device = generators[0].device
    sizes = torch.tensor(shape.sizes, device=device)
    scale = torch.tensor(bounds, dtype=dtype, device=device).repeat_interleave(sizes, output_size=shape.parameters)
    shift = torch.tensor(offset, dtype=dtype, device=device).repeat_interleave(sizes, output_size=shape.parameters)
    uniform = torch.stack([torch.rand(shape.parameters, generator=g, device=device, dtype=dtype) for g in generators])
    return (2 * uniform - 1) * scale + shift


def convolve(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """Convolution 3x3 of ``x [nets, in, batch, h, w]`` with ``weight [nets, out, in * 9]``, a network on its own."""
    x = F.pad(x, (padding,) * 4)
    patches = x.unfold(-2, 3, 1).unfold(-2, 3, 1)  # [nets, in, batch, h, w, 3, 3]
    nets, _, batch, height, width = patches.shape[:5]
    columns = patches.permute(0, 1, 5, 6, 2, 3, 4).reshape(nets, weight.shape[-1], batch * height * width)
    return torch.baddbmm(bias[..., None], weight, columns).view(nets, -1, batch, height, width)


def normalise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Instance norm: every channel of every image of ``x [nets, channels, batch, h, w]`` by itself, then affine."""
    x = F.layer_norm(x, x.shape[-2:], eps=EPSILON)
    return x * weight[..., None, None, None] + bias[..., None, None, None]


def features(parameters: Tensor, images: Tensor, shape: Shape) -> Tensor:
    """The vectors before the linear ``[nets, batch, features]`` of ``images [nets, batch, channels, size, size]``."""
    tensors = split(parameters, shape)
    x = images.transpose(1, 2)
    for block in range(shape.depth):
        weight, bias, scale, shift = tensors[4 * block : 4 * block + 4]
        x = convolve(x, weight, bias, 1 if block else 1 + (shape.padded - shape.size + 1) // 2)
        if not block:
            x = x[..., : shape.padded, : shape.padded]
        x = normalise(x, scale, shift).relu()
        x = F.avg_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])
    return x.transpose(1, 2).flatten(2)


def logits(parameters: Tensor, images: Tensor, shape: Shape) -> Tensor:
    """``[nets, batch, classes]`` of ``images [nets, batch, channels, size, size]``.

    Raises ``ValueError`` if the images are of another shape.
    """
    check(images, shape)
    *_, weight, bias = split(parameters, shape)
    return torch.baddbmm(bias[:, None], features(parameters, images, shape), weight.transpose(1, 2))


def check(images: Tensor, shape: Shape) -> None:
    """Raises ``ValueError`` if images ``[..., channels, size, size]`` do not fit the network."""
    wanted = (shape.channels, shape.size, shape.size)
    if images.dim() < 4 or tuple(images.shape[-3:]) != wanted:
        raise ValueError(f"images of shape {tuple(images.shape)} do not fit a network for [..., *{list(wanted)}]")


def cross_entropy(parameters: Tensor, images: Tensor, labels: Tensor, shape: Shape) -> Tensor:
    """Mean cross-entropy of each network, nats ``[nets]``; ``labels [nets, batch]``, or ``[nets, batch, classes]``."""
    found = logits(parameters, images, shape)
    found = found.float() if found.dtype == torch.bfloat16 else found
    if labels.dim() == 3:
        return -(labels * found.log_softmax(-1)).sum(-1).mean(-1)
    return found.log_softmax(-1).gather(-1, labels[..., None]).squeeze(-1).mean(-1).neg()
