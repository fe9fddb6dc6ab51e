"""Float32 decisions replayed in float64: each is the best, but for a stated share, given those before it; and the loss
of a layer is the float64 reference's to 1 %.

GPTQ's and SparseGPT's plain cases and SpQR's are beside the algorithms; here is the rest.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compressors import awq, gptq, sparsegpt
from compressors.columns import Pattern
from compressors.factor import factorize
from compressors.method import parse
from tests import references_algorithms as algorithms
from tests import references_compressors as references
from tests.compressors.test_awq import task_of
from tests.compressors.test_dsnot import shifted
from tests.helpers_compressors import Layer, compress_layer, loss, make_layer, observe, solve, tiny_llama

KINDS = ("independent", "correlated", "dead")


def single(layer: Layer) -> Layer:
    """The layer as a float32 model has it."""
    return Layer(layer.weight.float(), layer.inputs.float())


def metric_of(method: str, weight: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    name = method.split("-")[0]
    if name == "wanda":
        return np.abs(weight) * np.linalg.norm(inputs, axis=0)
    if name == "ria":
        return algorithms.ria_metric(weight, inputs, 0.5)
    if name == "prunerzero":
        return algorithms.prunerzero_metric(weight, [weight @ (inputs.T @ inputs / len(inputs))])
    return np.abs(weight)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spelling",
    ["magnitude-0.5", "magnitude-2of4", "wanda-0.5", "wanda-2of4", "wanda-4of8", "ria-0.5", "ria-0.5:per=row",
     "prunerzero-0.5", "prunerzero-2of4"],
)  # fmt: skip
def test_what_is_pruned_ranks_no_higher_than_what_is_kept(spelling, kind):
    """A mask is one decision a comparison group; ranks may be exchanged where metrics differ by less than 1e-5."""
    layer = single(make_layer(7, 12, 96, kind))
    method, new = parse(spelling), compress_layer(spelling, layer).numpy()
    metric = metric_of(spelling, layer.weight.double().numpy(), layer.inputs.double().numpy())
    gone, target = new == 0, method.target
    groups = (-1, target.group) if target.group else (-1, 96) if method.compares == "row" else (1, -1)
    for cells, out in zip(metric.reshape(groups), gone.reshape(groups), strict=True):
        assert out.any()
        assert cells[out].max() <= cells[~out].min() * (1 + 1e-5)
    assert np.array_equal(new[~gone], layer.weight.numpy()[~gone])


@pytest.mark.parametrize("sym", [False, True])
@pytest.mark.parametrize("rule", ["static", "block", "fresh"])
def test_gptq_by_energy(rule, sym):
    layer = single(make_layer(12, 6, 64))
    hessian = observe(layer.inputs.double(), "hessian").hessian
    done = gptq.quantize(
        layer.weight, hessian.float(), bits=3, group_size=16, groups=rule, sym=sym, actorder=True, column_block=32
    )
    order = hessian.diagonal().argsort(descending=True, stable=True)
    scale, zero = (part[:, done.group_of[order]].double().numpy() for part in (done.scale, done.zero))
    regret = references.gptq_regret(
        layer.weight[:, order].double().numpy(), hessian[order][:, order].numpy(),
        done.weight[:, order].double().numpy(), scale, zero, 3, 0.01,
    )  # fmt: skip
    assert regret < 1e-3


@pytest.mark.parametrize("rule", ["static", "block"])
@pytest.mark.parametrize(("sparsity", "keep", "group"), [(0.5, 0, 0), (0.0, 2, 4)])
def test_sparsegpt_with_quantization(sparsity, keep, group, rule):
    """Kept values go to the nearest point of their grid, given the decisions before them."""
    layer = single(make_layer(13, 8, 48))
    exact = observe(layer.inputs.double(), "hessian").hessian
    done = sparsegpt.prune(
        layer.weight, factorize(exact.float(), 0.01), sparsity=sparsity, bits=4, group_size=16, groups=rule,
        pattern=Pattern(keep, group) if group else None, column_block=16,
    )  # fmt: skip
    scale, zero = (part.double().repeat_interleave(16, 1).numpy() for part in (done.scale, done.zero))
    hessian = references.damped(exact.numpy(), 0.01)
    new, worst = done.weight.double().numpy(), 0.0
    for r in range(len(new)):
        row = layer.weight[r].double().numpy().copy()
        for j in range(new.shape[1]):
            points = scale[r, j] * (np.arange(16) - zero[r, j])
            if new[r, j] != 0:
                worst = max(worst, (abs(new[r, j] - row[j]) - np.abs(points - row[j]).min()) / scale[r, j])
            references.fix(row, hessian, j, new[r, j])
    assert worst < 1e-3
    weight = layer.weight.double().numpy()
    expected = references.sparsegpt(weight, exact.numpy(), sparsity, keep, group, 0.01, 16, 4, 16, rule)
    exactly = Layer(layer.weight.double(), layer.inputs.double())
    assert loss(exactly, done.weight) == pytest.approx(loss(exactly, torch.from_numpy(expected)), rel=0.01)


@pytest.mark.parametrize(("target", "group"), [("0.5", None), ("2of4", 4)])
@pytest.mark.parametrize("cycles", [5, 50])
def test_dsnot_reaches_the_reference_s_loss(target, group, cycles):
    layer = shifted(21, 16, 96)
    start = compress_layer(f"wanda-{target}", layer).numpy()
    expected = algorithms.dsnot(layer.weight.numpy(), start, layer.inputs.numpy(), cycles, 0.1, group)
    new = compress_layer(f"dsnot(wanda)-{target}:cycles={cycles}", single(layer)).double()
    assert loss(layer, new) == pytest.approx(loss(layer, torch.from_numpy(expected)), rel=0.01)
    assert ((new == 0).numpy() == (expected == 0)).mean() > 0.99


@pytest.mark.parametrize(("bits", "size"), [(3, 16), (4, 48)])
def test_awq_clips_each_group_as_well_as_can_be(bits, size):
    """In float64 no bound of the search changes a group's share of the output less by more than 0.1 %."""
    layer = make_layer(bits, 9, 48, "independent")
    weight, inputs = layer.weight.float().double(), layer.inputs
    hessian = observe(inputs.float(), "hessian").hessian
    limits = awq.clip_limits(weight.float(), hessian, bits, size, False, 20).double()

    def shares(limit: torch.Tensor) -> torch.Tensor:
        change = awq.rounded(weight, bits, size, False, limit) - weight
        parts = [inputs[:, at] @ change[:, at].T for at in torch.arange(48).split(size)]
        return torch.stack([part.square().sum(0) for part in parts], 1)  # [out, groups]

    whole = weight.unflatten(1, (-1, size)).abs().amax(-1)
    best = torch.stack([shares(whole * (1 - step / 20) if step else whole / 0) for step in range(10)]).amin(0)
    clipped = torch.isfinite(limits).any(1)  # rows that clipping as a whole makes worse are left alone
    assert clipped.any()
    assert (shares(limits)[clipped] <= best[clipped] * 1.001).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@torch.no_grad()
