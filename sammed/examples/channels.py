"""Phases and channels of one person on one grid: aligned as far as that is called for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sammed import io
from sammed.errors import InputError
from sammed.imaging import geometry
from sammed.imaging import registration as reg
from sammed.imaging.volume import Volume

Alignment = Literal["auto", "none", "header", "rigid", "deformable"]
ALIGNMENTS: tuple[str, ...] = get_args(Alignment)

FIRST = "first"
"""Name of the first channel where it has none."""

LEAST_OVERLAP = 0.5
"""Share of the first channel's grid that another must show."""


@dataclass(frozen=True)
class Aligned:
    """What was done to a channel.

    Attributes
    ----------
    name
        Of the channel.
    how
        One of `ALIGNMENTS`.
    said
        In words, with the mm that it was moved.
    moved_mm
        On the mean.
    shown
        Share of the first channel's grid that it shows.
    """

    name: str
    how: str
    said: str
    moved_mm: float
    shown: float

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def parse_channel(text: str) -> tuple[str, str, str]:
    """``name=file`` or ``name=folder#series`` as typed.

    Raises
    ------
    InputError
        If a part is missing.

    Examples
    --------
    >>> parse_channel("art=study/#number:3")
    ('art', 'study/', 'number:3')
    """
    name, sign, where = text.partition("=")
    if not sign or not name.strip() or not where:
        raise InputError(f"channel {text!r} is no NAME=FILE; expected e.g. art=arterial.nii.gz")
    if Path(where).exists():
        return name.strip(), where, ""
    file, _, series = where.partition("#")
    return name.strip(), file, series


def with_channels(
    first: Volume,
    others: Mapping[str, Volume],
    *,
    name: str = "",
    align: Alignment | str = "auto",
    check: Callable[[], None] | None = None,
) -> tuple[Volume, list[Aligned]]:
    """A volume with others of the same person on its grid.

    Parameters
    ----------
    first
        Whose grid it is.
    others
        By name.
    name
        Of the first.
    align
        ``"none"``: the same voxels; ``"header"``: where the files say; ``"rigid"``: by mutual
        information; ``"deformable"``: then bent as well; ``"auto"``: rigid where mutual information
        and distance justify it.
    check
        Called often; may raise.

    Raises
    ------
    InputError
        If one shows somebody else or another place, or the names are not distinct.
    """
    if align not in ALIGNMENTS:
        raise InputError(f"unknown alignment {align!r}; expected {', '.join(ALIGNMENTS)}")
    if name in others:
        raise InputError(f"two channels are called {name!r}; give each its own name")
    placed: list[Volume] = []
    told: list[Aligned] = []
    for other, volume in others.items():
        check_same_person(first, volume, other)
        voxels, line = _on_grid(first, volume, other, align, check)
        told.append(line)
        placed.append(
            replace(
                volume, voxels=voxels, grid=first.grid, name=other,
                modality=volume.modality or first.modality, channels=(),
            )
        )  # fmt: skip
    return replace(first, name=name or FIRST, channels=tuple(placed)), told


def read_channels(
    texts: Sequence[str], first: Volume | None = None
) -> tuple[str, Volume, dict[str, Volume]]:
    """Channels as typed; without a first volume the first of them is it.

    Returns
    -------
    name, first, others
        As `with_channels` takes them.
    """
    parsed = [parse_channel(text) for text in texts]
    names = [name for name, _, _ in parsed]
    if len(set(names)) < len(names):
        raise InputError(f"channels {', '.join(names)} are not distinct; give each its own name")
    read = {name: io.read(file, series=series or None) for name, file, series in parsed}
    if first is not None:
        return "", first, read
    name = names[0]
    return name, read.pop(name), read


def check_same_person(first: Volume, other: Volume, name: str) -> None:
    """Refuse a channel of somebody else, as far as DICOM tells.

    Raises
    ------
    InputError
        If patient or, with the same patient, frame of reference and study both differ.
    """
    one, two = (io.identity(volume) for volume in (first, other))
    for tag, what in (("PatientID", "patient"), ("PatientBirthDate", "date of birth")):
        if one.get(tag) and two.get(tag) and one[tag] != two[tag]:
            raise InputError(
                f"channel {name} shows another {what} than the first ({tag} differs); expected "
                "phases of one person"
            )


def _on_grid(
    first: Volume,
    volume: Volume,
    name: str,
    align: str,
    check: Callable[[], None] | None,
) -> tuple[Any, Aligned]:
    if align == "none":
        if first.shape != volume.shape:
            raise InputError(
                f"channel {name} has shape {volume.shape}, the first {first.shape} (z, y, x): "
                "without alignment they must be one grid; try --align header"
            )
        return volume.voxels, Aligned(name, "none", "taken voxel by voxel", 0.0, 1.0)
    fixed, moving = reg.grey(first), reg.grey(volume)
    try:
        reg.check_pair(fixed, moving)
    except InputError as error:
        raise InputError(f"channel {name}: {error}") from None
    how, said, mm, found = _alignment(first, volume, fixed, moving, align, check)
    ones = np.ones(volume.shape, np.float32)
    shown = float(found.carry(ones, volume.affine, first.affine, first.shape).mean())
    if shown < LEAST_OVERLAP:
        raise InputError(
            f"channel {name} shows {shown:.0%} of the first channel's grid, expected at least "
            f"{LEAST_OVERLAP:.0%}: is it of the same part of the body, and does its header say so?"
        )
    same = how == "header" and geometry.same_grid(
        first.affine, first.shape, volume.affine, volume.shape
    )
    voxels = volume.voxels if same else found.carry(
        volume.voxels.astype(np.float32), volume.affine, first.affine, first.shape,
        outside=float(volume.voxels.min()),
    )  # fmt: skip
    return voxels, Aligned(name, how, said, round(mm, 2), round(shown, 3))


def _alignment(
    first: Volume,
    volume: Volume,
    fixed: reg.Grey,
    moving: reg.Grey,
    align: str,
    check: Callable[[], None] | None,
) -> tuple[str, str, float, reg.Alignment]:
    if align == "header":
        return "header", "left where its header has it", 0.0, reg.header(fixed.flat)
    moved = reg.guarded_rigid(fixed, moving, first, always=align != "auto", check=check)
    how = "rigid" if moved.taken else "header"
    mm = moved.found_mm if moved.taken else 0.0
    if align != "deformable":
        return how, moved.say(), mm, moved.alignment
    bent = reg.deformed(fixed, moving, moved.alignment, check=check)
    gained = reg.information(fixed, moving, bent) > moved.after
    if not gained:
        return how, f"{moved.say()}; not bent: mutual information would fall", mm, moved.alignment
    mm = bent.moved_mm(first.affine, first.shape)
    return "deformable", f"moved and bent by {mm:.1f} mm on the mean", mm, bent
