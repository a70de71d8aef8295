"""Prompts as numbers: what a program or a notebook says, in the file's own voxel indices.

`Box` and `Point` are what people write, and tuples, arrays and mappings may stand for them. No
volume is known here; `sammed.prompts.placing` puts them on one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from sammed.errors import PromptError
from sammed.prompts.text import check_order

BOX_FORMS = (
    "four numbers with slice=N, six numbers (i0, j0, k0, i1, j1, k1), a Box, or several of them"
)
POINT_FORMS = "three numbers (i, j, k), a Point, or several of them"


@dataclass(frozen=True, init=False, repr=False)
class Box:
    """A box on a slice, or a 3D box, in the file's own voxel indices.

    Half-open, as slices of arrays are: ``array[i0:i1, j0:j1, k]``.

    Parameters
    ----------
    *numbers
        ``i0, j0, i1, j1`` with ``k``; ``i0, k0, i1, k1`` with ``j``; ``j0, k0, j1, k1`` with
        ``i``; or ``i0, j0, k0, i1, j1, k1`` for a 3D box. Where the space is ``"ras"`` or
        ``"lps"``, millimetres along the world's axes.
    i, j, k
        The slice on which the box lies; none for a 3D box.
    name
        Of the object; ``"object"`` if empty.

    Attributes
    ----------
    numbers
        As given.
    axis
        ``"i"``, ``"j"`` or ``"k"`` across which the slice lies; ``""`` for a 3D box.
    slice
        Which slice across that axis; 0 for a 3D box.

    Raises
    ------
    PromptError
        If there are too many or too few numbers, one is none, or an end is not behind its start.

    Examples
    --------
    >>> Box(99, 56, 131, 97, k=44, name="spleen")
    Box(99, 56, 131, 97, k=44, name='spleen')
    >>> Box.from_corners((99, 56, 30), (131, 97, 52))
    Box(99, 56, 30, 131, 97, 52)
    >>> str(Box(99, 56, 131, 97, k=44, name="spleen"))  # as the command line takes it
    'spleen=99,56,131,97@k=44'
    """

    numbers: tuple[float, ...]
    axis: str
    slice: float
    name: str

    def __init__(
        self,
        *numbers: float,
        i: float | None = None,
        j: float | None = None,
        k: float | None = None,
        name: str = "",
    ) -> None:
        given = {axis: at for axis, at in (("i", i), ("j", j), ("k", k)) if at is not None}
        _check_form(numbers, given)
        for axis, at in given.items():
            object.__setattr__(self, "axis", axis)
            object.__setattr__(self, "slice", _numbers([at], "the slice of a box")[0])
        if not given:
            object.__setattr__(self, "axis", "")
            object.__setattr__(self, "slice", 0)
        object.__setattr__(self, "numbers", _numbers(numbers, "a box"))
        object.__setattr__(self, "name", name)
        half = len(numbers) // 2
        check_order(np.array(self.numbers[:half]), np.array(self.numbers[half:]), str(self))

    @classmethod
    def from_corners(cls, low: Iterable[float], high: Iterable[float], name: str = "") -> Box:
        """A 3D box from its lowest (i, j, k) and one past its highest."""
        return cls(*low, *high, name=name)

    def named(self, name: str) -> Box:
        """The same box for another object."""
        return Box(*self.numbers, name=name, **self._slice)

    def __repr__(self) -> str:
        numbers = [f"{v}" for v in self.numbers]
        at = [f"{axis}={index}" for axis, index in self._slice.items()]
        name = [f"name={self.name!r}"] if self.name else []
        return f"Box({', '.join([*numbers, *at, *name])})"

    def __str__(self) -> str:
        at = "".join(f"@{axis}={index}" for axis, index in self._slice.items())
        numbers = ",".join(f"{v}" for v in self.numbers)
        return f"{self.name}{'=' if self.name else ''}{numbers}{at}"

    @property
    def _slice(self) -> dict[str, float]:
        return {self.axis: self.slice} if self.axis else {}


@dataclass(frozen=True, repr=False)
class Point:
    """A voxel that belongs to the object (positive) or does not, in the file's own indices.

    Parameters
    ----------
    i, j, k
        The voxel; millimetres where the space is ``"ras"`` or ``"lps"``.
    positive
        Whether it belongs to the object.
    name
        Of the object; ``"object"`` if empty.

    Raises
    ------
    PromptError
        If one of the three is no number.

    Examples
    --------
    >>> Point(110, 80, 44, positive=False)
    Point(110, 80, 44, positive=False)
    """

    i: float
    j: float
    k: float
    positive: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        for axis, value in zip("ijk", _numbers(self.at, "a point"), strict=True):
            object.__setattr__(self, axis, value)

    @property
    def at(self) -> tuple[float, float, float]:
        """(i, j, k)."""
        return self.i, self.j, self.k

    def __repr__(self) -> str:
        positive = [] if self.positive else ["positive=False"]
        name = [f"name={self.name!r}"] if self.name else []
        return f"Point({', '.join([*(f'{v}' for v in self.at), *positive, *name])})"


def as_boxes(given: Any, slice: float | None = None, axis: str = "k") -> list[Box | str]:
    """Everything that people give as boxes, one by one; knows no volume.

    Parameters
    ----------
    given
        Four numbers, which need ``slice``, or a pair of them and their slice; six numbers; a
        `Box`; text as the command line takes it; a list or an array of any of these; a mapping
        from names to any of these.
    slice, axis
        On which slice, across ``"i"``, ``"j"`` or ``"k"``, boxes of four bare numbers lie.

    Returns
    -------
    list of Box or str
        Text stays text, to be parsed on a volume.

    Raises
    ------
    PromptError
        If something is no box, or ``slice`` says of no box where it is.

    Examples
    --------
    >>> as_boxes((99, 56, 131, 97), slice=44)
    [Box(99, 56, 131, 97, k=44)]
    >>> as_boxes({"spleen": ((99, 56, 131, 97), 44), "liver": (23, 25, 20, 97, 92, 62)})
    [Box(99, 56, 131, 97, k=44, name='spleen'), Box(23, 25, 20, 97, 92, 62, name='liver')]
    """
    if axis not in ("i", "j", "k"):
        raise PromptError(f"unknown axis {axis!r}; expected 'i', 'j' or 'k'")
    bare: list[Box] = []
    boxes = list(_each_box(given, slice, axis, bare))
    if slice is not None and not bare:
        raise PromptError(f"slice={slice} says where a box of four numbers lies, but there is none")
    return boxes


def as_points(given: Any) -> list[Point | str]:
    """Everything that people give as points, one by one; knows no volume.

    Parameters
    ----------
    given
        Three numbers; a `Point`; text as the command line takes it; a list or an array of any of
        these; a mapping from names to any of these.

    Returns
    -------
    list of Point or str
        Text stays text, to be parsed on a volume.

    Raises
    ------
    PromptError
        If something is no point.

    Examples
    --------
    >>> as_points([(110, 80, 44), Point(60, 58, 44, positive=False)])
    [Point(110, 80, 44), Point(60, 58, 44, positive=False)]
    """
    return list(_each_point(given))


def _check_form(numbers: tuple[float, ...], given: dict[str, float]) -> None:
    """Whether so many numbers and slices make a box."""
    if len(numbers) not in (4, 6):
        raise PromptError(f"a box has 4 or 6 numbers, not {len(numbers)}; expected {BOX_FORMS}")
    if len(given) > 1:
        raise PromptError(f"a box lies on one slice, not on {' and '.join(given)}; give one")
    if len(numbers) == 4 and not given:
        raise PromptError("a box of four numbers needs its slice: k=N, or i=N, j=N")
    if len(numbers) == 6 and given:
        raise PromptError(f"a 3D box lies on no single slice; leave {''.join(given)} out")


def _each_box(given: Any, at: float | None, axis: str, bare: list[Box]) -> Iterator[Box | str]:
    """Boxes one by one; ``bare`` receives those that took their slice from outside."""
    if isinstance(given, str | Box):
        yield given
    elif isinstance(given, Mapping):
        for name, value in given.items():
            for box in _each_box(value, at, axis, bare):
                yield f"{name}={box}" if isinstance(box, str) else box.named(str(name))
    elif _is_pair(given):
        yield _on_slice(given[0], axis, given[1])
    elif _are_numbers(given) and len(given) == 4 and at is not None:
        bare.append(_on_slice(given, axis, at))
        yield bare[-1]
    elif _are_numbers(given):
        yield Box(*given)
    else:
        for part in _parts(given, "box", BOX_FORMS):
            yield from _each_box(part, at, axis, bare)


def _on_slice(numbers: Iterable[float], axis: str, at: float) -> Box:
    slices: dict[str, Any] = {axis: at}
    return Box(*numbers, **slices)


def _each_point(given: Any) -> Iterator[Point | str]:
    if isinstance(given, str | Point):
        yield given
    elif isinstance(given, Mapping):
        for name, value in given.items():
            for said in _each_point(value):
                yield f"{name}={said}" if isinstance(said, str) else replace(said, name=str(name))
    elif _are_numbers(given):
        if len(given) != 3:
            raise PromptError(f"a point has 3 numbers, not {len(given)}; expected {POINT_FORMS}")
        yield Point(*given)
    else:
        for part in _parts(given, "point", POINT_FORMS):
            yield from _each_point(part)


def _parts(given: Any, what: str, forms: str) -> list[Any]:
    """The members of a list or an array."""
    if isinstance(given, Box | Point) or not isinstance(given, Iterable):
        raise PromptError(f"{given!r} is no {what}; expected {forms}")
    return list(given)


def _is_pair(given: Any) -> bool:
    """Whether it is four numbers and their slice."""
    if not isinstance(given, list | tuple) or len(given) != 2:
        return False
    return _are_numbers(given[0]) and _is_number(given[1])


def _are_numbers(given: Any) -> bool:
    if isinstance(given, str | Mapping | Box | Point) or not hasattr(given, "__len__"):
        return False
    return len(given) > 0 and all(_is_number(value) for value in given)


def _is_number(value: Any) -> bool:
    """Whether it is one real number: Python's, numpy's or a tensor's."""
    if isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, Real) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0)


def _numbers(values: Iterable[Any], what: str) -> tuple[float, ...]:
    """Python numbers, whole ones as int.

    Raises
    ------
    PromptError
        If one is no finite number.
    """
    found = []
    for value in values:
        number = float(value) if _is_number(value) else np.nan
        if not np.isfinite(number):
            raise PromptError(f"{what} consists of finite numbers, not {value!r}")
        found.append(int(number) if number == int(number) else number)
    return tuple(found)
