"""Learning step by step: so many minutes on a processor, resumable at every step.

What is drawn at a step depends on the seed and the step alone, so a run of so many steps gives the
same network again, also when it was stopped and resumed.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sammed.learning.threads import same_threads, shared_cores

WARM_UP = 50
"""Steps in which the rate rises."""

RECENT = 40
"""Steps whose mean loss and speed are told."""

State = dict[str, Any]


@dataclass(frozen=True)
class Rates:
    """How fast a network learns.

    Attributes
    ----------
    rate
        Highest learning rate; it falls along a cosine to nothing.
    decay
        Weight decay.
    average
        Decay of the moving average of the weights, which is what is kept.
    loudest
        Gradients longer than this are shortened.
    """

    rate: float
    decay: float = 0.01
    average: float = 0.99
    loudest: float = 12.0


@dataclass(frozen=True)
class Budget:
    """When a network has learned enough.

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
    """How far a network is.

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


Told = Callable[[Pace], None]


class Stepper(ABC):
    """Teaches one network; what it is shown, and what is to become small, subclasses say.

    Parameters
    ----------
    net
        The network, where it learns; parameters that ask for no gradient stay as they are.
    rates
        How fast.
    """

    def __init__(self, net: nn.Module, rates: Rates) -> None:
        self.net, self._rates = net, rates
        self._optimiser = torch.optim.AdamW(
            [p for p in net.parameters() if p.requires_grad],
            lr=rates.rate,
            weight_decay=rates.decay,
        )
        self._average = self._copied()
        self.step = 0
        self.seconds = 0.0

    @abstractmethod
    def _batches(self, first: int) -> Iterator[Any]:
        """Batches from a step on, each a function of the seed and its step."""

    @abstractmethod
    def _loss(self, batch: Any) -> Tensor:
        """Of a batch, at the present step."""

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
        """Begin with the weights of another run of the same network."""
        self.net.load_state_dict(dict(weights))
        self._average = self._copied()

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.net.load_state_dict(state["net"])
        self._average = self._copied()
        for name, value in state["average"].items():
            self._average[name].copy_(value)  # where the network is
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])

    def run(
        self,
        budget: Budget,
        told: Told = lambda pace: None,
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
        cores = shared_cores() if budget.steps is None else same_threads()
        with cores as took, _ahead(self._batches(self.step)) as batches:
            for batch in batches:
                share = self._share(budget)
                if share >= 1:
                    return
                loss = self._learn(batch, share)
                with shield() if shield else _no_shield():
                    self._advance()
                    times.append(time.monotonic())
                    self.seconds += times[-1] - times[-2]
                took(times[-1] - times[-2])
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

    def _learn(self, batch: Any, share: float) -> float:
        rate = self._rates.rate * min(1.0, (self.step + 1) / WARM_UP)
        rate *= 0.5 + 0.5 * math.cos(math.pi * share)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        loss = self._loss(batch)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self._rates.loudest)
        return float(loss.detach())

    def _advance(self) -> None:
        self._optimiser.step()
        self.step += 1
        decay = min(self._rates.average, self.step / (self.step + 9))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.is_floating_point():
                    self._average[name].lerp_(value, 1 - decay)
                else:
                    self._average[name].copy_(value)

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.net.state_dict().items()}


@contextmanager
def _ahead(batches: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """The same batches, each drawn while the one before is learned from."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def drawn() -> Iterator[Any]:
        waiting = pool.submit(next, batches)
        while True:
            batch = waiting.result()
            waiting = pool.submit(next, batches)
            yield batch

    try:
        yield drawn()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _no_shield() -> Iterator[None]:
    yield
