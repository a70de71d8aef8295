"""Things from a model's own everything mode, slice by slice, linked across slices.

segment-anything's models bring their own grid of points. Masks of neighbouring slices that overlap
much are one thing, the best matches first, each mask in one chain at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sammed.everything.regions import Region
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.views.slices import SliceStack, choose_plane

LINKED = 0.5
"""IoU from which on masks of neighbouring slices are the same thing."""


class SliceMask(Protocol):
    """One mask of a slice, with what the model thinks of it."""

    mask: NDArray[np.bool_]
    predicted_iou: float
    stability: float


@runtime_checkable
class FindsEverything(Protocol):
    """A model with an everything mode of its own, for one picture."""

    def everything(
        self, image: NDArray[np.uint8], *, check: Callable[[], None]
    ) -> Sequence[SliceMask]:
        """All masks of a picture, (h, w, 3) uint8 RGB."""
        ...


@dataclass(eq=False)
class Chain:
    """Masks of one thing on slices side by side.

    Attributes
    ----------
    parts
        One a slice.
    predicted, stability
        Of each.
    """

    parts: list[Region] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    stability: list[float] = field(default_factory=list)

    def add(self, part: Region, mask: SliceMask) -> None:
        """One slice more."""
        self.parts.append(part)
        self.predicted.append(mask.predicted_iou)
        self.stability.append(mask.stability)

    def region(self) -> Region:
        """All of it."""
        block = self.parts[0].block
        for part in self.parts[1:]:
            block = block.union(part.block)
        voxels = np.zeros(block.shape, bool)
        for part in self.parts:
            voxels[part.block.slices_in(block)] |= part.mask
        return Region(block, voxels)


def chains(
    volume: Volume,
    window: Window,
    model: FindsEverything,
    told: Callable[[str, int, int], None],
    check: Callable[[], None],
) -> list[Chain]:
    """Everything on all slices of the volume's own plane, linked.

    Parameters
    ----------
    volume, window
        The image.
    model
        Finds everything on one slice.
    told
        Told of each slice.
    check
        May raise to stop.
    """
    stack = SliceStack(volume, choose_plane("auto", volume), window)
    done: list[Chain] = []
    before: list[Chain] = []
    for index in range(len(stack)):
        told("slices", index, len(stack))
        check()
        masks = [m for m in model.everything(_picture(stack, index), check=check) if m.mask.any()]
        parts = [_part(m.mask, stack.axis, index) for m in masks]
        now = _linked(before, parts, stack.axis)
        for chain, part, mask in zip(now, parts, masks, strict=True):
            chain.add(part, mask)
        done += [chain for chain in now if len(chain.parts) == 1]
        before = now
    return done


def _linked(before: Sequence[Chain], parts: Sequence[Region], axis: int) -> list[Chain]:
    """The chain of each mask: that of its best match on the slice before, or a new one."""
    pairs = [
        (_iou_across(chain.parts[-1], part, axis), c, p)
        for c, chain in enumerate(before)
        for p, part in enumerate(parts)
    ]
    found: dict[int, Chain] = {}
    taken: set[int] = set()
    for iou, c, p in sorted(pairs, key=lambda one: -one[0]):
        if iou >= LINKED and c not in taken and p not in found:
            found[p] = before[c]
            taken.add(c)
    return [found.get(p) or Chain() for p in range(len(parts))]


def _iou_across(a: Region, b: Region, axis: int) -> float:
    """IoU of masks of two slices across an axis, one laid on the other."""
    low, high = list(b.block.low), list(b.block.high)
    low[axis], high[axis] = a.block.range(axis)
    return a.iou(Region(Box3D(*low, *high), b.mask))


def _picture(stack: SliceStack, index: int) -> NDArray[np.uint8]:
    grey = stack.image(index)
    channels = grey if len(grey) == 3 else np.repeat(grey, 3, axis=0)
    return np.ascontiguousarray(np.rint(np.moveaxis(channels, 0, -1) * 255), np.uint8)


def _part(mask: NDArray[np.bool_], axis: int, index: int) -> Region:
    origin = [0, 0, 0]
    origin[axis] = index
    return Region.of(np.expand_dims(mask, axis), origin)
