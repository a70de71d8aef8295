"""Which series, and which of its stacks, is meant; and in which words that is said."""

from __future__ import annotations

from collections.abc import Sequence

from sammed.errors import InputError
from sammed.io.dicom import tags
from sammed.io.dicom.images.series import Series, SeriesInfo, describe, frame_name
from sammed.io.dicom.images.stacks import Stack
from sammed.io.dicom.images.strays import Sameness

MAX_LISTED = 12
WAYS = "number:N (SeriesNumber), index:N (place in this list), uid:UID, or the description"


def choose_series(
    series: Sequence[Series], wanted: str | None, source: object, same_pixels: Sameness
) -> tuple[Series, tuple[str, ...]]:
    """The series that is meant, and what to note about the choice.

    Without a wish: the only one, the only usable one, or the only usable one of several slices.

    Parameters
    ----------
    series
        All there are.
    wanted
        ``number:3`` (SeriesNumber), ``index:2`` (place in the list, from 1), ``uid:1.2.3``, or
        (part of) the description; a bare number or UID where it means only one series.
    source
        Where they are from, for messages.
    same_pixels
        As `Series.stacks`.

    Raises
    ------
    InputError
        If the wish fits none or several, or there is a choice and no wish.
    """
    if wanted is not None:
        return _wanted(series, wanted.strip(), source), ()
    if len(series) == 1:
        return series[0], ()
    infos = [describe(s, same_pixels) for s in series]
    usable = [i for i in infos if i.usable]
    for candidates in (usable, [i for i in usable if i.is_volume]):
        if len(candidates) == 1:
            others = len(series) - 1
            return series[candidates[0].index - 1], (f"{others} other series left out",)
    if not usable:
        reasons = "; ".join(f"{i.line}: {i.verdict}" for i in infos[:MAX_LISTED])
        raise InputError(f"{source} holds {len(series)} series and none is usable: {reasons}")
    raise InputError(
        f"{source} holds {len(usable)} usable series; choose one with --series: {_listed(usable)}"
    )


def choose_stack(stacks: Sequence[Stack], frame: int | None, source: object) -> Stack:
    """The stack that is meant.

    Raises
    ------
    InputError
        If there are several and none is chosen, or the chosen one does not exist.
    """
    last = len(stacks) - 1
    listed = ", ".join(f"{n} = {frame_name(s)}" for n, s in enumerate(stacks[:MAX_LISTED]))
    more = f" and {len(stacks) - MAX_LISTED} more" if len(stacks) > MAX_LISTED else ""
    if frame is None and last > 0:
        raise InputError(
            f"{source} holds {last + 1} volumes in one series; choose one with --frame: "
            f"{listed}{more}"
        )
    if frame is not None and not 0 <= frame <= last:
        raise InputError(f"{source} has no frame {frame}; there are {last + 1}: {listed}{more}")
    return stacks[frame or 0]


def what_was_read(series: Series, stacks: Sequence[Stack], stack: Stack) -> str:
    """Series number, description, UID and frame, for the notes of the volume."""
    number = series.series_number
    parts = [
        f"series number {number}" if number else "a series without a number",
        repr(series.description) if series.description else "no description",
        f"UID {series.uid}" if series.uid else "no UID",
    ]
    if len(stacks) > 1:
        frame = next(n for n, s in enumerate(stacks) if s is stack)
        parts.append(f"frame {frame} of {len(stacks)}, {stack.label}")
    return f"read: {', '.join(parts)}"


def _wanted(series: Sequence[Series], wanted: str, source: object) -> Series:
    way, colon, rest = wanted.partition(":")
    if colon and way.lower() in ("number", "index", "uid"):
        return _only(_by(way.lower(), series, rest.strip()), series, wanted, source)
    if wanted.isdigit():
        return _by_bare_number(series, wanted, source)
    low = wanted.lower()
    for fits in (
        _by("uid", series, wanted),
        [s for s in series if s.description.lower() == low],
        [s for s in series if low and low in s.description.lower()],
    ):
        if fits:
            return _only(fits, series, wanted, source)
    return _only([], series, wanted, source)


def _by(way: str, series: Sequence[Series], wanted: str) -> list[Series]:
    if way == "uid":
        return [s for s in series if s.uid == wanted]
    if not wanted.isdigit():
        return []
    if way == "index":
        return [s for s in series if s.index == int(wanted)]
    return [s for s in series if tags.whole(s.header, "SeriesNumber") == int(wanted)]


def _by_bare_number(series: Sequence[Series], wanted: str, source: object) -> Series:
    """A number without a word may be a place in the list, a SeriesNumber, or a description."""
    at_index, of_number = _by("index", series, wanted), _by("number", series, wanted)
    described = [s for s in series if s.description == wanted]
    fits = list({s.uid: s for s in (*at_index, *of_number, *described)}.values())
    if at_index and len(fits) > 1:
        raise InputError(
            f"--series {wanted} could mean several of the {len(series)} series in {source}: "
            f"{_listed(fits)}; write index:{wanted} for the place in the list, number:{wanted} "
            "for the SeriesNumber, or give the UID"
        )
    return _only(fits or _by("uid", series, wanted), series, wanted, source)


def _only(fits: Sequence[Series], series: Sequence[Series], wanted: str, source: object) -> Series:
    if len(fits) == 1:
        return fits[0]
    if fits:
        lines = [f"{s.line} ({s.uid})" for s in fits]
        raise InputError(
            f"{source} holds {len(fits)} series that fit {wanted!r}; choose one by index:N or "
            f"uid:UID: {_joined(lines)}"
        )
    raise InputError(f"{source} holds no series {wanted!r}; expected {WAYS} of: {_listed(series)}")


def _listed(series: Sequence[Series] | Sequence[SeriesInfo]) -> str:
    return _joined([s.line for s in series])


def _joined(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return "; ".join([*lines[:MAX_LISTED], *more])
