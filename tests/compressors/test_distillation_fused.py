"""The GPU's way through a network, with its kernels replaced by torch's derivatives, against autograd twice over.

What the kernels themselves compute is held to the same stand-ins on a GPU: ``test_distillation_gpu``.
"""

from __future__ import annotations

import pytest
import torch

from compressors.distillation import convnet, fused, fused_matching, matching
from compressors.distillation.convnet import Shape
from compressors.distillation.streams import stream
from tests.helpers_distillation import SHAPE, parameters
from tests.helpers_fused import PlainFirst, PlainLayer

SHAPES = [SHAPE, Shape(3, 8, 4, 5, 3), Shape(1, 7, 3, 4, 2), Shape(2, 12, 3, 3, 1)]


@pytest.fixture(autouse=True)
def plain_layers(monkeypatch):
    for module in (fused, fused_matching):
        monkeypatch.setattr(module, "First", PlainFirst)
        monkeypatch.setattr(module, "Layer", PlainLayer)
    monkeypatch.setattr(fused, "usable_for", lambda parameters, shape: True)


def _normal(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=stream(seed, "fused"), dtype=torch.float64)


def _nets(shape: Shape) -> torch.Tensor:
    flat = parameters(shape, (0, 1))
    return flat + 0.1 * _normal(*flat.shape)  # norms and biases are not where they start


def _counted(gradient: torch.Tensor, shape: Shape) -> list[torch.Tensor]:
    """All but the biases of convolutions, which change nothing."""
    parts = zip(shape.tensors, convnet.split(gradient, shape), strict=True)
    return [part for (name, _), part in parts if not (name.startswith("conv") and name.endswith("bias"))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_first_derivatives_are_those_of_the_network(shape):
    pixels, labels = _normal(2, 3, shape.channels, shape.size, shape.size), torch.arange(6).view(2, 3) % shape.classes
    found = []
    for way in (convnet, fused):
        flat, images = _nets(shape).requires_grad_(), pixels.clone().requires_grad_()
        loss = way.cross_entropy(flat, images, labels, shape)
        found.append((loss.detach(), *torch.autograd.grad(loss.sum(), (flat, images))))
    (loss, flat, images), (mine, my_flat, my_images) = found
    torch.testing.assert_close(mine, loss)
    torch.testing.assert_close(my_images, images)
    torch.testing.assert_close(_counted(my_flat, shape), _counted(flat, shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_sweep_gives_the_gradient_of_every_class(shape):
    images = _normal(2, shape.classes, 3, shape.channels, shape.size, shape.size)
    labels = torch.arange(shape.classes)[:, None].expand(2, -1, 3)
    flat = _nets(shape)
    want = matching.class_gradients(flat, images, labels, shape).flatten(0, 1)
    found = fused_matching.sweep(flat, images, labels, shape).gradient.flatten(0, 1)
    torch.testing.assert_close(_counted(found, shape), _counted(want, shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_tangent_is_the_gradient_of_the_distance(shape):
    images = _normal(2, shape.classes, 2, shape.channels, shape.size, shape.size)
    labels = torch.arange(shape.classes)[:, None].expand(2, -1, 2)
    real = _normal(2, shape.classes, shape.parameters, seed=1)

    def change(shown: torch.Tensor) -> torch.Tensor:
        return shown.flip(-1) * 1.5

    want, found = (
        way.matching_gradient(_nets(shape), real, images, labels, shape, change) for way in (matching, fused_matching)
    )
    torch.testing.assert_close(found, want)


def test_features_have_the_order_of_the_linear_layer():
    images = _normal(2, 3, 1, 8, 8)
    flat = _nets(SHAPE)
    torch.testing.assert_close(fused.features(flat, images, SHAPE), convnet.features(flat, images, SHAPE))
