"""Samples from many worker processes, kept where the network is trained, drawn from at random.

What `sammed.training.stream` sends depends on the seed alone, but waits for its one worker. A pool
never waits once it has begun: workers replace its oldest samples as fast as they can, and each
batch is drawn from what is there. So a quick trainer is never idle, and a run cannot be repeated to
the last bit.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammed.training.stream import WorkerError, start_single_threaded

Arrays = dict[str, NDArray[Any]]
MakeArrays = Callable[[int], Arrays]

AHEAD = 2
"""Chunks that wait to be taken over, a worker."""


def _work(make: MakeArrays, first: int, stride: int, out: Any, parent: int) -> None:
    torch.set_num_threads(1)
    index = first
    while True:
        arrays = make(index)
        index += stride
        while True:
            if os.getppid() != parent:
                out.cancel_join_thread()
                return
            try:
                out.put(arrays, timeout=2.0)
                break
            except queue.Full:
                continue


class Pool:
    """Batches of samples that are kept on a device; use as a context manager.

    Parameters
    ----------
    make
        A chunk of samples as arrays of equal length, given its number.
    workers
        Processes that make chunks.
    capacity
        Samples that are kept.
    batch
        Samples in a batch.
    device
        Where they are kept.
    seed, start
        Seed of the draws, and the step at which they begin.
    """

    def __init__(
        self,
        make: MakeArrays,
        *,
        workers: int,
        capacity: int,
        batch: int,
        device: str = "cpu",
        seed: int = 0,
        start: int = 0,
    ) -> None:
        self._capacity, self._batch, self._device = capacity, batch, device
        self._rng = np.random.default_rng((seed, 5, start))
        self._kept: dict[str, Tensor] = {}
        self.filled = self.received = 0
        self._lock = threading.Lock()
        self._enough, self._over = threading.Event(), threading.Event()
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue(maxsize=AHEAD * workers)
        first = start * 1000  # a resumed run goes on to chunks that it has not seen
        self._workers: list[BaseProcess] = [
            context.Process(
                target=_work,
                args=(make, first + n, workers, self._queue, os.getpid()),
                daemon=True,
            )
            for n in range(workers)
        ]
        self._taker = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> Pool:
        start_single_threaded(*self._workers)
        self._taker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join()
        self._taker.join(timeout=2.0)
        self._queue.cancel_join_thread()
        self._queue.close()

    def next(self) -> dict[str, Tensor]:
        """The next batch, on the device; waits only while there are too few samples to begin.

        Raises
        ------
        WorkerError
            If all workers have died.
        """
        while True:
            enough = self._enough.wait(timeout=1.0)
            if self._taker.is_alive() and not any(one.is_alive() for one in self._workers):
                raise WorkerError(
                    "the processes that make training data have died, perhaps for want of memory; "
                    "take fewer of them"
                )
            if enough:
                break
        with self._lock:
            rows = torch.from_numpy(self._rng.integers(self.filled, size=self._batch))
            rows = rows.to(self._device)
            return {name: kept[rows] for name, kept in self._kept.items()}

    def put(self, arrays: Arrays) -> None:
        """Take a chunk over, in place of the oldest samples if there is no room."""
        with self._lock:
            if not self._kept:
                self._kept = {
                    name: torch.empty(
                        (self._capacity, *a.shape[1:]),
                        dtype=torch.from_numpy(a[:0]).dtype,
                        device=self._device,
                    )
                    for name, a in arrays.items()
                }
            count = len(next(iter(arrays.values())))
            rows = (self.received + np.arange(count)) % self._capacity
            at = torch.from_numpy(rows).to(self._device)
            for name, array in arrays.items():
                self._kept[name][at] = torch.from_numpy(array).to(self._device)
            self.received += count
            self.filled = min(self._capacity, self.received)
            if self.filled >= min(2 * self._batch, self._capacity):
                self._enough.set()

    def _take(self) -> None:
        while not self._over.is_set():
            try:
                self.put(self._queue.get(timeout=0.5))
            except queue.Empty:
                continue
            except (EOFError, OSError):
                return
