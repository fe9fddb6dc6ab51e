"""The adjoint against the full unroll, and the two backbones that rest on it."""

from __future__ import annotations

import weakref

import pytest
import torch
import torch.nn.functional as F

from compressors.distillation.backbones import distil
from compressors.distillation.convnet import Shape, cross_entropy, initial
from compressors.distillation.images import DistillationError
from compressors.distillation.masking import Run
from compressors.distillation.memories import AddressableMemories, Memory, addresses
from compressors.distillation.schedules import Budget
from compressors.distillation.streams import stream
from compressors.distillation.training import predict
from compressors.distillation.trajectory import Trajectory, TrajectoryMatching, train_experts
from compressors.distillation.unroll import unroll
from tests.helpers_distillation import SHAPE, images, module, parameters

FAST = Trajectory(steps=3, expert_epochs=1, max_start=2, experts=2, image_rate=1.0, rate_rate=1e-7, batch=4)
SMALL = Memory(bases=3, shrink=2, steps=8, per_class=4, queries=20, rate=0.1, outer_rate=2.0)


def whole_unroll(start, leaves, view, steps, rate, momentum, outer):
    """Everything in one graph, as plain autograd sees it."""
    leaves = tuple(leaf.clone().requires_grad_() for leaf in leaves)
    rate = rate.clone().requires_grad_()
    weights, velocity = start.clone().requires_grad_(), torch.zeros_like(start)
    for step in range(steps):
        images_, labels = view(leaves, step)
        loss = cross_entropy(weights, images_, labels, SHAPE).sum()
        (found,) = torch.autograd.grad(loss, weights, create_graph=True)
        velocity = momentum * velocity + found
        weights = weights - rate[:, None] * velocity
    loss = outer(weights)
    return loss, torch.autograd.grad(loss.sum(), [*leaves, rate])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("steps", [1, 6])
def test_the_adjoint_is_the_full_unroll(momentum, steps):
    data = images(n=12)
    start, target = parameters(seeds=(0, 1)), parameters(seeds=(2, 3))
    rate = torch.tensor([0.1, 0.03], dtype=torch.float64)
    leaf = torch.stack([data.pixels, data.pixels.flip(0)])

    def view(leaves, step):
        index = torch.arange(step, step + 5) % 12
        return leaves[0][:, index], data.labels[index].expand(2, -1)

    def outer(weights):
        return (weights - target).square().sum(-1)

    expected, (of_leaf, of_rate) = whole_unroll(start, (leaf,), view, steps, rate, momentum, outer)
    found = unroll(start, (leaf,), view, steps, rate, momentum, outer, SHAPE)
    torch.testing.assert_close(found.loss, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.leaves[0], of_leaf, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.rate, of_rate, rtol=1e-9, atol=1e-12)


def test_only_one_step_has_a_graph_at_a_time():
    data, alive, most = images(n=6), weakref.WeakSet(), []

    def view(leaves, step):
        seen = leaves[0] * 1.0
        if seen.requires_grad:
            alive.add(seen)
            most.append(len(alive))
        return seen[None], data.labels[None]

    start = parameters()
    rate = torch.tensor([0.1], dtype=torch.float64)
    unroll(start, (data.pixels,), view, 12, rate, 0.9, lambda w: w.square().sum(-1), SHAPE)
    assert len(most) == 12
    assert max(most) <= 2


class Kept:
    """A tensor that autograd keeps for the way back."""

    def __init__(self, tensor):
        self.tensor = tensor


def most_bytes_kept(work):
    """The most bytes that graphs held at once while ``work()`` ran."""
    now, most = [0], [0]

    def pack(tensor):
        kept, size = Kept(tensor), tensor.numel() * tensor.element_size()
        now[0] += size
        most[0] = max(most[0], now[0])
        weakref.finalize(kept, lambda: now.__setitem__(0, now[0] - size))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        work()
    return most[0]


