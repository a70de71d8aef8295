"""Markups of 3D Slicer as prompts: ``.mrk.json`` as it saves them today, ``.fcsv`` as it used to.

All markups of one file are one object, named after the file. ROIs are 3D boxes, lists of points
are points. What says neither where the object is nor where it is not is refused.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import PromptError, SammedError
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import index_from_world, world_to_lps
from sammed.imaging.volume import Volume
from sammed.prompts.interactions import PointPrompt
from sammed.prompts.objects import ObjectPrompts, PromptSet
from sammed.prompts.text import block_from_world, point_at

NEGATIVE_WORDS = frozenset({"neg", "negs", "negative", "negatives", "outside"})
"""Words that say of points that they are not in the object.

The 3D Slicer module calls its lists ``liver inside`` and ``liver outside``.
"""

MILLIMETRES = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
"""Unit of length as files name it → mm."""

THROUGH = ("Line", "Curve")
"""Markups whose control points may be taken for points of the object; a note says so."""

FCSV_SPACES = {"0": "ras", "ras": "ras", "1": "lps", "lps": "lps", "2": "voxel", "ijk": "voxel"}
"""``CoordinateSystem`` of an ``.fcsv``, in lower case → the space of its numbers."""

FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
"""Columns of an ``.fcsv`` that does not name them."""

FCSV_STATUS = 14
"""Column, which the header leaves out, in which newer versions say whether a point is placed."""

FCSV_PLACED = ("", "2")


@dataclass
class _Found:
    """What a file holds, in the making."""

    path: Path
    volume: Volume
    blocks: list[Box3D] = field(default_factory=list)
    points: list[PointPrompt] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_points(self, points: list[PointPrompt], reason: str) -> None:
        """Points of one list; those that are negative for the same reason are told."""
        self.points += points
        if count := sum(not point.positive for point in points):
            which = "its point is" if len(points) == 1 else f"{count} of its points are"
            self.notes.append(f"{self.path.name}: {which} taken as outside the object, {reason}")

    def prompts(self) -> PromptSet:
        """Everything, as one object.

        Raises
        ------
        PromptError
            If there is nothing.
        """
        if not self.blocks and not self.points:
            raise PromptError(f"{self.path} holds neither a ROI nor a placed control point")
        name = self.path.name
        for ending in (".json", ".mrk", ".fcsv"):
            name = name.removesuffix(ending)
        prompts = ObjectPrompts(name, blocks=tuple(self.blocks), points=tuple(self.points))
        return PromptSet((prompts,), tuple(self.notes))


def read_markups(markups: list[dict[str, Any]], path: Path, volume: Volume) -> PromptSet:
    """ROIs become 3D boxes, control points become points.

    A point is negative if its label or its description starts with ``-`` or with one of
    `NEGATIVE_WORDS`, or if one of them is a word of the list's name; a note says which were.

    Parameters
    ----------
    markups
        The list of that name in a ``.mrk.json``.
    path
        The file.
    volume
        The volume that is prompted.

    Raises
    ------
    PromptError
        If a markup is of another kind, in unknown units, or makes no sense; or there is none.
    GeometryError
        If its coordinate system is unknown.
    """
    found = _Found(path, volume)
    for markup in markups:
        try:
            _add_markup(found, markup)
        except SammedError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PromptError(
                f"{path}: cannot read a markup: {type(error).__name__} {error}"
            ) from error
    return found.prompts()


def read_fcsv(text: str, path: Path, volume: Volume) -> PromptSet:
    """Points of an ``.fcsv``; which are negative is told as in `read_markups`, by their own words.

    Parameters
    ----------
    text
        The file's content.
    path
        The file.
    volume
        The volume that is prompted.

    Raises
    ------
    PromptError
        If its coordinate system is unknown, a line makes no sense, or there is no point.
    """
    lines = text.splitlines()
    said = dict(_fcsv_header(line) for line in lines if line.startswith("#"))
    system = said.get("coordinatesystem", "0").lower()
    if system not in FCSV_SPACES:
        raise PromptError(
            f"{path}: unknown CoordinateSystem {system!r}; expected RAS (0), LPS (1) or IJK (2)"
        )
    columns = [name.strip() for name in said.get("columns", FCSV_COLUMNS).split(",")]
    points = []
    for row in csv.reader(line for line in lines if line.strip() and not line.startswith("#")):
        cells = dict(zip(columns, row, strict=False))
        if "".join(row[FCSV_STATUS : FCSV_STATUS + 1]).strip() not in FCSV_PLACED:
            continue
        try:
            position = vector([float(cells[name]) for name in "xyz"], 3)
        except (KeyError, ValueError):
            raise PromptError(
                f"{path}: cannot read the point {','.join(row)!r}; expected the columns "
                f"{', '.join(columns)}"
            ) from None
        negative = _says_negative(cells.get("label", ""), cells.get("desc", ""))
        points.append(_point(position, not negative, volume, FCSV_SPACES[system], path))
    found = _Found(path, volume)
    found.add_points(points, "as their labels or descriptions say")
    return found.prompts()


def _fcsv_header(line: str) -> tuple[str, str]:
    name, _, value = line.lstrip("# ").partition("=")
    return name.strip().lower(), value.strip()


def _add_markup(found: _Found, markup: dict[str, Any]) -> None:
    kind, name = str(markup.get("type", "Fiducial")), str(markup.get("name", ""))
    space = str(markup.get("coordinateSystem", "LPS")).lower()
    unit = _unit(markup, found.path)
    if kind == "ROI":
        corners = world_to_lps(_roi(markup) * unit, space)
        index = index_from_world(found.volume.affine, corners)
        found.blocks.append(block_from_world(index, found.volume, f"ROI of {found.path.name}"))
        return
    if kind not in ("Fiducial", *THROUGH):
        raise PromptError(
            f"{found.path} holds {name!r}, a {kind}, which says neither what is inside of the "
            "object nor what is outside; expected a ROI (a 3D box) or a point list"
        )
    listed_negative = bool(NEGATIVE_WORDS & set(words(name)))
    points = _control_points(markup, found.volume, space, unit, listed_negative, found.path)
    if kind in THROUGH and points:
        found.notes.append(
            f"{found.path.name}: the {len(points)} control points of {name!r}, a {kind}, are "
            "taken as points; what runs between them is not used"
        )
    reason = f"since their list is called {name!r}" if listed_negative else ""
    found.add_points(points, reason or "as their labels or descriptions say")


def _unit(markup: dict[str, Any], path: Path) -> float:
    """Millimetres in the markup's unit of length."""
    said = markup.get("coordinateUnits", "mm")
    code = said if isinstance(said, list) else [said]  # Slicer's own code: scheme, value, meaning
    unit = next((str(part) for part in code if str(part) in MILLIMETRES), None)
    if unit is None:
        raise PromptError(
            f"{path}: unknown coordinateUnits {said!r}; expected one of {', '.join(MILLIMETRES)}"
        )
    return MILLIMETRES[unit]


