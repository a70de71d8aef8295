"""Volumes of the scene as the worker wants them, hashed once as long as nothing changes."""

from __future__ import annotations

import slicer

from . import geometry
from .work import VolumeData


class Volumes:
    """Remembers what was made of each volume."""

    def __init__(self):
        self._known = {}

    def data(self, volume):
        """The volume's voxels; the same object as long as nothing about them has changed."""
        now = volume.GetImageData().GetMTime(), geometry.lps_from_kji(volume).tobytes()
        known = self._known.get(volume.GetID())
        if known is None or known[0] != now:
            data = VolumeData(slicer.util.arrayFromVolume(volume), geometry.lps_from_kji(volume))
            known = self._known[volume.GetID()] = (now, data)
        return known[1]

    def clear(self):
        """Forget all of them: the scene was closed."""
        self._known.clear()
