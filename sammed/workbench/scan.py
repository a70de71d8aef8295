"""What the page is told of a volume, and the voxels that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.imaging import geometry
from sammed.imaging.geometry import Shape3
from sammed.imaging.intensity import (
    FOREGROUND_PERCENTILES,
    PRESETS,
    ct_offset,
    foreground,
    resolve_window,
    sample,
    window_notes,
)
from sammed.imaging.volume import Volume

LONGEST_SIDE = 2048
"""Voxels along an axis that browsers' 3D textures hold."""

MOST_VOXELS = 2**29
"""Voxels that a page is sent at most: it takes up to four bytes for each, more than once."""

_AS_THEY_ARE = ("u1", "i2", "u2", "f4")


@dataclass(frozen=True)
class Shown:
    """How a volume's voxels are sent to the page.

    Attributes
    ----------
    dtype
        Little-endian.
    step
        Every how many-th voxel along each axis is sent.
    shape
        Of what is sent, (z, y, x) or (z, y, x, 3).
    note
        What is lost by it; empty if nothing.
    """

    dtype: np.dtype[Any]
    step: Shape3
    shape: tuple[int, ...]
    note: str

    @property
    def nbytes(self) -> int:
        """How many bytes are sent."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def chunks(self, volume: Volume) -> Iterator[bytes | memoryview]:
        """The voxels in C order, a slice at a time, so that they are never there twice."""
        sz, sy, sx = self.step
        for z in range(0, volume.shape[0], sz):
            plane = volume.voxels[z, ::sy, ::sx]
            yield np.ascontiguousarray(plane, self.dtype).data.cast("B")


def shown_as(volume: Volume, value_range: tuple[float, float]) -> Shown:
    """How the page is to see a volume, whose values lie in a range."""
    dtype = _shown_type(volume.voxels.dtype, value_range)
    step = _step(volume.shape)
    extents = tuple(-(-n // s) for n, s in zip(volume.shape, step, strict=True))
    shape = (*extents, 3) if volume.is_colour else extents
    notes = []
    if step != (1, 1, 1):
        every = " × ".join(str(s) for s in step)
        notes.append(
            "the volume is larger than a browser can show: one voxel of "
            f"{every} (z, y, x) is shown, and all of them are segmented"
        )
    if dtype == np.dtype("<f4") and max(map(abs, value_range)) > 2**24:
        notes.append("values beyond 16,777,216 are shown rounded")
    return Shown(dtype, step, shape, "; ".join(notes))


def describe_scan(volume: Volume, window: str) -> dict[str, Any]:
    """What there is to say of a volume itself.

    Parameters
    ----------
    volume
        As it was read.
    window
        How to show it, as `sammed.imaging.intensity.resolve_window` takes it.

    Raises
    ------
    WindowError
        If there is nothing to see, or no such window.
    """
    chosen = resolve_window(window, volume)
    low, high = volume.voxels.min().item(), volume.voxels.max().item()
    shown = shown_as(volume, (float(low), float(high)))
    return {
        "shape": list(volume.shape),
        "spacing": [round(mm, 6) for mm in volume.spacing],
        "affine": volume.affine.tolist(),
        "to_file": volume.grid.reorientation.to_file[[2, 1, 0, 3]].tolist(),
        "codes": geometry.axis_codes(volume.affine),
        "oblique_degrees": round(oblique_degrees(volume), 2),
        "modality": volume.modality,
        "colour": volume.is_colour,
        "single_slice": min(volume.shape) == 1,
        "dtype": str(volume.voxels.dtype),
        "range": [float(low), float(high)],
        "window": [chosen.low, chosen.high],
        "presets": presets(volume),
        "notes": [*volume.notes, *window_notes(window, volume, chosen)],
        "file": {"format": volume.grid.format, "series": _series(volume)},
        "shown": {
            "dtype": shown.dtype.str,
            "shape": list(shown.shape),
            "step": list(shown.step),
            "note": shown.note or None,
        },
    }


def presets(volume: Volume) -> list[dict[str, Any]]:
    """Windows to choose from: the file's own, a CT's, or percentiles of anything else."""
    if volume.is_colour:
        return []
    listed = [
        _preset(w.name or "as the file says", w.level - w.width / 2, w.level + w.width / 2)
        for w in volume.windows
        if w.width > 0
    ]
    offset = ct_offset(volume)
    if offset is not None:
        return listed + [
            _preset(name, level + offset - width / 2, level + offset + width / 2)
            for name, (width, level) in PRESETS.items()
        ]
    values = foreground(sample(volume.voxels))
    for bounds in ((0.0, 100.0), FOREGROUND_PERCENTILES, (5.0, 95.0)):
        low, high = (float(v) for v in np.percentile(values, bounds))
        if high > low:
            listed.append(_preset("p{:g}-{:g}".format(*bounds), low, high))
    return listed


def oblique_degrees(volume: Volume) -> float:
    """How far the axes are turned from the body's, at most."""
    unit: NDArray[np.float64] = geometry.direction(volume.affine)
    codes = geometry.axis_codes(volume.affine)
    along = ["L" if c in "LR" else "P" if c in "PA" else "S" for c in codes]
    cosines = [abs(unit["LPS".index(world), axis]) for axis, world in enumerate(along)]
    return float(np.degrees(np.arccos(min(1.0, *cosines))))


def _preset(name: str, low: float, high: float) -> dict[str, Any]:
    return {"name": name, "low": round(low, 4), "high": round(high, 4)}


def _shown_type(dtype: np.dtype[Any], value_range: tuple[float, float]) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype("u1")
    if dtype.str[1:] in _AS_THEY_ARE:
        return dtype.newbyteorder("<")
    low, high = value_range
    if dtype.kind in "iu" and low >= -(2**15) and high < 2**15:
        return np.dtype("<i2")
    return np.dtype("<f4")


def _step(shape: Shape3) -> Shape3:
    step = [-(-n // LONGEST_SIDE) for n in shape]
    while np.prod([-(-n // s) for n, s in zip(shape, step, strict=True)]) > MOST_VOXELS:
        longest = max(range(3), key=lambda a: shape[a] / step[a])
        step[longest] += 1
    z, y, x = step
    return z, y, x


def _series(volume: Volume) -> str | None:
    slices = getattr(volume.grid.native, "slices", None)
    if volume.grid.format != "dicom" or not slices:
        return None
    about = [getattr(slices[0], key, None) for key in ("SeriesNumber", "SeriesDescription")]
    return " ".join(str(part) for part in about if part not in (None, "")) or None
