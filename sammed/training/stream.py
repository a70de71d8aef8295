"""The stream of training batches, made ahead of the trainer by a worker process.

The worker keeps a small reservoir of samples and draws batches from it. What it sends depends on
the seed and the step alone, never on who was faster, so that a run can be repeated and resumed.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sammed.errors import SammedError
from sammed.models.compact.net import Prompts
from sammed.synthesis.views import BOXED, MODES, Sample, draw_samples
from sammed.training.interrupts import unheard
from sammed.training.prompts import first_prompts

_Sample = TypeVar("_Sample")

PER_SLAB = 12
"""Samples drawn from one slab."""

MOST_DEATHS = 3
"""A worker that is killed so often before it gives a batch is not begun anew."""


@dataclass(frozen=True)
class StreamPlan:
    """How batches are drawn.

    Attributes
    ----------
    seed
        Seed of everything.
    batch
        Samples in a batch.
    chunk
        Samples that enter the reservoir at once.
    window
        Chunks in the reservoir.
    replay
        How often a sample is used, on average.
    boxes_only
        Views: whether all prompts are a box alone.
    """

    seed: int = 0
    batch: int = 8
    chunk: int = 256
    window: int = 6
    replay: float = 2.0
    boxes_only: bool = False

    @property
    def steps_per_chunk(self) -> int:
        """Batches after which the oldest chunk makes room for a new one."""
        return max(1, round(self.chunk * self.replay / self.batch))


@dataclass(frozen=True)
class Batch:
    """What one training step needs.

    Attributes
    ----------
    prompts
        Views and first prompts.
    target : (n, s, s) uint8
        Masks.
    modes
        Mode of each sample.
    """

    prompts: Prompts
    target: NDArray[np.uint8]
    modes: tuple[str, ...]


def first_samples(draw: Callable[[int], list[_Sample]], size: int) -> list[_Sample]:
    """The first ``size`` samples of what is drawn for 0, 1, 2 and so on."""
    samples: list[_Sample] = []
    number = 0
    while len(samples) < size:
        samples += draw(number)
        number += 1
    return samples[:size]


def make_chunk(seed: int, index: int, size: int, boxes_only: bool = False) -> list[Sample]:
    """The samples of one chunk: a function of its arguments alone."""
    modes = BOXED if boxes_only else MODES
    return first_samples(lambda slab: draw_samples((seed, index, slab), PER_SLAB, modes), size)


def pack(
    rng: np.random.Generator, samples: list[Sample], boxes_only: bool = False
) -> dict[str, NDArray[Any]]:
    """A batch as plain arrays, small enough to send to another process."""
    prompts = first_prompts(rng, samples, boxes_only)
    arrays = {f.name: getattr(prompts, f.name).numpy() for f in fields(Prompts)}
    arrays["image"] = arrays["image"].astype(np.float16)
    arrays["mask"] = arrays["mask"].astype(np.float16)
    arrays["target"] = np.stack([s.target for s in samples])
    arrays["mode"] = np.array([list(MODES).index(s.mode) for s in samples])
    return arrays


def unpack(arrays: dict[str, NDArray[Any]]) -> Batch:
    """The batch that `pack` made."""
    tensors = {f.name: torch.from_numpy(arrays[f.name]) for f in fields(Prompts)}
    tensors["image"] = tensors["image"].float()
    tensors["mask"] = tensors["mask"].float()
    names = list(MODES)
    return Batch(Prompts(**tensors), arrays["target"], tuple(names[i] for i in arrays["mode"]))


def batches(plan: StreamPlan, start: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Packed batches of views from step ``start`` on, in this process."""
    only = plan.boxes_only
    return drawn(plan, start, partial(make_chunk, boxes_only=only), partial(pack, boxes_only=only))


