"""AWQ: scale up the columns that see large inputs before rounding, and clip each group's range to what rounds best.

Lin et al., arXiv 2306.00978, section 3.2: columns are multiplied by s = size^ratio (the mean |x_j| of the input), the
inverse is folded into what comes before (``compressors/folding.py``), and the ratio is searched on a grid. Then each
group's range is shrunk where that lowers the error of its share of the output (section 5, weight clipping).

The ratio is judged by the block's output where several linears share an input (q/k/v, gate/up), by the linear's own
where there is one (o, down), as in the reference code, which looks at the attention or MLP alone. Deviations: the grid
is that of ``rtn``, whose range includes 0; ``sequences`` of the draw serve the search, evenly spaced, where the
reference has one fixed set for every seed; o of grouped-query attention is scaled too, its heads sharing v's scale,
where the reference leaves it; a ratio of 0 and a range left alone are always candidates, so that rounding to nearest is
never left for something worse by the search's own measure; activations that cannot be divided (GELU) are not wrapped,
since the model is to stay plain: that scale is left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from compressors import folding, grid, models
from compressors.blockwise import BlockTask, Replaced, choose, merged
from compressors.capture import Call, run_block
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics, full_precision, working_dtype

HAIR = 2.0**-12
CLIPPED_UP_TO = 0.5  # a range is shrunk to no less than this share


def scales(size: Tensor, ratio: float) -> Tensor:
    """size^ratio, [in], geometrically centred on 1; ``size`` [in] is the mean |x_j|. Entries below 1e-4 of the mean
    count as that.
    """
    relative = size / size.mean().clamp(min=torch.finfo(size.dtype).tiny)
    powers = relative.clamp(min=1e-4).pow(ratio)
    return powers / (powers.amax() * powers.amin()).sqrt()


def rounded(weight: Tensor, bits: int, group_size: int, sym: bool, limit: Tensor | None = None) -> Tensor:
    """``weight`` [out, in] on its groups' grids, after clipping each to +-``limit`` [out, groups] if given."""
    cells = weight.unflatten(1, (-1, weight.shape[1] if group_size == -1 else group_size))
    if limit is not None:
        # A group clipped at both ends would have its zero point, and its clipped entries, half-way between two codes,
        # where rounding noise chooses: the lower bound is a hair tighter.
        cells = torch.minimum(torch.maximum(cells, -limit[..., None] * (1 - HAIR)), limit[..., None])
    lattice = grid.fit(cells, bits, sym)
    return grid.decode(grid.encode(cells, lattice), lattice).flatten(1)


