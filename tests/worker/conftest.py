"""A client of the worker as the documentation describes it, and a phantom."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

OBLIQUE = np.array(
    [
        [0.10, 0.00, -0.69, 31.0],
        [0.05, 0.79, 0.00, -17.0],
        [2.49, -0.02, 0.10, 203.0],
        [0.00, 0.00, 0.00, 1.0],
    ]
)


def orthogonal(affine, spacing=(2.5, 0.8, 0.7)):
    """The nearest affine with orthogonal columns of that spacing."""
    u, _, v = np.linalg.svd(affine[:3, :3])
    return np.vstack([np.column_stack([(u @ v) * spacing, affine[:3, 3]]), [0, 0, 0, 1]])


class Client:
    """Starts a worker and talks to it."""

    def __init__(self, *arguments, environment=None, command=None):
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "sammed.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )
        self.lines = queue.Queue()
        self.count = 0
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def write(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, do, **fields):
        self.count += 1
        self.write(json.dumps({"id": self.count, "do": do, **fields}).encode() + b"\n")
        return self.count

    def next(self, timeout=60):
        return self.lines.get(timeout=timeout)

    def ask(self, do, **fields):
        """The final answer to a request; progress lines are dropped."""
        request = self.send(do, **fields)
        while True:
            answer = self.next()
            if answer["id"] == request and answer["event"] != "progress":
                return answer

    def hello(self, **fields):
        answer = self.ask("hello", protocol=1, **fields)
        self.exchange = Path(answer["exchange"])
        return answer

    def array(self, array, name="array.raw"):
        path = self.exchange / name
        np.ascontiguousarray(array).tofile(path)
        return {"path": str(path), "dtype": array.dtype.str, "shape": list(array.shape)}

    def volume(self, voxels, affine, **fields):
        return self.ask(
            "volume",
            hash=hashlib.sha256(np.ascontiguousarray(voxels).data).hexdigest(),
            shape=list(voxels.shape),
            dtype=voxels.dtype.str,
            affine=affine.tolist(),
            data=self.array(voxels, "volume.raw"),
            **fields,
        )

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()


def read_array(reference):
    """The array of a reference, as a client reads it."""
    return np.fromfile(reference["path"], reference["dtype"]).reshape(reference["shape"])


def wait_until(condition, seconds=5.0):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.fixture
def client():
    worker = Client()
    yield worker
    worker.stop()


@pytest.fixture(scope="session")
def phantom():
    """(voxels (k, j, i) int16, organ mask): an ellipsoid off centre in noise."""
    k, j, i = np.ogrid[:11, :37, :41]
    organ = ((k - 5) / 4.2) ** 2 + ((j - 22) / 9.0) ** 2 + ((i - 14) / 7.0) ** 2 <= 1
    noise = np.random.default_rng(7).normal(0, 8, organ.shape)
    return (np.where(organ, 120, 20) + noise).astype(np.int16), organ


@pytest.fixture(scope="session")
def affine():
    return orthogonal(OBLIQUE)
