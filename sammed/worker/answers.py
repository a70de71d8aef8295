"""What answers carry: the masks that changed, and how each object's run went."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.boxes import Box2D, Box3D
from sammed.prompts import BoxPrompt
from sammed.views.slices import PLANES
from sammed.worker.arrays import Arrays
from sammed.worker.frames import SentFrame

if TYPE_CHECKING:
    from sammed.engine.results import ObjectRun
    from sammed.engine.slice_mask import SliceResult
    from sammed.session import Session

Held = tuple[Box3D, NDArray[np.bool_]]
"""A canonical block that contains all of an object, and the object's voxels in it."""

_EMPTY = Box3D(0, 0, 0, 0, 0, 0)


def send_masks(
    session: Session, held: dict[str, Held], kind: str, frame: SentFrame, arrays: Arrays
) -> tuple[list[int], list[dict[str, Any]]]:
    """Write the voxels that the client does not have yet.

    Parameters
    ----------
    session
        Holds the masks.
    held
        What the client has of each object; brought up to date in place.
    kind
        ``"objects"``: as segmented, which may overlap; ``"resolved"``: as in the label map.
    frame
        The client's index frame.
    arrays
        Takes the arrays.

    Returns
    -------
    changed
        The block, in the client's frame, outside which nothing changed.
    masks
        One entry for each object that changed: ``name``, ``block`` (client's frame), ``data`` (a
        reference to uint8 0 or 1, null if the block is empty), ``replace`` (the object has no
        voxels outside the block), ``removed``.
    """
    entries: list[dict[str, Any]] = []
    changed = _EMPTY
    masks = {name: _mask(session, name, kind) for name in session.runs}
    for name in [n for n in held if n not in masks]:
        changed = changed.union(held[name][0])
        entries.append(_entry(name, removed=True))
    for name, mask in masks.items():
        replace = name not in held
        block = mask[0] if replace else _difference(held[name], mask)
        if block.is_empty and not replace:
            continue
        changed = changed.union(block)
        entry = _entry(name, replace=replace)
        if not block.is_empty:
            voxels = frame.array_out(_on(block, mask)).astype(np.uint8)
            entry.update(block=frame.block_out(block), data=arrays.write(voxels))
        entries.append(entry)
    held.clear()  # only now: had an array not been written, the client would have nothing
    held.update(masks)
    return [0] * 6 if changed.is_empty else frame.block_out(changed), entries


def send_slice(
    name: str, axis: int, result: SliceResult, frame: SentFrame, arrays: Arrays
) -> dict[str, Any]:
    """All that an object has on one slice: what a ``partial`` line carries.

    Parameters
    ----------
    name
        Of the object.
    axis
        Canonical axis across the slice.
    result
        Its mask there.
    frame
        The client's index frame.
    arrays
        Takes the array.

    Returns
    -------
    dict
        ``name``, ``axis`` and ``index`` in the client's frame, ``block`` and ``data`` as in the
        entries of `send_masks`.
    """
    where = {"axis": frame.axis_out(axis), "index": _index_out(result.index, axis, frame)}
    entry: dict[str, Any] = {"name": name, **where, "block": [0] * 6, "data": None}
    tight = Box2D.from_mask(result.mask)
    if not tight.is_empty:
        r, c = result.region.r0, result.region.c0
        box = Box2D(tight.r0 + r, tight.c0 + c, tight.r1 + r, tight.c1 + c)
        voxels = np.expand_dims(result.mask[tight.slices], axis)
        block = frame.block_out(BoxPrompt(axis, result.index, box).block)
        entry.update(block=block, data=arrays.write(frame.array_out(voxels).astype(np.uint8)))
    return entry


def describe_run(run: ObjectRun, frame: SentFrame) -> dict[str, Any]:
    """How an object's segmentation went, slice by slice, in the client's indices."""
    axis = PLANES[run.plane]

    def index_out(index: int) -> int:
        return _index_out(index, axis, frame)

    described = {
        "plane": run.plane,
        "axis": frame.axis_out(axis),
        "error": run.error,
        "prompted": sorted(index_out(i) for i in run.trace.prompted),
        "stops": [
            {"index": index_out(stop.index), "reason": stop.reason, "text": stop.text}
            for stop in run.trace.stops
        ],
        "slices": [
            {
                "index": index_out(record.index),
                "centroid": frame.point_out(record.centroid),
                "predicted_iou": record.predicted_iou,
                "stability": record.stability,
                "present": record.present,
                "neighbour_iou": record.neighbour_iou,
                "area_mm2": record.area_mm2,
                "prompt": record.prompt,
                "retries": record.retries,
            }
            for record in run.slices
        ],
    }
    structure = {"structure": run.structure} if run.structure else {}
    return dict(plain({**described, **structure, **_channels_of(run)}))


def _channels_of(run: ObjectRun) -> dict[str, Any]:
    """What each channel said, where there are several."""
    if not run.channels:
        return {}
    from sammed.engine.channelwise import agreement

    said = {
        name: {"weight": view.weight, "agreement": view.agreement, "error": view.error}
        for name, view in run.channels.items()
    }
    return {"channels": said, "agreement": agreement(run.channels)}


def plain(value: Any) -> Any:
    """The value as JSON knows it: numpy scalars as Python's, NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def _index_out(index: int, axis: int, frame: SentFrame) -> int:
    voxel = [0, 0, 0]
    voxel[axis] = index
    return frame.voxel_out((voxel[0], voxel[1], voxel[2]))[frame.axis_out(axis)]


def _entry(name: str, *, replace: bool = False, removed: bool = False) -> dict[str, Any]:
    empty: dict[str, Any] = {"name": name, "block": [0] * 6, "data": None}
    return {**empty, "replace": replace, "removed": removed}


def _mask(session: Session, name: str, kind: str) -> Held:
    volume = session.runs[name].volume
    if kind == "objects" or volume.block.is_empty:
        return volume.block, volume.mask
    label = next(obj.label for obj in session.objects if obj.name == name)
    return volume.block, session.labels_in(volume.block) == label


def _difference(before: Held, after: Held) -> Box3D:
    """Smallest block in which two masks differ."""
    if before[1] is after[1]:
        return _EMPTY
    union = before[0].union(after[0])
    if union.is_empty:
        return _EMPTY
    inside = Box3D.from_mask(_on(union, before) != _on(union, after))
    if inside.is_empty:
        return _EMPTY
    low = [a + b for a, b in zip(inside.low, union.low, strict=True)]
    high = [a + b for a, b in zip(inside.high, union.low, strict=True)]
    return Box3D(*low, *high)


def _on(block: Box3D, mask: Held) -> NDArray[np.bool_]:
    """The mask's voxels on another block, false where it has none."""
    if block == mask[0]:
        return mask[1]
    voxels = np.zeros(block.shape, bool)
    common = block.intersection(mask[0])
    if not common.is_empty:
        voxels[common.slices_in(block)] = mask[1][common.slices_in(mask[0])]
    return voxels
