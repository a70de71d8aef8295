"""Prompts of one object between the client's frame and sammed's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import PromptError
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Shape3
from sammed.prompts import (
    PROPAGATE,
    BoxPrompt,
    LassoPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    ScribblePrompt,
)
from sammed.prompts.interactions import order_of
from sammed.prompts.objects import in_order
from sammed.worker.arrays import Arrays
from sammed.worker.frames import SentFrame
from sammed.worker.messages import Fields, RequestError


def read_object(
    fields: Fields,
    frame: SentFrame,
    shape: Shape3,
    arrays: Arrays,
    kept: MaskPrompt | None = None,
) -> ObjectPrompts:
    """The object that a ``put`` describes, in canonical indices.

    Parameters
    ----------
    fields
        The request's ``object``.
    frame
        The frame of the array as the client sent it.
    shape
        Canonical extents (z, y, x) of the volume.
    arrays
        Reads the mask's arrays.
    kept
        Painted slices that stay: each part of the mask replaces the slices that it covers.

    Raises
    ------
    RequestError
        If a field is missing, of the wrong type, or a block is empty.
    """
    name = fields.text("name")
    if not name:
        raise RequestError("bad_request", f"{fields.where}: 'name' is empty")
    propagate = fields.text("propagate", "auto")
    if propagate not in PROPAGATE:
        raise RequestError(
            "bad_request", f"{fields.where}: 'propagate' must be one of {', '.join(PROPAGATE)}"
        )
    obj = ObjectPrompts(
        name,
        fields.whole("label", 0),
        tuple(_read_box(part, frame) for part in fields.parts("boxes")),
        tuple(_read_block(part, frame) for part in fields.parts("blocks")),
        tuple(_read_point(part, frame) for part in fields.parts("points")),
        _read_mask(fields, frame, shape, arrays, kept),
        propagate,
        scribbles=[_read_scribble(part, frame) for part in fields.parts("scribbles")],
        lassos=[_read_lasso(part, frame) for part in fields.parts("lassos")],
        candidate=fields.whole("candidate", 0),
        structure=fields.text("structure", ""),
    )
    order = _order(fields, obj)
    if not order:
        return obj
    try:
        return in_order(obj, order)
    except PromptError as error:
        raise RequestError("bad_request", f"{fields.where}: {error}") from None


def write_object(prompts: ObjectPrompts, frame: SentFrame) -> dict[str, Any]:
    """The same as JSON; of a mask only the block that it fills is told."""
    return {
        "name": prompts.name,
        "label": prompts.label,
        "boxes": [
            {"axis": frame.axis_out(box.axis), "block": frame.block_out(box.block)}
            for box in prompts.boxes
        ],
        "blocks": [{"block": frame.block_out(block)} for block in prompts.blocks],
        "points": [
            {"at": frame.voxel_out(point.at), "positive": point.positive}
            for point in prompts.points
        ],
        "mask": None if prompts.mask is None else _mask_block(prompts.mask, frame),
        "scribbles": [
            {
                "voxels": np.rint(frame.positions_out(stroke.voxels.astype(np.float64)))
                .astype(int)
                .tolist(),
                "positive": stroke.positive,
            }
            for stroke in prompts.scribbles
        ],
        "lassos": [_write_lasso(lasso, frame) for lasso in prompts.lassos],
        "order": order_of(prompts.interactions),
        "propagate": prompts.propagate,
        "candidate": prompts.candidate,
        "structure": prompts.structure,
    }


def _read_block(fields: Fields, frame: SentFrame) -> Box3D:
    block = fields.wholes("block", 6)
    if any(high <= low for low, high in zip(block[:3], block[3:], strict=True)):
        raise RequestError(
            "bad_request",
            f"{fields.where}: block {block} is empty or inverted; expected "
            "[k0, j0, i0, k1, j1, i1] with each end greater than its start",
        )
    return frame.block_in(block)


def _axis(fields: Fields) -> int:
    axis: int = fields.whole("axis")
    if axis not in (0, 1, 2):
        raise RequestError("bad_request", f"{fields.where}: 'axis' must be 0, 1 or 2 (k, j, i)")
    return axis


def _read_box(fields: Fields, frame: SentFrame) -> BoxPrompt:
    axis = _axis(fields)
    block = _read_block(fields, frame)
    across = frame.axis_in(axis)
    low, high = block.range(across)
    if high - low != 1:
        raise RequestError(
            "bad_request",
            f"{fields.where}: a box must be one voxel thick along its axis {axis}, found "
            f"{high - low}; a 3D box belongs into 'blocks'",
        )
    return BoxPrompt(across, low, block.across(across))


def _read_point(fields: Fields, frame: SentFrame) -> PointPrompt:
    return PointPrompt(frame.voxel_in(fields.wholes("at", 3)), fields.flag("positive", True))


def _read_scribble(fields: Fields, frame: SentFrame) -> ScribblePrompt:
    voxels = np.array(fields.rows("voxels", 3), np.float64).reshape(-1, 3)
    canonical = np.rint(frame.positions_in(np.clip(np.rint(voxels), -1e9, 1e9))).astype(np.intp)
    return ScribblePrompt(canonical, fields.flag("positive", True))


def _read_lasso(fields: Fields, frame: SentFrame) -> LassoPrompt:
    axis = _axis(fields)
    outline = np.array(fields.rows("outline", 2), np.float64).reshape(-1, 2)
    corners = np.insert(outline - 0.5, axis, fields.whole("index"), axis=1)
    zyx, across = frame.positions_in(corners), frame.axis_in(axis)
    index = round(float(zyx[0, across])) if len(zyx) else 0
    rows_cols = (np.delete(zyx, across, axis=1) + 0.5).tolist()
    positive = fields.flag("positive", True)
    return LassoPrompt(across, index, tuple((row, col) for row, col in rows_cols), positive)


def _write_lasso(lasso: LassoPrompt, frame: SentFrame) -> dict[str, Any]:
    zyx = np.insert(np.array(lasso.outline) - 0.5, lasso.axis, lasso.index, axis=1)
    corners, axis = frame.positions_out(zyx), frame.axis_out(lasso.axis)
    return {
        "axis": axis,
        "index": round(float(corners[0, axis])),
        "outline": (np.delete(corners, axis, axis=1) + 0.5).round(3).tolist(),
        "positive": lasso.positive,
    }


def _order(fields: Fields, obj: ObjectPrompts) -> list[str]:
    """The order that is told; whether there is a mask in the end is for us to know."""
    order = fields.texts("order")
    if not order:
        return []
    painted = obj.mask is not None
    order = [kind for kind in order if kind != "mask" or painted]
    return order if not painted or "mask" in order else [*order, "mask"]


def _read_mask(
    fields: Fields, frame: SentFrame, shape: Shape3, arrays: Arrays, kept: MaskPrompt | None
) -> MaskPrompt | None:
    parts = fields.parts("mask")
    if not parts:
        return kept
    blocks = [_read_block(part, frame) for part in parts]
    voxels = np.zeros(shape, bool) if kept is None else kept.voxels.copy()
    for part, block in zip(parts, blocks, strict=True):
        if kept is not None:
            voxels[_slices_of(part, block, frame)] = False
    for part, block in zip(parts, blocks, strict=True):
        data = part.part("data")
        painted = frame.array_in(_three_axes(arrays.read(data), data)) != 0
        if painted.shape != block.shape or block.clip(shape) != block:
            raise RequestError(
                "bad_request",
                f"{part.where}: the array of shape {data.values['shape']} does not fill its block "
                f"{part.values['block']} inside the volume",
            )
        voxels[block.slices] |= painted
        del painted
        arrays.forget(data)
    return MaskPrompt(voxels) if kept is None or voxels.any() else None


def _slices_of(part: Fields, block: Box3D, frame: SentFrame) -> tuple[slice, ...]:
    """The whole slices that a part covers: across its axis, else across the one it is thin on."""
    thin = next((axis for axis in range(3) if block.shape[axis] == 1), 0)
    axis = frame.axis_in(_axis(part)) if "axis" in part else thin
    return tuple(slice(*block.range(a)) if a == axis else slice(None) for a in range(3))


def _three_axes(array: NDArray[np.generic], data: Fields) -> NDArray[np.generic]:
    if array.ndim != 3:
        raise RequestError(
            "bad_request", f"{data.where}: expected 3 axes (k, j, i), found {array.ndim}"
        )
    return array


def _mask_block(mask: MaskPrompt, frame: SentFrame) -> list[int]:
    return [0] * 6 if mask.block.is_empty else frame.block_out(mask.block)
