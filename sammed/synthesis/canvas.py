"""The canvas on which a slab's structures are painted one over the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sammed.synthesis.fields import Array
from sammed.synthesis.shapes import Shape, Space
from sammed.synthesis.tissues import Tissue


@dataclass(frozen=True)
class Target:
    """Something that a user could ask for.

    Attributes
    ----------
    kind
        What drew it, for the sheet and for statistics.
    mask : (z, y, x) bool
        Its voxels.
    """

    kind: str
    mask: NDArray[np.bool_]


@dataclass
class Canvas:
    """Brightness, texture amplitudes and instance numbers of a slab in the making.

    Attributes
    ----------
    space
        The grid.
    mean, fine, coarse : (z, y, x) float32
        Brightness and texture amplitudes.
    instance : (z, y, x) int16
        Number of the structure seen at each voxel; 0 is what was there first.
    wanted
        Targets by the instances that they consist of, and finished masks.
    """

    space: Space
    mean: Array
    fine: Array
    coarse: Array
    instance: NDArray[np.int16]
    wanted: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    masks: list[Target] = field(default_factory=list)
    count: int = 0

    @classmethod
    def filled(cls, space: Space, tissue: Tissue) -> Canvas:
        """A canvas of one tissue."""
        shape = space.shape
        return cls(
            space,
            np.full(shape, tissue.mean, np.float32),
            np.full(shape, tissue.fine, np.float32),
            np.full(shape, tissue.coarse, np.float32),
            np.zeros(shape, np.int16),
        )

    def paint(self, shape: Shape, tissue: Tissue) -> int:
        """Paint a shape over what is there; returns its instance number."""
        self.count += 1
        if shape.field.size == 0:
            return self.count
        width = np.float32(tissue.edge * self.space.px)
        alpha = np.clip(shape.field / width + np.float32(0.5), 0, 1)
        for plane, value in (
            (self.mean, tissue.mean),
            (self.fine, tissue.fine),
            (self.coarse, tissue.coarse),
        ):
            view = plane[shape.block]
            view += alpha * (np.float32(value) - view)
        self.instance[shape.block][shape.field > 0] = self.count
        return self.count

    def want(self, kind: str, *instances: int) -> None:
        """Make what is left to see of these instances a target."""
        self.wanted.append((kind, instances))

    def want_shape(self, kind: str, shape: Shape) -> None:
        """Make a shape a target, whatever is painted over it."""
        mask = np.zeros(self.space.shape, bool)
        mask[shape.block] = shape.field > 0
        self.masks.append(Target(kind, mask))

    def targets(self, least: int = 12) -> list[Target]:
        """All targets with at least ``least`` voxels."""
        found = [t for t in self.masks if np.count_nonzero(t.mask) >= least]
        table = np.zeros(self.count + 1, bool)
        for kind, instances in self.wanted:
            table[:] = False
            table[list(instances)] = True
            mask = table[self.instance]
            if np.count_nonzero(mask) >= least:
                found.append(Target(kind, mask))
        return found
