"""How long the Slicer module's users wait, on a 512x512x200 volume with an object on 80 slices.

Then how long Slicer's window stands still at most: while there are 117 other segments on a volume
of 300x512x512, while a surface is shown in 3D, and while 50 segments have prompts.

Needs slicer-core and, in SAMMED_PYTHON, a Python with sammed: ``make bench-slicer`` has both.
Prints each figure with its target and writes benchmarks/results/slicer.csv and slicer.json.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
sys.path[:0] = [str(ROOT / "slicer_module" / "SAMMed"), str(ROOT / "tests" / "slicer")]

POLL_SECONDS = 0.02
"""As the module's timer (``SAMMed.POLL_MS``): what it adds is part of the wait."""

STAGES = ("window", "propagate", "fusion")
"""Stages of the session that hold all the others."""

SHAPE = (200, 512, 512)
CENTRE, RADII = (100, 240, 200), (40, 90, 110)

TARGETS = {
    "worker start and volume hand-over": 1.5,
    "one box to a shown segment, as a multiple of the engine's own time": 1.5,
    "click on the prompted slice to an updated view": 0.5,
    "click on another slice to an updated view": 0.5,
    "click with auto-update to an updated view": 0.5,
    "write-back, the longest": 0.05,
    "117 other segments: longest stall before the result": 0.05,
    "117 other segments: longest stall when it is written": 0.1,
    "shown in 3D: longest stall before the result": 0.05,
    "shown in 3D: longest stall when it is written": 0.1,
    "shown in 3D: longest stall while its surface is made": 0.05,
    "50 segments with prompts: longest update of the panel": 0.05,
}

OTHERS, PROMPTED = 117, 50
LARGE = (300, 512, 512)

REPEATS = 3
"""Stalls are the longest of each of so many runs; the least of them is told: what other programs
on the machine add to a run is not the module's."""


def phantom():
    """200 slices of 512 x 512 with an ellipsoid over 80 of them."""
    k, j, i = (np.arange(n) for n in SHAPE)
    z, y, x = ((a - c) / r for a, c, r in zip((k, j, i), CENTRE, RADII, strict=True))
    organ = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 <= 1
    voxels = np.random.default_rng(5).integers(-20, 60, SHAPE, np.int16)
    voxels[organ] += 100
    return voxels


def wait(workflow, condition):
    """Poll as Slicer's timer does until something is so; seconds that it took."""
    started = time.perf_counter()
    while not condition():
        time.sleep(POLL_SECONDS)
        workflow.poll()
    return time.perf_counter() - started


class View:
    """The slice view that the user looks at, drawn if this machine can draw offscreen."""

    def __init__(self, volume):
        import slicer
        from conftest import DRAW
        from standin.slice_view import SliceView

        command = [sys.executable, "-c", DRAW]
        self.draws = not subprocess.run(command, capture_output=True, check=False).returncode
        if self.draws:
            node = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
            self._view = SliceView(node, 512, 512)
            self._volume = volume

    def show(self, index):
        """Go to a slice."""
        from SAMMedLib import geometry

        if self.draws:
            self._view.show(self._volume, geometry.slice_centre(self._volume, 0, index), 420)
            self._view.window.Render()

    def draw(self):
        """Draw what has changed."""
        if self.draws:
            self._view.window.Render()


