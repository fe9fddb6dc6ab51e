"""On a GPU: recorded graphs give what the same kernels give one by one, and half precision stays close."""

from __future__ import annotations

import pytest
import torch

from compressors.distillation import fused_matching, matching
from compressors.distillation.backbones import distil
from compressors.distillation.convnet import Shape
from compressors.distillation.fused_layers import First, Layer
from compressors.distillation.fused_matching import sweep
from compressors.distillation.images import Images
from compressors.distillation.masking import Run
from compressors.distillation.matching import class_gradients, distance
from compressors.distillation.schedules import COLOR, Budget
from compressors.distillation.training import Recipe, Trainer
from tests.helpers_distillation import SHAPE, images, parameters
from tests.helpers_fused import PlainFirst, PlainLayer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on_gpu() -> Images:
    data = images(dtype=torch.float32)
    return Images(data.pixels.cuda(), data.labels.cuda(), data.classes)


@pytest.mark.parametrize("backbone", ["dc", "dsa", "dm"])
def test_graphs_change_nothing(backbone):
    runs = [Run(0), Run(0, 0.3), Run(1)]
    first, second = (
        distil(backbone, SHAPE, on_gpu(), 2, runs, Budget(3, 5, 2, 3), COLOR, graphs=graphs).pixels
        for graphs in (True, False)
    )
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_networks_learn_the_same_by_graph():
    data = on_gpu()
    wide = data.pixels.expand(2, -1, -1, -1, -1)
    recipe = Recipe(epochs=6, batch=16, loss="mixup", strategies=COLOR)
    first, second = (
        Trainer(SHAPE, wide, data.labels, [0, 1], recipe, graphs=graphs).run().clone() for graphs in (True, False)
    )
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_half_precision_gradients_point_the_same_way():
    data = on_gpu()
    flat = parameters(dtype=torch.float32).cuda()
    pixels = data.pixels[data.table][None]
    labels = torch.arange(3, device="cuda")[:, None].expand(3, 10)[None]
    exact = class_gradients(flat, pixels, labels, SHAPE)[0]
    half = class_gradients(flat.bfloat16(), pixels.bfloat16(), labels, SHAPE)[0].float()
    other = class_gradients(parameters(seeds=(1,), dtype=torch.float32).cuda(), pixels, labels, SHAPE)[0]
    assert distance(exact, half, SHAPE).max() < 0.05 * distance(exact, other, SHAPE).min()


def _like(tensor: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)


def _both(kind, plain, *arguments):
    """A layer of kernels in float32, and the same by torch's derivatives in float64."""
    wide = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
    return kind(*arguments), plain(*wide)


@pytest.mark.parametrize(("side", "width"), [(16, 128), (8, 128), (4, 5), (20, 33), (64, 3)])
def test_kernels_of_a_layer(side, width):
    values = torch.randn(4, side, side, width, device="cuda")
    norms = [1 + 0.1 * torch.randn(2, width, device="cuda") for _ in range(2)]
    mine, plain = _both(Layer, PlainLayer, values, *norms)
    out = mine.forward()
    moved, grad, moved_grad = _like(values, 1), _like(out, 2), _like(out, 3)
    pairs = [
        (out, plain.forward()),
        *zip(mine.backward(grad), plain.backward(grad.double()), strict=True),
        (mine.tangent(moved), plain.tangent(moved.double())),
        (mine.tangent_backward(moved, grad, moved_grad),
         plain.tangent_backward(moved.double(), grad.double(), moved_grad.double())),
    ]  # fmt: skip
    for found, want in pairs:
        torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))


@pytest.mark.parametrize("shape", [Shape(), Shape(3, 32, 10, 128, 3), Shape(1, 7, 3, 5, 2), Shape(2, 60, 3, 3, 2)])
def test_kernels_of_the_first_block(shape):
    pixels = torch.randn(4, shape.channels, shape.size, shape.size, device="cuda")
    weight = torch.randn(2, shape.width, shape.channels * 9, device="cuda")
    norms = [1 + 0.1 * torch.randn(2, shape.width, device="cuda") for _ in range(2)]
    mine, plain = _both(First, PlainFirst, pixels, weight, *norms, shape)
    out = mine.forward(torch.float32)
    change = _like(weight, 1).repeat_interleave(2, 0)
    grad, moved_grad = _like(out, 2), _like(out, 3)
    wide = (change.double(), grad.double(), moved_grad.double())
    pairs = [
        (out, plain.forward(torch.float64)),
        *zip(mine.backward(grad, True, True), plain.backward(wide[1], True, True), strict=True),
        (mine.tangent(change, torch.float32), plain.tangent(wide[0], torch.float64)),
        (mine.tangent_backward(change, grad, moved_grad), plain.tangent_backward(*wide)),
    ]
    for found, want in pairs:
        torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))


@pytest.mark.parametrize(("tf32", "within"), [(False, 1e-3), (True, 0.2)])
def test_tangents_are_autograd_in_double_precision(monkeypatch, tf32, within):
    """TF32 takes its toll of the image gradient, 6 % on an H200, with autograd as with the kernels."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    shape, classes, n = Shape(), 10, 5
    images = torch.randn(1, classes, n, 1, 28, 28, device="cuda")
    labels = torch.arange(classes, device="cuda")[:, None].expand(1, -1, n)
    flat = parameters(shape, dtype=torch.float32).cuda()
    real = sweep(parameters(shape, seeds=(1,), dtype=torch.float32).cuda(), images, labels, shape).gradient
    loss, found = fused_matching.matching_gradient(flat, real, images, labels, shape, torch.clone)
    right, want = matching.matching_gradient(flat.double(), real.double(), images.double(), labels, shape, torch.clone)
    assert loss.item() == pytest.approx(right.item(), rel=1e-3)
    assert (found.double() - want).norm() < within * want.norm()
