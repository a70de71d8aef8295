"""Windows: one mapping of intensities to [0, 1] for a whole volume.

A window is data: it is chosen once, reported, part of every cache key, and never written back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.errors import WindowError
from sammed.imaging.volume import Volume

PRESETS: dict[str, tuple[float, float]] = {
    "soft-tissue": (400, 40),
    "abdomen": (400, 40),
    "mediastinum": (350, 50),
    "liver": (150, 30),
    "lung": (1500, -600),
    "bone": (1800, 400),
    "spine": (250, 50),
    "brain": (80, 40),
    "stroke": (40, 40),
    "subdural": (200, 75),
    "temporal-bone": (2800, 600),
    "angio": (600, 300),
}
"""Name → (width, level) in HU; the customary radiological display windows."""

FOREGROUND_PERCENTILES = (0.5, 99.5)
"""Percentiles of the foreground that ``auto`` maps to 0 and 1 outside CT (as MedSAM does)."""

LUNG_BELOW_HU = -400.0
BONE_ABOVE_HU = 300.0
"""Median HU inside the prompted region beyond which ``auto`` takes the lung or bone preset."""

RAW_OFFSET = 1024.0
"""What is added to HU where scanners' numbers are stored as they are, without a rescaling."""

AIR_HU, LUNG_EDGE_HU, BODY_HU, SOFT_HU = -900.0, (-450.0, -220.0), -200.0, 200.0
FAT_HU, WATER_HU = (-150.0, -50.0), (-20.0, 120.0)
"""Where a CT has its peaks, and between lung and body hardly anything."""

LEAST_AIR, LEAST_BODY = 0.004, 0.05
LEAST_SOFT, LEAST_FAT, LEAST_WATER, LEAST_DENSE = 0.65, 0.01, 0.15, 0.002
MOST_EDGE, MOST_EDGE_RAW = 0.10, 0.08
"""Shares of a CT's voxels (air, body) and of its body's by which its histogram is known.

Six CTs of thorax, abdomen and vessels, as they are and averaged over blocks of 2, 3 and 4 voxels,
have at least 0.004, 0.58, 0.67, 0.086, 0.36 and 0.004, and at most 0.092 at the edge of the lung.
None of 99 MR images and others is taken for a CT, scaled and shifted in 14,355 ways so that their
tissue lies where a CT has its own.
"""

SAMPLE_VOXELS = 1_000_000
"""Percentiles are measured on a regular subsample of about this many voxels."""