class Measured:
    """One session of a user."""

    def __init__(self, model):
        import slicer

        self.figures = {}
        self.writes, self.computing = [], []
        self.volume = slicer.util.addVolumeFromArray(phantom(), np.diag([0.8, 0.8, 2.5, 1.0]))
        self.volume.CreateDefaultDisplayNodes()
        self.volume.GetDisplayNode().AutoWindowLevelOff()
        self.volume.GetDisplayNode().SetWindowLevel(200, 60)
        self.workflow = session(self.volume, model)
        self.workflow.add_segment("organ")
        self.view = View(self.volume)
        self.view.show(CENTRE[0])

    @property
    def place(self):
        """The segmentation and the segment."""
        return self.workflow.parameters.segmentation, self.workflow.parameters.segmentID

    def hand_over(self):
        """Start the worker and give it the volume; then load the model, as while a box is drawn."""
        engine, work, told = self.workflow.engine, self.workflow._work(), []

        def first_two():
            yield from engine._greet(None)
            yield from engine._hand_over(work.volume)

        started = time.perf_counter()
        engine._begin(first_two(), lambda kind, value: told.append(kind))
        wait(self.workflow, lambda: not engine.busy)
        self.figures["worker start and volume hand-over"] = time.perf_counter() - started
        assert told == ["done"], told
        engine.prepare(work, lambda *_: None)
        loading = wait(self.workflow, lambda: not engine.busy)
        self.figures["model load, while the user draws"] = loading

    def box(self):
        """One box on the middle slice, with the z range of 80 slices."""
        from SAMMedLib import prompts

        j, i = CENTRE[1], CENTRE[2]
        low, high = (j - RADII[1] - 2, i - RADII[2] - 2), (j + RADII[1] + 3, i + RADII[2] + 3)
        prompts.place_box(*self.place, self.volume, [CENTRE[0], *low, CENTRE[0] + 1, *high], 0)
        limits = [CENTRE[0] - 40, *low, CENTRE[0] + 40, *high]
        prompts.place_box(*self.place, self.volume, limits)
        before, after = self.segment("one box")
        engines = sum(after.get(stage, 0.0) - before.get(stage, 0.0) for stage in STAGES)
        took = self.figures["one box to a shown segment"]
        self.figures["  the engine's own time"] = engines
        name = "one box to a shown segment, as a multiple of the engine's own time"
        self.figures[name] = took / engines

    def click(self, name, index, auto=False):
        """One corrective click, then Segment; or none, with auto-update."""
        from SAMMedLib import geometry, prompts

        self.view.show(index)
        workflow = self.workflow
        workflow.parameters.autoUpdate = auto
        workflow.placing.watch()
        point = geometry.world_from_ijk(self.volume, [[CENTRE[2] + 60, CENTRE[1], index]])[0]
        started = time.perf_counter()
        prompts.add_point(*self.place, prompts.POSITIVE, point)
        if not auto:
            self.segment(name)
            return
        wait(workflow, lambda: workflow.shows_early)
        self.view.draw()
        self.figures[f"{name} to an updated view"] = time.perf_counter() - started
        workflow.cancel()
        wait(workflow, lambda: not workflow.busy)

    def segment(self, name):
        """Press Segment: until the prompted slice is drawn, and until all of it is."""
        workflow, results = self.workflow, []
        take, before = workflow._take, getattr(self, "_timings", {})

        def timed(state, result):
            results.append(result)
            begun = clocks()
            take(state, result)
            self.computing.append((clocks() - begun)[1])

        workflow._take = timed
        started = time.perf_counter()
        workflow.segment()
        wait(workflow, lambda: workflow.shows_early or not workflow.busy)
        self.view.draw()
        self.figures[f"{name} to an updated view"] = time.perf_counter() - started
        wait(workflow, lambda: not workflow.busy)
        self.view.draw()
        self.figures[f"{name} to a shown segment"] = time.perf_counter() - started
        workflow._take = take
        assert not workflow.failed, workflow.message
        self.writes.append(workflow.write_seconds)
        self._timings = results[0].timings
        return before, self._timings


def clocks():
    """Time on the wall, and what this thread has computed: on a busy machine they differ."""
    return np.array([time.perf_counter(), time.thread_time()])


def stalls_of_runs(name, runs, parts):
    """The longest stalls of the least disturbed run, and what of them was computing."""
    figures = {}
    for part, (wall, computing) in zip(parts, np.min(runs, axis=0), strict=False):
        figures[f"{name} {part}"] = wall
        figures[f"  {name} {part}, of it computing"] = computing
    return figures


class Stalls:
    """How long each step of the timer takes: while it does, nothing else moves in the window."""

    def __init__(self, workflow):
        self._workflow, self._take = workflow, workflow._take
        self.before, self.result, self.after = [], [], []
        self._now = self.before
        workflow._take = self._took

    def _took(self, state, result):
        self._now = self.result
        self._take(state, result)

    def until(self, condition):
        """Poll as Slicer's timer does, and measure each step."""
        while not condition():
            time.sleep(POLL_SECONDS)
            started = clocks()
            self._workflow.poll()
            self._now.append(clocks() - started)
            if self._now is self.result:
                self._now = self.after

    def end(self):
        """Let go of the workflow."""
        self._workflow._take = self._take


