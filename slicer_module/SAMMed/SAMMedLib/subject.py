"""What a job is about: the voxels that the engine was given, where they lie, and when they change.

A result fits only what it was computed from. `Subject` remembers that, and is asked before every
write: of a slice shown early, of a result, of what is taken back, undone or done again.
"""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from . import geometry, segmentation

IMAGES = ("vtkMRMLScalarVolumeNode",)
"""What can be segmented: plain volumes, not label maps, color pictures or tensors."""


def problem(volume):
    """Why a volume cannot be segmented; empty if it can."""
    kind, name = volume.GetClassName(), repr(volume.GetName())
    if kind == "vtkMRMLLabelMapVolumeNode":
        words = _("{name} is a label map, not an image: choose the CT or MR that it belongs to")
        return words.format(name=name)
    if kind not in IMAGES or volume.GetImageData().GetNumberOfScalarComponents() != 1:
        words = _("{name} has several values a voxel: choose a volume with one, CT or MR")
        return words.format(name=name)
    return ""


def frame_of(volume):
    """(browser's ID, item) that a volume shows of a sequence; ``None`` if it is of no sequence."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        if browser.GetSequenceNode(volume) is not None:
            return browser.GetID(), browser.GetSelectedItemNumber()
    return None


def image_stamp(volume):
    """Changes with a volume's voxels."""
    image = volume.GetImageData()
    return (image.GetAddressAsString(""), image.GetMTime()) if image is not None else None


class Subject:
    """A volume as it is now, seen from a segmentation.

    Parameters
    ----------
    volume, node
        The volume and the segmentation; ``None`` if that is still to be made for it.
    others
        Further volumes that a result depends on: channels.
    """

    def __init__(self, volume, node, others=()):
        self.volume_id, self.name = volume.GetID(), volume.GetName()
        self.node_id = node.GetID() if node is not None else None
        self._others = [(other.GetID(), other.GetName(), _place(other, volume)) for other in others]
        self.stamp = image_stamp(volume)
        self.frame = frame_of(volume)
        self.grid = geometry.grid_of(volume, node)

    @property
    def volume(self):
        """The volume; ``None`` if it is gone."""
        return slicer.mrmlScene.GetNodeByID(self.volume_id)

    @property
    def node(self):
        """The segmentation; ``None`` if it is gone, or still to be made."""
        return slicer.mrmlScene.GetNodeByID(self.node_id) if self.node_id else None

    @property
    def _is_there(self):
        return self.volume is not None and (self.node is not None or self.node_id is None)

    def _words(self, words):
        return words.format(name=repr(self.name))

    def moved(self):
        """Why the places of then are not those of now; empty if they are."""
        volume, node = self.volume, self.node
        if not self._is_there or volume.GetImageData() is None:
            return ""
        now = geometry.grid_of(volume, node)
        if now is not None and tuple(now.shape) != tuple(self.grid.shape):
            return self._words(_("{name} has another size now"))
        if not self.grid.fits(now):
            return self._words(_("{name} was moved (its transform was changed or hardened)"))
        return ""

    def misfit(self):
        """Why a result of then does not fit what is there now; empty if it does."""
        volume, node = self.volume, self.node
        if not self._is_there or volume.GetImageData() is None:
            return _("the volume or the segment was removed")
        if frame_of(volume) != self.frame:
            return self._words(_("{name} shows another frame of its sequence"))
        if image_stamp(volume) != self.stamp and not self.moved():
            return self._words(_("the voxels of {name} were changed"))
        moved = self.moved() or self._changed_beside()
        return moved or (segmentation.not_writable(node) if node is not None else "")

    def _changed_beside(self):
        """Why the other volumes are not as they were; empty if they are."""
        for node_id, name, place in self._others:
            other = slicer.mrmlScene.GetNodeByID(node_id)
            if other is None:
                return _("the channel {name} was removed").format(name=repr(name))
            if _place(other, self.volume) != place:
                return _("the channel {name} was changed").format(name=repr(name))
        return ""


def _place(volume, beside):
    """Changes with a volume's voxels, and with where they lie beside another's."""
    grid = geometry.grid_of(volume, beside) if volume.GetImageData() is not None else None
    return image_stamp(volume), None if grid is None else grid.matrix.round(6).tobytes()
