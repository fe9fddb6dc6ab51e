"""What distillation does to images on their way: augmented, masked, mixed and drawn, step by step with plain torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from compressors.distillation import augment, convnet
from compressors.distillation.augment import Augmentation
from compressors.distillation.gradient import GradientMatching
from compressors.distillation.images import Images
from compressors.distillation.masking import Run
from compressors.distillation.schedules import COLOR, Budget
from compressors.distillation.streams import stream
from compressors.distillation.training import Recipe, Trainer, objective
from tests.helpers_distillation import SHAPE, images, loop_distance, module


@pytest.mark.parametrize("loss", ["mixup", "cutmix"])
def test_mixed_images_have_the_labels_of_what_they_are_mixed_of(loss, monkeypatch):
    """Image k is k everywhere and of class k: the mean of a mixture is that of its labels."""
    seen = {}

    def looked(parameters, images, shape):
        seen["images"] = images
        return convnet.logits(parameters, images, shape)

    def judged(logits, targets, name):
        seen["targets"] = targets
        return objective(logits, targets, name)

    monkeypatch.setattr("compressors.distillation.fused.logits", looked)
    monkeypatch.setattr("compressors.distillation.training.objective", judged)
    pixels = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(4, 3, 1, 8, 8).double()
    Trainer(SHAPE, pixels, torch.arange(3), [0, 1, 2, 3], Recipe(epochs=0, loss=loss), graphs=False).run()
    mixed = seen["images"].mean((-1, -2, -3))
    assert not torch.equal(mixed, pixels.mean((-1, -2, -3)))
    torch.testing.assert_close(mixed, seen["targets"] @ torch.arange(3.0).double())


def test_a_class_of_few_images_is_drawn_from_them_alone():
    labels = torch.tensor([0] * 3 + [1] * 30)
    data = Images(torch.zeros(33, 1, 8, 8), labels, 2)
    picked = data.draw(3, [stream(seed, "x") for seed in range(20)])
    assert picked.min() >= 0
    assert (labels[picked] == torch.arange(2)[:, None]).all()


def test_a_shared_strategy_is_that_of_the_first_row():
    u = torch.full((1, 2, 4), 0.25)
    u[0, 1, 3] = 0.75  # the second row by itself would be cut out
    apart, shared = (augment.transformations(u, 8, ("flip", "cutout"), shared=s).hole for s in (False, True))
    assert apart.any(-1).tolist() == [[False, True]]
    assert shared.any(-1).tolist() == [[False, False]]


@pytest.mark.parametrize("run", [Run(0), Run(1, 0.4)])
def test_siamese_augmentation_is_one_transformation_for_both_and_masks_come_after_it(run):
    data = images()
    start = data.pixels[:6].view(1, 3, 2, 1, 8, 8).clone()
    work = GradientMatching(SHAPE, data, [run], start.clone(), Budget(1, 5, 1, 1), COLOR)
    work.iterate()
    net = module(SHAPE, convnet.initial(SHAPE, [stream(run.seed, "networks")], torch.float64)[0])
    index = data.draw(5, [stream(run.seed, "real")])[0]
    drawn = augment.transformations(augment.numbers([stream(run.seed, "augment")], 3), 8, COLOR)
    keep = torch.rand(3, 2, 1, 8, 8, generator=run.stream("cpu")) >= run.mdt
    leaf, loss = start[0].clone().requires_grad_(), 0.0
    for k in range(3):
        rows = Augmentation(*(part[0, k : k + 1] for part in drawn))
        pairs = (augment.apply(data.pixels[index[k]], rows), augment.apply(leaf[k], rows) * keep[k])
        real, made = (
            torch.autograd.grad(F.cross_entropy(net(x), torch.full((len(x),), k)), net.parameters(), create_graph=True)
            for x in pairs
        )
        loss = loss + loop_distance([part.detach() for part in real], made)
    (gradient,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(work.synthetic[0], start[0] - 0.1 * gradient)


def test_networks_learn_between_the_steps_of_an_iteration_alone():
    """After the last one they are thrown away: learning then would only move what is drawn for the next."""
    synthetic = torch.randn(1, 3, 2, 1, 8, 8, generator=stream(9, "x"), dtype=torch.float64)
    work = GradientMatching(SHAPE, images(), [Run(0)], synthetic, Budget(2, 5, 3, 1))
    order, match, learn = [], work.match, work.train_networks
    work.match = lambda: (order.append("match"), match())[1]
    work.train_networks = lambda: (order.append("learn"), learn())[1]
    work.run()
    assert order == 2 * ["match", "learn", "match", "learn", "match"]
