"""What became of each object: its per-slice quality table and why it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sammed.engine.cleanup import Cleanup, clean
from sammed.engine.fusion import promised_iou
from sammed.engine.memo import Memo
from sammed.engine.object_volume import NOTHING, ObjectVolume, dice_of
from sammed.engine.slice_mask import SliceResult, overlap
from sammed.engine.tracing import Trace
from sammed.models.protocols import VolumeMask
from sammed.models.recipe import Quality
from sammed.prompts import ObjectPrompts
from sammed.views.slices import SliceStack

if TYPE_CHECKING:
    from sammed.engine.channelwise import ChannelView


@dataclass(frozen=True)
class SliceRecord:
    """One line of the per-slice quality table.

    Attributes
    ----------
    index
        The slice along the object's plane (canonical index).
    predicted_iou
        How good the slice of the result is, as far as can be told, see `slice_records`.
    stability, present
        The model's own measures.
    neighbour_iou
        IoU with the neighbour towards the nearest prompted slice; 1 on prompted ones.
    area_mm2
        Area of the mask.
    centroid
        Canonical voxel (z, y, x), continuous.
    prompt
        What the model was given.
    retries
        Prompts rejected before.
    """

    index: int
    predicted_iou: float
    stability: float
    present: float
    neighbour_iou: float
    area_mm2: float
    centroid: tuple[float, float, float]
    prompt: str
    retries: int


Memos = dict[int, Memo]
"""What was computed for one object, by the canonical axis across which it was."""


@dataclass(frozen=True, eq=False)
class ObjectRun:
    """What became of one object.

    Attributes
    ----------
    prompts
        What it was computed from.
    plane
        The plane in which it was propagated.
    slices
        The per-slice table, in slice order.
    stops
        Per direction the last slice, the reason in one word and in words.
    volume
        Its logits, cleaned up.
    error
        Why nothing was found, or empty.
    answer
        What a `VolumeModel` answered, from which it goes on when more is said.
    memos
        What was computed for it, so that an edit costs only what it makes stale; the object keeps
        it under another name, too.
    channels, by_channel
        Of a scan with several: what each showed and how it counted, and its own run.
    structure
        Of a model that knows structures by name: the one whose own answer this is; empty where
        another network answered, as it does for whatever the model does not know.
    weights
        Of such a model: the hash of the weights that answered.
    """

    prompts: ObjectPrompts
    plane: str
    trace: Trace
    slices: tuple[SliceRecord, ...]
    volume: ObjectVolume
    error: str = ""
    answer: VolumeMask | None = None
    memos: Memos | None = None
    channels: Mapping[str, ChannelView] = field(default_factory=dict)
    by_channel: Mapping[str, ObjectRun] = field(default_factory=dict)
    structure: str = ""
    weights: str = ""

    @property
    def nbytes(self) -> int:
        """How much memory its masks take."""
        traced = sum(found.logits.nbytes for found in self.trace.slices.values())
        channels = sum(run.nbytes for run in self.by_channel.values())
        return self.volume.logits.nbytes + traced + channels

    @property
    def stops(self) -> tuple[str, ...]:
        """Where and why propagation ended, one sentence for each direction."""
        return tuple(f"{self.plane} slice {s.index}: {s.text}" for s in self.trace.stops)


def not_found(prompts: ObjectPrompts, plane: str, error: str) -> ObjectRun:
    """The run of an object of which nothing was found, and why."""
    return ObjectRun(prompts, plane, Trace({}, (), frozenset()), (), NOTHING, error)


def finished(
    prompts: ObjectPrompts,
    trace: Trace,
    volume: ObjectVolume,
    slices: SliceStack,
    cleanup: Cleanup,
    quality: Quality | None,
    opinions: tuple[ObjectVolume, ObjectVolume] | None = None,
) -> ObjectRun:
    """An object cleaned up, with its per-slice table.

    Parameters
    ----------
    prompts, trace, volume
        What was found, and from what.
    slices
        Those in which it was traced, or is reported.
    cleanup
        What is done to it.
    quality, opinions
        See `slice_records`.
    """
    prompted = on_prompted(trace, volume, slices.axis)
    cleaned = clean(volume, cleanup, slices.volume.spacing, prompted)
    trace = as_it_became(trace, cleaned, slices.axis)
    boxed = bool(prompts.blocks)
    records = tuple(slice_records(trace, slices, cleaned, quality, boxed, opinions))
    lost = "" if cleaned.mask.any() else f"nothing is left of {prompts.name!r} after clean-up"
    return ObjectRun(prompts, slices.plane, trace, records, cleaned, lost)


def as_it_became(trace: Trace, volume: ObjectVolume, axis: int) -> Trace:
    """A trace with the slices that only other planes, a click or the whole showed.

    Where the object goes on beyond a chain's end, that is no stop of it any more.
    """
    unseen = (i for i in range(*volume.tight.range(axis)) if not trace.shows(i))
    more = {
        i: replace(section, predicted_iou=promised_iou(section.logits), prompt="seen as a whole")
        for i in unseen
        if (section := volume.across(axis, i)).area
    }
    stops = tuple(s for s in trace.stops if s.index + s.direction not in more)
    return replace(trace, slices={**trace.slices, **more}, stops=stops) if more else trace


def slice_records(
    trace: Trace,
    slices: SliceStack,
    volume: ObjectVolume,
    joined: Quality | None,
    boxed: bool = False,
    opinions: tuple[ObjectVolume, ObjectVolume] | None = None,
) -> list[SliceRecord]:
    """The per-slice table of a trace, in slice order, but for slices of which nothing is left.

    Parameters
    ----------
    trace, slices
        An object in its plane.
    volume
        What became of it.
    joined
        Given if the logits mean something: how good a slice of the result is, is then the geometric
        mean of the IoU that its probabilities promise and of the least IoU that the model predicts
        on the way from the nearest prompted slice, and falls with what slices on the way do not
        have in common. Else it is the model's prediction, times the IoU of its mask with the result
        where that has been changed since.
    boxed
        Of a 3D box, of which several chains are joined: each slice counts by itself.
    opinions
        What a model that sees the object as a whole thinks of it, and what it found first
        (`sammed.engine.second_thought.Seen`). Its thought's probabilities make the promise, for it
        was taught to doubt what it is shown; and of a 3D box what the result has in common with
        what it found first counts instead of the prediction.
    """
    records = []
    ways: dict[int, tuple[float, float]] = {}
    thought, first = opinions or (volume, None)
    alike = _alike(volume, first) if first else 0.0
    for index in sorted(trace.slices, key=lambda i: _away(i, trace)):
        result, final = trace.slices[index], volume.across(slices.axis, index)
        before = index + int(np.sign(_nearest(index, trace) - index))
        neighbour, way = trace.slices.get(before), ways.get(before, (1.0, 1.0))
        agrees = 1.0 if before == index else 0.0
        if neighbour is not None and before != index:
            agrees = overlap(result, neighbour)[0]
        own = max(result.predicted_iou, 0.0)
        least, shared = ways[index] = min(way[0], own), way[1] * agrees
        promising = thought.across(slices.axis, index).logits
        if index in trace.prompted:
            quality = _of_prompted(result, final, least, joined)
        elif not final.area:
            continue
        elif joined and boxed:
            quality = sqrt((alike if first else own) * promised_iou(promising))
        elif joined:
            quality = sqrt(least * promised_iou(promising)) * shared**joined.way
        else:
            quality = _kept(result, final)
        records.append(_record(result, slices, quality, agrees))
    return sorted(records, key=attrgetter("index"))


def _of_prompted(
    result: SliceResult, final: SliceResult, least: float, joined: Quality | None
) -> float:
    """How good a prompted slice is."""
    if joined:
        return sqrt(least * promised_iou(joined.modesty * final.logits))
    return _kept(result, final)


def _kept(result: SliceResult, final: SliceResult) -> float:
    """What the model predicts of a slice, as far as that has not been changed since."""
    return result.predicted_iou * (overlap(result, final)[0] if result.area else 1.0)


def _record(result: SliceResult, slices: SliceStack, quality: float, agrees: float) -> SliceRecord:
    row_mm, col_mm = slices.pixel_mm
    centroid = list(result.centroid)
    centroid.insert(slices.axis, float(result.index))
    return SliceRecord(
        result.index,
        quality,
        result.stability,
        result.present,
        agrees,
        result.area * row_mm * col_mm,
        (centroid[0], centroid[1], centroid[2]),
        result.prompt,
        result.retries,
    )


def _alike(one: ObjectVolume, other: ObjectVolume) -> float:
    """IoU of two objects."""
    shared = dice_of(one, other)
    return shared / (2 - shared)


def _nearest(index: int, trace: Trace) -> int:
    return min(trace.prompted, key=lambda prompted: abs(prompted - index))


def _away(index: int, trace: Trace) -> int:
    """How many slices lie between a slice and the nearest prompted one."""
    return abs(_nearest(index, trace) - index)


def on_prompted(trace: Trace, volume: ObjectVolume, axis: int) -> NDArray[np.bool_] | None:
    """(z, y, x) bool on the object's block, true on prompted slices."""
    if volume.block.is_empty:
        return None
    low, high = volume.block.range(axis)
    there = np.array([i in trace.prompted for i in range(low, high)])
    shape = [1, 1, 1]
    shape[axis] = high - low
    return np.broadcast_to(there.reshape(shape), volume.logits.shape)
