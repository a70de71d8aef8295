"""The training loop of one look: minutes on a processor, resumable at every step.

What is drawn at a step depends on the seed and the step alone, so a run of so many steps gives the
same network again, also when it was stopped and resumed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor, nn

from sammed.learning.lessons import Lesson
from sammed.learning.patches import Changes, Patch, draw_patch
from sammed.models.learned.net import build_net
from sammed.models.learned.plan import Look, Plan
from sammed.models.learned.sight import half

WARM_UP = 50
"""Steps in which the rate rises."""

LOUDEST = 12.0
"""Gradients longer than this are shortened, as nnU-Net does."""

RECENT = 40
"""Steps whose mean loss and speed are told."""

State = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How a network learns.

    Attributes
    ----------
    rate
        Highest learning rate; it falls along a cosine to nothing.
    decay
        Weight decay.
    batch, batch_flat
        Patches in a step, solid ones and slices.
    average
        Decay of the moving average of the weights, which is what is kept.
    changes
        What is done to patches.
    """

    rate: float = 2e-3
    decay: float = 0.01
    batch: int = 2
    batch_flat: int = 6
    average: float = 0.99
    changes: Changes = field(default_factory=Changes)


@dataclass(frozen=True)
class Budget:
    """When a look has learned enough.

    Attributes
    ----------
    seconds
        Of learning; what was spent before a stop counts.
    steps
        Instead of them, if given: then the same seed gives the same network.
    """

    seconds: float
    steps: int | None = None


@dataclass(frozen=True)
class Pace:
    """How far a look is.

    Attributes
    ----------
    share
        Of its budget that is spent, [0, 1].
    step
        Steps done.
    loss
        Mean of the last steps.
    steps_per_second
        Of the last steps; 0 before the second.
    seconds_left
        Of its budget, as far as can be told.
    """

    share: float
    step: int
    loss: float
    steps_per_second: float
    seconds_left: float


class LookTrainer:
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
            self.net = build_net(look, plan.colours, plan.classes).to(device)
        self._optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=self.recipe.rate, weight_decay=self.recipe.decay
        )
        self._loss = DiceCELoss(softmax=True, include_background=False, batch=True)
        self._average = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.step = 0
        self.seconds = 0.0

    @property
    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, on the processor."""
        return {name: value.cpu() for name, value in self._average.items()}

    def state(self) -> State:
        """Everything that is needed to go on."""
        return {
            "net": self.net.state_dict(),
            "average": self._average,
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with the weights of another run of the same look."""
        self.net.load_state_dict(dict(weights))
        self._average = {name: value.clone() for name, value in self.net.state_dict().items()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.net.load_state_dict(state["net"])
        self._average = {name: value.clone() for name, value in state["average"].items()}
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])

    def run(
        self,
        budget: Budget,
        told: Callable[[Pace], None] = lambda pace: None,
        shield: Callable[[], Any] | None = None,
    ) -> None:
        """Learn until the budget is spent.

        Parameters
        ----------
        budget
            Time or steps.
        told
            Called after every step; raises to stop.
        shield
            A context in which Ctrl-C waits, see `sammed.training.interrupts`.
        """
        losses: list[float] = []
        times = [time.monotonic()]
        self.net.train()
        with _ahead(self._draw, self.step) as batches:
            for batch in batches:
                share = self._share(budget)
                if share >= 1:
                    return
                loss = self._learn(batch, share)
                with shield() if shield else _no_shield():
                    self._advance()
                    times.append(time.monotonic())
                    self.seconds += times[-1] - times[-2]
                losses, times = [*losses[1 - RECENT :], loss], times[-RECENT:]
                told(self._pace(budget, losses, times))

    def _share(self, budget: Budget) -> float:
        if budget.steps is not None:
            return self.step / max(1, budget.steps)
        return self.seconds / max(1e-6, budget.seconds)

    def _pace(self, budget: Budget, losses: list[float], times: list[float]) -> Pace:
        passed = times[-1] - times[0]
        speed = (len(times) - 1) / passed if passed > 0 else 0.0
        left = budget.seconds - self.seconds
        if budget.steps is not None:
            left = (budget.steps - self.step) / speed if speed else 0.0
        return Pace(
            min(1.0, self._share(budget)),
            self.step,
            sum(losses) / len(losses),
            speed,
            max(0.0, left),
        )

    def _draw(self, step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self._seed, step])
        flat = self._look.flat_axis is not None
        count = self.recipe.batch_flat if flat else self.recipe.batch
        patches: list[Patch] = [
            draw_patch(rng, self._lessons, self._plan, self._look, self.recipe.changes)
            for _ in range(count)
        ]
        images = torch.stack([patch.image for patch in patches])
        targets = torch.stack([patch.target for patch in patches])
        return (images[:, :, 0], targets[:, :, 0]) if flat else (images, targets)

    def _learn(self, batch: tuple[Tensor, Tensor], share: float) -> float:
        images, targets = (each.to(self._device) for each in batch)
        rate = self.recipe.rate * min(1.0, (self.step + 1) / WARM_UP)
        rate *= 0.5 + 0.5 * math.cos(math.pi * share)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad()
        with half(self._device):
            answers = self.net(images)
        loss = self._loss(answers.float(), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), LOUDEST)
        return float(loss.detach())

    def _advance(self) -> None:
        self._optimiser.step()
        self.step += 1
        decay = min(self.recipe.average, self.step / (self.step + 9))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.is_floating_point():
                    self._average[name].lerp_(value, 1 - decay)
                else:
                    self._average[name].copy_(value)


@contextmanager
def _ahead(draw: Callable[[int], Any], first: int) -> Iterator[Iterator[Any]]:
    """Batches from a step on, each drawn while the one before is learned from."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="patches")

    def batches() -> Iterator[Any]:
        step, waiting = first, pool.submit(draw, first)
        while True:
            batch = waiting.result()
            step += 1
            waiting = pool.submit(draw, step)
            yield batch

    try:
        yield batches()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _no_shield() -> Iterator[None]:
    yield