def drawn(
    plan: StreamPlan,
    start: int,
    make: Callable[[int, int, int], list[_Sample]],
    pack: Callable[[np.random.Generator, list[_Sample]], dict[str, NDArray[Any]]],
) -> Iterator[dict[str, NDArray[Any]]]:
    """Packed batches drawn from a reservoir of chunks of samples.

    Parameters
    ----------
    plan, start
        How to draw, from which step on.
    make
        The samples of a chunk, given seed, chunk and size.
    pack
        A batch of samples as plain arrays.
    """
    per = plan.steps_per_chunk
    newest = start // per
    reservoir = deque(
        (make(plan.seed, newest + i, plan.chunk) for i in range(plan.window)),
        maxlen=plan.window,
    )
    step = start
    while True:
        if step // per > newest:
            newest = step // per
            reservoir.append(make(plan.seed, newest + plan.window - 1, plan.chunk))
        rng = np.random.default_rng((plan.seed, 7, step))
        picks = rng.integers(plan.window * plan.chunk, size=plan.batch)
        yield pack(rng, [reservoir[p // plan.chunk][p % plan.chunk] for p in picks])
        step += 1


Batches = Callable[[StreamPlan, int], Iterator[dict[str, NDArray[Any]]]]


def _work(plan: StreamPlan, start: int, source: Batches, out: Connection) -> None:
    torch.set_num_threads(1)
    for arrays in source(plan, start):
        try:
            out.send(arrays)
        except OSError:  # nobody reads any more: the trainer is gone
            return


def start_single_threaded(*workers: BaseProcess) -> None:
    """Start processes that use one thread each and do not hear Ctrl-C; the environment stays."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        with unheard():  # Ctrl-C on a terminal reaches the workers too
            for worker in workers:
                worker.start()
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(before)


class WorkerError(SammedError):
    """The process that makes training data has died."""


class Stream:
    """Batches from a worker process; use as a context manager.

    A worker that is killed is begun anew at the batch that it owes, so nothing is lost.

    Parameters
    ----------
    plan, start
        How batches are drawn, from which step on.
    source
        Draws them.
    ahead
        Batches that are made before they are asked for.
    """

    def __init__(
        self, plan: StreamPlan, start: int = 0, source: Batches = batches, ahead: int = 32
    ) -> None:
        self._plan, self._step, self._source = plan, start, source
        self._ready: queue.Queue[dict[str, NDArray[Any]] | None] = queue.Queue(ahead)
        self._over = threading.Event()
        self._deaths = 0

    def __enter__(self) -> Stream:
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._worker.terminate()
        self._worker.join()
        self._taker.join()

    def next(self) -> dict[str, NDArray[Any]]:
        """The next packed batch, waiting for the worker if need be.

        Raises
        ------
        WorkerError
            If the worker fails, or is killed again and again.
        """
        while True:
            try:
                arrays = self._ready.get(timeout=0.5)  # for ever, Windows would not hear Ctrl-C
            except queue.Empty:
                continue
            if arrays is not None:
                self._step, self._deaths = self._step + 1, 0
                return arrays
            self._mourn()
            self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        taken, given = context.Pipe(duplex=False)
        self._worker: BaseProcess = context.Process(
            target=_work, args=(self._plan, self._step, self._source, given), daemon=True
        )
        start_single_threaded(self._worker)
        given.close()  # the worker's alone: its death is the end of what can be read
        self._taker = threading.Thread(target=self._take, args=(taken,), daemon=True)
        self._taker.start()

    def _take(self, taken: Connection) -> None:
        """Put batches on the shelf as they come, then ``None``; in a thread."""
        with taken:
            try:
                while self._put(taken.recv()):
                    pass
            except (EOFError, OSError):  # the worker is dead, perhaps within a batch
                self._put(None)

    def _put(self, arrays: dict[str, NDArray[Any]] | None) -> bool:
        """Put something on the shelf once there is room; whether it is still wanted."""
        while not self._over.is_set():
            try:
                self._ready.put(arrays, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def _mourn(self) -> None:
        """Find out how the worker ended, and whether it is worth while to begin anew."""
        self._worker.join()
        code, self._deaths = self._worker.exitcode, self._deaths + 1
        if code is not None and code < 0:
            if self._deaths < MOST_DEATHS:
                return
            raise WorkerError(
                f"the process that makes training data was killed {MOST_DEATHS} times in a row "
                f"(signal {-code}), perhaps for want of memory"
            )
        raise WorkerError(
            f"the process that makes training data has failed (exit code {code}); what it said "
            "stands above"
        )
