"""What one case's weights must show: the sparsity, the n:m pattern and the grid levels that its spelling promises."""

from __future__ import annotations

import math
from typing import Any

from compressors.method import Method
from fixtures.records import Case, Record


def check(case: Case, record: Record) -> None:
    """Asserts what one case can show: finite figures, the promised structure, and weights that are worth something."""
    import compressors

    losses = [loss for scores in record.nll.values() for loss in scores.nll]
    assert all(math.isfinite(loss) for loss in losses), f"{case.id}: a loss is not finite"
    for name, scores in record.tasks.items():
        finite = all(math.isfinite(ll) for row in scores.loglikelihoods for ll in row)
        assert finite, f"{case.id}: a log-likelihood of {name} is not finite"
    found = problems(compressors.parse(case.method), record.checks.get("structure", []))
    assert not found, "\n".join(found)
    control = record.checks.get("permuted")
    if control:
        assert control["nll"] < control["permuted_nll"], (
            f"{case.id}: {control['nll']:.3f} nats a token, no better than {control['permuted_nll']:.3f} with the "
            "entries of each linear permuted: the compressed weights carry no information"
        )


def problems(method: Method, linears: list[dict[str, Any]]) -> list[str]:
    """Every linear that breaks its method's promise, in words; empty if none does.

    ``linears`` is ``fixtures.structure.structure``'s list, measured on the weights.
    """
    found = []
    for linear in linears:
        rows, columns = linear["shape"]
        found += [f"{linear['name']}: a weight is not finite"] * (not linear["finite"])
        found += _sparsity(method, linear, rows, columns)
        found += _levels(method, linear)
    return found + _mean_sparsity(method, linears)


def _mean_sparsity(method: Method, linears: list[dict[str, Any]]) -> list[str]:
    """An allocator promises the mean over the model, not each linear's."""
    if method.algorithm != "owl" or not linears:
        return []
    entries = sum(rows * columns for rows, columns in (linear["shape"] for linear in linears))
    wanted, slack = (method.target.sparsity or 0) * entries, 0.5 * sum(linear["shape"][0] for linear in linears)
    zeros = sum(linear["zeros"] for linear in linears)
    if wanted - slack <= zeros <= wanted + slack + sum(linear["dense_zeros"] for linear in linears):
        return []
    return [
        f"all linears: {zeros} zeros ({zeros / entries:.4%}), expected {wanted - slack:.0f} to {wanted + slack:.0f}"
    ]


def _sparsity(method: Method, linear: dict[str, Any], rows: int, columns: int) -> list[str]:
    target = method.target
    if method.algorithm == "owl" or method.all_settings.get("permute", "none") != "none":
        return []  # the mean is promised; a pattern of reordered columns cannot be seen here
    if target.keep is not None and target.group is not None:
        least = target.group - target.keep
        if linear["least_zeros"] < least:
            return [f"{linear['name']}: a group of {target.group} has {linear['least_zeros']} zeros, not {least}"]
        wanted = rows * columns * least // target.group
        slack = 0.0
    elif target.sparsity is not None:
        wanted, slack = round(target.sparsity * rows * columns), 0.5 * rows  # rounded once a row at most
    else:
        return []
    # A kept entry may have been zero before: those are allowed on top, and nothing else is.
    low, high = wanted - slack, wanted + slack + linear["dense_zeros"]
    quantized = target.bits is not None  # a joint grid may round a kept entry to zero
    if linear["zeros"] < low or (linear["zeros"] > high and not quantized):
        share = linear["zeros"] / (rows * columns)
        return [f"{linear['name']}: {linear['zeros']} zeros ({share:.4%}), expected {low:.0f} to {high:.0f}"]
    return []


def _levels(method: Method, linear: dict[str, Any]) -> list[str]:
    bits = method.target.bits
    if bits is None or "levels" not in linear:
        return []
    settings = method.all_settings
    if method.algorithm == "spqr" or (settings.get("actorder") and settings.get("groups") != "static"):
        return []  # outliers are on no grid, and groups of reordered columns are not runs of them
    pruned = method.target.sparsity is not None or method.target.keep is not None
    allowed = 2**bits + (1 if pruned else 0)
    if linear["levels"] > allowed:
        return [f"{linear['name']}: {linear['levels']} distinct values in a group, {bits} bits allow {allowed}"]
    return []
