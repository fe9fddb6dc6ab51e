"""Experts whose weights are fused into one 3-D parameter, read as the linears that they are.

Recent ``transformers`` models keep the experts of a block as parameters [experts, out, in] (or [experts, in, out]), and
call ``linear(tokens, parameter[expert])`` for those that tokens are routed to. Here each slice is a module with a
``weight``, whose call stands in for that product while the block is observed, so that hooks on it see the tokens it
gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class ExpertSlice(nn.Module):
    """One expert's weight [out, in] in a fused parameter, which it is a view of."""

    def __init__(self, experts: nn.Module, parameter: str, index: int) -> None:
        super().__init__()
        # In a list, so that the parameter has one owner only.
        self._experts, self._name, self.index = [experts], parameter, index
        self.transposed = bool(getattr(experts, "is_transposed", False))

    @property
    def experts(self) -> nn.Module:
        return self._experts[0]

    @property
    def fused(self) -> nn.Parameter:
        """The parameter of all experts."""
        return getattr(self.experts, self._name)

    @property
    def weight(self) -> Tensor:
        return self.part(self.fused)

    def part(self, fused: Tensor) -> Tensor:
        """This expert's [out, in] of a tensor of the fused shape; a view."""
        return fused[self.index].T if self.transposed else fused[self.index]

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight)


def slices(module: nn.Module) -> dict[str, ExpertSlice]:
    """The experts' weights under a module, by ``name.parameter.expert``."""
    found = {}
    for name, experts in module.named_modules():
        if not is_fused(experts):
            continue
        for parameter, value in experts.named_parameters(recurse=False):
            if value.ndim == 3:
                for index in range(value.shape[0]):
                    found[f"{name}.{parameter}.{index}"] = ExpertSlice(experts, parameter, index)
    return found


def is_fused(module: nn.Module) -> bool:
    """Whether a module keeps experts as 3-D parameters and can run them one by one."""
    return hasattr(getattr(module, "config", None), "_experts_implementation") and any(
        parameter.ndim == 3 for parameter in module.parameters(recurse=False)
    )


@contextmanager
def one_by_one(model: nn.Module) -> Iterator[None]:
    """Experts are run one after the other, as the model is written, not by a grouped kernel that hides which token goes
    where.
    """
    configs: dict[int, Any] = {id(m.config): m.config for m in model.modules() if is_fused(m)}
    before = {key: config._experts_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._experts_implementation = "eager"
        yield
    finally:
        for key, config in configs.items():
            config._experts_implementation = before[key]


class Routed(TorchFunctionMode):
    """While active, a product with an expert's weight is the call of its slice."""

    def __init__(self, linears: dict[str, nn.Module]) -> None:
        super().__init__()
        self.by_place = {
            linear.fused[linear.index].data_ptr(): linear
            for linear in linears.values()
            if isinstance(linear, ExpertSlice)
        }

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _PRODUCTS and len(args) > 1 and isinstance(args[1], Tensor) and args[1].ndim == 2:
            expert = self.by_place.get(args[1].data_ptr())
            if expert is not None and args[1].shape == expert.fused.shape[1:]:
                output = expert(args[0])
                bias = args[2] if len(args) > 2 else kwargs.get("bias")
                return output if bias is None else output + bias
        return function(*args, **kwargs)


_PRODUCTS = (functional.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm)