def _roi(markup: dict[str, Any]) -> NDArray[np.float64]:
    """All eight corners of a ROI in its own coordinate system and unit, (8, 3).

    ``orientation`` is a row-major 3x3 matrix whose columns are the ROI's axes.
    """
    centre = vector(markup["center"], 3)
    size = vector(markup["size"], 3)
    axes = np.array(markup.get("orientation", np.eye(3).ravel()), np.float64).reshape(3, 3)
    signs = np.array(list(product((-0.5, 0.5), repeat=3)))
    return np.asarray(centre + (signs * size) @ axes.T)


def _control_points(
    markup: dict[str, Any], volume: Volume, space: str, unit: float, negative: bool, path: Path
) -> list[PointPrompt]:
    points = []
    for said in markup.get("controlPoints") or ():
        if said.get("positionStatus", "defined") != "defined":
            continue
        own = _says_negative(str(said.get("label", "")), str(said.get("description", "")))
        position = vector(said["position"], 3) * unit
        points.append(_point(position, not (negative or own), volume, space, path))
    return points


def _point(
    position: NDArray[np.float64], positive: bool, volume: Volume, space: str, path: Path
) -> PointPrompt:
    try:
        return point_at(position, positive, volume, space)
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from None


def _says_negative(*texts: str) -> bool:
    """Whether one of a point's texts starts with ``-`` or a word of `NEGATIVE_WORDS`."""
    return any(
        text.strip().startswith("-") or bool(NEGATIVE_WORDS & set(words(text)[:1]))
        for text in texts
    )


def words(text: str) -> list[str]:
    """The words of a name in lower case; digits, signs and a capital after a small letter end one.

    Examples
    --------
    >>> words("BoneGraft_neg-1"), words("Nonnegative")
    (['bone', 'graft', 'neg'], ['nonnegative'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [word.lower() for word in re.findall(r"[^\W\d_]+", spaced)]


def vector(values: Any, count: int) -> NDArray[np.float64]:
    """So many finite numbers, float64.

    Raises
    ------
    PromptError
        If they are others.
    """
    found = np.array(values, np.float64)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise PromptError(f"expected {count} numbers, found {values!r}")
    return found
