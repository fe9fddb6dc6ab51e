"""Gradient matching: dataset condensation (DC, arXiv 2006.05929) and with Siamese augmentation (DSA, arXiv 2102.08259).

    for iteration:                      a fresh random network for every set
        for outer step:                 images move, so that their gradients look like real ones, by class
            for inner epoch:            the network learns the synthetic images

All sets and classes are one batch; what the papers do in a loop over classes gives the same numbers.
On a GPU with Triton, gradients come from :mod:`fused_matching`, else from :mod:`matching`: the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from compressors.distillation import augment, convnet, fused_matching, matching
from compressors.distillation.convnet import Shape, cross_entropy
from compressors.distillation.fused_layers import usable_for
from compressors.distillation.graphs import Graphed
from compressors.distillation.images import Images
from compressors.distillation.masking import Run, masks
from compressors.distillation.matching import class_gradients
from compressors.distillation.schedules import Budget
from compressors.distillation.sgd import step
from compressors.distillation.streams import streams

RATE, MOMENTUM, NET_RATE, BATCH_TRAIN = 0.1, 0.5, 0.01, 256


class GradientMatching:
    """The state of a distillation by gradient matching of several runs. ``strategies`` empty is DC, else DSA.

    ``synthetic [runs, classes, ipc, channels, size, size]`` is changed in place. ``half`` computes the gradients of
    real images in bfloat16 (a GPU's fast type); those of synthetic images always have the type of the images.
    """

    def __init__(
        self, shape: Shape, images: Images, runs: Sequence[Run], synthetic: Tensor, budget: Budget,
        strategies: Sequence[str] = (), half: bool = False, graphs: bool = True,
    ) -> None:  # fmt: skip
        self.shape, self.images, self.runs, self.synthetic, self.budget = shape, images, runs, synthetic, budget
        self.strategies, self.half = tuple(strategies), half
        self.classes, self.ipc = synthetic.shape[1:3]
        self.outer, self.inner = budget.loop(self.ipc)
        self.batch = min(budget.batch_real, min(images.counts))
        device = synthetic.device
        self.seeds = list(dict.fromkeys(run.seed for run in runs))
        # Runs of one seed differ only in their masks: they see the same networks and real images.
        self.owners = [self.seeds.index(run.seed) for run in runs]
        self.of_run = torch.tensor(self.owners, device=device)
        self.random = {name: streams(self.seeds, name, device) for name in ("networks", "real", "augment", "train")}
        self.mask_streams = [run.stream(device) for run in runs]
        self.labels = torch.arange(self.classes, device=device)[:, None]
        self.velocity = torch.zeros_like(synthetic)
        self.parameters = torch.zeros(len(runs), shape.parameters, device=device, dtype=synthetic.dtype)
        self._match = Graphed(self._step, (self.synthetic, self.velocity), graphs)
        self._real = Graphed(self._real_gradients, (), graphs)
        self._train = Graphed(self._learn, (self.parameters,), graphs)
        self.losses: list[Tensor] = []

    def run(self, progress: Callable[[int, int], None] = lambda done, of: None) -> None:
        """All iterations of the budget."""
        for iteration in range(self.budget.iterations):
            self.iterate()
            progress(iteration + 1, self.budget.iterations)

    def iterate(self) -> None:
        """One random network a seed, ``outer`` matching steps."""
        dtype = self.synthetic.dtype
        fresh = convnet.initial(self.shape, self.random["networks"], dtype)
        self.parameters.copy_(fresh[self.of_run])
        for outer in range(self.outer):
            loss = self.match()
            if outer + 1 < self.outer:
                self.train_networks()
        self.losses.append(loss.clone())

    def match(self) -> Tensor:
        """One step of the images; the loss ``[runs]``."""
        picked = self.images.draw(self.batch, self.random["real"])
        u = self._numbers(self.classes)
        # Networks that have not yet learned are shared by the runs of a seed, and so are the real gradients.
        shared = self.outer == 1
        owners = range(len(self.seeds)) if shared else self.owners
        gradients = []
        for k, owner in enumerate(owners):
            run = self.owners.index(owner) if shared else k
            gradients.append(self._real(self.parameters[run], self.images.pixels[picked[owner]], u[owner]).clone())
        real = torch.stack(gradients)
        real = real[self.of_run] if shared else real
        keep = masks(self.mask_streams, self.runs, self.synthetic.shape[1:], self.synthetic)
        result: Tensor = self._match(self.parameters, real, keep, u[self.of_run])
        return result

    def _numbers(self, *rows: int) -> Tensor:
        """Of the transformations, one set of rows a seed; DC draws none."""
        if not self.strategies:
            return torch.zeros(len(self.seeds), *rows, 0, device=self.synthetic.device)
        return augment.numbers(self.random["augment"], *rows)

    def _augmented(self, images: Tensor, u: Tensor) -> Tensor:
        """``images [..., classes, n, channels, size, size]``, one transformation a class, ``u [..., classes, :]``."""
        if not self.strategies:
            return images
        found = augment.transformations(u, self.shape.size, self.strategies)
        return augment.apply(images, augment.per_class(found))

    def _real_gradients(self, parameters: Tensor, pixels: Tensor, u: Tensor) -> Tensor:
        """Of one network: ``[classes, parameters]``."""
        pixels = self._augmented(pixels, u)
        labels = self.labels.expand(-1, pixels.shape[1])
        if usable_for(parameters, self.shape):
            return fused_matching.sweep(parameters[None], pixels[None], labels[None], self.shape, self.half).gradient[0]
        if self.half:
            parameters, pixels = parameters.bfloat16(), pixels.bfloat16()
        found = class_gradients(parameters[None], pixels[None], labels[None], self.shape)
        return found[0].to(self.synthetic.dtype)

    def _step(self, parameters: Tensor, real: Tensor, keep: Tensor, u: Tensor) -> Tensor:
        def change(images: Tensor) -> Tensor:
            return self._augmented(images, u) * keep

        labels = self.labels.expand(len(self.runs), -1, self.ipc)
        way = fused_matching if usable_for(parameters, self.shape) else matching
        loss, gradient = way.matching_gradient(parameters, real, self.synthetic, labels, self.shape, change)
        step(self.synthetic, gradient, self.velocity, RATE, MOMENTUM)
        return loss

    def train_networks(self) -> None:
        """``inner`` epochs on the synthetic images, without momentum."""
        total = self.classes * self.ipc
        device = self.synthetic.device
        numbers = self._numbers(self.inner, total)
        made = self.synthetic.detach().flatten(1, 2)
        labels = self.labels.expand(-1, self.ipc).flatten()
        if total <= BATCH_TRAIN:
            shown = self._shown(made[:, None].expand(-1, self.inner, *made.shape[1:]), numbers)
            for epoch in range(self.inner):
                self._train(shown[:, epoch], labels)
            return
        for epoch in range(self.inner):
            order = torch.randperm(total, generator=self.random["train"][0], device=device)
            for batch in order.split(BATCH_TRAIN):
                # The shorter last batch is not worth a recording.
                learn = self._train if len(batch) == BATCH_TRAIN else self._learn
                learn(self._shown(made[:, batch], numbers[:, epoch, : len(batch)]), labels[batch])

    def _shown(self, images: Tensor, u: Tensor) -> Tensor:
        """``images [runs, ..., n, channels, size, size]`` as networks learn them, ``u [seeds, ..., n, :]``."""
        if not self.strategies:
            return images
        found = augment.transformations(u[self.of_run], self.shape.size, self.strategies, shared=True)
        return augment.apply(images, found)

    def _learn(self, images: Tensor, labels: Tensor) -> Tensor:
        every = labels.expand(len(self.runs), -1)
        if usable_for(self.parameters, self.shape):  # one class of all images
            gradient = fused_matching.sweep(self.parameters, images[:, None], every[:, None], self.shape).gradient[:, 0]
        else:
            leaf = self.parameters.detach().requires_grad_()
            loss = cross_entropy(leaf, images, every, self.shape)
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        with torch.no_grad():
            self.parameters.sub_(NET_RATE * gradient)
        return gradient
