"""One object in several planes: how their slices are joined.

A 3D box shows the object in three planes. In some a chain of slices goes astray, elsewhere the same
place is found easily; the mean of the traces, each slice weighted by how sure the model is of it,
is better than any of them. They start from what the model finds in the box as a whole, which counts
beside them; if it cannot see it so, from the box's outline. Where the first trace shows what is
found as a whole, the others are spared. A second look, prompted by what they show, is better still;
and what the model thinks when it is shown all of it, weighed in. Then no more of it is taken away
than the planes leave in doubt. Only for models whose slices are cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from sammed.engine.at_once import Together, one_by_one
from sammed.engine.box_fit import fit_block
from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import (
    PlaneView,
    balanced,
    promised_iou,
    weigh_planes,
    within_doubt,
)
from sammed.engine.memo import Memo
from sammed.engine.object_volume import ObjectVolume, keep_slices, stack
from sammed.engine.propagation import OnSlice
from sammed.engine.second_thought import Seen, weighed_in
from sammed.engine.slice_mask import SlicePrompt, SliceResult, blend, overlap
from sammed.engine.tracing import Trace
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import dice
from sammed.models.protocols import VolumeMask
from sammed.models.recipe import Fusion, Recipe

REMEMBERED = 128
"""Answers that are kept: of an object what was found as a whole, and the consensus."""


@dataclass(frozen=True)
class PlaneTrace:
    """A trace of a 3D box.

    Attributes
    ----------
    axis
        Canonical axis across which its slices lie.
    trace
        The slices.
    """

    axis: int
    trace: Trace


Traces = Sequence[PlaneTrace]
"""Traces of one object."""

Look = Callable[[ObjectVolume, Sequence[int]], list[PlaneView]]
"""`refine` across an axis."""

Think = Callable[[ObjectVolume], VolumeMask | None]
"""What a model that sees 3D boxes as a whole thinks of an object that it is shown; ``None`` if it
cannot see it so."""

Locate = Callable[[Box3D], ObjectVolume | None]
"""What a model finds in a 3D box as a whole; ``None`` if it cannot see it so."""


def as_views(traces: Traces, fusion: Fusion) -> list[PlaneView]:
    """An object's traces with the weight of each slice."""
    views = []
    for one in traces:
        weights = {i: _weight(result, fusion) for i, result in one.trace.slices.items()}
        views.append(PlaneView(stack(one.trace.slices, one.axis), one.axis, weights))
    return views


def located_view(located: ObjectVolume, weight: float, fusion: Fusion) -> PlaneView:
    """What was found in a 3D box as a whole, weighted by how sure the model is of it.

    Where a slice has its predicted IoU, this has the IoU that its own probabilities promise.
    """
    sure = weight * promised_iou(located.logits) ** fusion.sharpness
    return PlaneView(located, 0, dict.fromkeys(range(*located.block.range(0)), sure))


def tells_the_same(one: PlaneTrace, located: ObjectVolume, recipe: Recipe) -> bool:
    """Whether a trace of a 3D box shows what the model finds in the box as a whole.

    A chain is led astray by a neighbour, a coarse look by what is thin. The chain started from a
    section of what was found; if it still shows that at its end, more traces would show the same.

    Parameters
    ----------
    one
        The trace.
    located
        What was found as a whole.
    recipe
        Of the model.
    """
    if recipe.locate is None:
        return False
    found = stack(one.trace.slices, one.axis).mask_on(located.block)
    return dice(found, located.mask) >= recipe.locate.agreed


