"""GPU kernels of a block of ConvNet: norm, ReLU and pooling in one pass, for the first block the convolution too.

A program has one image and ``BLOCK`` channels. It holds the pixels as four tiles ``[POOLED, BLOCK]``, one for each
corner of the 2x2 windows, so that pooling is a sum of tiles; statistics are those of what it holds. Images have
margins: ``[n, channels, side + 2, side + 2]``; activations are ``[n, side * side, width]``, channels last. Arithmetic
is float32 whatever the activations are.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = tl.constexpr(1e-5)


@triton.jit
def _patch(
    x, n, p, a, b, channel, ky, kx, SIDE: tl.constexpr, CHANNELS: tl.constexpr, POOLED: tl.constexpr
):  # fmt: skip
    """The input pixel that tap (ky, kx) meets at corner (a, b) of every window ``[POOLED]``; images have margins."""
    window = 2 * (p // (SIDE // 2)) * (SIDE + 2) + 2 * (p % (SIDE // 2))
    start = x + n * (CHANNELS * (SIDE + 2) * (SIDE + 2))
    at = start + window + (channel * (SIDE + 2) * (SIDE + 2) + (a + ky) * (SIDE + 2) + b + kx)
    if (SIDE // 2) * (SIDE // 2) == POOLED:
        value = tl.load(at)
    else:
        value = tl.load(at, mask=p < (SIDE // 2) * (SIDE // 2), other=0.0)
    return value


@triton.jit
def _convolved(
    x, w, n, net, p, c, a, b, width, SIDE: tl.constexpr,
    CHANNELS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """The first convolution at corner (a, b), ``[POOLED, BLOCK]``; ``w [nets, width, CHANNELS * 9]``."""
    y = tl.zeros((ROWS, COLS), tl.float32)
    # Channels are a loop and not copies of its body, here and below: three channels took minutes to compile.
    for channel in range(CHANNELS):
        for tap in tl.static_range(9):
            pixel = _patch(x, n, p, a, b, channel, tap // 3, tap % 3, SIDE, CHANNELS, ROWS)
            at = w + (net * width + c) * (CHANNELS * 9) + channel * 9 + tap
            y += pixel[:, None] * tl.load(at, mask=c < width, other=0.0).to(tl.float32)[None, :]
    return y


@triton.jit
def _corner(y, n, p, c, a, b, side, width):
    """Activations at corner (a, b) of every window, ``[POOLED, BLOCK]``; zero outside."""
    half = side // 2
    row = 2 * (p // half) + a
    column = 2 * (p % half) + b
    at = ((n * side + row) * side + column)[:, None] * width + c[None, :]
    return tl.load(y + at, mask=(p < half * half)[:, None] & (c < width)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _put(y, value, n, p, c, a, b, side, width):
    half = side // 2
    row = 2 * (p // half) + a
    column = 2 * (p % half) + b
    at = ((n * side + row) * side + column)[:, None] * width + c[None, :]
    tl.store(y + at, value, mask=(p < half * half)[:, None] & (c < width)[None, :])


@triton.jit
def _total(t0, t1, t2, t3):
    return tl.sum(t0 + t1 + t2 + t3, 0)


@triton.jit
def _centred(y, mean, p, inside):
    return tl.where((p < inside)[:, None], y - mean[None, :], 0.0)


@triton.jit
def _normal(y0, y1, y2, y3, p, side):
    """Four tiles with mean 0 and variance 1 in each channel, and the reciprocal deviation ``[BLOCK]``."""
    inside = (side // 2) * (side // 2)
    count = side * side
    mean = _total(y0, y1, y2, y3) / count
    y0 = _centred(y0, mean, p, inside)
    y1 = _centred(y1, mean, p, inside)
    y2 = _centred(y2, mean, p, inside)
    y3 = _centred(y3, mean, p, inside)
    rate = 1 / tl.sqrt(_total(y0 * y0, y1 * y1, y2 * y2, y3 * y3) / count + EPSILON)
    return y0 * rate[None, :], y1 * rate[None, :], y2 * rate[None, :], y3 * rate[None, :], rate


@triton.jit
def _pooled(x0, x1, x2, x3, s, t):
    """The mean of ReLU over each window."""
    z = tl.maximum(x0 * s[None, :] + t[None, :], 0.0) + tl.maximum(x1 * s[None, :] + t[None, :], 0.0)
    z += tl.maximum(x2 * s[None, :] + t[None, :], 0.0) + tl.maximum(x3 * s[None, :] + t[None, :], 0.0)
    return z * 0.25


@triton.jit
def _through(x, g, s, t):
    """What of the gradient ``g`` passes ReLU."""
    return tl.where(x * s[None, :] + t[None, :] > 0, g, 0.0)


@triton.jit
def _backward(x0, x1, x2, x3, g, s, t, rate, p, side):
    """Gradients for the four tiles before the norm, for its scale and for its shift; ``g`` is that of the result."""
    count = side * side
    inside = (side // 2) * (side // 2)
    d0 = _through(x0, g, s, t)
    d1 = _through(x1, g, s, t)
    d2 = _through(x2, g, s, t)
    d3 = _through(x3, g, s, t)
    shift = _total(d0, d1, d2, d3)
    scale = _total(d0 * x0, d1 * x1, d2 * x2, d3 * x3)
    a = shift / count
    c = scale / count
    k = (s * rate)[None, :]
    there = (p < inside)[:, None]
    d0 = tl.where(there, k * (d0 - a[None, :] - x0 * c[None, :]), 0.0)
    d1 = tl.where(there, k * (d1 - a[None, :] - x1 * c[None, :]), 0.0)
    d2 = tl.where(there, k * (d2 - a[None, :] - x2 * c[None, :]), 0.0)
    d3 = tl.where(there, k * (d3 - a[None, :] - x3 * c[None, :]), 0.0)
    return d0, d1, d2, d3, scale, shift


@triton.jit
def _window(values, n, p, c, side, width):
    """Values at the windows ``[POOLED, BLOCK]``."""
    half = side // 2
    at = (n * half * half + p)[:, None] * width + c[None, :]
    return tl.load(values + at, mask=(p < half * half)[:, None] & (c < width)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _put_window(values, value, n, p, c, side, width):
    half = side // 2
    at = (n * half * half + p)[:, None] * width + c[None, :]
    tl.store(values + at, value, mask=(p < half * half)[:, None] & (c < width)[None, :])


@triton.jit
def _affine(scale, shift, net, c, width):
    s = tl.load(scale + net * width + c, mask=c < width, other=0.0).to(tl.float32)
    return s, tl.load(shift + net * width + c, mask=c < width, other=0.0).to(tl.float32)


@triton.jit
def first_forward(
    x, w, scale, shift, out, batch, width,
    SIDE: tl.constexpr, CHANNELS: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    net = n // batch
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _convolved(x, w, n, net, p, c, 0, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y1 = _convolved(x, w, n, net, p, c, 0, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    y2 = _convolved(x, w, n, net, p, c, 1, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y3 = _convolved(x, w, n, net, p, c, 1, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    x0, x1, x2, x3, _rate = _normal(y0, y1, y2, y3, p, SIDE)
    s, t = _affine(scale, shift, net, c, width)
    _put_window(out, _pooled(x0, x1, x2, x3, s, t), n, p, c, SIDE, width)


@triton.jit
def _scatter(columns, d, w, n, net, p, c, a, b, tap, block, blocks, side, width, TAPS: tl.constexpr):
    """What the gradient at corner (a, b) gives to the pixel under a tap, summed over this program's channels."""
    weight = tl.load(w + (net * width + c) * TAPS + tap, mask=c < width, other=0.0).to(tl.float32)
    half = side // 2
    at = (((n * blocks + block) * TAPS + tap) * side + 2 * (p // half) + a) * side + 2 * (p % half) + b
    tl.store(columns + at, tl.sum(d * weight[None, :], 1), mask=p < half * half)


@triton.jit
def first_backward(
    x, w, scale, shift, grad, parts, columns, batch, width,
    SIDE: tl.constexpr, CHANNELS: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr,
    WEIGHTS: tl.constexpr, IMAGES: tl.constexpr,
):  # fmt: skip
    """``parts [n, CHANNELS * 9 + 2, width]``: of every image, the gradients for the weights, the scale and the shift.

    ``columns [n, blocks of channels, CHANNELS * 9, SIDE * SIDE]``: the gradient for the pixel under each tap.
    """
    n = tl.program_id(0).to(tl.int64)
    net = n // batch
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _convolved(x, w, n, net, p, c, 0, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y1 = _convolved(x, w, n, net, p, c, 0, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    y2 = _convolved(x, w, n, net, p, c, 1, 0, width, SIDE, CHANNELS, POOLED, BLOCK)
    y3 = _convolved(x, w, n, net, p, c, 1, 1, width, SIDE, CHANNELS, POOLED, BLOCK)
    x0, x1, x2, x3, rate = _normal(y0, y1, y2, y3, p, SIDE)
    s, t = _affine(scale, shift, net, c, width)
    g = _window(grad, n, p, c, SIDE, width) * 0.25
    d0, d1, d2, d3, of_scale, of_shift = _backward(x0, x1, x2, x3, g, s, t, rate, p, SIDE)
    if WEIGHTS:
        at = parts + n * (CHANNELS * 9 + 2) * width + c
        for channel in range(CHANNELS):
            for tap in tl.static_range(9):
                of_w = d0 * _patch(x, n, p, 0, 0, channel, tap // 3, tap % 3, SIDE, CHANNELS, POOLED)[:, None]
                of_w += d1 * _patch(x, n, p, 0, 1, channel, tap // 3, tap % 3, SIDE, CHANNELS, POOLED)[:, None]
                of_w += d2 * _patch(x, n, p, 1, 0, channel, tap // 3, tap % 3, SIDE, CHANNELS, POOLED)[:, None]
                of_w += d3 * _patch(x, n, p, 1, 1, channel, tap // 3, tap % 3, SIDE, CHANNELS, POOLED)[:, None]
                tl.store(at + (channel * 9 + tap) * width, tl.sum(of_w, 0), mask=c < width)
        tl.store(at + CHANNELS * 9 * width, of_scale, mask=c < width)
        tl.store(at + (CHANNELS * 9 + 1) * width, of_shift, mask=c < width)
    if IMAGES:
        block = tl.program_id(1)
        blocks = tl.num_programs(1)
        for channel in range(CHANNELS):
            for k in tl.static_range(9):
                tap = channel * 9 + k
                _scatter(columns, d0, w, n, net, p, c, 0, 0, tap, block, blocks, SIDE, width, CHANNELS * 9)
                _scatter(columns, d1, w, n, net, p, c, 0, 1, tap, block, blocks, SIDE, width, CHANNELS * 9)
                _scatter(columns, d2, w, n, net, p, c, 1, 0, tap, block, blocks, SIDE, width, CHANNELS * 9)
                _scatter(columns, d3, w, n, net, p, c, 1, 1, tap, block, blocks, SIDE, width, CHANNELS * 9)


@triton.jit
def pool_forward(y, scale, shift, out, batch, width, SIDE: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _corner(y, n, p, c, 0, 0, SIDE, width)
    y1 = _corner(y, n, p, c, 0, 1, SIDE, width)
    y2 = _corner(y, n, p, c, 1, 0, SIDE, width)
    y3 = _corner(y, n, p, c, 1, 1, SIDE, width)
    x0, x1, x2, x3, _rate = _normal(y0, y1, y2, y3, p, SIDE)
    s, t = _affine(scale, shift, n // batch, c, width)
    _put_window(out, _pooled(x0, x1, x2, x3, s, t), n, p, c, SIDE, width)


@triton.jit
def pool_backward(
    y, scale, shift, grad, out, parts, batch, width, SIDE: tl.constexpr, POOLED: tl.constexpr, BLOCK: tl.constexpr
):
    """``out`` as ``y``: its gradient; ``parts [n, 2, width]``: of every image, those of the scale and the shift."""
    n = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p = tl.arange(0, POOLED)
    y0 = _corner(y, n, p, c, 0, 0, SIDE, width)
    y1 = _corner(y, n, p, c, 0, 1, SIDE, width)
    y2 = _corner(y, n, p, c, 1, 0, SIDE, width)
    y3 = _corner(y, n, p, c, 1, 1, SIDE, width)
    x0, x1, x2, x3, rate = _normal(y0, y1, y2, y3, p, SIDE)
    s, t = _affine(scale, shift, n // batch, c, width)
    g = _window(grad, n, p, c, SIDE, width) * 0.25
    d0, d1, d2, d3, of_scale, of_shift = _backward(x0, x1, x2, x3, g, s, t, rate, p, SIDE)
    _put(out, d0, n, p, c, 0, 0, SIDE, width)
    _put(out, d1, n, p, c, 0, 1, SIDE, width)
    _put(out, d2, n, p, c, 1, 0, SIDE, width)
    _put(out, d3, n, p, c, 1, 1, SIDE, width)
    tl.store(parts + 2 * n * width + c, of_scale, mask=c < width)
    tl.store(parts + (2 * n + 1) * width + c, of_shift, mask=c < width)
