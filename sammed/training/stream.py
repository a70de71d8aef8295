"""The stream of training batches, made ahead of the trainer by a worker process.

The worker keeps a small reservoir of samples and draws batches from it. What it sends depends on
the seed and the step alone, never on who was faster, so that a run can be repeated and resumed.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sammed.models.compact.net import Prompts
from sammed.synthesis.views import BOXED, MODES, Sample, draw_samples
from sammed.training.interrupts import unheard
from sammed.training.prompts import first_prompts

_Sample = TypeVar("_Sample")

PER_SLAB = 12
"""Samples drawn from one slab."""


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


def _work(plan: StreamPlan, start: int, source: Batches, out: Any, parent: int) -> None:
    torch.set_num_threads(1)
    for arrays in source(plan, start):
        while True:
            if os.getppid() != parent:
                out.cancel_join_thread()  # else this process would wait for a reader for ever
                return
            try:
                out.put(arrays, timeout=2.0)
                break
            except queue.Full:
                continue


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


class Stream:
    """Batches from a worker process; use as a context manager."""

    def __init__(
        self, plan: StreamPlan, start: int = 0, source: Batches = batches, ahead: int = 32
    ) -> None:
        """Prepare the worker, which draws from ``source``; it starts on entering the context."""
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue(maxsize=ahead)
        self._worker: BaseProcess = context.Process(
            target=_work, args=(plan, start, source, self._queue, os.getpid()), daemon=True
        )

    def __enter__(self) -> Stream:
        start_single_threaded(self._worker)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.terminate()
        self._worker.join()
        self._queue.cancel_join_thread()
        self._queue.close()

    def next(self) -> dict[str, NDArray[Any]]:
        """The next packed batch, waiting for the worker if need be."""
        while True:
            try:
                arrays: dict[str, NDArray[Any]] = self._queue.get(timeout=5.0)
                return arrays
            except queue.Empty:
                if not self._worker.is_alive():
                    raise RuntimeError("the worker that makes training data has died") from None
