"""What several workers gain over many scans, and what is lost when they and the scheduler die.

``python -m benchmarks.many`` makes 200 small scans, learns from three, proposes the others with one
worker and with two (one thread each), then once more on a cluster whose worker is killed and whose
scheduler is restarted in the middle. It prints a table and writes benchmarks/results/many.json. The
gain is that of a quiet machine only where the load is below the number of cores; the seconds of the
processor tell on a busy one what the second worker costs beside.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from sammed import io
from sammed.imaging.volume import LabelVolume, Volume
from sammed.learning.course import Wishes, learn
from sammed.project.folder import Project
from sammed.project.sources import find_scans
from sammed.synthesis.abdomens import ORGANS, make_abdomen
from tests.many.jobs import Cluster

RESULTS = Path(__file__).parent / "results" / "many.json"

LABELLED = 3
"""Cases that are learned from; how well does not matter here."""

TARGETS: dict[str, tuple[str, float]] = {
    "two workers against one": (">=", 1.7),
    "lost": ("<=", 0),
    "done twice": ("<=", 0),
}

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def main() -> int:
    """Measure everything and say what was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=200, help="how many")
    parser.add_argument("--every", type=int, default=2, help="take every Nth voxel of them")
    said = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder), said.scans, said.every)
        found = gain(study, said.scans)
        found |= deaths(study, said.scans)
    for what, value in found.items():
        how, target = TARGETS.get(what, ("", 0.0))
        met = value >= target if how == ">=" else value <= target
        state = f"(target {how} {target:g}) {'met' if met else 'MISSED'}" if how else ""
        print(f"{what:<28} {value:9.2f} {state}")
    print(f"load before: {load:.2f} on {os.cpu_count()} cores")
    machine = {**describe(), "load": load}
    RESULTS.write_text(json.dumps({"machine": machine, "found": found}, indent=2) + "\n")
    return 0


def make_study(folder: Path, count: int, every: int) -> Path:
    """A project of so many scans to propose, and a model that has hardly learned."""
    (folder / "scans").mkdir()
    labels = {}
    for number in range(count + LABELLED):
        volume, mapped = make_abdomen(number)
        affine = volume.affine @ np.diag([every, every, every, 1])
        small = Volume.from_array(volume.voxels[::every, ::every, ::every], affine, modality="CT")
        name = f"p{number:03}"
        io.write_volume(small, folder / "scans" / f"{name}.nii.gz")
        if number < LABELLED:
            values = mapped.voxels[::every, ::every, ::every]
            labels[name] = LabelVolume(values, small.grid, dict(mapped.names))
    project = Project.create(folder / "study", dict(ORGANS))
    project.add(find_scans([str(folder / "scans" / "*.nii.gz")]))
    for name, mapped in labels.items():
        project.accept(name, mapped)
    learn(project, Wishes(steps=3, what="segmenter"))
    return folder / "study"


def again(study: Path) -> Path:
    """A fresh copy of the project beside it, which has the same scans."""
    copy = study.with_name("again")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(study, copy)
    (copy / "study.sammed").rename(copy / "again.sammed")
    return copy


def command(study: Path, *more: str) -> list[str]:
    """What a user types."""
    asked = ["propose", str(study), "--threads", "1", *more]
    return [sys.executable, "-m", "sammed", *asked]


def gain(study: Path, count: int) -> dict[str, float]:
    """Seconds of all with one worker and with two, the start of the program included."""
    seconds, cost = {}, {}
    for workers in (1, 2):
        copy = again(study)
        began, spent = time.monotonic(), processor_seconds()
        subprocess.run(command(copy, "-q", "--workers", str(workers)), env=ENV, check=True)
        seconds[workers] = time.monotonic() - began
        cost[workers] = processor_seconds() - spent
        if (there := len(proposals(copy))) != count:
            raise RuntimeError(f"{there} of {count} were proposed by {workers} workers")
    return {
        "scans": count,
        "one worker, s": seconds[1],
        "two workers, s": seconds[2],
        "two workers against one": seconds[1] / seconds[2],
        "one worker, processor s": cost[1],
        "two workers, processor s": cost[2],
    }


def processor_seconds() -> float:
    """Of all programs that were started and have ended; other work does not count in them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def proposals(study: Path) -> dict[str, int]:
    """How often each case was proposed."""
    found = {}
    for case in Project(study).cases():
        times = sum(event["what"] == "propose" for event in case.record.history)
        if times:
            found[case.id] = times
    return found


def deaths(study: Path, count: int) -> dict[str, float]:
    """A worker is killed at a third of the way, the scheduler is restarted at two thirds."""
    copy = again(study)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    cluster = Cluster(copy, port)
    try:
        going = subprocess.Popen(command(copy, "--scheduler", cluster.address), env=ENV)
        wait_for(lambda: len(proposals(copy)) >= count // 3)
        os.kill(at_work(copy), signal.SIGKILL)
        wait_for(lambda: len(proposals(copy)) >= 2 * count // 3)
        cluster.stop()
        cluster.start()
        if code := going.wait():
            raise RuntimeError(f"propose ended with {code}")
    finally:
        cluster.stop()
    found = proposals(copy)
    twice = sum(times - 1 for times in found.values())
    return {"lost": count - len(found), "done twice": twice}


def at_work(study: Path) -> int:
    """The process of a worker that is at a case."""
    while True:
        for case in Project(study).cases():
            if (holder := case.worker) is not None:
                return holder.pid
        time.sleep(0.01)


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    while not condition():
        time.sleep(0.1)


if __name__ == "__main__":
    raise SystemExit(main())