def test_memory_of_graphs_does_not_grow_with_the_steps():
    """Bytes that autograd keeps: those of one step here, of all steps where the whole unrolling is one graph."""
    data = images(n=6)
    start, rate = parameters(), torch.tensor([0.1], dtype=torch.float64)

    def view(leaves, step):
        return leaves[0][None], data.labels[None]

    def outer(weights):
        return weights.square().sum(-1)

    adjoint, whole = (
        [most_bytes_kept(lambda n=n, f=f: f(n)) for n in (3, 24)]
        for f in (
            lambda n: unroll(start, (data.pixels,), view, n, rate, 0.9, outer, SHAPE),
            lambda n: whole_unroll(start, (data.pixels,), view, n, rate, 0.9, outer),
        )
    )
    assert adjoint[1] == adjoint[0] > 0
    assert whole[1] > 7 * whole[0]
    assert adjoint[1] < 2 * whole[0] / 3


def test_the_trajectory_loss_is_one_without_a_step_and_falls():
    data = images(n=60)
    start = data.pixels[:6].view(1, 3, 2, 1, 8, 8).clone()
    still = TrajectoryMatching(SHAPE, data, [Run(0)], start.clone(), Budget(1), (), Trajectory(2, 1, 2, 1, rate=0.0))
    still.iterate()
    torch.testing.assert_close(still.losses[0], torch.ones(1, dtype=torch.float64))
    work = TrajectoryMatching(SHAPE, data, [Run(0)], start.clone(), Budget(25), (), FAST)
    work.run()
    losses = torch.stack(work.losses)[:, 0]
    assert losses[-5:].mean() < losses[:5].mean()
    assert work.rate.item() != FAST.rate


def test_a_piece_of_a_trajectory_ends_as_many_epochs_on_as_the_plan_says():
    data, plan = images(n=9), Trajectory(steps=1, expert_epochs=2, max_start=1, experts=1)
    start = data.pixels[:3].view(1, 3, 1, 1, 8, 8).clone()
    work = TrajectoryMatching(SHAPE, data, [Run(4)], start, Budget(1), (), plan)
    for found, epoch in zip(work._ends(), (0, 2), strict=True):
        assert torch.equal(found[0], work.experts[0, 0, epoch])


def test_experts_are_plain_training_with_snapshots():
    data = images(n=9)
    found = train_experts(SHAPE, data, [0], Trajectory(max_start=1, expert_epochs=1, experts=2), ())
    assert found.shape == (1, 2, 3, SHAPE.parameters)
    net = module(SHAPE, initial(SHAPE, [stream(10_000, "net init")], torch.float64)[0])
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    F.cross_entropy(net(data.pixels), data.labels).backward()
    optimiser.step()
    torch.testing.assert_close(found[0, 0, 1], torch.nn.utils.parameters_to_vector(net.parameters()).detach())


def test_storage_of_memories_is_that_of_the_paper():
    assert addresses(Shape(3, 32, 10), 1, Memory()) == 115
    assert addresses(Shape(1, 28, 10), 1, Memory()) == 29
    with pytest.raises(DistillationError, match="leave no room"):
        addresses(Shape(1, 8, 2), 1, Memory(bases=200))


def test_memories_learn_and_are_mixtures():
    data = images(n=60)
    work = AddressableMemories(SHAPE, data, [Run(0), Run(1)], Budget(30), 2, SMALL)
    assert work.pixels().shape == (2, 3 * work.count, 1, 8, 8)
    work.run()
    losses = torch.stack(work.losses)
    assert (losses[-10:].mean(0) < losses[:10].mean(0) - 0.05).all()
    flat = work.pixels()[0].flatten(1)
    assert torch.linalg.matrix_rank(flat, rtol=1e-9) <= SMALL.bases


@pytest.mark.parametrize(("backbone", "plan"), [("mtt", FAST), ("rtp", SMALL)])
def test_same_seed_same_bits_and_masks_matter(backbone, plan):
    def make(runs):
        return distil(backbone, SHAPE, images(), 2, runs, Budget(2), (), plan=plan)

    first = make([Run(0), Run(0, 0.4), Run(1)])
    assert torch.equal(first.pixels, make([Run(0), Run(0, 0.4), Run(1)]).pixels)
    assert not torch.equal(first.pixels[0], first.pixels[1])
    torch.testing.assert_close(first.pixels[2], make([Run(1)]).pixels[0])
    assert first.share == 2 / {"mtt": 5_000, "rtp": 500_000}[backbone]
    assert predict(parameters(), first.pixels[:1], SHAPE).isfinite().all()
    assert len(first.labels) == first.pixels.shape[1]
