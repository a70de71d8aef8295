"""Phases and channels that a client sends beside a volume: the request ``channels``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sammed.errors import Cancelled, InputError
from sammed.imaging.volume import Volume
from sammed.worker.answers import plain
from sammed.worker.arrays import Arrays
from sammed.worker.case import copied, volume_of
from sammed.worker.messages import Fields

MOST = 8
"""Each takes as long as the volume itself; more are refused."""


def join_channels(
    volume: Volume,
    fields: Fields,
    arrays: Arrays,
    report: Callable[[str, dict[str, Any]], None],
    cancel: Callable[[], bool],
) -> tuple[Volume, list[dict[str, Any]]]:
    """A volume with the channels of a request on its grid, in place of those that it had.

    Parameters
    ----------
    volume
        Whose grid it is.
    fields
        ``channels``: ``name``, ``affine``, ``modality`` and ``data`` of each, none to see the
        volume alone again; ``name`` of the volume itself; ``align``, see
        `sammed.examples.channels.with_channels`.
    arrays
        Reads the arrays.
    report
        Told of each channel.
    cancel
        Asked often.

    Returns
    -------
    placed
        The volume, seen in all of them.
    told
        What was done to each channel: ``name``, ``how``, ``said``, ``moved_mm``, ``shown``.

    Raises
    ------
    RequestError
        If a field cannot be understood.
    InputError
        If a channel cannot be one.
    """
    from sammed.examples.channels import with_channels
    from sammed.examples.library import in_units

    parts = fields.parts("channels")
    alone = replace(volume, channels=(), name="")
    if len(parts) > MOST:
        raise InputError(f"{len(parts)} channels are too many; expected {MOST} at most")
    if not parts:
        return alone, []
    alone = in_units(alone)

    def check() -> None:
        if cancel():
            raise Cancelled("stopped; nothing was changed")

    first, align = fields.text("name", ""), fields.text("align", "auto")
    names = [part.text("name").strip() for part in parts]
    _check_names([first, *names])
    placed: list[Volume] = []
    told: list[dict[str, Any]] = []
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        about: dict[str, Any] = {"object": name, "plane": "", "seconds_per_slice": None}
        about |= {"seconds_left": None, "text": f"aligning {name}"}
        report("progress", {"done": number, "total": len(parts), **about})
        other = in_units(volume_of(part, copied(part, arrays)))
        joined, lines = with_channels(alone, {name: other}, name=first, align=align, check=check)
        alone = replace(joined, channels=())
        placed += joined.channels
        told += [plain(line.as_json()) for line in lines]
    return replace(alone, channels=tuple(placed)), told


def _check_names(names: list[str]) -> None:
    if not all(names[1:]):
        raise InputError("a channel needs a name, such as arterial")
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise InputError(f"two channels are called {sorted(twice)[0]!r}; give each its own name")
