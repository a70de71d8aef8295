"""One object in several planes: how their slices are joined.

A 3D box outlines the object in three planes. In some a chain of slices goes astray, elsewhere the
same place is found easily; the mean of the traces, each slice weighted by how sure the model is of
it, is better than any of them. A second look, prompted by that mean, is better still. Only for
models whose slices are cheap.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

from sammed.engine.box_fit import fit_block
from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import PlaneView, balanced, promised_iou, weigh_planes
from sammed.engine.object_volume import NOTHING, ObjectVolume, keep_slices, stack
from sammed.engine.propagation import OnSlice
from sammed.engine.slice_mask import SlicePrompt, SliceResult, overlap
from sammed.engine.tracing import Trace
from sammed.imaging.boxes import Box3D

CONSENSUS_OVERLAP = 0.5
"""When refining, an answer that has less IoU with the volume's cross-section is not used."""

DISPUTED = 0.05
"""Weight of such a cross-section beside answers in other planes."""

SHARPNESS = 4
"""Power of a slice's sureness that is its weight."""

LOCATED = 8.0
"""Weight of what was found in the 3D box as a whole, beside a slice of the same sureness."""

REMEMBERED = 128
"""Answers that are kept: of an object what was found as a whole, and the consensus."""


Traces = Sequence[tuple[int, Trace]]
"""Traces of one object, each with the canonical axis across which its slices lie."""

Look = Callable[[ObjectVolume, int], PlaneView]
"""`refine` across an axis."""

Locate = Callable[[Box3D], ObjectVolume | None]
"""`sammed.engine.blocks.locate` for one image."""


def as_views(traces: Traces) -> list[PlaneView]:
    """An object's traces with the weight of each slice."""
    views = []
    for axis, trace in traces:
        weights = {index: _weight(result) for index, result in trace.slices.items()}
        views.append(PlaneView(stack(trace.slices, axis), axis, weights))
    return views


def located_view(located: ObjectVolume) -> PlaneView:
    """What a `BlockModel` found, weighted by how sure it is.

    Where a slice has its predicted IoU, this has the IoU that its own probabilities promise.
    """
    weight = LOCATED * promised_iou(located.logits) ** SHARPNESS
    return PlaneView(located, 0, dict.fromkeys(range(*located.block.range(0)), weight))


class Consensus:
    """What the traces of a 3D box in several planes agree on; kept, clicks do not change it."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, ObjectVolume | None] = OrderedDict()

    def located(self, block: Box3D, locate: Locate) -> ObjectVolume | None:
        """What the model finds in a 3D box as a whole; ``None`` if it cannot see it so.

        Parameters
        ----------
        block
            The 3D box.
        locate
            Finds it, the first time.
        """
        return self._remember(block, lambda: locate(block))

    def of(
        self, traces: Traces, located: ObjectVolume | None, block: Box3D, look: Look
    ) -> ObjectVolume:
        """The traces joined, looked at once more, and joined again, within the 3D box.

        Parameters
        ----------
        traces
            At least one.
        located
            From `located`.
        block
            The 3D box.
        look
            `refine` across an axis.
        """
        key = (block, *traces)
        return self._remember(key, lambda: _join(traces, located, block, look)) or NOTHING

    def _remember(
        self, key: Hashable, compute: Callable[[], ObjectVolume | None]
    ) -> ObjectVolume | None:
        if key in self._known:
            self._known.move_to_end(key)
        else:
            self._known[key] = compute()
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known[key]


def _join(traces: Traces, located: ObjectVolume | None, block: Box3D, look: Look) -> ObjectVolume:
    axes = list(dict.fromkeys(axis for axis, _ in traces))
    whole = [] if located is None else [located_view(located)]
    volume = weigh_planes([*as_views(traces), *whole])
    joined = len(axes) > 1 or bool(whole)
    if joined:
        volume = weigh_planes([*(look(volume, axis) for axis in axes), *whole])
    for axis in axes:
        volume = keep_slices(volume, axis, range(*block.range(axis)))
    return fit_block(balanced(volume), block) if joined else volume


def refine(
    volume: ObjectVolume, decoder: SliceDecoder, on_slice: OnSlice | None = None
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
    """
    axis = decoder.stack.axis
    slices: dict[int, SliceResult] = {}
    weights: dict[int, float] = {}
    for index in range(*volume.block.range(axis)):
        prior = volume.across(axis, index)
        if not prior.area:
            continue
        box = prior.box.expand(1).clip(decoder.stack.shape)
        answer = decoder.decode(index, [SlicePrompt(box, prior=prior, name="box + mask")])[0]
        agrees = overlap(answer, prior)[0] >= CONSENSUS_OVERLAP
        slices[index] = answer if agrees else prior
        weights[index] = _weight(answer) if agrees else DISPUTED
        if on_slice:
            on_slice(slices[index])
    return PlaneView(stack(slices, axis), axis, weights)


def _weight(result: SliceResult) -> float:
    """How much a slice counts beside the same place in other planes."""
    return (result.predicted_iou * result.present) ** SHARPNESS
