"""From prompts in the scene to a segment in the scene: everything the panel's buttons do.

No Qt here: `Workflow.poll` is called by a timer, and `Workflow.on_change` tells the panel to look
again.
"""

from __future__ import annotations

import time

import slicer
from slicer.i18n import tr as _

from . import (
    corrections,
    frames,
    geometry,
    history,
    phases,
    placing,
    prompts,
    segmentation,
    subject,
    telling,
    terms,
    wording,
)
from .beside import Beside
from .engine import Engine
from .running import Running
from .volumes import Volumes
from .work import EngineError, Work

DEBOUNCE_SECONDS = 0.2
"""With auto-update on, a change of the prompts is segmented after so long a rest."""


class Workflow(Beside):
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
        super().__init__()
        self.engine = Engine(launch)
        self.on_change = lambda: None
        self.message, self.failed = "", False
        self._volumes = Volumes()
        self._running = None
        self._due = None
        self._frames = None

    @property
    def busy(self):
        """Whether a segmentation of the user's runs; warming up does not count."""
        return self.engine.segmenting or self._frames is not None or self._arriving is not None

    @property
    def is_sequence(self):
        """Whether the chosen volume is a frame of a sequence."""
        return frames.browser_of(self.volume) is not None

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
        self._say(_("Starting the engine."))
        self.engine.check(self._checked)

    def _prepared(self, kind, value):
        if kind == "failed":
            self._say(self._words(value), failed=True)

    def _checked(self, kind, value):
        if kind == "failed":
            self._say(self._words(value), failed=True)
        elif kind == "done":
            self._say(_("The engine works: sammed {version}.").format(version=value["sammed"]))

    def _prompt_settled(self):
        if self.parameters is not None and self.parameters.autoUpdate and self.key:
            self._due = time.monotonic() + DEBOUNCE_SECONDS
        self.on_change()

    # -- segmenting --------------------------------------------------------------------------

    def segment(self, ask=True):
        """Segment the chosen segment from its prompts.

        Parameters
        ----------
        ask
            Whether the user may be asked something first.
        """
        self._due = None
        if self.busy:
            return self._say(_("Another segmentation is running; cancel it first."), failed=True)
        problem = self.problem()
        if not problem and not (self._writable() if ask else self._is_writable()):
            self._take_back()
            return None
        problem = problem or self._ask()
        if problem:
            self._take_back()
            self._say(problem, failed=True)
        return None

    def segment_frames(self):
        """Segment all frames of the sequence from the prompts of this one."""
        problem = self.problem()
        if self.busy or problem:
            words = _("Another segmentation is running; cancel it first.")
            return self._say(problem or words, failed=True)
        if not self._writable():
            return None
        try:
            self._frames = frames.Frames(self.volume, self.parameters.segmentation)
        except EngineError as error:
            return self._say(self._words(error), failed=True)
        return self._next_frame()

    def _next_frame(self):
        """Go on to the next frame, or end."""
        if self._frames.next() and self.key is not None:
            self._due = None
            problem = self.problem() or self._ask()
            if problem:
                self._end_frames(problem, failed=True)
        else:
            words = _("{done} of {count} frames segmented.")
            self._end_frames(words.format(done=self._frames.done, count=self._frames.count))

    def _end_frames(self, words, failed=False):
        ended, self._frames = self._frames, None
        self._take_back()
        ended.end()
        self.history.follow(subject.frame_of)
        self._say(words, failed)

    def _is_writable(self):
        refused = segmentation.not_writable(self.parameters.segmentation)
        if refused:
            words = _("{refused} Press Segment to convert it.")
            self._say(words.format(refused=wording.sentence(refused)), failed=True)
        return not refused

    def _ask(self):
        """Ask the engine; what is wrong with the prompts, or empty."""
        key, node = self.key, self.parameters.segmentation
        channels = phases.listed(self.volume)
        about = subject.Subject(self.volume, node, [other for _name, other in channels])
        known = self._running  # what was shown before it was cancelled for other prompts
        if known is not None and (
            known.key != key or known.misfit() or known.volume_changed(about)
        ):
            self._take_back()
        self.history.begin(node, key[1])
        kept = self._keep_corrections(key)
        asked, problems = prompts.read(self.volume, node, key[1])
        if problems:
            return "; ".join(problems) + "."
        ends = prompts.ends(node, key[1])
        if ends:
            asked["blocks"] = prompts.within_ends(self.volume, asked["blocks"], ends)
        if not self.parameters.window:
            self.copy_window()
        try:
            work = self._work()
        except EngineError as error:
            return wording.sentence(str(error))
        work.name, work.called = "/".join(key), self.called
        work.prompts = asked
        work.masks = corrections.masks(node, key[1], about.grid)
        current = segmentation.read(node, key[1], about.grid)
        if self._running is None:
            self._running = Running(key, about, current)
        work.whole = not self._is_as_told(current)
        self._running.clicked = prompts.drawn_on(asked, self.axis)
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
        self._follow()
        self._go_on()
        self.surfaces.poll()
        if self._due is not None and time.monotonic() > self._due:
            if self.errand:
                pass  # the user waits for that: what was drawn comes after it
            elif self.busy:
                self.engine.cancel()  # what was asked before is out of date
            else:
                self.segment(ask=False)
        if state != (self.engine.state, self.engine.progress):
            self.on_change()

    def _work(self, alone=False):
        options = {"plane": self._plane(), "window": self.parameters.window or "auto"}
        data, model = self._volumes.data(self.volume), self.parameters.model or "compact"
        work = Work(data, model, options, device=self.parameters.device or "auto")
        if not alone:
            work.channels = phases.data(self._volumes, self.volume)
            work.own_name, work.align = phases.own_name(self.volume), self.parameters.align
        return work

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
        elif self._frames is not None:
            done = _("{done} of {count} frames are done.").format(
                done=self._frames.done, count=self._frames.count
            )
            why = self._back(_("Cancelled")) if kind == "cancelled" else self._words(value)
            self._end_frames(f"{done} {why}", failed=kind != "cancelled")
        elif kind == "cancelled":
            self._say(self._back(_("Cancelled")), failed=False)
        else:
            self._take_back()
            self._say(self._words(value), failed=True)

    def _words(self, error):
        """An error as the user should read it: names of nodes and segments, not their IDs."""
        return wording.sentence(wording.with_names(str(error)))

    def _back(self, why):
        """Take back what was shown early; what to say of it."""
        if self._take_back():
            return _("{why}; the segment is as it was.").format(why=why)
        return _(
            "{why}. The segment was moved meanwhile: slices that were shown early could not be "
            "taken back. Undo in the Segment Editor, or erase them."
        ).format(why=why)

    def _show(self, part):
        """Show a slice before the rest is there."""
        running = self._running
        if part.name != "/".join(running.key) or running.misfit():
            return
        node = running.home()
        voxels = segmentation.allowed(
            node, running.key[1], running.subject.grid, part, self.parameters.overlap
        )
        running.show(node, part, voxels)
        self.on_change()

    def _take_back(self):
        """The rest does not come: what was shown of it goes; false if it could not."""
        running, self._running = self._running, None
        node = running.home() if running is not None else None
        return running.take_back(node) if node is not None else True

    def _take(self, state, result):
        running = self._running
        misfit = running.misfit()
        if misfit and self._frames is not None:
            return self._end_frames(wording.sentence(misfit), failed=True)
        if misfit:
            dropped = _("{why} The result does not fit it and is dropped")
            return self._say(self._back(dropped.format(why=wording.sentence(misfit))), True)
        node, key = running.home(), running.key
        if result.run.get("error"):
            self._take_back()
            self.history.told.discard(key)  # for the worker it is empty now
            if self._frames is not None:  # nothing is found in this one
                return self._next_frame()
            return self._say(self._words(result.run["error"]), failed=True)
        started = time.perf_counter()
        self._running = None
        self._write(running, node, state, result)
        self.write_seconds = time.perf_counter() - started
        self.surfaces.refresh(node, key[1])
        if self._frames is not None:
            self._frames.store()
            return self._next_frame()
        notes = self._volumes.data(running.subject.volume).notes
        right = set(prompts.right_of(state)[1]) - running.clicked
        told = wording.summary(result, right)
        lost = phases.gone(running.subject.volume)
        notes = [*telling.channels(result.run, self.engine.aligned, lost), *notes]
        return self._say(" ".join([told, *notes]))

    def _write(self, running, node, state, result):
        """Write a result as one step of the segmentation's history."""
        key, grid = running.key, running.subject.grid
        voxels = segmentation.allowed(node, key[1], grid, result, self.parameters.overlap)
        former = self.history.written(key)
        running.take_back(node)  # the step begins from what was there before
        self.history.save(node, key[1])
        written, now = running.finish(node, result, voxels, former)
        terms.give(node.GetSegmentation().GetSegment(key[1]))  # it may have a name by now
        ml = segmentation.millilitres(grid, written[1])
        packed = history.Packed(written)
        left = packed if now is written else history.Packed(now)
        about = history.State(state, running.subject, packed, left, result.run, ml)
        self.history.record(node, key[1], about)

    def _last_shown(self, key):
        """The segment as the engine's answers left it; ``None`` if there were none."""
        running = self._running
        if self.shows_early and running.key == key:
            return running.expected
        state = self.history.state(key)
        if state is None or state.subject is None or state.subject.moved():
            return None
        if state.subject.frame != subject.frame_of(self.volume):
            return None  # another frame's segment is not a correction of this one's
        return self.history.written(key)

    def _is_as_told(self, current):
        """Whether the segment is as the worker thinks, but for slices shown early."""
        key = self._running.key
        written = self.history.written(key)
        if key not in self.history.told or written is None:
            return False
        if not segmentation.same(self._running.base, written):
            return False
        return segmentation.same(self._running.expected, current)

    def _keep_corrections(self, key):
        """Slices that were changed by hand since the last run are right; says so."""
        written = self._last_shown(key)
        if written is None:
            return ""
        node, axis = self.parameters.segmentation, self.axis
        current = segmentation.read(node, key[1], self.grid)
        found = corrections.find(written, current, axis)
        if found.painted:
            prompts.add_right_slices(node, key[1], axis, found.painted)
        if found.cut:
            prompts.set_ends(node, key[1], axis, found.first, found.last + 1)
        return wording.kept(found)

    # -- views and window --------------------------------------------------------------------

    def copy_window(self):
        """Copy the window from the volume's display: what the model sees is what you see."""
        display = self.volume.GetDisplayNode() if self.volume is not None else None
        if display is not None and display.GetWindow() > 0:
            self.parameters.window = f"{display.GetWindow():.6g}/{display.GetLevel():.6g}"
        self.on_change()

    def next_doubtful(self):
        """Show the next slice that deserves a look, after the one that is shown."""
        lines = wording.doubtful(self.history.run(self.key)) if self.volume is not None else []
        if not lines:
            return self._say(_("No slice is marked for a look."))
        shown = placing.shown_index(self.volume, self.axis)
        later = [line for line in lines if shown is None or line["index"] > shown]
        line = later[0] if later else lines[0]
        self.jump(line)
        words = _("Slice {index}: {number} of {count} to be checked.")
        return self._say(
            words.format(index=line["index"], number=lines.index(line) + 1, count=len(lines))
        )

    def jump(self, record):
        """Show the slice of a line of the quality table, centred on the object."""
        run = self.history.run(self.key)
        if run is None or self.volume is None:
            return
        point = geometry.slice_centre(self.volume, run["axis"], record["index"], record["centroid"])
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByCentering(*point)

    # -- the scene ---------------------------------------------------------------------------

    def reset(self):
        """The scene was closed: nothing of it is known any more."""
        self._due = self._running = self._frames = None
        self._asked = self._arriving = None
        self.examples, self.findings, self.arrived = [], None, None
        if self.engine.busy:
            self.engine.cancel()
        self.placing.end()
        self._volumes.clear()
        self.surfaces.forget()
        self.history = history.History(self.history.editor)
        self._say("")

    def adopt(self):
        """The scene was loaded: its prompts are ours, and where undo starts from."""
        self.placing.watch()
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            for segment_id in segmentation.ids(node):
                self.history.adopt(node, segment_id)
        self.on_change()

    def close(self):
        """End the worker and let go of the scene."""
        self.placing.release()
        self.surfaces.forget()
        self.engine.stop()

    def _say(self, message, failed=False):
        self.message, self.failed = message, failed
        self.on_change()
