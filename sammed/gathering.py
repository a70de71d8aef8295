"""Prompts as people give them, joined into objects: numbers, text, files, painted slices, names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.errors import InputError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.meaning import meant
from sammed.io.memory import is_image, volume_of
from sammed.io.voxels import labels_from_volume
from sammed.prompts import (
    PROPAGATE,
    ObjectPrompts,
    PromptSet,
    Propagate,
    merge,
    with_labels,
)
from sammed.prompts.files import read_prompts
from sammed.prompts.masks import only_label, painted_objects
from sammed.prompts.naming import named_objects, with_values
from sammed.prompts.numeric import Box, Point
from sammed.prompts.placing import canonical_array, place_box, place_point
from sammed.prompts.scribbles import painted_scribbles, parse_scribble, placed_scribbles
from sammed.prompts.text import (
    DEFAULT_NAME,
    apply_labels,
    check_space,
    split_label,
    split_name,
)


def gather_prompts(
    volume: Volume,
    *,
    named: Collection[str] | None = None,
    structures: Mapping[str, int] | None = None,
    boxes: Iterable[str | Box] = (),
    points: Iterable[str | Point] = (),
    masks: Any = (),
    scribbles: Any = (),
    files: Iterable[Path] = (),
    labels: Mapping[str, int] | None = None,
    space: str = "voxel",
    propagate: Propagate | None = None,
    candidate: int = 0,
) -> PromptSet:
    """Join prompts from numbers, text and files into objects, checked on the volume.

    Parameters are those of `sammed.api.segment`, boxes and points one by one; ``named`` are its
    ``objects``, ``structures`` what the model knows.

    Raises
    ------
    PromptError, LabelError
        If a prompt or a label makes no sense.
    """
    check_space(space)
    if propagate is not None and propagate not in PROPAGATE:
        raise InputError(f"unknown propagation {propagate!r}; expected {', '.join(PROPAGATE)}")
    parts: list[ObjectPrompts] = []
    notes: list[str] = []
    read_mask = partial(_read_mask, volume=volume, notes=notes)
    for path in files:
        found = read_prompts(path, volume, read_mask)
        parts += found
        notes += found.notes
    parts += [place_box(box, volume, space) for box in boxes]
    parts += [place_point(point, volume, space) for point in points]
    parts += _painted(masks, volume, notes)
    parts += _scribbled(scribbles, volume, space, notes)
    known = structures or {}
    named, told = _named(named, known)
    notes += told
    parts = [*named_objects(named, known, alone=not parts), *parts]
    objects = with_values(apply_labels(merge(parts), dict(labels or {})), known)
    if propagate is not None:
        objects = tuple(replace(obj, propagate=propagate) for obj in objects)
    if candidate:
        objects = tuple(replace(obj, candidate=candidate) for obj in objects)
    gathered = PromptSet(with_labels(objects), tuple(notes))
    gathered.check(volume.shape, known)
    return gathered


def _named(
    wanted: Collection[str] | None, known: Mapping[str, int]
) -> tuple[list[str] | None, list[str]]:
    """What the model calls what is wanted, and a note of each name that was understood."""
    if not wanted:
        return None, []
    found: list[str] = []
    notes = []
    for name in wanted:
        names = meant(name, known, "in what the model knows")
        if names != (name,):
            notes.append(f"{name!r} is {' and '.join(map(repr, names))}")
        found += [one for one in names if one not in found]
    return found, notes


def _read_mask(
    path: Path, value: int | None, volume: Volume, notes: list[str]
) -> NDArray[np.bool_]:
    """One label of a file, or the only one that it holds."""
    labels = _read_painted(path, volume, notes)
    only = only_label(labels, value, f"the mask {path}", str(path))
    return np.asarray(labels.voxels == only)


def _read_painted(path: str | PathLike[str], volume: Volume, notes: list[str]) -> LabelVolume:
    labels = io.read_labels(path, like=volume)
    notes += [f"{Path(path).name}: {note}" for note in labels.notes]
    return labels


def _painted(given: Any, volume: Volume, notes: list[str], name: str = "") -> list[ObjectPrompts]:
    """Painted slices, however they are given: one object, or one a label if it has no name."""
    if isinstance(given, str):
        return _painted_file(given, volume, notes, name)
    if isinstance(given, PathLike):
        return painted_objects(_read_painted(given, volume, notes), name, str(given))
    if isinstance(given, LabelVolume):
        return painted_objects(given.on_grid_of(volume, "the mask"), name, "")
    if isinstance(given, Mapping):
        each = (_painted(one, volume, notes, str(key)) for key, one in given.items())
        return [part for parts in each for part in parts]
    if isinstance(given, list | tuple):
        return [part for one in given for part in _painted(one, volume, notes, name)]
    if is_image(given):
        labels = labels_from_volume(volume_of(given, keep_nan=True)).on_grid_of(volume, "the mask")
        return painted_objects(labels, name, "")
    voxels = canonical_array(given, volume, "the mask")
    painted = Volume(voxels, volume.grid, source=Path("the mask"))
    return painted_objects(labels_from_volume(painted), name, "")


def _scribbled(
    given: Any, volume: Volume, space: str, notes: list[str], name: str = ""
) -> list[ObjectPrompts]:
    """Strokes, however they are given: as typed, painted in a file, or as positions."""
    if isinstance(given, str | PathLike):
        return [_scribbled_text(str(given), volume, space, notes, name)]
    if isinstance(given, Mapping):
        each = (_scribbled(one, volume, space, notes, str(key)) for key, one in given.items())
        return [part for parts in each for part in parts]
    if isinstance(given, list | tuple) and all(isinstance(one, str | PathLike) for one in given):
        return [_scribbled_text(str(one), volume, space, notes, name) for one in given]
    strokes = placed_scribbles(given, volume, space)
    return [ObjectPrompts(name or DEFAULT_NAME, scribbles=strokes)]


def _scribbled_text(
    text: str, volume: Volume, space: str, notes: list[str], name: str
) -> ObjectPrompts:
    found, file = (name, text) if name or Path(text).exists() else split_name(text)
    if not Path(file).exists():
        typed = parse_scribble(text, volume, space)
        return replace(typed, name=name) if name else typed
    labels = _read_painted(file, volume, notes)
    called = found or DEFAULT_NAME
    return ObjectPrompts(called, scribbles=painted_scribbles(labels, called, file))


def _painted_file(text: str, volume: Volume, notes: list[str], name: str) -> list[ObjectPrompts]:
    """``[name=]file[#label]``."""
    if not name and not Path(text).exists():
        found, rest = split_name(text)
        name, text = ("" if rest == text else found), rest
    file, value = (text, None) if Path(text).exists() else split_label(text)
    return painted_objects(_read_painted(file, volume, notes), name, file, value)
