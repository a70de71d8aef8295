"""Boxes of label maps as detection has them: COCO, 3D Slicer's ROIs, CSV; COCO back as labels.

COCO (https://cocodataset.org/#format-data) knows pictures alone, so each slice along the file's k
is one, x runs along i and y along j. Masks are run lengths in column order, beginning with zeros,
as pycocotools' ``frPyObjects`` takes them. ``info`` holds the grid, so that label maps come back.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GeometryError, UnreadableFileError, UnsupportedFormatError
from sammed.imaging import geometry
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import FileGrid, LabelVolume, Volume, label_dtype, make_grid
from sammed.io.output import PathLike, atomic_text, check_output

ENDINGS = (".mrk.json", ".json", ".csv")
"""Slicer's ROIs, COCO, a table."""

COLUMNS = ("name", "label", "i0", "j0", "k0", "i1", "j1", "k1", "volume_ml")
"""Of the table; half-open voxel indices of the file."""

Found = tuple[int, str, Box3D]
"""Value, name and box, in indices (k, j, i) of the file."""


def is_boxes(path: PathLike) -> bool:
    """Whether a name is one of boxes rather than of voxels."""
    return str(path).lower().endswith(ENDINGS)


def write_boxes(labels: LabelVolume, path: PathLike, *, force: bool = False) -> None:
    """Write the boxes of all labels that are there.

    Parameters
    ----------
    labels
        The label map.
    path
        ``.mrk.json``: a ROI each; ``.json``: COCO, with masks; ``.csv``: a line each.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    check_output(path, force)
    name = str(path).lower()
    if name.endswith(".csv"):
        text = _csv(labels)
    else:
        document = _markups(labels) if name.endswith(".mrk.json") else coco(labels)
        text = json.dumps(document, separators=(",", ":")) + "\n"
    atomic_text(path, text, force=force)


def coco(labels: LabelVolume) -> dict[str, Any]:
    """A label map as a COCO document: an annotation for each label on each slice that shows it."""
    stored = labels.file_array()
    depth, height, width = stored.shape
    source = labels.source.name if labels.source else "volume"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    there: set[int] = set()
    for k in range(depth):
        values = [int(v) for v in np.unique(stored[k]) if v]
        if not values:
            continue
        images.append({"id": k, "file_name": f"{source}#k={k}", "width": width, "height": height})
        for value in values:
            there.add(value)
            annotations.append(_annotation(len(annotations) + 1, k, value, stored[k] == value))
    affine = geometry.affine_to_ras(labels.grid.affine).tolist()
    grid = {"shape_ijk": [width, height, depth], "affine_ijk_to_ras": affine}
    return {
        "info": {"description": f"label map {source}, slices along k", "sammed_grid": grid},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": v, "name": _name(labels, v)} for v in sorted(there)],
    }


def read_coco(path: PathLike, like: Volume | None = None) -> LabelVolume:
    """The label map of a COCO document whose pictures are slices along k.

    Parameters
    ----------
    path
        The file.
    like
        The image that it belongs to; without it, the grid in its ``info`` is taken.

    Raises
    ------
    UnreadableFileError
        If it is no COCO document.
    UnsupportedFormatError
        If its masks are none, polygons, or compressed.
    GeometryError
        If nothing says on which grid it is.
    """
    path = Path(path)
    document = _json(path)
    if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
        raise UnreadableFileError(f'{path} is no COCO document: it has no list "annotations"')
    grid = like.grid if like is not None else _grid(document, path)
    try:
        names = {int(c["id"]): str(c["name"]) for c in document.get("categories", [])}
        values = [int(a["category_id"]) for a in document["annotations"]]
        stored = np.zeros(grid.shape, label_dtype(max([*names, *values], default=1)))
        for annotation in document["annotations"]:
            mask = _decoded(annotation.get("segmentation"), path)
            k = int(annotation["image_id"])
            if not 0 <= k < len(stored) or mask.shape != stored[k].shape:
                raise UnreadableFileError(
                    f"{path}: the mask of {mask.shape} pixels on slice {k} does not fit an image "
                    f"of {grid.describe()}; give the image that it belongs to as --like"
                )
            stored[k][mask] = int(annotation["category_id"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableFileError(
            f"{path} is no sound COCO document: {type(error).__name__} {error}"
        ) from error
    known = {value: names.get(value, f"label_{value}") for value in sorted({*names, *values})}
    return LabelVolume(grid.reorientation.apply(stored), grid, known, source=path, image=like)


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of runs of a (row, col) mask in column order, zeros first.

    Examples
    --------
    >>> run_lengths(np.array([[0, 1], [0, 1], [1, 1]], bool))
    [2, 4]
    >>> run_lengths(np.array([[1, 0]], bool))
    [0, 1, 1]
    """
    flat = mask.ravel(order="F")
    turns = np.flatnonzero(np.diff(flat)) + 1
    lengths = [b - a for a, b in pairwise([0, *turns.tolist(), len(flat)])]
    return [0, *lengths] if len(flat) and flat[0] else lengths


