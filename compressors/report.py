"""What a compression did: builtins only, so that a record can hold it. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


class CompressionError(ValueError):
    """A model or calibration set that cannot be compressed; the message names the layer. The model is as it was."""


@dataclass(frozen=True)
class LinearReport:
    """What happened to one linear.

    ``shape`` is (out, in). ``sparsity`` is the realised share of exact zeros. ``bits`` are realised bits a weight,
    with scales (16 bits), zero points and the mask. ``relative_error`` is ||(W' - W) X||^2 / ||W X||^2 over
    ``error_tokens`` rows of calibration input: all of them where the method has a Hessian, else an evenly spaced
    sample of at most 256 (None without calibration data, or if no token reached the linear). ``damping`` is the share
    of the Hessian's mean diagonal that was added (None if the method has no Hessian) and ``fallbacks`` how often it
    had to be raised because the Cholesky factorization failed. ``dead_columns`` counts inputs that were zero for
    every token; ``tokens`` the tokens seen. Of a block that is reconstructed (``+br`` ...), ``relative_error`` is that
    of pruning, before; what reconstruction reached is in the report's ``details``.
    """

    name: str
    shape: tuple[int, int]
    sparsity: float
    bits: float
    relative_error: float | None = None
    error_tokens: int = 0
    damping: float | None = None
    fallbacks: int = 0
    dead_columns: int = 0
    tokens: int = 0
    skipped: str = ""  # why it stayed dense, if it did


@dataclass(frozen=True)
class CompressionReport:
    """What ``compress`` did to a model.

    ``seconds`` has ``forward``, ``statistics``, ``solve`` and ``total``. ``peak_memory`` is in bytes: of the GPU's
    allocator if one was used, else the process's high-water mark of resident memory. ``sequences`` and ``tokens`` are
    those of the calibration set. ``details`` hold what only some methods have to say, by topic: OWL's sparsities, AWQ's
    skipped scales, reconstruction errors.
    """

    method: str
    linears: tuple[LinearReport, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    propagation: str = "sequential"
    blocks: int = 0
    sequences: int = 0
    tokens: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def sparsity(self) -> float:
        """Share of exact zeros over all compressed linears."""
        return self._mean("sparsity")

    @property
    def bits(self) -> float:
        """Bits a weight over all compressed linears."""
        return self._mean("bits")

    def _mean(self, name: str) -> float:
        sizes = [linear.shape[0] * linear.shape[1] for linear in self.linears]
        if not sizes:
            return 0.0
        return sum(size * getattr(linear, name) for size, linear in zip(sizes, self.linears, strict=True)) / sum(sizes)

    def to_dict(self) -> dict[str, Any]:
        """Builtins only: tuples become lists; no NaN, no tensor."""
        value = dataclasses.asdict(self)
        value["linears"] = [{**linear, "shape": list(linear["shape"])} for linear in value["linears"]]
        return value
