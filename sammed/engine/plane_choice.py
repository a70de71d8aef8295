"""In which planes an object is looked at, and how many slices that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sammed.engine.prompted_slices import object_axis, slice_prompts
from sammed.engine.second_look import beside, runs
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import Volume
from sammed.models.recipe import PLAIN, Recipe
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.views.slices import PLANES, choose_plane


def is_block(obj: ObjectPrompts) -> bool:
    """Whether an object is given by one 3D box, perhaps with points and painted slices."""
    return len(obj.blocks) == 1 and not obj.boxes and obj.propagate == "auto"


def flattened(obj: ObjectPrompts, axis: int, shape: Shape3, any_plane: bool) -> ObjectPrompts:
    """The same object with a 3D box that is one slice thick as a box on that slice.

    So it gets the same answer as a box on the slice, at its cost: across other planes there would
    be nothing to see.

    Parameters
    ----------
    obj
        Without strokes.
    axis
        Across which it would be segmented.
    shape
        Of the volume, (z, y, x).
    any_plane
        Whether it may be segmented across another axis, if its 3D box is thin along that one.
    """
    if not is_block(obj):
        return obj
    block = obj.blocks[0]
    thin = [a for a in (axis, *range(3)) if block.shape[a] == 1]
    if not thin or not (any_plane or thin[0] == axis):
        return obj
    across, index = thin[0], block.low[thin[0]]
    return obj.replaced(
        blocks=(),
        boxes=(BoxPrompt(across, index, block.across(across)),),
        points=tuple(p for p in obj.points if p.at[across] == index),
        propagate="auto" if shape[across] == 1 else "off",
    )


@dataclass(frozen=True)
class Planes:
    """The planes for objects of one volume.

    Attributes
    ----------
    volume
        The volume.
    wanted
        ``"auto"``, ``"all"``, or the one plane of all objects.
    recipe
        Whether planes that nobody asked for are added, and boxed slices looked at again.
    located
        Whether the model sees a 3D box as a whole as well.
    """

    volume: Volume
    wanted: str = "auto"
    recipe: Recipe = PLAIN
    located: bool = False

    def axis(self, obj: ObjectPrompts) -> int:
        """Canonical axis across which an object is segmented."""
        if self.wanted in PLANES:
            return PLANES[self.wanted]
        return object_axis(obj, PLANES[choose_plane("auto", self.volume)])

    def traced(self, obj: ObjectPrompts) -> tuple[int, ...]:
        """Axes across which it is traced, its own first; only a 3D box can be in any plane."""
        own = self.axis(obj)
        if not (self._free and is_block(obj)):
            return (own,)
        return (own, *(a for a in range(3) if a != own and self._fits(obj.blocks[0], a)))

    def seen_whole(self, obj: ObjectPrompts, block: Box3D) -> bool:
        """Whether what chains found in a block is shown to a model that sees it as a whole.

        Not where the user has said how far it reaches, or which slices it has, nor what is flat.
        """
        planes = self.recipe.planes
        deep = planes is not None and min(block.shape) >= planes.least_slices
        return self.located and deep and obj.propagate == "auto" and not obj.blocks

    def looks(self, block: Box3D, own: int) -> dict[int, int]:
        """Axes across which what was found in a block is looked at again, and how densely.

        Parameters
        ----------
        block
            Holds what was found.
        own
            Canonical axis across which it is segmented.

        Returns
        -------
        dict
            Axis → every how many-th slice.
        """
        axes = (own, *(a for a in range(3) if a != own and self._free and self._fits(block, a)))
        return {axis: -(-block.shape[axis] // self.recipe.refine.most) for axis in axes}

    def stride(self, block: Box3D, axis: int, own: int) -> int:
        """Every how many-th slice of a 3D box is traced across an axis beside its own.

        Slices that are close together, measured by the shortest side of the box, look alike; of
        a thin object each is another.
        """
        planes, mm = self.recipe.planes, self.volume.spacing
        if axis == own or planes is None:
            return 1
        shortest = min(n * size for n, size in zip(block.shape, mm, strict=True))
        return max(1, int(shortest / planes.finest / mm[axis]))

    def across(self, block: Box3D, axis: int) -> tuple[int, ...]:
        """Axes from which an object is looked at that has a box on each of its slices.

        Parameters
        ----------
        block
            Holds its boxes.
        axis
            Across which their slices lie.
        """
        look = self.recipe.across
        if look is None or not self._free:
            return ()
        others = (a for a in range(3) if a != axis and block.shape[a] <= look.most_slices)
        return tuple(a for a in others if self._fits(block, a))

    def slices_to_come(self, objects: Sequence[ObjectPrompts]) -> int | None:
        """How many slices will be looked at; ``None`` if propagation decides that."""
        counts = [self._slices_of(obj) for obj in objects]
        return None if None in counts else sum(n for n in counts if n is not None)

    def spared(self, obj: ObjectPrompts) -> int:
        """How many of the announced slices of a 3D box one trace of its own plane leaves out."""
        return sum(high - low for low, high in map(obj.extent().range, self.traced(obj)[1:]))

    def _slices_of(self, obj: ObjectPrompts) -> int | None:
        if obj.propagate == "auto" and not obj.blocks:
            return None
        axes = self.traced(obj)
        again = self._again(obj, axes[0])
        if obj.propagate == "off":
            return len(slice_prompts(obj, axes[0])) + len(obj.blocks) + again
        lengths = [high - low for low, high in map(obj.extent().range, axes)]
        traced = sum(lengths)
        if not (self.located or len(axes) > 1):
            return traced + again
        strides = self.looks(obj.extent(), axes[0])
        looks = sum(-(-n // strides[axis]) for n, axis in zip(lengths, axes, strict=True))
        return traced + looks + again

    def _again(self, obj: ObjectPrompts, axis: int) -> int:
        """How many second looks its boxed slices take."""
        prompts = slice_prompts(obj, axis)
        across, again = self.recipe.across, self.recipe.second_look
        blocks = runs(prompts, axis, across.least_run) if across else ()
        others = sum(block.shape[a] for block in blocks for a in self.across(block, axis))
        return (len(beside(prompts)) if again else 0) + others

    @property
    def _free(self) -> bool:
        return self.recipe.planes is not None and self.wanted == "auto"

    def _fits(self, block: Box3D, axis: int) -> bool:
        planes = self.recipe.planes
        if planes is None:
            return False
        height, width = (mm for a, mm in enumerate(self.volume.spacing) if a != axis)
        stretched = max(height, width) > planes.most_stretch * min(height, width)
        return block.shape[axis] >= planes.least_slices and not stretched
