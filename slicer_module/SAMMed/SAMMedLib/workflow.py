"""From prompts in the scene to a segment in the scene: everything the panel's buttons do.

No Qt here: `Workflow.poll` is called by a timer, and `Workflow.on_change` tells the panel to look
again.
"""

from __future__ import annotations

import time

import slicer

from . import corrections, geometry, history, placing, prompts, segmentation, wording
from .choice import Choice
from .engine import Engine
from .running import Running
from .volumes import Volumes
from .work import EngineError, Work

DEBOUNCE_SECONDS = 0.2
"""With auto-update on, a change of the prompts is segmented after so long a rest."""


class Workflow(Choice):
    """What the module does, on what is chosen.

    Parameters
    ----------
    launch
        Gives the worker's (command, environment); see `dependencies.launcher`.

    Attributes
    ----------
    message, failed
        What to tell the user, and whether it is bad news.
    history
        What was done to each segment, for undo and for the panel.
    """

    def __init__(self, launch):
        self.engine = Engine(launch)
        self.history = history.History()
        self.placing = placing.Placing(self._prompt_settled)
        self.on_change = lambda: None
        self.message, self.failed = "", False
        self._volumes = Volumes()
        self._running = None
        self._due = None

    @property
    def axis(self):
        """The array axis across which the chosen segment is segmented."""
        run = self.history.runs.get(self.key) if self.key else None
        drawn = self._box_axes()
        if drawn:
            return drawn[0]
        return run["axis"] if run else placing.default_axis(self.volume, self.parameters.plane)

    def _box_axes(self):
        """The axes across which the chosen segment's boxes on one slice were drawn."""
        boxes = prompts.nodes(*self.target, prompts.BOX) if self.key else ()
        return [
            prompts.box_axis(box, self.volume)
            for box in boxes
            if box.GetAttribute(prompts.MEANING) == prompts.SLICE and prompts.is_complete(box)
        ]

    @property
    def busy(self):
        """Whether a segmentation of the user's runs; warming up does not count."""
        return self.engine.segmenting

    @property
    def most_slices(self):
        """How many slices a segmentation can have; 0 if that is not known."""
        if self.volume is None or self.parameters.plane == "all":
            return 0
        return geometry.shape_of(self.volume)[self.axis]

    @property
    def shows_early(self):
        """Whether a prompted slice is shown already while the others are computed."""
        return self._running is not None and bool(self._running.blocks)

    def check(self):
        """Start the engine to see whether it works; what it says is in ``message``."""
        if self.engine.busy:
            return
        self._say("Starting the engine.")
        self.engine.check(self._checked)

    def _prepared(self, kind, value):
        if kind == "failed":
            self._say(wording.sentence(str(value)), failed=True)

    def _checked(self, kind, value):
        if kind == "failed":
            self._say(wording.sentence(str(value)), failed=True)
        elif kind == "done":
            self._say(f"The engine works: sammed {value['sammed']}.")

    # -- segments ----------------------------------------------------------------------------

    def add_segment(self, name=""):
        """Add a segment and choose it; makes the segmentation if there is none."""
        if self.volume is None:
            return self._say(self.problem(), failed=True)
        if self.parameters.segmentation is None:
            self.parameters.segmentation = segmentation.make(self.volume)
        node = self.parameters.segmentation
        if node.GetSegmentation().GetNumberOfSegments() == 0:
            segmentation.attach(node, self.volume)
        self.parameters.segmentID = segmentation.add(node, name)
        self._say("")

    def remove_segment(self):
        """Remove the chosen segment with its prompts."""
        if self.key is None:
            return
        key, node = self.key, self.parameters.segmentation
        if self.engine.busy:
            self.engine.cancel()
        prompts.clear(node, key[1])
        node.GetSegmentation().RemoveSegment(key[1])
        self.history.forget(key)
        ids = segmentation.ids(node)
        self.parameters.segmentID = ids[-1] if ids else ""
        self._say("")

    # -- prompts -----------------------------------------------------------------------------

    def place(self, role, meaning=prompts.SLICE):
        """Let the user draw a box or click points in the slice views."""
        if self.key is None:
            self.add_segment()
        if self.key is None:
            return
        self.placing.begin(
            self.volume,
            self.parameters.segmentation,
            self.key[1],
            role,
            meaning,
            self.parameters.plane,
        )
        if self.engine.state in ("off", "failed"):  # warm up while the user draws
            self.engine.prepare(self._work(), self._prepared)
        self.on_change()

    def confirm_slice(self):
        """Take the slice that is shown as right: it is kept, and its neighbours start from it."""
        axis = self.axis
        index = placing.shown_index(self.volume, axis)
        if index is None:
            plane = geometry.plane_of(self.volume, axis)
            return self._say(
                f"No view shows {plane} slices of the volume: press Align views first.", failed=True
            )
        node, segment_id = self.target
        if index not in corrections.filled(node, segment_id, self.volume, axis):
            return self._say(f"Slice {index} holds nothing of this segment yet.", failed=True)
        prompts.add_right_slices(node, segment_id, axis, [index])
        self._say(f"Slice {index} is kept as it is.")
        self._prompt_settled()

    def confirm_all(self):
        """Take the segment as it is for a prompt: every slice of it is right."""
        axis = self.axis
        node, segment_id = self.target
        indices = corrections.filled(node, segment_id, self.volume, axis)
        if not indices:
            return self._say("The segment is empty: there is nothing to start from.", failed=True)
        prompts.set_right_slices(node, segment_id, axis, indices)
        self._say(f"{len(indices)} slices of the segment are taken as they are.")
        self._prompt_settled()

    def clear_prompts(self):
        """Remove the prompts of the chosen segment; its voxels stay."""
        if self.key:
            prompts.clear(self.parameters.segmentation, self.key[1])
            self._say("")

    def _prompt_settled(self):
        if self.parameters is not None and self.parameters.autoUpdate and self.key:
            self._due = time.monotonic() + DEBOUNCE_SECONDS
        self.on_change()

    # -- segmenting --------------------------------------------------------------------------

    def segment(self):
        """Segment the chosen segment from its prompts."""
        self._due = None
        self.placing.end()
        if self.busy:
            return self._say("Another segmentation is running; cancel it first.", failed=True)
        problem = self.problem() or self._ask()
        if problem:
            self._take_back()
            self._say(problem, failed=True)

    def _ask(self):
        """Ask the engine; what is wrong with the prompts, or empty."""
        key, node = self.key, self.parameters.segmentation
        known = self._running  # what was shown before it was cancelled for other prompts
        if known is not None and (known.key, known.volume_id) != (key, self.volume.GetID()):
            self._take_back()
        kept = self._keep_corrections(key)
        asked, problems = prompts.read(self.volume, node, key[1])
        if problems:
            return "; ".join(problems) + "."
        ends = prompts.ends(node, key[1])
        if ends:
            asked["blocks"] = prompts.within_ends(self.volume, asked["blocks"], ends)
        if not self.parameters.window:
            self.copy_window()
        work = self._work()
        work.name = "/".join(key)
        work.prompts = asked
        work.masks = corrections.masks(node, key[1], self.volume)
        current = segmentation.read(node, key[1], self.volume)
        if self._running is None:
            self._running = Running(key, self.volume.GetID(), current)
        work.whole = not self._is_as_told(current)
        state = prompts.snapshot(node, key[1])
        try:
            self.engine.segment(work, lambda kind, value: self._finish(state, kind, value))
        except EngineError as error:
            return str(error)
        self._say(kept)
        return ""

    def cancel(self):
        """Stop what runs; the segment stays as it was."""
        self._due = None
        self.engine.cancel()
        self.on_change()

    def poll(self):
        """Let things go on; called by a timer some fifty times a second."""
        state = self.engine.state, self.engine.progress
        self.engine.poll()
        self.placing.poll()
        if self._due is not None and time.monotonic() > self._due:
            if self.busy:
                self.engine.cancel()  # what was asked before is out of date
            else:
                self.segment()
        if state != (self.engine.state, self.engine.progress):
            self.on_change()

    def _work(self):
        options = {"plane": self._plane(), "window": self.parameters.window or "auto"}
        return Work(self._volumes.data(self.volume), self.parameters.model or "compact", options)

    def _plane(self):
        """The plane to ask for: slices that are right are so only across their own axis."""
        plane = self.parameters.plane or "auto"
        axis = prompts.right_slices(*self.target)[0] if self.key else None
        usual = placing.default_axis(self.volume, "auto")
        if plane == "auto" and axis not in (None, usual) and not self._box_axes():
            return geometry.plane_of(self.volume, axis)
        return plane

    def _finish(self, state, kind, value):
        if self._running is None:  # the scene was closed
            return
        if kind == "partial":
            self._show(value)
        elif kind == "done":
            self._take(state, value)
        elif kind == "cancelled" and self._due is not None:
            self._say("")  # it is asked again at once: what was shown stays until then
        else:
            self._take_back()
            text = "Cancelled; the segment is as it was." if kind == "cancelled" else str(value)
            self._say(wording.sentence(text), failed=kind == "failed")

    def _show(self, part):
        """Show a slice before the rest is there."""
        node, volume = self._running.home()
        if node is None or part.name != "/".join(self._running.key):
            return
        voxels = segmentation.allowed(
            node, self._running.key[1], volume, part, self.parameters.overlap
        )
        self._running.show(node, volume, part, voxels)
        self.on_change()

    def _take_back(self):
        """The rest does not come: what was shown of it goes."""
        if self._running is not None:
            node, volume = self._running.home()
            if node is not None:
                self._running.take_back(node, volume)
            self._running = None

    def _take(self, state, result):
        node, volume = self._running.home()
        key = self._running.key
        if node is None:
            self._running = None
            return self._say(
                "The volume or the segment was removed meanwhile; the result is dropped.", True
            )
        if result.run.get("error"):
            self._take_back()
            self.history.told.discard(key)  # for the worker it is empty now
            return self._say(wording.sentence(result.run["error"]), failed=True)
        started = time.perf_counter()
        running, self._running = self._running, None
        voxels = segmentation.allowed(node, key[1], volume, result, self.parameters.overlap)
        written = self.history.written.get(key)
        change, written = running.finish(node, volume, result, voxels, written)
        self.history.record(key, volume, state, change, written, result.run)
        self.write_seconds = time.perf_counter() - started
        segmentation.refresh_surface(node, key[1])
        self._say(wording.summary(result))

    def _last_shown(self, key):
        """The segment as the engine's answers left it; ``None`` if there were none."""
        running = self._running
        if self.shows_early and running.key == key:
            return running.expected
        return self.history.written.get(key)

    def _is_as_told(self, current):
        """Whether the segment is as the worker thinks, but for slices shown early."""
        key = self._running.key
        if key not in self.history.told or not segmentation.same(
            self._running.base, self.history.written[key]
        ):
            return False
        return segmentation.same(self._running.expected, current)

    def _keep_corrections(self, key):
        """Slices that were changed by hand since the last run are right; says so."""
        written = self._last_shown(key)
        if written is None:
            return ""
        node, axis = self.parameters.segmentation, self.axis
        current = segmentation.read(node, key[1], self.volume)
        found = corrections.find(written, current, axis)
        if found.painted:
            prompts.add_right_slices(node, key[1], axis, found.painted)
        if found.cut:
            prompts.set_ends(node, key[1], axis, found.first, found.last + 1)
        return wording.kept(found)

    # -- undo --------------------------------------------------------------------------------

    @property
    def can_undo(self):
        """Whether there is something to take back."""
        return not self.busy and (bool(self.history.past) or self.prompts_changed)

    @property
    def can_redo(self):
        """Whether something was taken back."""
        return not self.busy and bool(self.history.future)

    @property
    def prompts_changed(self):
        """Whether the chosen segment has prompts that were not segmented yet."""
        return self.key is not None and self.history.is_behind(*self.target)

    def undo(self):
        """Take back prompts not segmented yet, else the last segmentation and its prompts."""
        if self.can_undo:
            if self.prompts_changed:
                self.history.record_prompts(*self.target, self.volume)
            self._go(backwards=True)

    def redo(self):
        """Do again what `undo` took back."""
        if self.can_redo:
            self._go(backwards=False)

    def _go(self, backwards):
        self._due = None
        self._take_back()
        key, problem = self.history.go(backwards)
        if problem:
            return self._say(problem, failed=True)
        self.parameters.segmentID = key[1]
        self.placing.watch()
        segmentation.refresh_surface(slicer.mrmlScene.GetNodeByID(key[0]), key[1])
        self._say("Undone." if backwards else "Done again.")

    # -- views and window --------------------------------------------------------------------

    def copy_window(self):
        """Copy the window from the volume's display: what the model sees is what you see."""
        display = self.volume.GetDisplayNode() if self.volume is not None else None
        if display is not None and display.GetWindow() > 0:
            self.parameters.window = f"{display.GetWindow():.6g}/{display.GetLevel():.6g}"
        self.on_change()

    def jump(self, record):
        """Show the slice of a line of the quality table, centred on the object."""
        run = self.history.runs.get(self.key)
        if run is None or self.volume is None:
            return
        point = geometry.slice_centre(self.volume, run["axis"], record["index"], record["centroid"])
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByCentering(*point)

    # -- the scene ---------------------------------------------------------------------------

    def reset(self):
        """The scene was closed: nothing of it is known any more."""
        self._due = self._running = None
        if self.engine.busy:
            self.engine.cancel()
        self.placing.end()
        self._volumes.clear()
        self.history = history.History()
        self._say("")

    def adopt(self):
        """The scene was loaded: its prompts are ours, and where undo starts from."""
        self.placing.watch()
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            for segment_id in segmentation.ids(node):
                key = node.GetID(), segment_id
                self.history.settled.setdefault(key, prompts.snapshot(node, segment_id))
        self.on_change()

    def close(self):
        """End the worker and let go of the scene."""
        self.placing.release()
        self.engine.stop()

    def _say(self, message, failed=False):
        self.message, self.failed = message, failed
        self.on_change()
