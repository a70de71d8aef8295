"""Label maps as people hand them in: also a frame for each label, also on a grid of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from sammed import io
from sammed.errors import EvaluationError, FrameError, LabelError, UnreadableFileError
from sammed.evaluation.manifest import ENDINGS
from sammed.evaluation.metrics import require_same_grid
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume
from sammed.io.recognition import longest_ending


def read_map(path: Path) -> LabelVolume:
    """A label map, notes with the file's name; of several frames, one for each label (one-hot).

    Of frames of 0 and 1 of which each voxel has exactly one 1, frame N is label N, as MONAI and
    others store them, and frame 0 the background.

    Raises
    ------
    EvaluationError
        If there are several frames, and they are no such label map.
    InputError, GeometryError
        As `sammed.io.read_labels`.
    """
    try:
        labels = io.read_labels(path)
    except FrameError as error:
        labels = _from_frames(path, error.count)
    except UnreadableFileError as error:
        files = (
            [p.name for p in sorted(path.iterdir()) if longest_ending(p, ENDINGS)]
            if path.is_dir()
            else []
        )
        if not files:
            raise
        raise EvaluationError(
            f"{path} is a folder of {len(files)} files such as {files[0]}, and no label map; give "
            f"one of them, or two folders of cases as --images and --references ({error})"
        ) from None
    return replace(labels, notes=tuple(f"{path.name}: {note}" for note in labels.notes))


def _from_frames(path: Path, count: int) -> LabelVolume:
    what = f"{path} holds {count} frames"
    advice = (
        "; expected a label map of one frame, or frames of 0 and 1 of which each voxel has exactly "
        f"one 1 (frame 0 is the background); `sammed convert {path.name} --frame N --labels "
        "-o one.nii.gz` makes a label map of frame N"
    )
    first = None
    for frame in range(count):
        try:
            labels = io.read_labels(path, frame=frame)
        except LabelError as error:
            raise EvaluationError(f"{what}, no label maps: {error}{advice}") from None
        if first is None:
            first = replace(labels, voxels=np.zeros(labels.shape, np.uint16))
            times = np.zeros(labels.shape, np.uint16)
        if labels.voxels.max(initial=0) > 1:
            raise EvaluationError(
                f"{what}, and frame {frame} reaches {labels.voxels.max()}{advice}"
            )
        times += labels.voxels
        first.voxels[labels.voxels == 1] = frame
    if first is None or (times != 1).any():
        none, several = int((times == 0).sum()), int((times > 1).sum())
        raise EvaluationError(
            f"{what}: {none:,} voxels are in none of them and {several:,} in several{advice}"
        )
    note = f"{count} frames were read as one label map: frame N is label N, frame 0 the background"
    return replace(first, names={n: f"label_{n}" for n in range(1, count)}, notes=(note,))


def on_one_grid(
    prediction: LabelVolume, reference: LabelVolume, resample: bool
) -> tuple[LabelVolume, LabelVolume]:
    """Both label maps on one grid, with notes on what was done for it.

    Parameters
    ----------
    prediction, reference
        On any grids.
    resample
        Put the prediction on the reference's grid if they differ. That grid is extended as far as
        anything is labelled in the prediction: a file may hold the labelled part of an image only.

    Raises
    ------
    GridMismatchError
        If the grids differ and ``resample`` is off, or they lie too far apart.
    """
    grids = prediction.affine, prediction.shape, reference.affine, reference.shape
    if geometry.same_grid(*grids) or not resample:
        require_same_grid(prediction, reference)
        note = geometry.grid_note(prediction.affine, prediction.shape, reference.affine)
        new, moved = [text.replace("the image", "the reference") for text in note], prediction
    else:
        from sammed.io.resample import resample_to_union

        moved, reference = resample_to_union(prediction, reference)
        new = list(moved.notes[len(prediction.notes) :])
    told = (f"the prediction: {text}" for text in new)
    return replace(moved, notes=(*prediction.notes, *told)), reference