def session(volume, model, overlap="allow"):
    """A workflow on a volume."""
    from SAMMedLib import parameters
    from SAMMedLib.dependencies import launcher
    from SAMMedLib.workflow import Workflow

    workflow = Workflow(lambda: launcher(os.environ.get("SAMMED_PYTHON", sys.executable)))
    workflow.parameters = parameters.free(
        volume=volume, window="200/60", model=model, device="cpu", overlap=overlap
    )
    return workflow


def box_on(workflow, centre, radii):
    """One box on a slice, and the slices between which the object is looked for."""
    from SAMMedLib import prompts

    (k, j, i), (rk, rj, ri) = centre, radii
    block = [k, j - rj - 2, i - ri - 2, k + 1, j + rj + 3, i + ri + 3]
    prompts.place_box(*workflow.target, workflow.volume, block, 0)
    limits = [k - rk, *block[1:3], k + rk, *block[4:]]
    prompts.place_box(*workflow.target, workflow.volume, limits)


def segment_beside(model):
    """Figures of a segment that leaves 117 others, on one layer, their voxels."""
    import slicer
    from SAMMedLib import segmentation

    centre, radii = (150, 256, 256), (20, 60, 70)
    k, j, i = (np.arange(n) for n in LARGE)
    z, y, x = ((a - c) / r for a, c, r in zip((k, j, i), centre, radii, strict=True))
    organ = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 <= 1
    voxels = np.random.default_rng(5).integers(-20, 60, LARGE, np.int16)
    voxels[organ] += 100
    volume = slicer.util.addVolumeFromArray(voxels, np.diag([0.8, 0.8, 2.5, 1.0]))
    labels = np.zeros(LARGE, np.uint8)
    for n in range(OTHERS):
        at = (n // 20) * 45 + 10, ((n // 5) % 4) * 120 + 20, (n % 5) * 95 + 20
        labels[tuple(slice(a, a + size) for a, size in zip(at, (40, 100, 80), strict=True))] = n + 1
    node = segmentation.make(volume)
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.util.updateVolumeFromArray(drawn, labels)
    drawn.CopyOrientation(volume)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.ImportLabelmapToSegmentationNode(drawn, node)
    slicer.mrmlScene.RemoveNode(drawn)
    runs = []
    for _ in range(REPEATS):
        workflow = session(volume, model, "keep")
        workflow.parameters.segmentation = node
        workflow.add_segment("organ")
        box_on(workflow, centre, radii)
        runs.append(stalls_of(workflow))
        workflow.remove_segment()
        workflow.close()
    name = f"{OTHERS} other segments: longest stall"
    return stalls_of_runs(name, runs, ("before the result", "when it is written"))


def stalls_of(workflow):
    """Segment; the longest stalls before the result, when it is written, and after it."""
    stalls = Stalls(workflow)
    started = clocks()
    workflow.segment()
    stalls.before.append(clocks() - started)
    stalls.until(lambda: not workflow.busy)
    assert not workflow.failed, workflow.message
    stalls.until(lambda: not workflow.surfaces.busy)
    stalls.end()
    parts = stalls.before, stalls.result, stalls.after or [np.zeros(2)]
    return [np.max(part, axis=0) for part in parts]


def segment_in_3d(model):
    """Figures of a segment whose surface is shown, corrected by a click."""
    import slicer
    from SAMMedLib import geometry, prompts

    volume = slicer.util.addVolumeFromArray(phantom(), np.diag([0.8, 0.8, 2.5, 1.0]))
    workflow = session(volume, model)
    workflow.add_segment("organ")
    box_on(workflow, CENTRE, RADII)
    workflow.segment()
    wait(workflow, lambda: not workflow.busy)
    node, _ = workflow.target
    node.CreateClosedSurfaceRepresentation()
    node.GetDisplayNode().SetVisibility3D(True)
    runs = []
    for n in range(REPEATS):
        voxel = [CENTRE[2] + 60, CENTRE[1], CENTRE[0] + 10 * (n + 1)]
        point = geometry.world_from_ijk(volume, [voxel])[0]
        prompts.add_point(*workflow.target, prompts.POSITIVE, point)
        runs.append(stalls_of(workflow))
    assert workflow.surfaces.beside == workflow.surfaces.made == REPEATS
    workflow.close()
    name = "shown in 3D: longest stall"
    parts = ("before the result", "when it is written", "while its surface is made")
    return stalls_of_runs(name, runs, parts)


def panel_with_prompts():
    """The longest update of the real panel, in its stand-in, with prompts of 50 segments."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import tempfile

    import slicer
    from PySide6 import QtWidgets
    from standin import slicer_module, widgets

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    slicer_module.install(Path(tempfile.mkdtemp()) / "settings.ini")
    slicer.mrmlScene.Clear(0)
    volume = slicer.util.addVolumeFromArray(np.zeros((60, 128, 128), np.int16))
    import SAMMed
    from SAMMedLib import prompts

    widget = SAMMed.SAMMedWidget()
    widget.setup()
    widget.enter()
    widget.parent.show()
    workflow = widget.logic.workflow
    workflow.parameters.volume = volume
    for n in range(PROMPTED):
        workflow.add_segment(f"segment {n}")
        for k in (20, 30):
            prompts.place_box(*workflow.target, volume, [k, 30, 30, k + 1, 60, 60], 0)
        prompts.add_point(*workflow.target, prompts.POSITIVE, (-40, -40, 20))
    taken = []
    for n in range(10):
        segments = workflow.parameters.segmentation.GetSegmentation()
        workflow.parameters.segmentID = segments.GetNthSegmentID(5 * n)
        application.processEvents()
        started = clocks()
        workflow.retarget()
        widget.panel.update()
        widget.onTimer()
        taken.append(clocks() - started)
    widget.exit()
    widget.cleanup()
    widgets.release(widget.parent)
    name = f"{PROMPTED} segments with prompts: longest update of"
    return stalls_of_runs(name, [[np.max(taken, axis=0)]], ("the panel",))


def main(model):
    """Measure; the figures, in seconds but for the one multiple, and what was drawn."""
    from standin import scene

    scene.start()
    import slicer
    from SAMMedLib import segmentation

    measured = Measured(model)
    measured.hand_over()
    measured.box()
    measured.click("click on the prompted slice", CENTRE[0])
    measured.click("click on another slice", CENTRE[0] + 20)
    measured.click("click with auto-update", CENTRE[0] - 20, auto=True)
    measured.figures["write-back, the longest"] = max(measured.writes)
    measured.figures["  write-back, the longest, of it computing"] = max(measured.computing)
    block, _ = segmentation.read(*measured.place, measured.volume)
    measured.workflow.close()
    measured.figures.update(segment_in_3d(model))
    slicer.mrmlScene.Clear(0)
    measured.figures.update(segment_beside(model))
    measured.figures.update(panel_with_prompts())
    drawn = "Slicer's slice renderer, offscreen" if measured.view.draws else "not drawn: no EGL"
    return measured.figures, {"model": model, "view": drawn, "slices": block[3] - block[0]}


def machine():
    """The machine, as sammed's own Python sees it."""
    python = os.environ.get("SAMMED_PYTHON", sys.executable)
    code = "import json; from benchmarks import machine; print(json.dumps(machine.describe()))"
    told = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, check=True)
    return json.loads(told.stdout)


def report(figures, about):
    """Print the figures and write them."""
    rows = []
    for name, value in figures.items():
        target = TARGETS.get(name)
        met = None if target is None else bool(value <= target)
        rows.append({"what": name, "value": round(float(value), 3), "target": target, "met": met})
        state = "" if met is None else f"target {target:<5} {'met' if met else 'MISSED'}"
        print(f"{name:<72} {value:7.3f}  {state}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "slicer.json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    with (RESULTS / "slicer.csv").open("w", newline="") as stream:
        stream.write("# " + "; ".join(f"{k} {v}" for k, v in about["machine"].items()) + "\n")
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "compact"
    host = machine()
    found, told = main(chosen)
    print("; ".join(f"{key} {value}" for key, value in {**host, **told}.items()))
    report(found, {"machine": host, **told})
