"""A pass over the dense model before anything is replaced: for allocators, and for methods that need gradients.

An algorithm's file asks for one by having ``plan(dense: DensePass, method: Method) -> Plan``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from compressors import models
from compressors.capture import capture, run_block
from compressors.clock import Clock
from compressors.method import Method
from compressors.observe import Observer
from compressors.offload import Visits
from compressors.report import CompressionError
from compressors.statistics import working_dtype


@dataclass
class Plan:
    """What a pre-pass found: a method for each block (else the one that was asked for), gradients [out, in] in float32
    on the host by linear, and builtins for the report.
    """

    methods: list[Method] | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def merged(self, other: Plan) -> Plan:
        return Plan(
            self.methods or other.methods, {**self.gradients, **other.gradients}, {**self.details, **other.details}
        )


@dataclass
class DensePass:
    """The model, its blocks and the calibration set ``ids`` [n_sequences, sequence_length]."""

    model: nn.Module
    blocks: list[models.Block]
    ids: Tensor
    batch_size: int
    device: torch.device
    clock: Clock
    offload: bool = False

    def weight(self, block: models.Block, name: str) -> Tensor:
        """A linear's weight [out, in] in float32 on the device."""
        return models.matrix(block.linears[name]).to(self.device).float()

    def norms(self) -> Iterator[tuple[models.Block, dict[str, Tensor]]]:
        """Block after block, the mean squares [in] of the inputs of its linears in the dense model; a linear that saw
        no token is left out.
        """
        with self.clock.stage("forward"):
            batches = list(self.ids.split(self.batch_size))
            captured = capture(self.model, self.blocks, batches, self.device, offload=self.offload)
        visits = Visits(self.device)
        for index, block in enumerate(self.blocks):
            columns = {name: models.matrix(linear).shape[1] for name, linear in block.linears.items()}
            observer = Observer(columns, "norms", self.ids.numel(), self.clock)
            with visits.at(block, changes=False):
                with observer.watching(block.linears, captured.direct), self.clock.stage("forward"):
                    for batch, calls in enumerate(captured.calls):
                        observer.next_pass()
                        captured.hidden[batch] = run_block(block.module, captured.hidden[batch], calls[index])
                found: dict[str, Tensor] = {}
                for leader, names in observer.groups().items():
                    if leader in observer.accumulators:
                        norms = observer.accumulators[leader].result().norms
                        if norms is not None:
                            found |= dict.fromkeys(names, norms)
                yield block, found

    def gradients(self) -> dict[str, Tensor]:
        """By linear, sqrt of the sum over sequences of the squared gradient [out, in] of a sequence's loss (mean
        next-token cross-entropy, nats); float32 (float64 of a float64 model), on the host. One sequence at a time:
        the sum must not depend on how they are batched.
        """
        if self.ids.shape[1] < 2:
            raise CompressionError("token_ids: sequences of one token have no next token to take a gradient of")
        linears = {name: linear for block in self.blocks for name, linear in block.linears.items()}
        before = {name: parameter.requires_grad for name, parameter in self.model.named_parameters()}
        # The weights as they are (bfloat16 say) take part in the graph; only the sum of squares is in float32.
        owners = list({id(p): p for p in map(models.parameter_of, linears.values())}.values())
        sums = {}
        for name, linear in linears.items():
            weight = models.matrix(linear)
            sums[name] = torch.zeros_like(weight, dtype=working_dtype(weight.dtype))
        home = next(self.model.parameters()).device
        try:
            self.model.to(self.device)
            self.model.requires_grad_(False)
            for weight in owners:
                weight.requires_grad_(True)
            for sequence in self.ids.split(1):
                with torch.enable_grad(), self.clock.stage("forward"):
                    loss = next_token_loss(self.model, sequence.to(self.device))
                    found = torch.autograd.grad(loss, owners, allow_unused=True)
                if not bool(torch.isfinite(loss)):
                    raise CompressionError("the loss of a calibration sequence is NaN or infinite")
                by_owner = {id(owner): gradient for owner, gradient in zip(owners, found, strict=True)}
                for name, linear in linears.items():
                    gradient = by_owner[id(models.parameter_of(linear))]
                    if gradient is not None:  # an expert that no token of this sequence was sent to
                        gradient = models.oriented(linear, gradient).to(sums[name].dtype)
                        sums[name] += gradient.square().to(sums[name].device)
        finally:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(before[name])
            self.model.to(home)
        return {name: total.sqrt_().cpu() for name, total in sums.items()}


def next_token_loss(model: nn.Module, ids: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of each token of ``ids`` [sequences, length] given those before it; float32."""
    logits = model(input_ids=ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
