"""On a GPU: recorded graphs give what the same kernels give one by one, and half precision stays close."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from compressors.distillation import architectures, convnet, fused_matching, matching
from compressors.distillation.backbones import distil
from compressors.distillation.convnet import Shape
from compressors.distillation.fused_layers import First, Layer
from compressors.distillation.fused_matching import sweep
from compressors.distillation.images import Images
from compressors.distillation.masking import Run
from compressors.distillation.matching import class_gradients, distance
from compressors.distillation.memories import Memory
from compressors.distillation.schedules import COLOR, Budget
from compressors.distillation.training import Recipe, Trainer
from compressors.distillation.trajectory import Trajectory
from compressors.distillation.unroll import unroll
from tests.helpers_distillation import SHAPE, images, parameters
from tests.helpers_fused import PlainFirst, PlainLayer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


CLEAR = 2e-6  # several times what float32 is off by


@pytest.fixture
def precision():
    """Sets whether products and convolutions may be TF32; as it was afterwards, whatever another test had set."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    def choose(tf32: bool) -> None:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32

    yield choose
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


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


def _away(make: Callable[[torch.Generator], tuple], margin: Callable[..., float]) -> tuple:
    """The first arguments that keep every value ``CLEAR`` of ReLU's kink, on the GPU: on another side of it, float32
    and float64 have other derivatives and both are right.
    """
    for seed in range(200):
        made = make(torch.Generator().manual_seed(seed))
        if margin(*(a.double() if isinstance(a, torch.Tensor) else a for a in made)) > CLEAR:
            return tuple(a.cuda() if isinstance(a, torch.Tensor) else a for a in made)
    raise AssertionError(f"no seed keeps {CLEAR} away from the kink")


def _both(kind, plain, make):
    """A layer of kernels in float32, and the same by torch's derivatives in float64."""
    arguments = _away(make, lambda *wide: plain(*wide).margin())
    return kind(*arguments), plain(*(a.double() if isinstance(a, torch.Tensor) else a for a in arguments))


def _close(pairs) -> None:
    for found, want in pairs:
        torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))


@pytest.mark.parametrize(("side", "width"), [(16, 128), (8, 128), (4, 5), (20, 33), (64, 3)])
def test_kernels_of_a_layer(side, width):
    def make(random):
        norms = [1 + 0.1 * torch.randn(2, width, generator=random) for _ in range(2)]
        return torch.randn(4, side, side, width, generator=random), *norms

    mine, plain = _both(Layer, PlainLayer, make)
    out = mine.forward()
    moved, grad, moved_grad = _like(mine.y, 1), _like(out, 2), _like(out, 3)
    wide = (moved.double(), grad.double(), moved_grad.double())
    _close([
        (out, plain.forward()),
        *zip(mine.backward(grad), plain.backward(wide[1]), strict=True),
        (mine.tangent(moved), plain.tangent(wide[0])),
        (mine.tangent_backward(moved, grad, moved_grad), plain.tangent_backward(*wide)),
    ])  # fmt: skip


@pytest.mark.parametrize("shape", [Shape(), Shape(3, 32, 10, 128, 3), Shape(1, 7, 3, 5, 2), Shape(2, 60, 3, 3, 2)])
def test_kernels_of_the_first_block(shape):
    def make(random):
        pixels = torch.randn(4, shape.channels, shape.size, shape.size, generator=random)
        weight = torch.randn(2, shape.width, shape.channels * 9, generator=random)
        return pixels, weight, *(1 + 0.1 * torch.randn(2, shape.width, generator=random) for _ in range(2)), shape

    mine, plain = _both(First, PlainFirst, make)
    out = mine.forward(torch.float32)
    change = _like(mine.weight, 1).repeat_interleave(2, 0)
    grad, moved_grad = _like(out, 2), _like(out, 3)
    wide = (change.double(), grad.double(), moved_grad.double())
    _close([
        (out, plain.forward(torch.float64)),
        *zip(mine.backward(grad, True, True), plain.backward(wide[1], True, True), strict=True),
        (mine.tangent(change, torch.float32), plain.tangent(wide[0], torch.float64)),
        (mine.tangent_backward(change, grad, moved_grad), plain.tangent_backward(*wide)),
    ])  # fmt: skip