def from_run_lengths(counts: list[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The (row, col) mask of run lengths; see `run_lengths`.

    Raises
    ------
    ValueError
        If they are not as long as the picture.
    """
    if sum(counts) != shape[0] * shape[1] or min(counts, default=0) < 0:
        raise ValueError(f"run lengths of {sum(counts)} pixels for a picture of {shape}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.asarray(flat.reshape(shape, order="F"))


def _annotation(number: int, k: int, value: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, cols = np.nonzero(mask)
    y, x = int(rows.min()), int(cols.min())
    return {
        "id": number,
        "image_id": k,
        "category_id": value,
        "bbox": [x, y, int(cols.max()) + 1 - x, int(rows.max()) + 1 - y],
        "area": len(rows),
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        "iscrowd": 0,
    }


def _decoded(said: Any, path: Path) -> NDArray[np.bool_]:
    counts = said.get("counts") if isinstance(said, dict) else None
    if not isinstance(counts, list):
        kind = "polygons" if isinstance(said, list) else "compressed" if counts else "missing"
        raise UnsupportedFormatError(
            f"{path}: its masks are {kind}; expected run lengths as a list of numbers, as "
            "`sammed convert labels.nii.gz -o boxes.json` writes them"
        )
    height, width = (int(n) for n in said["size"])
    return from_run_lengths([int(n) for n in counts], (height, width))


def _grid(document: dict[str, Any], path: Path) -> FileGrid:
    told = document.get("info", {}).get("sammed_grid") if document.get("info") else None
    if told is None:
        raise GeometryError(
            f"{path} does not say on which grid it is; give its image as --like IMAGE"
        )
    i, j, k = (int(n) for n in told["shape_ijk"])
    return make_grid(geometry.affine_from_ras(np.array(told["affine_ijk_to_ras"])), (k, j, i))


def _boxes(labels: LabelVolume) -> Iterator[Found]:
    stored = labels.file_array()
    for value in (int(v) for v in np.unique(stored) if v):
        yield value, _name(labels, value), Box3D.from_mask(stored == value)


def _name(labels: LabelVolume, value: int) -> str:
    return labels.names.get(value, f"label_{value}")


def _markups(labels: LabelVolume) -> dict[str, Any]:
    """A ROI for each label, along the axes of the image."""
    affine = labels.grid.affine
    axes = (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))[:, ::-1]  # i, j, k
    if np.linalg.det(axes) < 0:  # Slicer's are rotations; a box is the same either way
        axes = axes * [1, 1, -1]
    rois = []
    for _, name, box in _boxes(labels):
        corners = box.corners(affine)
        size = (np.array(box.shape) * np.array(geometry.spacing(affine)))[::-1]
        rois.append(
            {
                "type": "ROI",
                "name": name,
                "roiType": "Box",
                "coordinateSystem": "LPS",
                "coordinateUnits": "mm",
                "center": corners.mean(0).tolist(),
                "orientation": axes.ravel().tolist(),
                "size": size.tolist(),
            }
        )
    schema = (
        "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
        "Resources/Schema/markups-schema-v1.0.3.json#"
    )
    return {"@schema": schema, "markups": rois}


def _csv(labels: LabelVolume) -> str:
    lines = []
    volumes = labels.volumes_ml()
    for value, name, box in _boxes(labels):
        sides = (*box.low[::-1], *box.high[::-1])
        lines.append((name, value, *sides, round(volumes.get(name, 0.0), 4)))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([COLUMNS, *lines])
    return out.getvalue()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableFileError(f"{path} is not JSON: {error}") from error
