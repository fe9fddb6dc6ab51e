"""Do several judges (methods, tasks) rank the sources alike? Kendall's W (Annals of Mathematical Statistics 10, 1939).

The judges see the same draws, so their agreement may be about the draws and not about the sources. Two hypotheses are
therefore tested and the larger p counts: the judges' rankings are independent (source labels shuffled for each judge),
and the sources are alike (draws shuffled between sources, the same for every judge).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Concordance(NamedTuple):
    """``w`` between 0 and 1, its bootstrap interval over draws, the mean under shuffled labels, and the larger p.

    ``winners`` are the indices of the best source of each judge. ``p_apart`` is the F test that the judges see the
    sources differently: without it a low W may be the draws alone.
    """

    w: float
    low: float
    high: float
    shuffled: float
    shuffled_high: float
    p: float
    winners: tuple[int, ...]
    p_apart: float = 1.0


def concordance(values: np.ndarray, generator: np.random.Generator, rounds: int = 2000) -> Concordance:
    """``values`` ``[n_judges, n_sources, n_draws]``, lower is better; the draws are the same for all judges.

    Raises ``ValueError`` for fewer than two judges, three sources or two draws.
    """
    x = np.asarray(values, float)
    if x.ndim != 3 or x.shape[0] < 2 or x.shape[1] < 3 or x.shape[2] < 2:
        raise ValueError(f"[judges >= 2, sources >= 3, draws >= 2] are needed; the shape is {x.shape}")
    judges, sources, draws = x.shape
    means = x.mean(axis=2)
    w = float(_w(means[None])[0])
    free = generator.permuted(np.tile(means, (rounds, 1, 1)), axis=2)
    shuffled = _w(free)
    p_free = (1 + int((shuffled >= w - 1e-12).sum())) / (rounds + 1)
    scale = x.std(axis=(1, 2), keepdims=True)
    flat = (x / np.where(scale > 0, scale, 1)).reshape(judges, sources * draws)
    order = generator.permuted(np.tile(np.arange(sources * draws), (rounds, 1)), axis=1)
    spread = _spread(flat[:, order].reshape(judges, rounds, sources, draws).mean(axis=3))
    observed = _spread((flat.reshape(judges, 1, sources, draws)).mean(axis=3))[0]
    p_alike = (1 + int((spread >= observed - 1e-12).sum())) / (rounds + 1)
    picks = generator.integers(0, draws, (rounds, sources, draws))
    again = np.take_along_axis(x[:, None], picks[None], axis=3).mean(axis=3).swapaxes(0, 1)
    low, high = np.quantile(_w(again), [0.025, 0.975])
    winners = tuple(int(i) for i in means.argmin(axis=1))
    return Concordance(
        w,
        float(low),
        float(high),
        float(shuffled.mean()),
        float(np.quantile(shuffled, 0.95)),
        max(p_free, p_alike),
        winners,
        _apart(x / np.where(scale > 0, scale, 1)),
    )


def _apart(x: np.ndarray) -> float:
    """F test of the judge x source interaction; draws are nested in sources and the same for every judge."""
    from scipy.stats import f

    judges, sources, draws = x.shape
    cell = x.mean(axis=2)
    fitted = cell - cell.mean(axis=0) - cell.mean(axis=1, keepdims=True) + cell.mean()
    inside = x - x.mean(axis=2, keepdims=True)
    inside = inside - inside.mean(axis=0)
    df, df_error = (judges - 1) * (sources - 1), (judges - 1) * sources * (draws - 1)
    error = float((inside**2).sum()) / df_error
    crossed = draws * float((fitted**2).sum()) / df
    return float(f.sf(crossed / error, df, df_error)) if error > 0 else (0.0 if crossed > 0 else 1.0)


def _w(means: np.ndarray) -> np.ndarray:
    """W of every table ``[rounds, judges, sources]`` of means."""
    from scipy.stats import rankdata

    ranks = rankdata(means, axis=2)
    judges, sources = means.shape[1:]
    totals = ranks.sum(axis=1)
    return 12 * ((totals - totals.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / (judges**2 * (sources**3 - sources))


def _spread(means: np.ndarray) -> np.ndarray:
    """Variance over sources of the judges' mean; ``means`` ``[judges, rounds, sources]``."""
    return means.mean(axis=0).var(axis=1)
