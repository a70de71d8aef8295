"""What is chosen in the panel, as the module's parameters name it, and what is missing yet."""

from __future__ import annotations

from slicer.i18n import tr as _

from . import geometry, prompts, segmentation, subject


class Choice:
    """The chosen volume and segment.

    Attributes
    ----------
    parameters
        The module's parameter node: ``volume``, ``segmentation``, ``segmentID``, ``plane``,
        ``window``, ``model``, ``device``, ``overlap``, ``autoUpdate``; ``None`` while there is no
        scene.
    """

    parameters = None

    @property
    def volume(self):
        """The chosen volume, ``None`` if there is none or it is empty."""
        node = self.parameters.volume if self.parameters else None
        return node if node is not None and node.GetImageData() is not None else None

    @property
    def grid(self):
        """The volume's voxels as the chosen segmentation sees them; ``None`` without a volume."""
        if self.volume is None:
            return None
        return geometry.grid_of(self.volume, self.parameters.segmentation)

    def problem_of_volume(self):
        """Why the chosen volume cannot be segmented; empty if it can."""
        if self.volume is None:
            return _("Choose the volume to segment.")
        wrong = subject.problem(self.volume)
        return f"{wrong}." if wrong else ""

    @property
    def target(self):
        """The segmentation and the ID of the segment that are named; they need not exist."""
        return self.parameters.segmentation, self.parameters.segmentID

    @property
    def key(self):
        """(segmentation ID, segment ID) of the chosen segment, ``None`` if there is none."""
        node, segment_id = self.target
        return (node.GetID(), segment_id) if segmentation.exists(node, segment_id) else None

    @property
    def called(self):
        """The name of the chosen segment; empty if there is none."""
        node, segment_id = self.target
        return node.GetSegmentation().GetSegment(segment_id).GetName() if self.key else ""

    @property
    def has_start(self):
        """Whether a prompt of the chosen segment says where the object is."""
        return prompts.says_where(*self.target)

    def problem(self):
        """What is missing before anything can be segmented; empty if nothing is."""
        wrong = self.problem_of_volume()
        if wrong:
            return wrong
        if self.key is None:
            return _("Add a segment for the organ or lesion.")
        wrong = segmentation.problem(self.parameters.segmentation, self.volume)
        if wrong:
            return wrong
        if not self.has_start:
            return _("Draw a box around it, or click a point inside it.")
        return ""
