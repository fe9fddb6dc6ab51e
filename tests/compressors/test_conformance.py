"""The conformance suite on every registered algorithm: every kind of target, each setting away from its default."""

from __future__ import annotations

import pytest

import compressors
from tests.conformance import CompressorConformance

TARGETS = {
    "none": [""],
    "sparsity": ["-0.5", "-0.37"],
    "pattern": ["-2of4", "-1of8"],
    "bits": ["-w3g16", "-w4g-1"],
    "joint": ["-0.5-w4g16", "-2of4-w8g16"],
}


def spellings() -> list[str]:
    """The methods to try, made from the table alone, so that a new entry is tested unasked."""
    found = []
    for name, entry in compressors.algorithms().items():
        if not entry.module:
            continue
        base = "(wanda)" if entry.takes_base else ""
        plain = [name + base + target for kind in entry.targets for target in TARGETS[kind]]
        found += plain
        for setting, about in entry.settings.items():
            if isinstance(about.default, bool):
                others = [str(not about.default).lower()]
            else:
                others = [choice for choice in about.choices if choice != about.default]
            for other in others:
                found += [f"{method}:{setting}={other}" for method in plain[::2] if fits(f"{method}:{setting}={other}")]
    return found


def fits(spelling: str) -> bool:
    try:
        return bool(compressors.parse(spelling))
    except compressors.MethodError:
        return False


class TestRegistered(CompressorConformance):
    @pytest.fixture(scope="class", params=spellings())
    @classmethod
    def method(cls, request):
        return request.param


def test_every_algorithm_is_tried():
    tried = {compressors.parse(spelling).algorithm for spelling in spellings()}
    assert tried == set(compressors.algorithms()) - {"dense"}
