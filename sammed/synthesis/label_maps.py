"""Label maps of real anatomy to draw scenes from: prepared once, read by many processes.

Prepared maps are small files of 8-bit labels, cropped to what is labelled, from which no image can
be made: intensities are always drawn (`sammed.synthesis.label_scenes`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import InputError

PREPARED = ".labels.npz"
"""How the name of a prepared map ends."""

MARGIN = 8
"""Voxels kept beyond what is labelled."""

MOST_LABELS = 200
KEPT_OPEN = 6
"""Maps that a process keeps in memory: 5 to 15 MB each."""

HELD_BACK_EVERY = 10
"""One subject in so many is kept for validation, at least one of a folder."""


@dataclass(frozen=True)
class LabelMap:
    """A label map of real anatomy.

    Attributes
    ----------
    labels : (z, y, x) uint8
        0 is what nobody labelled.
    spacing : (3,) float32
        Size of a voxel (z, y, x) in mm.
    bounds : (n, 3, 2) int32
        First and one past the last voxel of each label 1 .. n; all 0 of those that are absent.
    """

    labels: NDArray[np.uint8]
    spacing: NDArray[np.float32]
    bounds: NDArray[np.int32]

    @property
    def present(self) -> NDArray[np.intp]:
        """The labels that occur."""
        return np.flatnonzero(self.bounds[:, 0, 1] > 0) + 1


def prepare(labels: NDArray[np.integer], spacing: Sequence[float]) -> LabelMap:
    """A label map, cropped, its labels numbered from 1.

    Parameters
    ----------
    labels : (z, y, x) int
        0 is background; any values else.
    spacing
        Size of a voxel (z, y, x) in mm.

    Raises
    ------
    InputError
        If nothing is labelled, or too many different things.
    """
    values = np.unique(labels)
    values = values[values != 0]
    if not 0 < len(values) <= MOST_LABELS:
        raise InputError(f"a label map has {len(values)} labels; expected 1 to {MOST_LABELS}")
    (crop,) = ndimage.find_objects((labels != 0).astype(np.uint8))
    grown = tuple(slice(max(0, s.start - MARGIN), s.stop + MARGIN) for s in crop)
    kept = labels[grown]
    numbered = np.where(kept == 0, 0, np.searchsorted(values, kept) + 1).astype(np.uint8)
    found = ndimage.find_objects(numbered, max_label=len(values))
    bounds = np.array([[(s.start, s.stop) for s in part or _NOWHERE] for part in found], np.int32)
    return LabelMap(numbered, np.array(spacing, np.float32), bounds)


_NOWHERE = (slice(0, 0),) * 3


def prepare_folder(folder: Path, out: Path) -> list[Path]:
    """Prepare every label map below a folder, unless that was done before.

    Parameters
    ----------
    folder
        Holds label maps of any format, in folders of any depth.
    out
        Where the prepared ones go, one file each.

    Returns
    -------
    paths
        Of the prepared maps, sorted.

    Raises
    ------
    InputError
        If there is no label map below the folder.
    """
    done = sorted(folder.rglob("*" + PREPARED))
    if done:
        return done
    sources = sorted(p for p in folder.rglob("*") if p.name.endswith(SUFFIXES))
    if not sources:
        raise InputError(f"{folder} holds no label maps; expected files ending in {SUFFIXES}")
    from sammed.io import read_labels

    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for source in sources:
        stem = "__".join(source.relative_to(folder).parts)
        path = out / (stem[: -len(next(s for s in SUFFIXES if stem.endswith(s)))] + PREPARED)
        if not path.is_file():
            read = read_labels(source)
            ready = prepare(read.voxels, read.spacing)
            part = path.with_name(path.name + ".part")
            with part.open("wb") as file:
                np.savez_compressed(
                    file, labels=ready.labels, spacing=ready.spacing, bounds=ready.bounds
                )
            part.replace(path)
        paths.append(path)
    return sorted(paths)


SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""What label maps are looked for under."""


@lru_cache(maxsize=KEPT_OPEN)
def open_map(path: Path) -> LabelMap:
    """Read a prepared map; a process keeps the last few."""
    with np.load(path) as file:
        return LabelMap(file["labels"], file["spacing"], file["bounds"])


def subject_of(path: Path) -> str:
    """Whose label map it is, by its name: several readers and visits of one person are one.

    Examples
    --------
    >>> subject_of(Path("neck__0522c0727b_oncologist.labels.npz"))
    'neck__0522c0727'
    >>> subject_of(Path("head__training_seg_07.labels.npz"))
    'head__training_seg_07'
    """
    stem = path.name.removesuffix(PREPARED)
    return re.sub(r"(?<=\d)[a-z]$", "", re.sub(r"_(oncologist|radiographer)$", "", stem))


def split(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Maps to train on and maps held back for validation, by subject.

    Of each source (the part of the name before ``__``) the last subjects are held back.

    Examples
    --------
    >>> paths = [Path(f"a__{n:02d}.labels.npz") for n in range(12)]
    >>> [p.name[:5] for p in split(paths)[1]]
    ['a__11']
    """
    sources: dict[str, list[str]] = {}
    for path in sorted(paths):
        subject = subject_of(path)
        listed = sources.setdefault(subject.rpartition("__")[0], [])
        if subject not in listed:
            listed.append(subject)
    held = {
        subject
        for subjects in sources.values()
        for subject in subjects[-max(1, len(subjects) // HELD_BACK_EVERY) :]
    }
    kept = tuple(p for p in paths if subject_of(p) not in held)
    return kept, tuple(p for p in paths if subject_of(p) in held)
