"""All frames of a sequence from the prompts on one, one frame after the other."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from . import prompts, subject
from .history import STATE_TAG
from .work import EngineError


def browser_of(volume):
    """The sequence browser that a volume shows a frame of; ``None`` if there is none."""
    frame = subject.frame_of(volume) if volume is not None else None
    return slicer.mrmlScene.GetNodeByID(frame[0]) if frame else None


def show(browser, item):
    """Show a frame: its volume and its segments."""
    browser.SetSelectedItemNumber(item)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def _emptied(node):
    """A copy of a segmentation whose segments hold nothing."""
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", node.GetName())
    segments = copy.GetSegmentation()
    segments.DeepCopy(node.GetSegmentation())
    for segment_id in segments.GetSegmentIDs():
        slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(copy, segment_id)
        for tag in (prompts.RIGHT_TAG, prompts.ENDS_TAG, STATE_TAG):
            segments.GetSegment(segment_id).RemoveTag(tag)
    return copy


class Frames:
    """Goes through the frames of a sequence, from the one that is shown to both ends.

    The segmentation becomes a sequence beside the volume's, with a segmentation for each frame.

    Parameters
    ----------
    volume, node
        What is segmented, and where it goes.

    Raises
    ------
    EngineError
        If the volume is of no sequence.
    """

    def __init__(self, volume, node):
        self.browser = browser_of(volume)
        if self.browser is None:
            words = _("{name} is not a frame of a sequence")
            raise EngineError("sequence", words.format(name=repr(volume.GetName())))
        self._node_id = node.GetID()
        self._kept = self._sequence(node)
        first, count = self.browser.GetSelectedItemNumber(), self.browser.GetNumberOfItems()
        self._waiting = [*range(first, count), *range(first - 1, -1, -1)]
        self.first, self.count, self.done = first, count, 0

    @property
    def node(self):
        """The segmentation; ``None`` if it is gone."""
        return slicer.mrmlScene.GetNodeByID(self._node_id)

    def _sequence(self, node):
        """The segmentation's sequence; frames that have no segmentation yet get empty segments."""
        browser = self.browser
        kept = browser.GetSequenceNode(node)
        if kept is None:
            kept = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLSequenceNode", f"{node.GetName()} frames"
            )
            master = browser.GetMasterSequenceNode()
            kept.SetIndexName(master.GetIndexName())
            kept.SetIndexUnit(master.GetIndexUnit())
            empty = _emptied(node)
            for item in range(master.GetNumberOfDataNodes()):
                shown = item == browser.GetSelectedItemNumber()
                kept.SetDataNodeAtValue(node if shown else empty, master.GetNthIndexValue(item))
            slicer.mrmlScene.RemoveNode(empty)
            browser.AddSynchronizedSequenceNodeID(kept.GetID())
            browser.AddProxyNode(node, kept, False)
        browser.SetSaveChanges(kept, True)
        browser.SetOverwriteProxyName(kept, False)
        return kept

    def next(self):
        """Show the next frame; false if there is none."""
        if not self._waiting:
            return False
        show(self.browser, self._waiting.pop(0))
        return True

    def store(self):
        """Keep the segmentation as it is now for the frame that is shown."""
        item = self.browser.GetSelectedItemNumber()
        value = self.browser.GetMasterSequenceNode().GetNthIndexValue(item)
        self._kept.SetDataNodeAtValue(self.node, value)
        self.done += 1

    def end(self):
        """Show the frame that was shown first."""
        self._waiting = []
        show(self.browser, self.first)
