"""Any readable image or label map to any writable format, on its own grid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from sammed import io
from sammed.errors import InputError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.boxes import is_boxes, read_coco, write_boxes
from sammed.io.formats import VOLUME_TYPES, endings
from sammed.io.output import PathLike
from sammed.io.recognition import longest_ending


def convert(
    path: PathLike,
    outputs: Sequence[PathLike],
    *,
    as_labels: bool = False,
    like: PathLike | None = None,
    only: Collection[str] | None = None,
    output_type: str | None = None,
    frame: int | None = None,
    series: str | None = None,
    allow_gaps: bool = False,
    force: bool = False,
) -> Volume | LabelVolume:
    """Read one file or series and write it in other formats.

    Parameters
    ----------
    path
        As `sammed.io.read` and `sammed.io.read_labels`.
    outputs
        Files to write; each ending chooses its format, those of `sammed.io.boxes` among them. All
        are checked before anything is read.
    as_labels
        Take the input for a label map: voxels must be whole numbers, names and colours are kept
        where formats have them. Without it, so is what can be nothing else (``.seg.nrrd``, DICOM
        SEG, RTSTRUCT, a NIfTI label map), and what goes to a format for labels alone.
    like
        The image that a label map belongs to: RTSTRUCT needs it to be read, DICOM SEG and
        RTSTRUCT to be written.
    only
        Names of the structures of a label map to convert; without it all.
    output_type, force
        As `sammed.io.write_labels`.
    frame, series, allow_gaps
        As `sammed.io.read`.

    Returns
    -------
    Volume or LabelVolume
        What was read.

    Raises
    ------
    SammedError
        As `sammed.io.read`, `sammed.io.read_labels` and `sammed.io.write_labels`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = convert("sample_data/phantom_ct.nii.gz", [f"{folder}/ct.mha"])
    ...     io.read(f"{folder}/ct.mha").shape == found.shape
    True
    """
    for output in outputs:
        io.check_output(output, force)
    detected = [output for output in outputs if is_boxes(output)]
    kinds = {io.output_format(o, output_type) for o in outputs if o not in detected}
    are_labels = as_labels or bool(detected or kinds - set(VOLUME_TYPES)) or is_boxes(path)
    if are_labels or io.holds_labels(path):
        labels = _labels(path, like, only, frame, series, allow_gaps)
        write_all(labels, outputs, output_type=output_type, force=force)
        return labels
    if like is not None or only is not None:
        option = "--only" if like is None else "--like"
        raise InputError(
            f"{path} is converted as an image; {option} is for label maps: add --labels"
        )
    volume = io.read(path, frame=frame, series=series, allow_gaps=allow_gaps)
    for output in outputs:
        io.write_volume(volume, output, force=force)
    return volume


def write_all(
    labels: LabelVolume,
    outputs: Sequence[PathLike],
    *,
    output_type: str | None = None,
    force: bool = False,
) -> None:
    """Write a label map in several formats; boxes of it among them, see `sammed.io.boxes`."""
    for output in outputs:
        if is_boxes(output):
            write_boxes(labels, output, force=force)
        else:
            io.write_labels(labels, output, force=force, output_type=output_type)


def files_written(labels: LabelVolume, path: PathLike) -> list[Path]:
    """The files into which a label map is written under a name: surfaces may be one each.

    Parameters
    ----------
    labels
        The label map.
    path
        As `sammed.io.write_labels`.
    """
    if longest_ending(Path(path), endings(("stl", "ply"))) is None:
        return [Path(path)]
    from sammed.io import mesh

    there = [int(value) for value in np.unique(labels.voxels) if value]
    return mesh.files([labels.names.get(value, f"label_{value}") for value in there], path)


def _labels(
    path: PathLike,
    like: PathLike | None,
    only: Collection[str] | None,
    frame: int | None,
    series: str | None,
    allow_gaps: bool,
) -> LabelVolume:
    """The label map, on the grid of the image that it belongs to if that is given."""
    if is_boxes(path):
        if only is not None:
            raise InputError(f"--only is for label maps; {path} holds boxes: convert all of them")
        return read_coco(path, None if like is None else io.read(like, frame=frame, series=series))
    if like is not None:
        image = io.read(like, frame=frame, series=series, allow_gaps=allow_gaps)
        return io.read_labels(path, like=image, only=only)
    return io.read_labels(path, only=only, frame=frame, series=series, allow_gaps=allow_gaps)
