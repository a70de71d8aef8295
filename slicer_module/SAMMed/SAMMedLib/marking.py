"""What the user says of the chosen segment: segments, prompts, slices that are right."""

from __future__ import annotations

from slicer.i18n import tr as _

from . import corrections, geometry, placing, prompts, segmentation, wording
from .choice import Choice
from .work import EngineError


class Marking(Choice):
    """Segments and prompts of what is chosen; the workflow segments them.

    Attributes
    ----------
    ask
        Puts a question to the user; whether the answer is yes. Scripts are not asked: no.
    """

    def __init__(self):
        self.ask = lambda question: False
        self.placing = placing.Placing(self._prompt_settled, self._refused)

    @property
    def axis(self):
        """The array axis across which the chosen segment is segmented."""
        run = self.history.run(self.key)
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

    # -- segments ----------------------------------------------------------------------------

    def add_segment(self, name=""):
        """Add a segment and choose it; makes the segmentation if there is none."""
        if self.volume is None:
            return self._say(self.problem(), failed=True)
        if self.parameters.segmentation is None:
            self.parameters.segmentation = segmentation.make(self.volume)
        node = self.parameters.segmentation
        if not self._writable():
            return None
        if node.GetSegmentation().GetNumberOfSegments() == 0:
            segmentation.attach(node, self.volume)
        self.parameters.segmentID = segmentation.add(node, name)
        prompts.show_only(self.key)
        return self._say("")

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

    def _writable(self):
        """Whether voxels can be written; asks to convert a segmentation of surfaces."""
        node = self.parameters.segmentation
        if node is None or not segmentation.not_writable(node):
            return True
        question = segmentation.conversion_question(node)
        if question and not self.ask(question):
            refused = segmentation.not_writable(node)
            self._say(
                _("{refused} Agree to convert it, or choose another segmentation.").format(
                    refused=wording.sentence(refused)
                ),
                failed=True,
            )
            return False
        try:
            segmentation.to_labelmap(node, self.volume)
        except EngineError as error:
            self._say(wording.sentence(str(error)), failed=True)
            return False
        return True

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
        if self.engine.state in ("off", "failed") and not self.problem_of_volume():
            self.engine.prepare(self._work(), self._prepared)  # warm up while the user draws
        self.on_change()

    def retarget(self):
        """Another segment, or another way to draw, was chosen: the armed tool goes on with it."""
        if self.key is None or self.volume is None:
            self.placing.end()
        else:
            parameters = self.parameters
            meaning, plane = parameters.boxMeaning, parameters.plane
            self.placing.retarget(self.volume, *self.target, meaning, plane)
        prompts.show_only(self.key)

    def _refused(self, words):
        self._say(words, failed=True)

    def clear_prompts(self):
        """Remove the prompts of the chosen segment; its voxels stay."""
        if self.key:
            prompts.clear(self.parameters.segmentation, self.key[1])
            self._say("")

    # -- slices that are right ---------------------------------------------------------------

    def _shown(self):
        """The slice across the segment's axis that a view shows; says so if none does."""
        index = placing.shown_index(self.volume, self.axis)
        if index is None:
            plane = geometry.plane_of(self.volume, self.axis)
            words = _("No view shows {plane} slices of the volume: press Align views first.")
            self._say(words.format(plane=plane), failed=True)
        return index

    def confirm_slice(self):
        """Take the slice that is shown as right: it is kept, and its neighbors start from it."""
        if self.key is None or not self._writable():
            return None
        index = self._shown()
        if index is None:
            return None
        node, segment_id = self.target
        if index not in corrections.filled(node, segment_id, self.volume, self.axis):
            words = _("Slice {index} holds nothing of this segment yet.").format(index=index)
            return self._say(words, failed=True)
        prompts.add_right_slices(node, segment_id, self.axis, [index])
        self._say(_("Slice {index} is kept as it is.").format(index=index))
        return self._prompt_settled()

    def confirm_all(self):
        """Take the segment as it is for a prompt: every slice of it is right."""
        if self.key is None or not self._writable():
            return None
        axis = self.axis
        node, segment_id = self.target
        indices = corrections.filled(node, segment_id, self.volume, axis)
        if not indices:
            words = _("The segment is empty: there is nothing to start from.")
            return self._say(words, failed=True)
        prompts.set_right_slices(node, segment_id, axis, indices)
        words = _("{count} slices of the segment are taken as they are.")
        self._say(words.format(count=len(indices)))
        return self._prompt_settled()

    def release_slice(self):
        """Let the slice that is shown be segmented again."""
        if self.key is None or self.volume is None:
            return None
        index = self._shown()
        if index is None:
            return None
        if index not in prompts.right_slices(*self.target)[1]:
            words = _("Slice {index} is not kept: it is segmented anyway.").format(index=index)
            return self._say(words, failed=True)
        return self._release([index])

    def release_all(self):
        """Let all slices that are kept be segmented again."""
        if self.key is None or self.volume is None:
            return None
        indices = prompts.right_slices(*self.target)[1]
        if not indices and prompts.ends(*self.target) is None:
            return self._say(_("No slice of this segment is kept."), failed=True)
        prompts.remove_ends(*self.target)
        return self._release(indices)

    def _release(self, indices):
        node, segment_id = self.target
        axis, kept = prompts.right_slices(node, segment_id)
        if kept:
            stay = [i for i in kept if i not in indices]
            prompts.set_right_slices(node, segment_id, axis, stay)
            self.history.forgive(node, segment_id, self.grid, axis, indices)
        self._say(wording.released(indices))
        return self._prompt_settled()
