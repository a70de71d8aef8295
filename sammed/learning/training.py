"""The training of one look of a segmenter that needs no prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor

from sammed.learning.lessons import Lesson
from sammed.learning.patches import Changes, Patch, draw_patch
from sammed.learning.stepping import Rates, Stepper
from sammed.learning.unknown import without_unknown
from sammed.models.learned.net import build_net
from sammed.models.learned.plan import Look, Plan
from sammed.models.learned.pretrained import begin
from sammed.models.learned.sight import half

Batch = tuple[Tensor, Tensor, Tensor]
"""Images, targets, and which classes are unknown in each."""


@dataclass(frozen=True)
class Recipe:
    """How a network learns.

    Attributes
    ----------
    rates
        How fast; gradients are shortened as nnU-Net does it.
    batch, batch_flat
        Patches in a step, solid ones and slices.
    changes
        What is done to patches.
    pretrained
        Begin with what was learned from synthetic scenes, not with random weights.
    """

    rates: Rates = field(default_factory=lambda: Rates(2e-3))
    batch: int = 2
    batch_flat: int = 6
    changes: Changes = field(default_factory=Changes)
    pretrained: bool = True


class LookTrainer(Stepper):
    """Teaches the network of one look.

    Parameters
    ----------
    lessons
        At least one.
    plan, look
        What is learned.
    seed
        Of weights and patches.
    recipe
        How.
    device
        Where.
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        plan: Plan,
        look: Look,
        seed: int,
        recipe: Recipe | None = None,
        device: str = "cpu",
    ) -> None:
        self.recipe = recipe or Recipe()
        self._lessons, self._plan, self._look = lessons, plan, look
        self._seed, self._device = seed, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build_net(look, plan.channels(look), plan.classes)
        if self.recipe.pretrained:
            begin(net, look)
        super().__init__(net.to(device).train(), self.recipe.rates)
        self._criterion = DiceCELoss(softmax=True, include_background=False, batch=True)

    def _batches(self, first: int) -> Iterator[Batch]:
        while True:
            yield self._draw(first)
            first += 1

    def _draw(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, step])
        flat = self._look.flat_axis is not None
        count = self.recipe.batch_flat if flat else self.recipe.batch
        patches: list[Patch] = [
            draw_patch(rng, self._lessons, self._plan, self._look, self.recipe.changes)
            for _ in range(count)
        ]
        images = torch.stack([patch.image for patch in patches])
        targets = torch.stack([patch.target for patch in patches])
        unknown = torch.stack([patch.unknown for patch in patches])
        return (images[:, :, 0], targets[:, :, 0], unknown) if flat else (images, targets, unknown)

    def _loss(self, batch: Batch) -> Tensor:
        images, targets, unknown = (each.to(self._device) for each in batch)
        with half(self._device):
            answers = self.net(images)
        loss: Tensor = self._criterion(*without_unknown(answers.float(), targets, unknown))
        return loss