def clip_limits(weight: Tensor, hessian: Tensor, bits: int, group_size: int, sym: bool, steps: int) -> Tensor:
    """The bound [out, groups] on each group's magnitudes whose rounding changes the group's share of the output least.

    Tried: the largest magnitude times 1, 1 - 1/steps ... down to 0.5. Rows whose output as a whole would be worse for
    it keep their ranges: groups that are judged apart can add up badly. ``hessian`` is [in, in].
    """
    size = weight.shape[1] if group_size == -1 else group_size
    cells = weight.unflatten(1, (-1, size))  # [out, groups, size]
    # Only the diagonal blocks [groups, size, size] enter a group's own share.
    second = hessian.reshape(-1, size, cells.shape[1], size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    whole = cells.abs().amax(-1)
    free = torch.full_like(whole, torch.inf)
    best, least = free, free
    for step in range(int(CLIPPED_UP_TO * steps)):
        limit = whole * (1 - step / steps) if step else free
        change = rounded(weight, bits, group_size, sym, limit).unflatten(1, (-1, size)) - cells
        error = torch.einsum("ogi,gij,ogj->og", change, second, change)
        better = error < least
        best, least = torch.where(better, limit, best), torch.where(better, error, least)
    plain, clipped = (
        row_errors(weight, rounded(weight, bits, group_size, sym, limit), hessian) for limit in (None, best)
    )
    return torch.where((clipped <= plain)[:, None], best, free)


def row_errors(weight: Tensor, new: Tensor, hessian: Tensor) -> Tensor:
    """Mean squared error of each row's output, [out]: diag((W' - W) H (W' - W)')."""
    change = new - weight
    return (change @ hessian).mul_(change).sum(1)


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    """Clipping and rounding of linears alone, without a block to fold scales into."""
    return [_finish(weight, seen, method, clip=True) for weight in weights]


def _finish(weight: Tensor, seen: Statistics, method: Method, *, clip: bool) -> Solved:
    target, settings = method.target, method.all_settings
    assert target.bits is not None
    assert target.group_size is not None
    sym, limit = bool(settings["sym"]), None
    if clip and settings["clip"] and seen.hessian is not None:
        with full_precision():
            limit = clip_limits(weight, seen.hessian, target.bits, target.group_size, sym, int(settings["grid"]))
    new = rounded(weight, target.bits, target.group_size, sym, limit)
    stored = grid.bits_a_weight(weight.shape[1], target.bits, target.group_size, sym)
    return Solved(new, stored - target.bits, target.bits)


def compress_block(task: BlockTask) -> list[Replaced]:
    """Scale, clip and round all linears of a block."""
    search = _Search(task)
    notes: dict[str, object] = {}
    seen_by: dict[str, Statistics] = {}
    for names, seen in task.groups:
        for name in names:
            seen_by[name] = seen
        if seen.tokens == 0 or not task.method.setting("scale"):
            continue
        short = ", ".join(name.removeprefix(task.block.name + ".") for name in names)
        predecessor = search.predecessor(names)
        if predecessor is None:
            notes[short] = "not scaled: nothing before it takes the inverse"
            continue
        ratio, scale = search.best(names, seen, predecessor)
        if ratio > 0:
            for parameter in predecessor.parameters:
                task.remember(parameter)
            folding.fold(predecessor, scale, task.block, names)
            columns = predecessor.expand(scale)
            for name in names:
                seen_by[name] = _divided(seen, columns)
        notes[short] = {"into": predecessor.name.removeprefix(task.block.name + "."), "ratio": ratio}
    task.note(task.block.name, notes)
    return [_replaced(name, task, seen_by[name]) for names, _ in task.groups for name in names]


def _replaced(name: str, task: BlockTask, seen: Statistics) -> Replaced:
    weight = _working(task, name)
    # Rounding q and k moves products of the two, which a bound on each alone does not see: the reference clips neither.
    clip = not name.rsplit(".", 1)[-1].startswith(("q_", "k_", "query", "key"))
    return Replaced(name, weight, _finish(weight, seen, task.method, clip=clip), seen)


def _working(task: BlockTask, name: str) -> Tensor:
    """A copy of a linear's weight [out, in] in the dtype that is computed in."""
    weight = models.matrix(task.block.linears[name])
    return weight.to(working_dtype(weight.dtype), copy=True)


def _divided(seen: Statistics, columns: Tensor) -> Statistics:
    """The statistics of inputs that were divided by ``columns`` [in]."""
    assert seen.norms is not None
    assert seen.hessian is not None
    assert seen.size is not None
    hessian = seen.hessian / columns[:, None] / columns
    return seen._replace(norms=seen.norms / columns.square(), hessian=hessian, size=seen.size / columns)


class _Search:
    """Looks for predecessors and ratios in one block."""

    def __init__(self, task: BlockTask) -> None:
        self.task = task
        count = sum(hidden.shape[0] for hidden in task.hidden)
        every = max(1, count // int(task.method.setting("sequences")))
        # Sequences whose number is a multiple of `every`, whatever batch they are in.
        picked: list[tuple[Tensor, Call]] = []
        start = 0
        for batch, hidden in enumerate(task.hidden):
            picks = [i for i in range(hidden.shape[0]) if (start + i) % every == 0]
            if picks:
                picked.append((hidden[picks], choose(task.calls[batch], hidden.shape[0], picks)))
            start += hidden.shape[0]
        self.batches = merged(picked, task.hidden[0].shape[0])
        self.norms, self.sources = self._trace()

    def _trace(self) -> tuple[dict[int, str], dict[str, int]]:
        """Ids of the outputs of the block's norms, and of each linear's input, in one run of one sequence."""
        norms: dict[int, str] = {}
        sources: dict[str, int] = {}
        alive: list[Tensor] = []  # an id must not be reused while it is looked up
        handles = []
        linears = {id(linear): name for name, linear in self.task.block.linears.items()}

        def hook(name: str) -> Callable[..., None]:
            def record(module: object, inputs: tuple[object, ...], output: object) -> None:
                if id(module) in linears and isinstance(inputs[0], Tensor):
                    alive.append(inputs[0])
                    sources[linears[id(module)]] = id(inputs[0])
                elif isinstance(output, Tensor):
                    alive.append(output)
                    norms.setdefault(id(output), name)  # a dropout that is off hands on the same tensor

            return record

        for name, module in self.task.block.module.named_modules():
            if id(module) in linears or folding.is_norm(module):
                handles.append(module.register_forward_hook(hook(name)))
        try:
            self.task.run(0, [0])
        finally:
            for handle in handles:
                handle.remove()
        return norms, sources

    def predecessor(self, names: list[str]) -> folding.Predecessor | None:
        task = self.task
        source = self.sources.get(names[0], 0)
        return folding.find(
            task.block, names, self.norms, source, lambda: task.run(0, [0]), task.hidden[0][:1], task.heads
        )

    def best(self, names: list[str], seen: Statistics, predecessor: folding.Predecessor) -> tuple[float, Tensor]:
        """The ratio with the least error, and its scale [width]."""
        steps = int(self.task.method.setting("grid"))
        assert seen.size is not None
        size = predecessor.reduce(seen.size)
        measure = self._block_error(names) if len(names) > 1 else self._linear_error(names[0], seen)
        tried = []
        for step in range(steps):
            scale = scales(size, step / steps)
            tried.append(measure(predecessor.expand(scale)))
        least = int(torch.stack(tried).argmin())
        return least / steps, scales(size, least / steps)

    def _round(self, weight: Tensor, columns: Tensor) -> Tensor:
        target = self.task.method.target
        assert target.bits is not None
        assert target.group_size is not None
        return (
            rounded(weight * columns, target.bits, target.group_size, bool(self.task.method.setting("sym"))) / columns
        )

    def _linear_error(self, name: str, seen: Statistics) -> Callable[[Tensor], Tensor]:
        weight, hessian = _working(self.task, name), seen.hessian
        assert hessian is not None

        def measure(columns: Tensor) -> Tensor:
            with full_precision():
                return row_errors(weight, self._round(weight, columns), hessian).sum(dtype=torch.float64)

        return measure

    def _block_error(self, names: list[str]) -> Callable[[Tensor], Tensor]:
        task = self.task
        weights = {name: _working(task, name) for name in names}
        module = task.block.module
        dense = [run_block(module, hidden, call) for hidden, call in self.batches]

        def measure(columns: Tensor) -> Tensor:
            try:
                for name, weight in weights.items():
                    models.matrix(task.block.linears[name]).copy_(self._round(weight, columns))
                outputs = [run_block(module, hidden, call) for hidden, call in self.batches]
            finally:
                for name, weight in weights.items():
                    models.matrix(task.block.linears[name]).copy_(weight)
            differences = [(new - old).double().square().sum() for new, old in zip(outputs, dense, strict=True)]
            return torch.stack(differences).sum()

        return measure