class Consensus:
    """What the traces of a 3D box in several planes agree on; kept, clicks do not change it.

    Parameters
    ----------
    recipe
        Of the model.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._memo = Memo(REMEMBERED)

    def located(self, block: Box3D, locate: Locate) -> ObjectVolume | None:
        """What the model finds in a 3D box as a whole; ``None`` if it cannot see it so.

        Parameters
        ----------
        block
            The 3D box.
        locate
            Finds it, the first time.
        """
        return self._memo.remember(block, lambda: locate(block))

    def of(
        self,
        traces: Traces,
        axes: Sequence[int],
        located: ObjectVolume | None,
        block: Box3D,
        look: Look,
        think: Think,
    ) -> Seen:
        """The traces joined, looked at once more, and joined again, within the box.

        Parameters
        ----------
        traces
            At least one.
        axes
            Across which it is looked at once more.
        located
            From `located`.
        block
            The 3D box.
        look
            `refine` across some axes.
        think
            What the model thinks of what was found; it is weighed in.
        """
        key = (block, tuple(axes), *traces)
        return self._memo.remember(
            key, lambda: self._join(traces, axes, located, block, look, think)
        )

    def _join(
        self,
        traces: Traces,
        axes: Sequence[int],
        located: ObjectVolume | None,
        block: Box3D,
        look: Look,
        think: Think,
    ) -> Seen:
        recipe = self._recipe
        whole = []
        if located is not None and recipe.locate is not None:
            whole = [located_view(located, recipe.locate.weight, recipe.fusion)]
        volume = weigh_planes([*as_views(traces, recipe.fusion), *whole], recipe.fusion)
        if len(axes) == 1 and not whole:
            volume = _limited(volume, axes, block)
            return Seen(volume)
        looks = look(volume, axes)
        volume = _limited(weigh_planes([*looks, *whole], recipe.fusion), axes, block)
        if recipe.border:
            volume = balanced(volume, recipe.border)
        if recipe.box_fit:
            volume = fit_block(volume, block, recipe.box_fit)
        shown, thought = volume, think(volume)
        if thought is not None and recipe.locate is not None:
            volume = weighed_in(volume, thought, recipe.locate.again, recipe.fusion.loudest)
        unheard = [replace(view, weights={}) for view in whole]
        seen = _limited(weigh_planes([*looks, *unheard], recipe.fusion), axes, block)
        return Seen(within_doubt(volume, seen, looks, block), thought, shown, first=located)


def _limited(volume: ObjectVolume, axes: Sequence[int], block: Box3D) -> ObjectVolume:
    """What lies within the 3D box across the axes of the traces."""
    for axis in axes:
        volume = keep_slices(volume, axis, range(*block.range(axis)))
    return volume


def refine(
    volume: ObjectVolume,
    decoder: SliceDecoder,
    on_slice: OnSlice | None = None,
    stride: int = 1,
    together: Together = one_by_one,
) -> PlaneView:
    """An object seen again in a plane: each cross-section of its volume as a prompt.

    What a chain saw from one side now has the consensus of all planes as its prompt, and a box
    that fits. Where the answer differs much from the cross-section, that stays, and counts little.

    Parameters
    ----------
    volume
        The object.
    decoder
        Of the plane.
    on_slice
        Called with each slice.
    stride
        Every how many-th cross-section is asked for; between two of them lies their mean.
    together
        How cross-sections are asked for, see `sammed.engine.at_once`.
    """
    axis = decoder.stack.axis

    def seen(index: int) -> tuple[SliceResult, float]:
        answer, weight = _section(volume.across(axis, index), decoder)
        if on_slice:
            on_slice(answer)
        return answer, weight

    low, high = volume.block.range(axis)
    shown = [i for i in range(low, high) if volume.across(axis, i).area]
    asked = sorted({*shown[::stride], *shown[-1:]})
    answers = dict(zip(asked, together([partial(seen, i) for i in asked]), strict=True))
    slices = {i: answer for i, (answer, _) in answers.items()}
    weights = {i: weight for i, (_, weight) in answers.items()}
    for first, last in pairwise(asked):
        for index in set(shown) & set(range(first + 1, last)):
            share = (index - first) / (last - first)
            mean = blend(slices[first], slices[last], share)
            if mean is not None:
                slices[index] = replace(mean, index=index)
                weights[index] = (1 - share) * weights[first] + share * weights[last]
    return PlaneView(stack(slices, axis), axis, weights)


def _section(prior: SliceResult, decoder: SliceDecoder) -> tuple[SliceResult, float]:
    """A cross-section as the model sees it, and its weight."""
    recipe = decoder.recipe
    box = prior.box.expand(1).clip(decoder.stack.shape)
    answer = decoder.decode(prior.index, [SlicePrompt(box, prior=prior, name="box + mask")])[0]
    if overlap(answer, prior)[0] < recipe.refine.least_overlap:
        return prior, recipe.refine.disputed
    return answer, _weight(answer, recipe.fusion)


def _weight(result: SliceResult, fusion: Fusion) -> float:
    """How much a slice counts beside the same place in other planes."""
    return (result.predicted_iou * result.present) ** fusion.sharpness
