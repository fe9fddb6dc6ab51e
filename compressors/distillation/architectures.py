"""Other networks for distilled images: ResNet-18 and a small vision transformer, trained one after the other.

Images are distilled on ConvNet; whether what holds there holds on these is a question of its own. Both are made of
torch's layers. Norms are over single images, as in ConvNet: a set of ten images has no batch statistics to speak of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressors.distillation.convnet import Shape
from compressors.distillation.streams import stream
from compressors.distillation.training import Recipe

PATCH, WIDTH, DEPTH, HEADS = 4, 96, 4, 4  # of the transformer


class Block(nn.Module):
    """Two convolutions 3x3 beside a shortcut (arXiv 1512.03385, section 3.3), instance norms."""

    def __init__(self, incoming: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(incoming, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        changes = stride > 1 or incoming != width
        self.norms = nn.ModuleList(nn.GroupNorm(width, width) for _ in range(2 + changes))
        self.shortcut = nn.Conv2d(incoming, width, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[1](self.second(self.norms[0](self.first(x)).relu()))
        return (y + (x if self.shortcut is None else self.norms[2](self.shortcut(x)))).relu()


def resnet18(shape: Shape) -> nn.Module:
    """ResNet-18 for small images: a first convolution 3x3 without pooling, widths 64 to 512."""
    layers: list[nn.Module] = [nn.Conv2d(shape.channels, 64, 3, 1, 1, bias=False), nn.GroupNorm(64, 64), nn.ReLU()]
    incoming = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(incoming, width, stride), Block(width, width, 1)]
        incoming = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, shape.classes))


class Transformer(nn.Module):
    """A vision transformer (arXiv 2010.11929) of 4 layers of width 96 on patches of 4x4, mean of the patches."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.patches = nn.Conv2d(shape.channels, WIDTH, PATCH, PATCH)
        self.place = nn.Parameter(torch.zeros(1, (shape.size // PATCH) ** 2, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, DEPTH, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.layers(self.patches(x).flatten(2).mT + self.place).mean(1))
        return found


ARCHITECTURES = {"resnet18": resnet18, "vit": Transformer}


def build(name: str, shape: Shape, seed: int, device: str | torch.device = "cpu") -> nn.Module:
    """A network with parameters drawn from its own generator, as torch's layers draw theirs.

    Raises ``ValueError`` for an unknown name, or images that 4x4 patches do not tile.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown network {name!r}; there are {', '.join(ARCHITECTURES)}")
    if name == "vit" and shape.size % PATCH:
        raise ValueError(f"vit: patches of {PATCH}x{PATCH} do not tile images of {shape.size}x{shape.size}")
    with torch.device("meta"):  # torch's own first values would be drawn from the global generator
        net = ARCHITECTURES[name](shape)
    net = net.to_empty(device="cpu")
    random = stream(seed, f"net {name}")
    with torch.no_grad():
        for label, value in net.named_parameters():
            if value.dim() > 1 and not label.endswith("place"):
                nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=random)
            elif label.endswith("place"):
                nn.init.trunc_normal_(value, std=0.02, generator=random)
            else:
                value.fill_(float(label.endswith("weight")))  # of a norm; biases are zero
    return net.to(device)


def train(name: str, shape: Shape, pixels: Tensor, labels: Tensor, seeds: Sequence[int], recipe: Recipe) -> list:
    """One network a seed, each on its own ``pixels [nets, n, channels, size, size]``, by the recipe of ConvNet.

    Of the recipe, epochs, rate, momentum, decay and batch count; images are not augmented.
    """
    found = []
    for k, seed in enumerate(seeds):
        net, order = build(name, shape, seed, pixels.device).train(), stream(seed, "net order", pixels.device)
        optimiser = torch.optim.SGD(net.parameters(), recipe.rate, recipe.momentum, weight_decay=recipe.decay)
        for epoch in range(recipe.epochs + 1):
            if recipe.drop and epoch == recipe.epochs // 2 + 1:
                optimiser = torch.optim.SGD(
                    net.parameters(), recipe.rate / 10, recipe.momentum, weight_decay=recipe.decay
                )
            rows = torch.randperm(len(labels), generator=order, device=pixels.device)
            for batch in rows.split(recipe.batch):
                optimiser.zero_grad()
                F.cross_entropy(net(pixels[k, batch]), labels[batch]).backward()
                optimiser.step()
        found.append(net.eval())
    return found


@torch.no_grad()
def look(nets: Sequence[nn.Module], pixels: Tensor, batch: int = 2000) -> Tensor:
    """Logits ``[nets, n, classes]`` of ``pixels [1 or nets, n, ...]``: the same images for all, or each its own."""
    wide = pixels.expand(len(nets), *pixels.shape[1:])
    return torch.stack([torch.cat([net(p) for p in own.split(batch)]) for net, own in zip(nets, wide, strict=True)])
