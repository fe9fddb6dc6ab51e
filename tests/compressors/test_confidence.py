"""Post-hoc calibrators: the exact temperature against a grid, the legacy fit against torch's own, masks, scaling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors.confidence import ConfidenceError, exact, legacy
from compressors.confidence.masked import Mask, bernoulli, masked
from compressors.confidence.scaling import isotonic, vector
from compressors.confidence.temperature import COOLEST, HOTTEST, log_softmax, nll
from tests.helpers_distillation import images


def sample(seed: int, optimum: float, n: int = 5000, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose best temperature is about ``optimum``: answers are drawn from the softmax at it."""
    random = np.random.default_rng(seed)
    z = 2.0 * random.standard_normal((n, classes))
    p = np.exp(log_softmax(z))
    answers = (p.cumsum(1) > random.random((n, 1))).argmax(1)
    return z * optimum, answers


@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 2.5, 8.0]), st.integers(20, 200))
def test_exact_temperature_agrees_with_a_fine_grid(seed, optimum, n):
    z, y = sample(seed, optimum, n)
    found = exact(z, y)
    if found.clamped:
        return
    for reach, steps in ((1e-2, 201), (1e-5, 41)):  # around the whole place, and with steps of 5e-7
        near = found.value * np.exp(np.linspace(-reach, reach, steps))
        losses = [float(nll(z, y, t)) for t in near]
        assert abs(np.log(near[int(np.argmin(losses))] / found.value)) <= max(1e-6, reach / 100)
    assert float(nll(z, y, found.value)) <= min(losses) + 1e-12
    slope = (float(nll(z, y, found.value * (1 + 1e-6))) - float(nll(z, y, found.value * (1 - 1e-6)))) / 2e-6
    assert abs(slope) < 1e-6


def test_exact_temperature_of_many_at_once_is_that_of_each():
    pairs = [sample(k, t, 300) for k, t in enumerate((0.5, 1.0, 4.0))]
    z, y = (np.stack(part) for part in zip(*pairs, strict=True))
    together = exact(z, y).value
    assert together.shape == (3,)
    assert np.allclose(together, [exact(*pair).value for pair in pairs], rtol=1e-12)


def test_temperature_one_where_logits_are_already_optimal():
    z, y = sample(0, 1.7)
    assert exact(z / exact(z, y).value, y).value == pytest.approx(1.0, abs=1e-9)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_temperature_scales_with_the_logits_and_never_moves_the_arg_max(seed, factor):
    z, y = sample(seed, 2.0, 100)
    t = exact(z, y).value
    if exact(z, y).clamped or exact(factor * z, y).clamped:
        return
    assert exact(factor * z, y).value == pytest.approx(factor * t, rel=1e-6)
    assert (log_softmax(z, t).argmax(1) == z.argmax(1)).all()


def test_perfect_and_hopeless_sets_are_clamped_and_say_so():
    z = 3 * np.eye(4)
    assert exact(z, np.arange(4)) == (pytest.approx(COOLEST), True)
    assert exact(z, (np.arange(4) + 1) % 4) == (pytest.approx(HOTTEST), True)


@pytest.mark.parametrize("optimum", [0.98, 2.0, 2.97, 5.09, 10.08])
def test_legacy_fit_is_torchs_and_stops_short(optimum):
    z, y = sample(1, optimum)
    temperature = torch.full((1,), 1.5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([temperature], lr=0.01, max_iter=50)
    given_, answers = torch.tensor(z), torch.tensor(y)

    def closure():
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(given_ / temperature, answers)
        loss.backward()
        return loss

    optimiser.step(closure)
    found = float(legacy(z, y).value)
    assert found == pytest.approx(temperature.item(), rel=1e-6)
    if optimum > 2.5:
        assert found < 0.7 * float(exact(z, y).value)  # it has not converged


def test_masked_scaling_at_ratio_zero_is_plain_and_masks_have_their_unit():
    data = images(n=12)
    random = torch.Generator().manual_seed(0)
    assert torch.equal(masked(data.pixels, Mask(0.0), random)[0], data.pixels)
    for unit, same in (("element", 1), ("pixel", 3), ("patch", 3)):
        keep = bernoulli((400, 3, 8, 8), 0.3, unit, random)
        assert keep.mean() == pytest.approx(0.7, abs=0.02)
        assert (keep.std(1) == 0).all() == (same == 3)
    patches = bernoulli((5, 1, 8, 8), 0.5, "patch", random)
    assert (patches.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4).std(-1) == 0).all()


def test_fills_are_what_they_say():
    pixels = torch.randn(20, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    for fill, value in (("zero", 0.0), ("black", pixels.amin((0, 2, 3))), ("mean", pixels.mean((0, 2, 3)))):
        found = masked(pixels, Mask(0.5, "pixel", fill, draws=3), torch.Generator().manual_seed(0))
        assert found.shape == (3, 20, 2, 8, 8)
        changed = (found != pixels).any(2)
        want = torch.as_tensor(value).double().expand(2)
        where = changed[:, :, None].expand_as(found)
        assert torch.allclose(found.movedim(2, -1)[changed], want)
        assert where.float().mean() == pytest.approx(0.5, abs=0.05)


def test_vector_scaling_finds_what_temperature_finds_and_more():
    z, y = sample(0, 3.0, 2000)
    shifted = z + np.linspace(-3, 3, 10)
    fitted = vector(shifted, y)
    assert fitted.converged
    after = -fitted(shifted)[np.arange(len(y)), y].mean()
    assert after < float(nll(shifted, y, exact(shifted, y).value)) - 0.01
    assert after == pytest.approx(float(nll(z, y, exact(z, y).value)), abs=0.01)


def test_isotonic_regression_rises_and_calibrates_its_own_set():
    z, y = sample(0, 4.0, 3000)
    fitted = isotonic(z, y)
    assert all((np.diff(levels) >= -1e-12).all() for levels in fitted.levels)
    found = fitted(z)
    assert np.allclose(np.exp(found).sum(1), 1)
    assert -found[np.arange(len(y)), y].mean() < float(nll(z, y)) - 0.1


def test_isotonic_regression_counts_every_item_of_a_tie():
    """Three items at .5, two of them right, and one surer that is wrong: two of four together."""
    fitted = isotonic([[0.0, 0.0]] * 3 + [[0.0, 1.0]], [1, 1, 0, 0])
    assert fitted.levels[1].tolist() == [0.5, 0.5]


def test_bad_input_is_named():
    z, y = sample(0, 1.0, 10)
    with pytest.raises(ConfidenceError, match="no calibration item"):
        exact(z[:0], y[:0])
    with pytest.raises(ConfidenceError, match="one class"):
        exact(z[:, :1], y * 0)
    z[3, 2] = np.nan
    with pytest.raises(ConfidenceError, match="logits of 1 items hold NaN"):
        legacy(z, y)
    with pytest.raises(ConfidenceError, match="labels lie between"):
        exact(z[:3], [0, 1, 10])
    with pytest.raises(ValueError, match="mask ratio 1"):
        Mask(1.0)
    with pytest.raises(ValueError, match="units are"):
        Mask(0.1, "row")
