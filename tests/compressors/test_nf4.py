"""NF4: its code book, its blocks, a float64 reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors import nf4
from tests import references_algorithms as references
from tests.helpers_compressors import few, layers, make_layer, solve

PUBLISHED = [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0]  # lower half


def test_code_book_is_the_published_one():
    book = nf4.code_book(torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(book[:8], torch.tensor(PUBLISHED, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(book, torch.from_numpy(references.nf4_levels()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", [16, 48, 64])
def test_equals_the_reference(block):
    weight = make_layer(block, 7, 144).weight
    torch.testing.assert_close(
        nf4.quantize(weight, block=block).weight, torch.from_numpy(references.nf4(weight.numpy(), block))
    )


def test_example_of_the_docstring():
    done = nf4.quantize(torch.tensor([[-2.0, 0.1, 1.0]]))
    torch.testing.assert_close(done.weight, torch.tensor([[-2.0, 0.1592, 0.8814]]), rtol=0, atol=1e-4)


@few
@given(layer=layers(16), block=st.sampled_from([8, 16, 64, 100]))
def test_every_block_has_its_largest_and_at_most_sixteen_values(layer, block):
    done = nf4.quantize(layer.weight, block=block)
    for start in range(0, layer.weight.shape[1], block):
        cell = slice(start, start + block)
        assert torch.equal(done.weight[:, cell].abs().amax(1), layer.weight[:, cell].abs().amax(1))
        assert all(len(row.unique()) <= 16 for row in done.weight[:, cell])


def test_a_block_of_zeros_stays_and_bits_count_the_constants():
    weight = make_layer(0, 3, 128).weight
    weight[1, 64:] = 0
    (solved,) = solve("nf4", [weight], torch.zeros(1, 128))
    assert not solved.weight[1, 64:].any()
    assert solved.bits(16, 0.0) == 4 + 32 / 64
