"""How long the Slicer module's users wait, beyond the engine's own time.

Needs slicer-core (``make test-slicer`` makes its environment) and, in SAMMED_PYTHON, a Python with
sammed::

    SAMMED_PYTHON=.venv/bin/python .venv-slicer/bin/python benchmarks/slicer_worker.py
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import types
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "slicer_module" / "SAMMed"), str(ROOT / "tests" / "slicer")]

STAGES = ("window", "propagate", "fusion")
"""Stages of the session that hold all the others."""

SHAPE = (200, 512, 512)
CENTRE, RADII = (100, 240, 200), (40, 90, 110)


def phantom():
    """200 slices of 512 x 512 with an ellipsoid over 80 of them."""
    k, j, i = (np.arange(n) for n in SHAPE)
    z, y, x = ((a - c) / r for a, c, r in zip((k, j, i), CENTRE, RADII, strict=True))
    organ = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 <= 1
    voxels = np.random.default_rng(5).integers(-20, 60, SHAPE, np.int16)
    voxels[organ] += 100
    return voxels


def wait(workflow):
    """Poll as Slicer's timer does; seconds until the engine rests."""
    started = time.perf_counter()
    while workflow.engine.busy:
        workflow.poll()
        time.sleep(0.002)
    return time.perf_counter() - started


def main(model):
    """Measure, print, and return the figures in seconds."""
    from standin import scene

    scene.start()
    import slicer
    from SAMMedLib import geometry, prompts, segmentation
    from SAMMedLib.dependencies import launcher
    from SAMMedLib.workflow import Workflow

    volume = slicer.util.addVolumeFromArray(phantom(), np.diag([0.8, 0.8, 2.5, 1.0]))
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(200, 60)
    python = os.environ.get("SAMMED_PYTHON", sys.executable)
    workflow = Workflow(lambda: launcher(python))
    workflow.parameters = types.SimpleNamespace(
        volume=volume,
        segmentation=None,
        segmentID="",
        plane="auto",
        window="200/60",
        model=model,
        overlap="allow",
        autoUpdate=False,
    )
    figures = {}
    workflow.add_segment("organ")
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    hand_over = []
    work = workflow._work()
    started = time.perf_counter()
    engine = workflow.engine

    def first_two():
        yield from engine._greet(None)
        yield from engine._hand_over(work.volume)

    engine._begin(first_two(), lambda kind, value: hand_over.append(kind))
    wait(workflow)
    figures["worker start and volume hand-over"] = time.perf_counter() - started
    assert hand_over == ["done"], hand_over

    engine.prepare(work, lambda *_: None)
    figures["model load, while the user draws"] = wait(workflow)

    block = [CENTRE[0], CENTRE[1] - 92, CENTRE[2] - 112, CENTRE[0] + 1]
    block += [CENTRE[1] + 92, CENTRE[2] + 112]
    prompts.place_box(node, segment_id, volume, block, 0)
    limits = [CENTRE[0] - 40, *block[1:3], CENTRE[0] + 40, *block[4:]]
    prompts.place_box(node, segment_id, volume, limits)
    timings = []
    take = workflow._take
    workflow._take = lambda key, vid, state, result: (
        timings.append(sum(result.timings.get(stage, 0.0) for stage in STAGES)),
        take(key, vid, state, result),
    )
    workflow.segment()
    figures["one box to a shown segment"] = wait(workflow)
    figures["  of which the engine"] = timings[-1]
    figures["  of which write-back"] = workflow.write_seconds
    found, _ = segmentation.read(node, segment_id, volume)
    figures["slices"] = found[3] - found[0]

    point = geometry.world_from_ijk(volume, [[CENTRE[2] + 60, CENTRE[1], CENTRE[0]]])[0]
    prompts.add_point(node, segment_id, prompts.POSITIVE, point)
    workflow.segment()
    figures["a click on the prompted slice, all that is stale"] = wait(workflow)
    figures["  of which write-back again"] = workflow.write_seconds
    workflow.close()
    return figures


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "compact"
    measured = {name: round(float(value), 3) for name, value in main(chosen).items()}
    machine = {
        "model": chosen,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(v, 1) for v in os.getloadavg()],
    }
    print(json.dumps({"machine": machine, "seconds": measured}, indent=1))
