"""Prompt files: ``sammed-prompts/1`` to read, write and replay; Slicer markups to read.

Masks are named in a prompt file, relative to it, and read by the caller's reader, since this
room knows no image formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import LabelError, PromptError, SammedError, UnreadableFileError
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import index_from_world, world_to_lps
from sammed.imaging.volume import Volume
from sammed.prompts import (
    PROPAGATE,
    BoxPrompt,
    LassoPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    ScribblePrompt,
)
from sammed.prompts.interactions import KINDS, order_of
from sammed.prompts.objects import in_order
from sammed.prompts.strokes import lasso_in_file, lasso_on_slice
from sammed.prompts.text import (
    SPACES,
    block_from_corners,
    block_from_world,
    box_on_slice,
    point_at,
    voxels_at,
)

FORMAT = "sammed-prompts/1"

MaskReader = Callable[[Path, int | None], NDArray[np.bool_]]
"""Reads one label (or any, for ``None``) of a label map on the volume's grid, (z, y, x) bool."""


def read_prompts(path: Path, volume: Volume, read_mask: MaskReader) -> tuple[ObjectPrompts, ...]:
    """Prompts from a ``sammed-prompts/1`` file or Slicer markups (``.mrk.json``).

    Parameters
    ----------
    path
        The file.
    volume
        The volume that is prompted.
    read_mask
        How to read the masks that it names.

    Returns
    -------
    tuple of ObjectPrompts
        In canonical voxels.

    Raises
    ------
    UnreadableFileError
        If the file is missing or no JSON.
    PromptError
        If it is of another format, or a prompt in it makes no sense.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableFileError(f"{path} is not JSON: {error}") from error
    if isinstance(data, dict) and data.get("format") == FORMAT:
        return _from_document(data, path, volume, read_mask)
    if isinstance(data, dict) and isinstance(data.get("markups"), list):
        return _from_markups(data["markups"], path, volume)
    raise PromptError(f'{path} holds no prompts: expected "format": "{FORMAT}" or Slicer markups')


def document(objects: Sequence[ObjectPrompts], volume: Volume, **about: Any) -> dict[str, Any]:
    """Prompts as a ``sammed-prompts/1`` document, in the file's own voxel indices.

    Parameters
    ----------
    objects
        In canonical voxels.
    volume
        The volume that was prompted.
    about
        More entries for the document (image, window, model, ...).
    """
    listed = []
    for obj in objects:
        entry: dict[str, Any] = {"name": obj.name, "label": obj.label}
        boxes = [_slice_entry(box, volume) for box in obj.boxes]
        boxes += [{"box3d": _file_corners(block, volume)} for block in obj.blocks]
        if boxes:
            entry["boxes"] = boxes
        if obj.points:
            entry["points"] = [
                {"at": _whole(volume.grid.file_index(np.array(p.at))), "positive": p.positive}
                for p in obj.points
            ]
        if obj.mask is not None and obj.mask.source:
            entry["mask"] = obj.mask.source
        entry |= _strokes(obj, volume)
        written = [s for s in obj.interactions if not isinstance(s, MaskPrompt) or s.source]
        if order_of(written) != order_of(sorted(written, key=lambda s: KINDS.index(type(s)))):
            entry["order"] = order_of(written)
        entry["propagate"] = obj.propagate
        listed.append(entry)
    return {"format": FORMAT, "space": "voxel", **about, "objects": listed}


def _strokes(obj: ObjectPrompts, volume: Volume) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if obj.scribbles:
        entry["scribbles"] = [
            {
                "voxels": [_whole(at) for at in volume.grid.file_index(stroke.voxels)],
                "positive": stroke.positive,
            }
            for stroke in obj.scribbles
        ]
    if obj.lassos:
        listed = []
        for lasso in obj.lassos:
            axis, index, outline = lasso_in_file(lasso, volume)
            about = {"axis": axis, "index": index, "outline": outline}
            listed.append({**about, "positive": lasso.positive})
        entry["lassos"] = listed
    return entry


def _slice_entry(box: BoxPrompt, volume: Volume) -> dict[str, Any]:
    axis = volume.grid.file_axis(box.axis)
    corners = _file_corners(box.block, volume)
    across = "ijk".index(axis)
    sides = [v for n, v in enumerate(corners) if n % 3 != across]
    return {"axis": axis, "index": corners[across], "box": sides}


def _file_corners(block: Box3D, volume: Volume) -> list[int]:
    """``[i0, j0, k0, i1, j1, k1]``, half-open."""
    corners = volume.grid.file_index(np.array([block.low, block.high]) - 0.5)
    return _whole(corners.min(axis=0) + 0.5) + _whole(corners.max(axis=0) + 0.5)


def _whole(values: NDArray[np.float64]) -> list[int]:
    return [round(float(v)) for v in values]


def _from_document(
    data: dict[str, Any], path: Path, volume: Volume, read_mask: MaskReader
) -> tuple[ObjectPrompts, ...]:
    space = data.get("space", "voxel")
    if space not in SPACES:
        raise PromptError(f"{path}: unknown space {space!r}; expected {', '.join(SPACES)}")
    entries = data.get("objects")
    if not isinstance(entries, list) or not entries:
        raise PromptError(f'{path} has no objects; expected a list "objects"')
    objects = []
    for number, entry in enumerate(entries):
        try:
            objects.append(_object(entry, path, volume, space, read_mask))
        except SammedError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PromptError(
                f"{path}: cannot read object {number}: {type(error).__name__} {error}; "
                f"see the description of {FORMAT}"
            ) from error
    return tuple(objects)


def _object(
    entry: dict[str, Any], path: Path, volume: Volume, space: str, read_mask: MaskReader
) -> ObjectPrompts:
    boxes: list[BoxPrompt] = []
    blocks: list[Box3D] = []
    for said in entry.get("boxes", ()):
        what = json.dumps(said)
        if "box3d" in said:
            corners = _vector(said["box3d"], 6)
            blocks.append(block_from_corners(corners, volume, space, what))
        else:
            sides = _vector(said["box"], 4)
            axis = str(said.get("axis", "k"))
            if axis not in ("i", "j", "k"):
                raise PromptError(f"{path}: unknown axis in {what}; expected i, j or k")
            index = float(said["index"])
            boxes.append(box_on_slice(sides, axis, index, volume, space, what))
    points = [
        point_at(_vector(said["at"], 3), _flag(said, "positive"), volume, space)
        for said in entry.get("points", ())
    ]
    mask = None
    if entry.get("mask"):
        mask = _mask(str(entry["mask"]), path.parent, read_mask)
    propagate = entry.get("propagate", "auto")
    if propagate not in PROPAGATE:
        raise PromptError(
            f"{path}: unknown propagate {propagate!r}; expected {', '.join(PROPAGATE)}"
        )
    obj = ObjectPrompts(
        str(entry.get("name", "object")),
        _label(entry),
        tuple(boxes),
        tuple(blocks),
        tuple(points),
        mask,
        propagate,
        scribbles=[_scribble(said, volume, space) for said in entry.get("scribbles", ())],
        lassos=[_lasso(said, volume, space) for said in entry.get("lassos", ())],
    )
    return in_order(obj, entry["order"]) if "order" in entry else obj


def _scribble(said: dict[str, Any], volume: Volume, space: str) -> ScribblePrompt:
    voxels = np.array(said["voxels"], np.float64)
    if voxels.ndim != 2 or voxels.shape[1] != 3 or not np.isfinite(voxels).all():
        raise PromptError(f"a scribble has voxels of shape {voxels.shape}; expected (n, 3)")
    at = voxels_at(voxels, volume, space, "position of a scribble")
    return ScribblePrompt(at, _flag(said, "positive"))


def _lasso(said: dict[str, Any], volume: Volume, space: str) -> LassoPrompt:
    axis = str(said.get("axis", "k"))
    if axis not in ("i", "j", "k"):
        raise PromptError(f"unknown axis {axis!r} of a lasso; expected i, j or k")
    if space != "voxel":
        raise PromptError(f"a lasso is given in {space}; expected voxel indices")
    outline = np.array(said["outline"], np.float64)
    return lasso_on_slice(outline, axis, int(said["index"]), volume, _flag(said, "positive"))


def _label(entry: dict[str, Any]) -> int:
    value = entry.get("label", 0)
    if type(value) is not int:
        raise LabelError(f"label {value!r} of {entry.get('name')!r} is not a whole number")
    return value


def _flag(said: dict[str, Any], name: str) -> bool:
    value = said.get(name, True)
    if not isinstance(value, bool):
        raise PromptError(f"{name!r} is {value!r}; expected true or false")
    return value


def _mask(text: str, folder: Path, read_mask: MaskReader) -> MaskPrompt:
    """A mask named in a prompt file: ``painted.nii.gz``, or ``painted.nii.gz#3`` for label 3."""
    file, _, value = text.rpartition("#")
    if not file or not value.isdigit():
        file, value = text, ""
    source = folder / file
    suffix = f"#{value}" if value else ""
    return MaskPrompt(read_mask(source, int(value) if value else None), f"{source}{suffix}")


