"""Objects in one label map: who gets the voxels that several claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sammed.engine.object_volume import NOWHERE, ObjectVolume
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import label_dtype

Overlap = Literal["keep", "overwrite", "score"]


OVERLAPS: tuple[str, ...] = get_args(Overlap)


def paint(
    labels: NDArray[np.unsignedinteger],
    region: Box3D,
    objects: Iterable[tuple[int, ObjectVolume]],
    policy: str,
) -> None:
    """Write objects into a label map, in place, within a region.

    Parameters
    ----------
    labels : (z, y, x) unsigned
        The label map; the region is cleared first.
    region
        What to paint again.
    objects
        (label value, object) in order of priority.
    policy
        Where objects overlap: ``"keep"``: the earlier one keeps its voxels; ``"overwrite"``: the
        later one takes them; ``"score"``: the one with the higher logit.
    """
    if region.is_empty:
        return
    target = labels[region.slices]
    target[...] = 0
    best = np.zeros(region.shape, np.float16) if policy == "score" else None
    for value, volume in objects:
        common = volume.block.intersection(region)
        if common.is_empty:
            continue
        here = common.slices_in(region)
        logits = volume.logits[common.slices_in(volume.block)]
        mine = logits > 0
        if policy == "keep":
            mine = mine & (target[here] == 0)
        elif best is not None:
            mine = mine & (logits > best[here])
            best[here] = np.where(mine, logits, best[here])
        target[here][mine] = value


class LabelMap:
    """Objects in one label map, painted anew only where one of them has changed.

    Parameters
    ----------
    shape
        Extents (z, y, x).
    policy
        Who gets voxels that several objects claim, see `paint`.

    Attributes
    ----------
    voxels : (z, y, x) uint8 or uint16
        The label map.
    """

    def __init__(self, shape: Shape3, policy: str) -> None:
        self.voxels: NDArray[np.unsignedinteger] = np.zeros(shape, np.uint8)
        self._policy = policy
        self._objects: dict[str, tuple[int, ObjectVolume]] = {}

    def update(self, objects: Mapping[str, tuple[int, ObjectVolume]]) -> Box3D:
        """Show these objects, and no others.

        Parameters
        ----------
        objects
            (label value, object) by name, in order of priority.

        Returns
        -------
        Box3D
            The block in which voxels changed; empty if none did.
        """
        region = NOWHERE
        for name in {*objects, *self._objects}:
            new, old = objects.get(name), self._objects.get(name)
            if new != old:
                for _, volume in filter(None, (new, old)):
                    region = region.union(volume.block)
        self._objects = dict(objects)
        if region.is_empty:
            return NOWHERE
        before = self.voxels[region.slices].copy()
        highest = max((value for value, _ in objects.values()), default=1)
        self.voxels = self.voxels.astype(label_dtype(highest), copy=False)
        paint(self.voxels, region, objects.values(), self._policy)
        changed = Box3D.from_mask(before != self.voxels[region.slices])
        if changed.is_empty:
            return NOWHERE
        low = [v + o for v, o in zip(changed.low, region.low, strict=True)]
        high = [v + o for v, o in zip(changed.high, region.low, strict=True)]
        return Box3D(*low, *high)