def _nearest(flat: torch.Tensor, pixels: torch.Tensor, shape: Shape) -> float:
    """How near the kink any value of the whole network comes, ``pixels [sets, classes, n, ...]``."""
    x, least = pixels.flatten(1, 2).transpose(1, 2), math.inf
    for block in range(shape.depth):
        weight, bias, scale, shift = convnet.split(flat, shape)[4 * block : 4 * block + 4]
        pad = 1 if block else 1 + (shape.padded - shape.size + 1) // 2
        x = convnet.convolve(x, weight, bias, pad)[..., : shape.padded, : shape.padded]
        x = convnet.normalise(x, scale, shift)
        least = min(least, float(x.abs().min()))
        x = torch.nn.functional.avg_pool2d(x.relu().flatten(0, 1), 2).unflatten(0, x.shape[:2])
    return least


@pytest.mark.parametrize(
    ("shape", "n", "tf32", "within"), [(Shape(1, 28, 4, 16, 3), 2, False, 1e-3), (Shape(), 5, True, 0.2)]
)
def test_tangents_are_autograd_in_double_precision(precision, shape, n, tf32, within):
    """TF32 takes its toll of the image gradient, 6 % on an H200, with autograd as with the kernels."""
    precision(tf32)

    def make(random):
        return torch.randn(1, shape.classes, n, 1, 28, 28, generator=random), shape

    flat = parameters(shape, dtype=torch.float32)
    # TF32 rounds so coarsely that some values change sides whatever the seed; its bound allows for them.
    near = (lambda *_: math.inf) if tf32 else (lambda wide, _: _nearest(flat.double(), wide, shape))
    images, flat = _away(make, near)[0], flat.cuda()
    labels = torch.arange(shape.classes, device="cuda")[:, None].expand(1, -1, n)
    real = sweep(parameters(shape, seeds=(1,), dtype=torch.float32).cuda(), images, labels, shape).gradient
    loss, found = fused_matching.matching_gradient(flat, real, images, labels, shape, torch.clone)
    right, want = matching.matching_gradient(flat.double(), real.double(), images.double(), labels, shape, torch.clone)
    assert loss.item() == pytest.approx(right.item(), rel=1e-3)
    assert (found.double() - want).norm() < within * want.norm()


def test_the_adjoint_is_that_of_a_cpu():
    """What MTT and RTP unroll, with momentum, in double precision on both."""
    data, start = images(n=12), parameters(seeds=(0, 1))
    target = parameters(seeds=(2, 3))

    def on(device):
        labels, goal = data.labels.to(device).expand(2, -1), target.to(device)

        def view(leaves, number):
            return leaves[0] * (1 + 0.1 * number), labels

        def outer(weights):
            return (weights - goal).square().sum(-1)

        leaf = data.pixels.to(device).expand(2, -1, -1, -1, -1).clone()
        rate = torch.full((2,), 0.05, device=device, dtype=torch.float64)
        return unroll(start.to(device), (leaf,), view, 5, rate, 0.9, outer, SHAPE)

    here, there = on("cpu"), on("cuda")
    torch.testing.assert_close(there.loss.cpu(), here.loss)
    torch.testing.assert_close(there.rate.cpu(), here.rate)
    torch.testing.assert_close(there.leaves[0].cpu(), here.leaves[0])


@pytest.mark.parametrize(
    ("backbone", "plan"),
    [("mtt", Trajectory(steps=3, max_start=2, image_rate=1.0)), ("rtp", Memory(bases=4, steps=3, per_class=2))],
)
def test_unrolled_backbones_move_their_images_and_obey_their_seed(backbone, plan):
    def made(iterations, seed=0):
        found = distil(backbone, SHAPE, on_gpu(), 2, [Run(seed)], Budget(iterations, 5), COLOR, plan=plan)
        return found.pixels

    first = made(3)
    assert first.is_cuda
    assert bool(first.isfinite().all())
    torch.testing.assert_close(first, made(3), rtol=1e-2, atol=1e-3)  # sums of a GPU have no fixed order
    assert (first - made(1)).abs().max() > 1e-6
    assert (first - made(3, seed=1)).abs().max() > 0.1


@pytest.mark.parametrize("name", list(architectures.ARCHITECTURES))
def test_other_networks_say_on_a_gpu_what_they_say_on_a_cpu(precision, name):
    precision(False)
    shape = Shape(1, 16, 3)
    data = images(shape, dtype=torch.float32)
    net = architectures.build(name, shape, 0).eval()
    want = architectures.look([net], data.pixels[None])
    found = architectures.look([net.cuda()], data.pixels[None].cuda()).cpu()
    torch.testing.assert_close(found, want, rtol=1e-3, atol=1e-3 * float(want.abs().max()))
    wide = data.pixels[None].cuda()
    trained = architectures.train(name, shape, wide, data.labels.cuda(), [0], Recipe(60, rate=0.02))
    assert (architectures.look(trained, wide).argmax(-1).cpu() == data.labels).float().mean() > 0.9