def _vector(values: Any, count: int) -> NDArray[np.float64]:
    vector = np.array(values, np.float64)
    if vector.shape != (count,) or not np.isfinite(vector).all():
        raise PromptError(f"expected {count} numbers, found {values!r}")
    return vector


def _from_markups(
    markups: list[dict[str, Any]], path: Path, volume: Volume
) -> tuple[ObjectPrompts, ...]:
    """ROIs become 3D boxes, control points become points; all of one file are one object.

    A point is negative if its label or its description starts with ``-`` or ``neg``, or if the
    list's name contains ``neg``.
    """
    blocks: list[Box3D] = []
    points: list[PointPrompt] = []
    for markup in markups:
        try:
            space = str(markup.get("coordinateSystem", "LPS")).lower()
            if markup.get("type") == "ROI":
                corners = index_from_world(volume.affine, world_to_lps(_roi(markup), space))
                blocks.append(block_from_world(corners, volume, f"ROI of {path.name}"))
            else:
                points += _control_points(markup, volume, space)
        except SammedError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PromptError(
                f"{path}: cannot read a markup: {type(error).__name__} {error}"
            ) from error
    if not blocks and not points:
        raise PromptError(f"{path} holds neither a ROI nor a placed control point")
    name = path.name.removesuffix(".json").removesuffix(".mrk")
    return (ObjectPrompts(name, blocks=tuple(blocks), points=tuple(points)),)


def _roi(markup: dict[str, Any]) -> NDArray[np.float64]:
    """All eight corners of a Slicer ROI in its own coordinate system, (8, 3) mm.

    ``orientation`` is a row-major 3x3 matrix whose columns are the ROI's axes.
    """
    centre = _vector(markup["center"], 3)
    size = _vector(markup["size"], 3)
    axes = np.array(markup.get("orientation", np.eye(3).ravel()), np.float64).reshape(3, 3)
    signs = np.array(list(product((-0.5, 0.5), repeat=3)))
    return np.asarray(centre + (signs * size) @ axes.T)


def _control_points(markup: dict[str, Any], volume: Volume, space: str) -> list[PointPrompt]:
    listed_negative = "neg" in str(markup.get("name", "")).lower()
    points = []
    for said in markup.get("controlPoints", ()):
        if said.get("positionStatus", "defined") != "defined":
            continue
        words = (str(said.get("label", "")).lower(), str(said.get("description", "")).lower())
        negative = listed_negative or any(w.startswith(("-", "neg")) for w in words)
        points.append(point_at(_vector(said["position"], 3), not negative, volume, space))
    return points
