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

    def __init__(self, experts: nn.Module, parameter: str, index: int, transposed: bool) -> None:
        super().__init__()
        # In a list, so that the parameter has one owner only.
        self._experts, self._name, self.index, self.transposed = [experts], parameter, index, transposed

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
        transposed = _transposed(experts)
        if transposed is None:
            continue
        for parameter, value in experts.named_parameters(recurse=False):
            if value.ndim == 3:
                own = f"{name}.{parameter}" if "expert" in name else f"{name}.{parameter}.experts"
                for index in range(value.shape[0]):
                    found[f"{own}.{index}"] = ExpertSlice(experts, parameter, index, transposed)
    return found


def is_fused(module: nn.Module) -> bool:
    """Whether a module keeps experts as 3-D parameters and can be told to run them one by one."""
    return (
        hasattr(getattr(module, "config", None), "_experts_implementation")
        and hasattr(module, "is_transposed")
        and any(parameter.ndim == 3 for parameter in module.parameters(recurse=False))
    )


def _transposed(module: nn.Module) -> bool | None:
    """Whether a module's experts are kept as [experts, in, out] and not [experts, out, in]; None if it has none.

    Outside the interface that ``transformers`` has for experts, shapes tell: gate_up [2 width, hidden] goes before
    down [hidden, width] (LongCat), or both are the other way round (Llama 4); or the module says it (JetMoe).
    """
    if is_fused(module):
        return bool(module.is_transposed)
    shapes = {name: tuple(p.shape[1:]) for name, p in module.named_parameters(recurse=False) if p.ndim == 3}
    if shapes.keys() == {"gate_up_proj", "down_proj"}:
        (a, b), (c, d) = shapes["gate_up_proj"], shapes["down_proj"]
        if (a, b) == (2 * d, c):
            return False
        return True if (a, b) == (d, 2 * c) else None
    sizes = [getattr(module, name, None) for name in ("output_size", "input_size")]
    return False if [list(shape) for shape in shapes.values()] == [sizes] else None


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
    """While active, a product with an expert's weight is the call of its slice. ``seen(name, inputs)`` is told the
    inputs [..., in] of products that no call can stand in for: of all experts in one, where the rows of an expert that
    a token is not sent to are zero (Llama 4), and with the weights of the linears named ``direct``.
    """

    def __init__(
        self, linears: dict[str, nn.Module], direct: frozenset[str], seen: Callable[[str, Tensor], None]
    ) -> None:
        super().__init__()
        self.seen = seen
        self.direct = Weights({name: linears[name] for name in direct if name in linears})
        self.by_place: dict[int, ExpertSlice] = {}
        self.fused: dict[int, list[tuple[str, ExpertSlice]]] = {}
        for name, linear in linears.items():
            if isinstance(linear, ExpertSlice):
                self.by_place[linear.fused[linear.index].data_ptr()] = linear
                self.fused.setdefault(id(linear.fused), []).append((name, linear))

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _PRODUCTS and len(args) > 1 and isinstance(args[1], Tensor):
            if (used := self.direct.used(function, args)) is not None:
                self.seen(*used)
            expert = self.by_place.get(args[1].data_ptr()) if args[1].ndim == 2 else None
            if expert is not None and args[1].shape == expert.fused.shape[1:]:
                output = expert(args[0])
                bias = args[2] if len(args) > 2 else kwargs.get("bias")
                return output if bias is None else output + bias
        elif function in _BATCHED and len(args) > 1 and id(args[1]) in self.fused:
            for name, expert in self.fused[id(args[1])]:
                rows = args[0][expert.index]
                if (sent := rows.any(-1)).any():
                    self.seen(name, rows[sent])
        return self.direct.follow(function, args, function(*args, **kwargs))


class Weights:
    """The weights of some linears, by name, known again in what a function is given; so are casts of them (a router in
    float32).
    """

    def __init__(self, linears: dict[str, nn.Module]) -> None:
        self._known: dict[int, tuple[str, Any]] = {
            id(linear.weight): (name, linear.weight) for name, linear in linears.items()
        }
        self._dtypes: dict[str, Any] = {name: linear.weight.dtype for name, linear in linears.items()}
        self._casts: dict[str, int] = {}

    def used(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Tensor] | None:
        """The name of the weight that a product is with, and the inputs [..., in] that it is of."""
        if function not in _PRODUCTS or len(args) < 2:
            return None
        if id(args[0]) in self._known and function is not functional.linear:  # weight @ inputs, tokens last
            weight, inputs = args[0], args[1].transpose(-1, -2)
        elif id(args[1]) in self._known and function is functional.linear:
            weight, inputs = args[1], args[0]
        else:
            return None
        name = self._known[id(weight)][0]
        return name, inputs.to(torch.promote_types(inputs.dtype, self._dtypes[name]))

    def follow(self, function: Callable[..., Any], args: tuple[Any, ...], output: Any) -> Any:
        """Remember the output if it is a cast of a weight; the last one of each weight is kept."""
        if function in _CASTS and id(args[0]) in self._known and id(output) not in self._known:
            name = self._known[id(args[0])][0]
            self._known.pop(self._casts.get(name, 0), None)
            self._known[id(output)], self._casts[name] = (name, output), id(output)
        return output


class Uses(TorchFunctionMode):
    """While active, notes in ``found`` the names of the linears whose weight is used in products."""

    def __init__(self, linears: dict[str, nn.Module]) -> None:
        super().__init__()
        self.weights = Weights(linears)
        self.found: set[str] = set()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if (used := self.weights.used(function, args)) is not None:
            self.found.add(used[0])
        return self.weights.follow(function, args, function(*args, **kwargs or {}))


_PRODUCTS = (functional.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm)
_BATCHED = (torch.bmm, Tensor.bmm)
_CASTS = (Tensor.to, Tensor.type, Tensor.float, Tensor.double)
