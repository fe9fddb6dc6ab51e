"""On a GPU: recorded graphs give what the same kernels give one by one, and half precision stays close."""

from __future__ import annotations

import pytest
import torch

from compressors.distillation.backbones import distil
from compressors.distillation.images import Images
from compressors.distillation.masking import Run
from compressors.distillation.matching import class_gradients, distance
from compressors.distillation.schedules import COLOR, Budget
from compressors.distillation.training import Recipe, Trainer
from tests.helpers_distillation import SHAPE, images, parameters

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
