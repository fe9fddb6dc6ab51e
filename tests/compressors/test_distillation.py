"""Distillation against plain oracles: the network of torch.nn, a loop over classes, the papers' steps one by one."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compressors.distillation import augment, convnet
from compressors.distillation.augment import Augmentation
from compressors.distillation.backbones import distil
from compressors.distillation.convnet import Shape
from compressors.distillation.distribution import DistributionMatching
from compressors.distillation.gradient import GradientMatching
from compressors.distillation.images import DistillationError, Images, class_labels
from compressors.distillation.masking import Run, masks
from compressors.distillation.matching import class_gradients, distance
from compressors.distillation.schedules import COLOR, Budget, published
from compressors.distillation.streams import stream, streams
from compressors.distillation.training import Recipe, Trainer, kept, objective, predict
from tests.helpers_distillation import SHAPE, images, loop_distance, module, parameters


@pytest.mark.parametrize(
    ("channels", "size", "classes", "count"), [(1, 28, 10, 317_706), (3, 32, 10, 320_010), (3, 32, 100, 504_420)]
)
def test_parameter_counts_of_the_papers(channels, size, classes, count):
    assert Shape(channels, size, classes).parameters == count


@pytest.mark.parametrize(
    "shape", [SHAPE, Shape(3, 8, 4, 5, 3), Shape(1, 28, 10, 3, 3), Shape(3, 20, 4, 3, 4), Shape(3, 32, 3, 2, 5)]
)
def test_networks_side_by_side_are_each_the_network_of_torch(shape):
    flat = parameters(shape, (0, 1))
    pixels = images(shape, 4 * shape.classes).pixels
    found = convnet.logits(flat, torch.stack([pixels, pixels.flip(0)]), shape)
    for k, given_ in enumerate((pixels, pixels.flip(0))):
        torch.testing.assert_close(found[k], module(shape, flat[k])(given_))


def test_initial_parameters_lie_as_torch_draws_them():
    shape = Shape(1, 28, 10, 32)
    flat = convnet.initial(shape, [stream(0, "test")])[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = nn.utils.parameters_to_vector(_fresh(shape))
    for (name, _), mine, other in zip(shape.tensors, flat.split(shape.sizes), theirs.split(shape.sizes), strict=True):
        # Means of n uniform numbers: five standard errors of their difference; maxima of ten lie within a third.
        slack = 5 * float(other.detach().abs().max()) * (2 / 3 / len(mine)) ** 0.5
        assert mine.mean().item() == pytest.approx(other.detach().mean().item(), abs=slack + 1e-6), name
        assert mine.abs().max().item() == pytest.approx(other.detach().abs().max().item(), rel=0.35, abs=1e-6), name


def _fresh(shape):
    net = module(shape, torch.zeros(shape.parameters))
    for layer in net:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return net.parameters()


def _plain_step(net, data, real_index, synthetic, keep):
    """One step of dataset condensation's images as a loop over the classes; the gradient and the loss.

    The network sees the synthetic images times ``keep``, ones where nothing is masked.
    """
    leaf = synthetic.detach().clone().requires_grad_()
    loss = 0.0
    for k in range(data.classes):
        labels = torch.full((real_index.shape[1],), k)
        real = torch.autograd.grad(F.cross_entropy(net(data.pixels[real_index[k]]), labels), net.parameters())
        found = torch.autograd.grad(
            F.cross_entropy(net(leaf[k] * keep[k]), torch.full((leaf.shape[1],), k)),
            net.parameters(),
            create_graph=True,
        )
        loss = loss + loop_distance(real, found)
    return torch.autograd.grad(loss, leaf)[0], loss.detach()


def test_gradient_matching_is_the_loop_over_classes():
    data, runs = images(), [Run(0), Run(1), Run(1, 0.4)]  # the last with MDT: a fresh mask in each matching step
    synthetic = torch.randn(3, 3, 2, 1, 8, 8, generator=stream(9, "x"), dtype=torch.float64)
    work = GradientMatching(SHAPE, data, runs, synthetic.clone(), Budget(1, 5, 2, 3))
    work.iterate()
    for k, run in enumerate(runs):
        net = module(SHAPE, convnet.initial(SHAPE, [stream(run.seed, "networks")], torch.float64)[0])
        real, image, velocity, random = stream(run.seed, "real"), synthetic[k].clone(), 0.0, run.stream("cpu")
        for outer in range(2):
            drawn = torch.rand(3, 2, 1, 8, 8, generator=random)
            gradient, loss = _plain_step(net, data, data.draw(5, [real])[0], image, drawn >= run.mdt)
            velocity = 0.5 * velocity + gradient
            image = image - 0.1 * velocity
            if outer == 0:
                optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
                for _ in range(3):
                    optimiser.zero_grad()
                    F.cross_entropy(net(image.flatten(0, 1)), class_labels(3, 2)).backward()
                    optimiser.step()
        torch.testing.assert_close(work.synthetic[k], image)
        torch.testing.assert_close(work.losses[0][k], loss)


def test_the_distance_is_zero_for_equal_gradients_and_ignores_biases():
    gradient = torch.randn(2, SHAPE.parameters, generator=stream(0, "g"), dtype=torch.float64)
    assert distance(gradient, gradient, SHAPE).abs().max() < 1e-3  # the constant in the denominator
    changed = gradient.clone()
    start = 0
    for name, dims in SHAPE.tensors:
        size = torch.Size(dims).numel()
        if len(dims) == 1:
            changed[:, start : start + size] += 1.0
        start += size
        assert name
    other = torch.randn(2, SHAPE.parameters, generator=stream(1, "g"), dtype=torch.float64)
    assert torch.equal(distance(other, gradient, SHAPE), distance(other, changed, SHAPE))


@pytest.mark.parametrize("run", [Run(0), Run(0, 0.4)])
def test_dm_is_the_mean_features_of_each_class(run):
    data = images()
    keep = torch.rand(3, 2, 1, 8, 8, generator=run.stream("cpu")) >= run.mdt
    start = data.pixels[:6].view(1, 3, 2, 1, 8, 8).clone()
    work = DistributionMatching(SHAPE, data, [run], start.clone(), Budget(1, 5), COLOR)
    work.iterate()
    net = module(SHAPE, convnet.initial(SHAPE, [stream(0, "networks")], torch.float64)[0])[:-1]
    index = data.draw(5, [stream(0, "real")])[0]
    drawn = augment.transformations(augment.numbers([stream(0, "augment")], 3), 8, COLOR)
    leaf, loss = start[0].clone().requires_grad_(), 0.0
    for k in range(3):
        rows = Augmentation(*(part[0, k : k + 1] for part in drawn))
        real = net(augment.apply(data.pixels[index[k]], rows)).mean(0).detach()
        loss = loss + (net(augment.apply(leaf[k], rows) * keep[k]).mean(0) - real).square().sum()
    (gradient,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(work.synthetic[0], start[0] - gradient)


def test_classes_do_not_see_each_other():
    data = images()
    flat, pixels = parameters(), data.pixels[data.table[:, :4]][None]
    labels = torch.arange(3)[:, None].expand(3, 4)[None]
    before = class_gradients(flat, pixels, labels, SHAPE)
    pixels[0, 2] += 1.0
    after = class_gradients(flat, pixels, labels, SHAPE)
    assert torch.equal(before[0, :2], after[0, :2])
    assert not torch.equal(before[0, 2], after[0, 2])


@given(st.integers(0, 10_000), st.sampled_from(augment.STRATEGIES))
def test_augmentation_is_the_same_for_real_and_synthetic(seed, strategy):
    pixels = torch.randn(3, 1, 1, 9, 9, generator=stream(seed, "x"), dtype=torch.float64)
    rows = augment.transformations(augment.numbers([stream(seed, "a")], 3)[0], 9, [strategy])
    few, many = (augment.apply(pixels.expand(3, n, 1, 9, 9), augment.per_class(rows)) for n in (2, 7))
    assert torch.equal(few[:, :1].expand(3, 7, 1, 9, 9), many)


@given(st.integers(0, 10_000))
def test_augmentation_rows_are_what_the_papers_say(seed):
    pixels = torch.randn(5, 2, 8, 8, generator=stream(seed, "x"), dtype=torch.float64)

    def changed(strategy, given_=pixels):
        u = augment.numbers([stream(seed, "a")], 5)[0]
        return augment.apply(given_, augment.transformations(u, 8, [strategy]))

    mirrored = changed("flip")
    assert all(
        torch.allclose(new, old) or torch.allclose(new, old.flip(-1)) for new, old in zip(mirrored, pixels, strict=True)
    )
    holes = changed("cutout")
    assert ((holes == 0).all(1).sum((1, 2)) <= 16).all()
    assert torch.allclose(holes[holes != 0], pixels[holes != 0])
    shifted = changed("crop")  # by at most one pixel, zeros move in
    padded = F.pad(pixels, (1, 1, 1, 1))
    for k in range(5):
        moves = [padded[k, :, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
        assert any(torch.allclose(shifted[k], move, atol=1e-6) for move in moves)
    grey = pixels[:, :1]
    flat = torch.zeros_like(grey)
    assert torch.allclose(changed("color", flat).std((1, 2, 3)), torch.zeros(5, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("backbone", ["random", "dm", "dc", "dsa"])
def test_same_seed_same_bits_whatever_the_clock_says(backbone, monkeypatch):
    def make(runs):
        return distil(backbone, SHAPE, images(), 2, runs, Budget(2, 4, 2, 2)).pixels

    first = make([Run(0), Run(1, 0.3)])
    state = torch.random.get_rng_state()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    torch.rand(7)
    assert torch.equal(first, make([Run(0), Run(1, 0.3)]))
    torch.random.set_rng_state(state)
    assert not torch.equal(first[0], first[1])


def test_what_a_seed_gives_does_not_depend_on_its_neighbours():
    def make(runs):
        return distil("dsa", SHAPE, images(), 2, runs, Budget(2, 4, 1, 1)).pixels

    together = make([Run(0), Run(0, 0.3), Run(5)])
    torch.testing.assert_close(together[2], make([Run(5)])[0])
    torch.testing.assert_close(together[0], make([Run(0)])[0])
    assert not torch.allclose(together[0], together[1])  # MDT changes what is distilled


def test_mdt_masks_afresh_in_each_step():
    runs = [Run(0), Run(1, 0.5)]
    random = [run.stream("cpu") for run in runs]
    first, second = (masks(random, runs, (3, 2, 2, 8, 8), torch.zeros(1)) for _ in range(2))
    assert (first[0] == 1).all()
    assert not torch.equal(first[1], second[1])
    assert torch.equal(first[1, :, :, 0], first[1, :, :, 1])  # a pixel: all channels together
    assert first[1].mean() == pytest.approx(0.5, abs=0.1)


def test_networks_learn_as_torch_would_teach_them():
    data = images(n=6)
    recipe = Recipe(epochs=5)
    found = Trainer(SHAPE, data.pixels[None], data.labels, [3], recipe).run()
    net = module(SHAPE, convnet.initial(SHAPE, [stream(3, "net init")], torch.float64)[0])
    for epoch in range(6):
        if epoch in (0, 3):
            rate = 0.01 if epoch == 0 else 0.001
            optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
        optimiser.zero_grad()
        F.cross_entropy(net(data.pixels), data.labels).backward()
        optimiser.step()
    torch.testing.assert_close(found[0], nn.utils.parameters_to_vector(net.parameters()))
    torch.testing.assert_close(predict(found, data.pixels, SHAPE)[0], net(data.pixels))


@pytest.mark.parametrize("loss", ["ce", "smooth", "focal", "mixup", "cutmix", "cutout"])
def test_every_loss_teaches(loss):
    data = images(n=60, dtype=torch.float32)
    recipe = Recipe(epochs=40, rate=0.05, batch=16, loss=loss)
    trained = Trainer(SHAPE, data.pixels[None].expand(2, -1, -1, -1, -1), data.labels, [0, 1], recipe).run()
    right = predict(trained, data.pixels, SHAPE).argmax(-1) == data.labels
    assert right.float().mean() > 0.6


@given(st.integers(0, 10_000))
def test_cutmix_keeps_all_but_a_box(seed):
    u = torch.rand(5, 3, generator=stream(seed, "x"), dtype=torch.float64)
    for share, mask in zip(u[:, 0].tolist(), kept(u, 9)[:, 0, 0], strict=True):
        gone = (mask == 0).nonzero()
        side = int(9 * (1 - share) ** 0.5)
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        if len(gone):
            box = gone.amax(0) - gone.amin(0) + 1
            assert len(gone) == int(box.prod())  # one box without holes
            assert int(box.max()) <= side  # cut off at the borders, never larger
    assert (kept(torch.tensor([[1.0, 0.5, 0.5]]), 9) == 1).all()
    assert (kept(torch.tensor([[0.0, 0.5, 0.5]]), 9) == 0).all()


def test_losses_on_probabilities_are_torchs():
    logits = torch.randn(1, 7, 4, generator=stream(0, "x"), dtype=torch.float64)
    labels = torch.randint(4, (7,), generator=stream(1, "x"))
    hot = F.one_hot(labels, 4).double()[None]
    torch.testing.assert_close(objective(logits, hot, "ce")[0], F.cross_entropy(logits[0], labels))
    smooth = F.cross_entropy(logits[0], labels, label_smoothing=0.1)
    torch.testing.assert_close(objective(logits, hot, "smooth")[0], smooth)
    chosen = logits[0].softmax(-1)[torch.arange(7), labels]
    torch.testing.assert_close(objective(logits, hot, "focal")[0], -((1 - chosen) ** 3 * chosen.log()).mean())


def test_bad_input_is_named():
    data = images()
    with pytest.raises(DistillationError, match="class 0 has only 10 images"):
        distil("dm", SHAPE, data, 11, [Run(0)], Budget(1))
    with pytest.raises(DistillationError, match="one class"):
        Images(data.pixels, data.labels * 0, 1)
    with pytest.raises(DistillationError, match="no image of class 1"):
        Images(data.pixels, data.labels * 0, 3)
    with pytest.raises(DistillationError, match="NaN"):
        Images(data.pixels * float("nan"), data.labels, 3)
    with pytest.raises(DistillationError, match="unknown backbone"):
        distil("dcc", SHAPE, data, 1, [Run(0)], Budget(1))
    with pytest.raises(ValueError, match="mask ratio 1"):
        Run(0, 1.0)
    with pytest.raises(ValueError, match="unknown augmentation flipp"):
        distil("dm", SHAPE, data, 1, [Run(0)], Budget(1), strategies=["flipp"])
    with pytest.raises(ValueError, match="do not fit"):
        convnet.logits(parameters(), data.pixels[None, :, :, :4, :4], SHAPE)


def test_real_draws_are_without_repetition_and_of_the_class():
    data = images()
    drawn = data.draw(7, streams([0, 1], "real", "cpu"))
    assert drawn.shape == (2, 3, 7)
    assert all(len(set(row.tolist())) == 7 for rows in drawn for row in rows)
    assert (data.labels[drawn] == torch.arange(3)[:, None]).all()


def test_budgets_name_the_share_of_the_published_iterations():
    assert published("dc").share("dc") == 1.0
    assert Budget(100).share("dm") == pytest.approx(0.005)
    assert Budget(0).share("random") is None
    assert Budget(1).loop(10) == (10, 50)
    assert Budget(1).loop(1) == (1, 1)