def test_awq_s_ratio_for_linears_with_one_input_is_the_best_by_the_block_s_output(dtype):
    """Every ratio is tried by hand: columns scaled, rounded and scaled back, the whole block run on every sequence."""
    model = tiny_llama().to(dtype)
    model.model.layers[0].input_layernorm.weight.data[::8] *= 9
    model.model.layers[0].post_attention_layernorm.weight.data[::8] *= 9
    task = task_of(model)
    search = awq._Search(task)
    for names, seen in task.groups:
        if len(names) == 1:
            continue
        ratio, _ = search.best(names, seen, search.predecessor(names))
        size, weights = seen.size.numpy(), {name: task.block.linears[name].weight.clone() for name in names}
        outputs, errors = [task.run(batch) for batch in range(len(task.calls))], []
        for step in range(20):
            scale = size ** (step / 20)
            scale = scale / np.sqrt(scale.max() * scale.min())
            for name, weight in weights.items():
                scaled = algorithms.to_nearest(weight.double().numpy() * scale, 3, 16) / scale
                task.block.linears[name].weight.copy_(torch.from_numpy(scaled))
            runs = zip(range(len(task.calls)), outputs, strict=True)
            errors.append(float(sum((task.run(batch) - dense).double().square().sum() for batch, dense in runs)))
            for name, weight in weights.items():
                task.block.linears[name].weight.copy_(weight)
        assert min(errors) < errors[0]
        assert errors[round(20 * ratio)] <= min(errors) * (1 + (1e-9 if dtype == torch.float64 else 1e-3))


@pytest.mark.parametrize(
    "method", ["gptq-w3g16", "sparsegpt-2of4-w4g16", "spqr-w3g16", "awq-w3g16", "wanda-0.5", "ria-2of4:permute=assign"]
)
def test_a_layer_s_loss_is_that_of_float64(method):
    """Statistics in float32 included."""
    for seed in (31, 32, 33):
        layer = make_layer(seed, 16, 96)
        found, exact = (solve(method, [one.weight], one.inputs)[0].weight.double() for one in (single(layer), layer))
        assert loss(layer, found) == pytest.approx(loss(layer, exact), rel=0.01)