@dataclass(frozen=True)
class Window:
    """A linear mapping of ``[low, high]`` to ``[0, 1]``, clipped.

    Attributes
    ----------
    low, high
        In the volume's units (HU for CT).
    name
        How it was chosen, for the report: ``"soft-tissue"``, ``"p0.5-99.5"``, ...
    """

    low: float
    high: float
    name: str

    def apply(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Map values of any shape to float32 in [0, 1]; the input is not changed."""
        scaled = values.astype(np.float32)
        scaled -= np.float32(self.low)
        scaled *= np.float32(1.0 / (self.high - self.low))
        return np.clip(scaled, 0.0, 1.0, out=scaled)

    def __str__(self) -> str:
        return f"{self.name} [{self.low:.4g}, {self.high:.4g}]"


COLOUR_WINDOW = Window(0.0, 255.0, "colour")


def resolve_window(spec: str, volume: Volume, region: NDArray[np.generic] | None = None) -> Window:
    """The window that a text stands for, on one volume.

    Parameters
    ----------
    spec
        A preset (`PRESETS`), ``"W/L"`` (width / level, e.g. ``"400/40"``), percentiles
        ``"p0.5-99.5"`` of the foreground, ``"dicom"`` or ``"dicom:NAME"`` (the file's own), or
        ``"auto"``: CT by the HU inside the region, anything else by foreground percentiles.
    volume
        The volume; colour images have one fixed window.
    region
        Values inside the prompted boxes, any shape; only ``auto`` looks at them.

    Returns
    -------
    Window
        One mapping for the whole volume.

    Raises
    ------
    WindowError
        If the text cannot be read, the window would be empty, or a voxel is no finite number.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> [str(resolve_window(spec, volume)) for spec in ("auto", "lung", "400/40")]
    ['soft-tissue [-160, 240]', 'lung [-1350, 150]', '400/40 [-160, 240]']
    """
    spec = spec.strip().lower()
    if volume.is_colour:
        return COLOUR_WINDOW
    _check_finite(volume)
    if spec == "auto":
        return _auto(volume, region)
    if spec in PRESETS:
        return _from_width_level(*PRESETS[spec], spec)
    if spec == "dicom" or spec.startswith("dicom:"):
        return _from_header(volume, spec.partition(":")[2])
    number = r"[-+]?\d+(?:\.\d+)?"
    if match := re.fullmatch(rf"({number})/({number})", spec):
        return _from_width_level(float(match[1]), float(match[2]), spec)
    if match := re.fullmatch(rf"p({number})-({number})", spec):
        return _percentiles(volume, float(match[1]), float(match[2]))
    raise WindowError(
        f"unknown window {spec!r}; expected auto, dicom, W/L such as 400/40, percentiles such as "
        f"p0.5-99.5, or one of {', '.join(PRESETS)}"
    )


def check_window(spec: str) -> None:
    """Make sure that a text stands for a window, before there is a volume.

    What only the file can tell (``dicom``) is not looked at.

    Parameters
    ----------
    spec
        As in `resolve_window`.

    Raises
    ------
    WindowError
        If the text cannot be read, or the window would be empty.

    Examples
    --------
    >>> check_window("400/40")
    >>> check_window("0/40")
    Traceback (most recent call last):
    sammed.errors.WindowError: window width 0 is not positive; W/L means width/level
    """
    if not spec.strip().lower().startswith("dicom"):
        ramp = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
        resolve_window(spec, Volume.from_array(ramp, np.eye(4)))


def ct_offset(volume: Volume) -> float | None:
    """What has to be taken from the values of a CT for Hounsfield units; ``None`` if it is no CT.

    Without a stated modality, whole numbers that reach below -50 (fat or air) over a range of more
    than 200 are HU. Other values are known by their histogram, as HU or with `RAW_OFFSET` added:
    air, little between lung and body, fat, water, and something denser.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> raw = replace(volume, voxels=(volume.voxels + 1024).astype("uint16"))
    >>> ct_offset(volume), ct_offset(raw), ct_offset(replace(raw, modality="MR"))
    (0.0, 1024.0, None)
    """
    if volume.modality:
        return 0.0 if volume.modality.upper() == "CT" else None
    values = sample(volume.voxels)
    whole = np.array_equal(values, np.rint(values))
    if whole and _reaches_fat(values):
        return 0.0
    offsets = (RAW_OFFSET,) if whole else (0.0, RAW_OFFSET)
    edges = {0.0: MOST_EDGE, RAW_OFFSET: MOST_EDGE_RAW}
    return next((o for o in offsets if _has_peaks(values - o, edges[o])), None)


def window_notes(spec: str, volume: Volume, window: Window) -> tuple[str, ...]:
    """What ``auto`` took for granted of a volume whose modality nothing says.

    Parameters
    ----------
    spec
        The window that was asked for; only ``auto`` takes anything for granted.
    volume, window
        The volume, and what became of it.
    """
    if spec.strip().lower() != "auto" or volume.modality or volume.is_colour:
        return ()
    offset = ct_offset(volume)
    if offset:
        return (
            f"by its histogram this is a CT with {offset:g} added to its Hounsfield units; its "
            f"window is {window} (if it is none: --window p0.5-99.5)",
        )
    values = sample(volume.voxels)
    if offset is None and _reaches_fat(values):
        return (
            f"values reach from {values.min():.4g} to {values.max():.4g}: if they are Hounsfield "
            f"units, --window soft-tissue (or lung, bone, ...) shows more than {window}",
        )
    return ()


def _reaches_fat(values: NDArray[np.float64]) -> bool:
    low, high = np.percentile(values, (1, 99.9))
    return bool(low <= -50 and high - low > 200)


def _has_peaks(hu: NDArray[np.float64], most_edge: float) -> bool:
    """Whether the histogram is that of a CT; so much may lie at the edge of the lung."""
    body = hu[hu > BODY_HU]
    if not len(body) or np.mean(hu <= AIR_HU) < LEAST_AIR or len(body) < LEAST_BODY * len(hu):
        return False

    def share(low: float, high: float) -> float:
        """In numbers of the body's voxels."""
        return float(np.count_nonzero((hu > low) & (hu <= high)) / len(body))

    return (
        share(BODY_HU, SOFT_HU) >= LEAST_SOFT
        and share(*LUNG_EDGE_HU) <= most_edge
        and share(*FAT_HU) >= LEAST_FAT
        and share(*WATER_HU) >= LEAST_WATER
        and share(SOFT_HU, np.inf) >= LEAST_DENSE
    )


def sample(voxels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Regular subsample of about `SAMPLE_VOXELS` voxels, flat, float64."""
    step = max(1, round((voxels.size / SAMPLE_VOXELS) ** (1 / 3)))
    steps = tuple(slice(None, None, step if n > step else None) for n in voxels.shape)
    return voxels[steps].astype(np.float64).ravel()


def foreground(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values above the background: the lowest common value, if padding or air repeats it.

    If at least 1 % of the values equal the minimum it is background (zeros of an MR, the
    constant outside a z-normalised brain) and left out; else all values are foreground.

    Examples
    --------
    >>> foreground(np.array([0.0, 0.0, 0.0, 5.0, 7.0])).tolist()
    [5.0, 7.0]
    """
    low = values.min()
    above = values[values > low]
    repeated = 1 - len(above) / len(values)
    return above if repeated >= 0.01 and len(above) else values


def _check_finite(volume: Volume) -> None:
    if volume.voxels.dtype.kind == "f" and not all(np.isfinite(p).all() for p in volume.voxels):
        raise WindowError(
            "the volume holds voxels that are NaN or infinite; replace them by a number "
            "(sammed.read does so for files)"
        )


def _auto(volume: Volume, region: NDArray[np.generic] | None) -> Window:
    offset = ct_offset(volume)
    if offset is None:
        return _percentiles(volume, *FOREGROUND_PERCENTILES)
    name = "soft-tissue"
    if region is not None and region.size:
        median = float(np.median(region.astype(np.float64))) - offset
        if median < LUNG_BELOW_HU:
            name = "lung"
        elif median > BONE_ABOVE_HU:
            name = "bone"
    width, level = PRESETS[name]
    return _from_width_level(width, level + offset, f"{name}+{offset:g}" if offset else name)


def _from_width_level(width: float, level: float, name: str) -> Window:
    if width <= 0:
        raise WindowError(f"window width {width:g} is not positive; W/L means width/level")
    return Window(level - width / 2, level + width / 2, name)


def _percentiles(volume: Volume, low: float, high: float) -> Window:
    if not 0 <= low < high <= 100:
        raise WindowError(f"percentiles p{low:g}-{high:g} are not in order within 0..100")
    values = foreground(sample(volume.voxels))
    bottom, top = (float(v) for v in np.percentile(values, (low, high)))
    if top <= bottom:  # one value nearly everywhere: whatever differs must still show
        bottom, top = float(volume.voxels.min()), float(volume.voxels.max())
    if top <= bottom:
        raise WindowError(
            f"the image is constant: every voxel is {bottom:g}, so there is nothing to see"
        )
    return Window(bottom, top, f"p{low:g}-{high:g}")


def _from_header(volume: Volume, name: str) -> Window:
    windows = volume.windows
    if not windows:
        raise WindowError("the file proposes no window; give a preset, W/L or percentiles")
    if not name:
        chosen = windows[0]
    else:
        by_name = {w.name.lower(): w for w in windows}
        if name not in by_name:
            raise WindowError(
                f"the file proposes no window {name!r}; it has {', '.join(w.name for w in windows)}"
            )
        chosen = by_name[name]
    label = f"dicom:{chosen.name}" if chosen.name else "dicom"
    return _from_width_level(chosen.width, chosen.level, label)
