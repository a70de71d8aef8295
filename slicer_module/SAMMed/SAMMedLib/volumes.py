"""Volumes of the scene as the worker wants them, hashed once as long as nothing changes."""

from __future__ import annotations

import slicer

from . import geometry
from .work import VolumeData


class Volumes:
    """Remembers what was made of each volume."""

    def __init__(self):
        self._known = {}

    def data(self, volume, beside=None):
        """The volume's voxels; the same object as long as nothing about them has changed.

        Parameters
        ----------
        volume
            The volume.
        beside
            Another one, in whose frame it is told where this one lies: transforms between the two
            count. Without it, or where they are not linear, the volume's own frame is taken.
        """
        grid = geometry.grid_of(volume, beside) if beside is not None else None
        affine = geometry.lps_from_kji(grid or volume)
        now = volume.GetImageData().GetMTime(), affine.tobytes()
        key = volume.GetID(), beside.GetID() if beside is not None else None
        known = self._known.get(key)
        if known is None or known[0] != now:
            data = VolumeData(slicer.util.arrayFromVolume(volume), affine)
            known = self._known[key] = (now, data)
        return known[1]

    def clear(self):
        """Forget all of them: the scene was closed."""
        self._known.clear()
