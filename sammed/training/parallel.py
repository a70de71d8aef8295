"""Several single-threaded trainers in step: on a busy machine faster than threads.

Threads wait for each other after every operation, so one that is preempted stops all; processes
that average their gradients wait once a step.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Signal:
    """What the first member tells the others at each step.

    Attributes
    ----------
    progress
        Share of the run that has gone.
    stop
        Whether this step is the last.
    """

    progress: float
    stop: bool


@dataclass(frozen=True)
class Team:
    """Who takes part, and which of them this process is."""

    rank: int = 0
    size: int = 1

    def agree(self, parameters: Iterable[Tensor], signal: Signal) -> Signal:
        """Average the gradients over the team, in place; returns the first member's signal."""
        if self.size == 1:
            return signal
        grads = [p.grad for p in parameters if p.grad is not None]
        mine = [signal.progress, float(signal.stop)] if self.rank == 0 else [0.0, 0.0]
        flat = torch.cat([*(g.reshape(-1) for g in grads), torch.tensor(mine)])
        distributed.all_reduce(flat)
        start = 0
        for grad in grads:
            part = flat[start : start + grad.numel()]
            grad.copy_(part.view_as(grad) / self.size)
            start += grad.numel()
        return Signal(float(flat[-2]), bool(flat[-1] > 0.5))

    def join(self, folder: str) -> None:
        """Meet the others through a file in ``folder``."""
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meet", rank=self.rank, world_size=self.size
        )


def _member(rank: int, size: int, folder: str, task: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    team = Team(rank, size)
    team.join(folder)
    try:
        task(team, **arguments)
    finally:
        distributed.destroy_process_group()


def run_team(size: int, task: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Run ``task(team, **arguments)`` in this process and ``size - 1`` others.

    Parameters
    ----------
    size
        Number of members; each uses one thread if there are several.
    task
        A function at the top of a module.
    arguments
        Passed to each; must be picklable if there are several.

    Returns
    -------
    result
        What the first member's task returned.
    """
    if size == 1:
        return task(Team(), **arguments)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        others: list[BaseProcess] = [
            context.Process(target=_member, args=(rank, size, folder, task, arguments))
            for rank in range(1, size)
        ]
        for other in others:
            other.start()
        torch.set_num_threads(1)
        team = Team(0, size)
        team.join(folder)
        try:
            return task(team, **arguments)
        finally:
            distributed.destroy_process_group()
            for other in others:
                other.join(20)
                if other.is_alive():
                    other.terminate()
