"""GPU kernels of a block's derivative along a change of the weights: of its results, and of its gradients.

``v`` is the change of ``w``; norms do not change. A tile ``e`` is the derivative of the tile ``x``.
Tiles and arguments as in :mod:`triton_blocks`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from compressors.distillation.triton_blocks import (
    _affine,
    _convolved,
    _corner,
    _normal,
    _put,
    _put_window,
    _scatter,
    _through,
    _total,
    _window,
)


@triton.jit
def _moved(e0, e1, e2, e3, x0, x1, x2, x3, rate, p, side):
    """Derivative of the normalised tiles ``x``, given that of the tiles before the norm; and of ``rate``, by itself."""
    count = side * side
    there = (p < (side // 2) * (side // 2))[:, None]
    mean = _total(e0, e1, e2, e3) / count
    k = _total(e0 * x0, e1 * x1, e2 * x2, e3 * x3) / count
    e0 = tl.where(there, rate[None, :] * (e0 - mean[None, :] - x0 * k[None, :]), 0.0)
    e1 = tl.where(there, rate[None, :] * (e1 - mean[None, :] - x1 * k[None, :]), 0.0)
    e2 = tl.where(there, rate[None, :] * (e2 - mean[None, :] - x2 * k[None, :]), 0.0)
    e3 = tl.where(there, rate[None, :] * (e3 - mean[None, :] - x3 * k[None, :]), 0.0)
    return e0, e1, e2, e3, -rate * k  # of the logarithm of the rate


@triton.jit
def _moved_pool(e0, e1, e2, e3, x0, x1, x2, x3, s, t):
    z = _through(x0, e0 * s[None, :], s, t) + _through(x1, e1 * s[None, :], s, t)
    z += _through(x2, e2 * s[None, :], s, t) + _through(x3, e3 * s[None, :], s, t)
    return z * 0.25


@triton.jit
def _inner(d, x, a, c):
    return d - a[None, :] - x * c[None, :]


@triton.jit
def _moved_inner(f, e, x, a, c, b):
    """Derivative of :func:`_inner`; ``f`` is that of ``d``, ``a`` and ``b`` those of its means, ``c`` as there."""
    return f - a[None, :] - e * c[None, :] - x * b[None, :]


@triton.jit
def _moved_backward(e0, e1, e2, e3, x0, x1, x2, x3, g, h, s, t, rate, growth, p, side):
    """Gradients for the four tiles before the norm, then their derivatives; ``h`` is that of ``g``."""
    count = side * side
    there = (p < (side // 2) * (side // 2))[:, None]
    d0 = _through(x0, g, s, t)
    d1 = _through(x1, g, s, t)
    d2 = _through(x2, g, s, t)
    d3 = _through(x3, g, s, t)
    f0 = _through(x0, h, s, t)
    f1 = _through(x1, h, s, t)
    f2 = _through(x2, h, s, t)
    f3 = _through(x3, h, s, t)
    a = _total(d0, d1, d2, d3) / count
    c = _total(d0 * x0, d1 * x1, d2 * x2, d3 * x3) / count
    moved_a = _total(f0, f1, f2, f3) / count
    b = _total(f0 * x0 + d0 * e0, f1 * x1 + d1 * e1, f2 * x2 + d2 * e2, f3 * x3 + d3 * e3) / count
    k = (s * rate)[None, :]
    d0 = tl.where(there, k * _inner(d0, x0, a, c), 0.0)
    d1 = tl.where(there, k * _inner(d1, x1, a, c), 0.0)
    d2 = tl.where(there, k * _inner(d2, x2, a, c), 0.0)
    d3 = tl.where(there, k * _inner(d3, x3, a, c), 0.0)
    f0 = tl.where(there, k * _moved_inner(f0, e0, x0, moved_a, c, b) + growth[None, :] * d0, 0.0)
    f1 = tl.where(there, k * _moved_inner(f1, e1, x1, moved_a, c, b) + growth[None, :] * d1, 0.0)
    f2 = tl.where(there, k * _moved_inner(f2, e2, x2, moved_a, c, b) + growth[None, :] * d2, 0.0)
    f3 = tl.where(there, k * _moved_inner(f3, e3, x3, moved_a, c, b) + growth[None, :] * d3, 0.0)
    return d0, d1, d2, d3, f0, f1, f2, f3


@triton.jit
def first_tangent(
    x, w, v, scale, shift, out, batch, part, width,
    SIDE: tl.constexpr, CHANNELS: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``v [n / part, width, CHANNELS * 9]``: one change for every ``part`` images."""
    n = tl.program_id(0).to(tl.int64)
    net = n // batch
    own = n // part
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _convolved(x, w, n, net, p, c, 0, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y1 = _convolved(x, w, n, net, p, c, 0, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    y2 = _convolved(x, w, n, net, p, c, 1, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y3 = _convolved(x, w, n, net, p, c, 1, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    e0 = _convolved(x, v, n, own, p, c, 0, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    e1 = _convolved(x, v, n, own, p, c, 0, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    e2 = _convolved(x, v, n, own, p, c, 1, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    e3 = _convolved(x, v, n, own, p, c, 1, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    x0, x1, x2, x3, rate = _normal(y0, y1, y2, y3, p, SIDE)
    e0, e1, e2, e3, _growth = _moved(e0, e1, e2, e3, x0, x1, x2, x3, rate, p, SIDE)
    s, t = _affine(scale, shift, net, c, width)
    _put_window(out, _moved_pool(e0, e1, e2, e3, x0, x1, x2, x3, s, t), n, p, c, SIDE, width)


@triton.jit
def first_tangent_backward(
    x, w, v, scale, shift, grad, moved, columns, batch, part, width,
    SIDE: tl.constexpr, CHANNELS: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``moved`` is the derivative of ``grad``; ``columns [n, 2 * blocks of channels, CHANNELS * 9, SIDE * SIDE]``: that
    of the gradient for the pixel under each tap, in two summands.
    """
    n = tl.program_id(0).to(tl.int64)
    net = n // batch
    own = n // part
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _convolved(x, w, n, net, p, c, 0, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y1 = _convolved(x, w, n, net, p, c, 0, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    y2 = _convolved(x, w, n, net, p, c, 1, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y3 = _convolved(x, w, n, net, p, c, 1, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    e0 = _convolved(x, v, n, own, p, c, 0, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    e1 = _convolved(x, v, n, own, p, c, 0, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    e2 = _convolved(x, v, n, own, p, c, 1, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    e3 = _convolved(x, v, n, own, p, c, 1, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    x0, x1, x2, x3, rate = _normal(y0, y1, y2, y3, p, SIDE)
    e0, e1, e2, e3, growth = _moved(e0, e1, e2, e3, x0, x1, x2, x3, rate, p, SIDE)
    s, t = _affine(scale, shift, net, c, width)
    g = _window(grad, n, p, c, SIDE, width) * 0.25
    h = _window(moved, n, p, c, SIDE, width) * 0.25
    d0, d1, d2, d3, f0, f1, f2, f3 = _moved_backward(e0, e1, e2, e3, x0, x1, x2, x3, g, h, s, t, rate, growth, p, SIDE)
    block = 2 * tl.program_id(1)
    blocks = 2 * tl.num_programs(1)
    for channel in range(CHANNELS):
        for k in tl.static_range(9):
            tap = channel * 9 + k
            _scatter(columns, f0, w, n, net, p, c, 0, 0, tap, block, blocks, SIDE, width, CHANNELS * 9)
            _scatter(columns, f1, w, n, net, p, c, 0, 1, tap, block, blocks, SIDE, width, CHANNELS * 9)
            _scatter(columns, f2, w, n, net, p, c, 1, 0, tap, block, blocks, SIDE, width, CHANNELS * 9)
            _scatter(columns, f3, w, n, net, p, c, 1, 1, tap, block, blocks, SIDE, width, CHANNELS * 9)
            _scatter(columns, d0, v, n, own, p, c, 0, 0, tap, block + 1, blocks, SIDE, width, CHANNELS * 9)
            _scatter(columns, d1, v, n, own, p, c, 0, 1, tap, block + 1, blocks, SIDE, width, CHANNELS * 9)
            _scatter(columns, d2, v, n, own, p, c, 1, 0, tap, block + 1, blocks, SIDE, width, CHANNELS * 9)
            _scatter(columns, d3, v, n, own, p, c, 1, 1, tap, block + 1, blocks, SIDE, width, CHANNELS * 9)


@triton.jit
def pool_tangent(y, e, scale, shift, out, batch, width, SIDE: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _corner(y, n, p, c, 0, 0, SIDE, width)
    y1 = _corner(y, n, p, c, 0, 1, SIDE, width)
    y2 = _corner(y, n, p, c, 1, 0, SIDE, width)
    y3 = _corner(y, n, p, c, 1, 1, SIDE, width)
    e0 = _corner(e, n, p, c, 0, 0, SIDE, width)
    e1 = _corner(e, n, p, c, 0, 1, SIDE, width)
    e2 = _corner(e, n, p, c, 1, 0, SIDE, width)
    e3 = _corner(e, n, p, c, 1, 1, SIDE, width)
    x0, x1, x2, x3, rate = _normal(y0, y1, y2, y3, p, SIDE)
    e0, e1, e2, e3, _growth = _moved(e0, e1, e2, e3, x0, x1, x2, x3, rate, p, SIDE)
    s, t = _affine(scale, shift, n // batch, c, width)
    _put_window(out, _moved_pool(e0, e1, e2, e3, x0, x1, x2, x3, s, t), n, p, c, SIDE, width)


@triton.jit
def pool_tangent_backward(
    y, e, scale, shift, grad, moved, out, batch, width, SIDE: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr
):
    """``out`` as ``y``: the derivative of its gradient."""
    n = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _corner(y, n, p, c, 0, 0, SIDE, width)
    y1 = _corner(y, n, p, c, 0, 1, SIDE, width)
    y2 = _corner(y, n, p, c, 1, 0, SIDE, width)
    y3 = _corner(y, n, p, c, 1, 1, SIDE, width)
    e0 = _corner(e, n, p, c, 0, 0, SIDE, width)
    e1 = _corner(e, n, p, c, 0, 1, SIDE, width)
    e2 = _corner(e, n, p, c, 1, 0, SIDE, width)
    e3 = _corner(e, n, p, c, 1, 1, SIDE, width)
    x0, x1, x2, x3, rate = _normal(y0, y1, y2, y3, p, SIDE)
    e0, e1, e2, e3, growth = _moved(e0, e1, e2, e3, x0, x1, x2, x3, rate, p, SIDE)
    s, t = _affine(scale, shift, n // batch, c, width)
    g = _window(grad, n, p, c, SIDE, width) * 0.25
    h = _window(moved, n, p, c, SIDE, width) * 0.25
    _d0, _d1, _d2, _d3, f0, f1, f2, f3 = _moved_backward(
        e0, e1, e2, e3, x0, x1, x2, x3, g, h, s, t, rate, growth, p, SIDE
    )
    _put(out, f0, n, p, c, 0, 0, SIDE, width)
    _put(out, f1, n, p, c, 0, 1, SIDE, width)
    _put(out, f2, n, p, c, 1, 0, SIDE, width)
    _put(out, f3, n, p, c, 1, 1, SIDE, width)
