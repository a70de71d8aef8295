"""Prompt files: ``sammed-prompts/1`` to read, write and replay; markups of 3D Slicer to read.

Masks are named in a prompt file, relative to it, and read by the caller's reader, since this
room knows no image formats.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import LabelError, PromptError, SammedError, UnreadableFileError
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import (
    PROPAGATE,
    BoxPrompt,
    LassoPrompt,
    MaskPrompt,
    ObjectPrompts,
    PromptSet,
    ScribblePrompt,
)
from sammed.prompts.interactions import KINDS, order_of
from sammed.prompts.markups import read_fcsv, read_markups, vector
from sammed.prompts.objects import in_order
from sammed.prompts.strokes import lasso_in_file, lasso_on_slice
from sammed.prompts.text import (
    SPACES,
    block_from_corners,
    box_on_slice,
    point_at,
    split_label,
    voxels_at,
)

FORMAT = "sammed-prompts/1"

MaskReader = Callable[[Path, int | None], NDArray[np.bool_]]
"""Reads one label (or any, for ``None``) of a label map on the volume's grid, (z, y, x) bool."""


def read_prompts(path: Path, volume: Volume, read_mask: MaskReader) -> PromptSet:
    """Prompts from a ``sammed-prompts/1`` file or Slicer markups (``.mrk.json``, ``.fcsv``).

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
    PromptSet
        In canonical voxels, with notes on what markups were taken for.

    Raises
    ------
    UnreadableFileError
        If the file is missing, or neither JSON nor an ``.fcsv``.
    PromptError
        If it is of another format, or a prompt in it makes no sense.
    """
    if path.suffix.lower() == ".fcsv":
        return read_fcsv(_text(path), path, volume)
    data = read_json(path)
    if isinstance(data, dict) and data.get("format") == FORMAT:
        return PromptSet(_from_document(data, path, volume, read_mask))
    if isinstance(data, dict) and isinstance(data.get("markups"), list):
        return read_markups(data["markups"], path, volume)
    raise PromptError(f'{path} holds no prompts: expected "format": "{FORMAT}" or Slicer markups')


def read_json(path: Path, expected: str = "") -> Any:
    """What a JSON file holds that people may have written by hand.

    Parameters
    ----------
    path
        The file.
    expected
        What it should hold, for the message if it is something else.

    Raises
    ------
    UnreadableFileError
        If it is missing or no JSON, or an object in it has a key twice, of which one would count.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, times in Counter(key for key, _ in pairs).items():
            if times > 1:
                raise UnreadableFileError(
                    f"{path} has the key {key!r} {times} times in one object; only the last would "
                    "count, so give each once"
                )
        return dict(pairs)

    try:
        return json.loads(_text(path), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        what = f"; expected {expected}" if expected else ""
        raise UnreadableFileError(f"{path} is not JSON: {error}{what}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        kind = "no text" if path.suffix.lower() == ".fcsv" else "not JSON"
        raise UnreadableFileError(f"{path} is {kind}: {error}") from error


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
        if obj.structure:
            entry["structure"] = obj.structure
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
        if obj.candidate:
            entry["candidate"] = obj.candidate
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
            corners = vector(said["box3d"], 6)
            blocks.append(block_from_corners(corners, volume, space, what))
        else:
            sides = vector(said["box"], 4)
            axis = str(said.get("axis", "k"))
            if axis not in ("i", "j", "k"):
                raise PromptError(f"{path}: unknown axis in {what}; expected i, j or k")
            index = float(said["index"])
            boxes.append(box_on_slice(sides, axis, index, volume, space, what))
    points = [
        point_at(vector(said["at"], 3), _flag(said, "positive"), volume, space)
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
        candidate=int(entry.get("candidate", 0)),
        structure=_structure(entry),
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


def _structure(entry: dict[str, Any]) -> str:
    value = entry.get("structure", "")
    if not isinstance(value, str):
        raise PromptError(f"structure {value!r} of {entry.get('name')!r} is not a text")
    return value


def _flag(said: dict[str, Any], name: str) -> bool:
    value = said.get(name, True)
    if not isinstance(value, bool):
        raise PromptError(f"{name!r} is {value!r}; expected true or false")
    return value


def _mask(text: str, folder: Path, read_mask: MaskReader) -> MaskPrompt:
    """A mask named in a prompt file: ``painted.nii.gz``, or ``painted.nii.gz#3`` for label 3."""
    file, value = split_label(text)
    return MaskPrompt(read_mask(folder / file, value), str(folder / text))
