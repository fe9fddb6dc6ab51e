"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from reports.drawing import fitted, shortened
from reports.numbers import figure_text, number, percent, plain, signed, significant


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (plain(-0.04, 1), "0.0"),
        (plain(-0.06, 1), "\u22120.1"),
        (signed(0.04, 1), "0.0"),
        (signed(0.06, 1), "+0.1"),
        (signed(-2.0, 1), "\u22122.0"),
        (number(None), ""),
        (number(-0.01234), "\u22120.0123"),
        (percent(0.128), "13 %"),
        (significant(12.3456), "12.35"),
        (significant(0.5, 12.3456), "0.50"),
        (significant(1234567.0), "1.23e+06"),
        (significant(math.inf), "infinite"),
        (figure_text(0.5, 0.0, 1, 100), "50.0 ±0"),
        (figure_text(0.5, 0.004, 1, 100), "50.0 ±0.4"),
        (figure_text(None, None, 1), ""),
        (fitted("dc-ipc1+mdt +mts distilled", 1.6), "dc-ipc1+mdt +mts\ndistilled"),
        (shortened("web"), "web"),
    ],
)
def test_text(found, text):
    assert found == text


def test_long_names_are_cut_and_stay_within_their_width():
    assert len(fitted("a" * 80, 1.6)) <= 18
    assert all(len(line) <= 18 for line in fitted("aaaa " + "b" * 80, 1.6).split("\n"))
    long = "0.25*web+0.25*news+0.25*dialogue+0.25*encyclopedia"
    assert len(shortened(long)) <= 30
    assert (shortened(long)[:5], shortened(long)[-5:]) == (long[:5], long[-5:])
