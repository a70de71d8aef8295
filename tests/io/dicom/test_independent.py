"""The reader against an independent one: pydicom slice by slice, and the standard's formulas.

Any series that the generator can make is read by both. They agree on every voxel and on where it
lies, or sammed refuses in words. Nothing here shares code with the reader.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from sammed.errors import SammedError
from sammed.imaging.volume import Volume
from sammed.io.dicom.images.read import read
from tests.io.dicom.make_series import (
    ENHANCED_CLASSES,
    decimal,
    make_enhanced,
    make_slice,
    write,
)

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]


@dataclass
class Case:
    """What is written."""

    seed: int
    shape: tuple[int, int, int]
    affine: np.ndarray
    modality: str
    bits: tuple[int, int]
    signed: bool
    slopes: str
    syntax: pydicom.uid.UID
    enhanced: bool
    echoes: int
    offset: float
    stated: bool
    dropped: tuple[int, ...]
    jitter: float
    digits: int
    tilt: float
    copies: bool
    allow_gaps: bool
    paths: list[Path] = field(default_factory=list, repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to refuse."""
        if self.echoes > 1 and self.offset > self.shape[0] - 1 > 0:
            return False  # one after the other, with a gap between
        ends = {0, self.shape[0] - 1}
        return not (set(self.dropped) - ends or self.jitter or self.tilt) and self.digits > 2


def rotation(numbers) -> np.ndarray:
    """A rotation matrix of a quaternion of any length."""
    w, x, y, z = np.array(numbers, float) / np.linalg.norm(numbers)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@st.composite
def cases(draw) -> Case:
    shape = (draw(st.integers(1, 7)), draw(st.integers(1, 6)), draw(st.sampled_from([2, 4, 5, 6])))
    spacing = [draw(st.sampled_from([0.4, 0.8, 1.0, 2.5, 3.3, 5.0, 7.25])) for _ in range(3)]
    quaternion = draw(
        st.tuples(*[st.integers(-4, 4)] * 4).filter(any)
        | st.sampled_from([(1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 1, 1, 1), (0, 1, 0, 0)])
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation(quaternion)[:, ::-1] * spacing
    affine[:3, 0] *= draw(st.sampled_from([1, -1]))  # slices in either direction
    affine[:3, 3] = draw(st.tuples(*[st.integers(-3000, 3000)] * 3))
    affine[:3, 3] /= 10
    allocated = draw(st.sampled_from([8, 16, 16, 16, 32]))
    stored = draw(st.integers(max(1, allocated - 6), allocated))
    tricky = draw(st.sampled_from(["", "", "", "gap", "jitter", "rounded", "tilt"]))
    some = st.sets(st.integers(0, shape[0] - 1), max_size=max(0, shape[0] - 2))
    enhanced = draw(st.booleans())
    return Case(
        seed=draw(st.integers(0, 2**32 - 1)),
        shape=shape,
        affine=affine,
        modality=draw(st.sampled_from(["CT", "MR"] if enhanced else ["CT", "MR", "PT"])),
        bits=(allocated, stored),
        signed=draw(st.booleans()),
        slopes=draw(st.sampled_from(["none", "whole", "whole each", "any", "any each", "tiny"])),
        syntax=draw(st.sampled_from(SYNTAXES)),
        enhanced=enhanced,
        echoes=1 if enhanced else draw(st.sampled_from([1, 1, 2, 3])),
        offset=draw(st.sampled_from([0.0, 0.0, 0.5, 0.4, 1.5])),
        stated=draw(st.booleans()),
        dropped=tuple(sorted(draw(some))) if tricky == "gap" and not enhanced else (),
        jitter=draw(st.sampled_from([0.002, 0.02, 0.3])) if tricky == "jitter" else 0.0,
        digits=draw(st.sampled_from([1, 2])) if tricky == "rounded" else 9,
        tilt=draw(st.sampled_from([0.02, -0.2, 0.4, 1.2])) if tricky == "tilt" else 0.0,
        copies=draw(st.booleans()) and not enhanced,
        allow_gaps=draw(st.booleans()),
    )


def stored_values(case: Case, rng) -> np.ndarray:
    """(echo, k, row, column) in the type that is stored."""
    allocated, bits = case.bits
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if case.signed else (0, 2**bits)
    shape = (case.echoes, *case.shape)
    return rng.integers(low, high, shape).astype(f"{'i' if case.signed else 'u'}{allocated // 8}")


def rescaling(case: Case, rng, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept of each slice."""
    each = count if case.slopes.endswith("each") else 1
    if case.slopes == "none":
        slope, intercept = np.ones(1), np.zeros(1)
    elif case.slopes.startswith("whole"):
        slope, intercept = rng.integers(1, 6, each), rng.integers(-2000, 2000, each)
    elif case.slopes == "tiny":
        slope, intercept = np.array([1.02609e-08]), np.zeros(1)
    else:
        slope, intercept = rng.uniform(0.1, 9, each).round(6), rng.uniform(-99, 99, each).round(5)
    return np.resize(slope, count).astype(float), np.resize(intercept, count).astype(float)


def write_case(case: Case, folder: Path) -> None:
    """Write the files, in no order, and note their paths."""
    rng = np.random.default_rng(case.seed)
    stored = stored_values(case, rng)
    count = case.shape[0]
    if case.enhanced:
        slopes, intercepts = rescaling(case, rng, count)
        order = rng.permutation(count).tolist()
        path = folder / "enhanced"
        make_enhanced(
            path, affine=case.affine, modality=case.modality, voxels=stored[0], slopes=slopes,
            intercepts=intercepts, frame_order=order, edit=lambda ds: finish(ds, case, rng),
        )  # fmt: skip
        case.paths = [path]
        return
    numbers = iter(rng.permutation(2 * case.echoes * count).tolist())
    slopes, intercepts = rescaling(case, rng, count)
    for echo in range(case.echoes):
        for k in sorted(set(range(count)) - set(case.dropped)):
            ds = make_slice(
                stored[echo, k], case.affine, k, case.modality, slope=slopes[k],
                intercept=intercepts[k], bits=case.bits[1],
            )  # fmt: skip
            ds.SOPInstanceUID = generate_uid()
            ds.EchoTime, ds.InstanceNumber = decimal(10.0 + 5 * echo), next(numbers)
            if case.stated:
                ds.SpacingBetweenSlices = ds.SliceThickness
            ds.ImagePositionPatient = moved(ds.ImagePositionPatient, case, echo, k, rng)
            case.paths.append(write(ds, folder / f"{rng.integers(1e9)}", case.syntax))
    if case.copies:
        copy = folder / "again"
        copy.write_bytes(case.paths[0].read_bytes())


def moved(position, case: Case, echo: int, k: int, rng) -> list[str]:
    """Where a slice is said to lie."""
    along = case.affine[:3, 0]
    found = np.array(position, float)
    found += echo * case.offset * along
    found += case.jitter * rng.uniform(-1, 1) * along
    found += (
        case.tilt
        * k
        * np.linalg.norm(along)
        * case.affine[:3, 1]
        / np.linalg.norm(case.affine[:3, 1])
    )
    return [decimal(v) for v in found.round(case.digits)]


def finish(ds, case: Case, rng) -> None:
    """Bits and positions of an enhanced image."""
    ds.SOPClassUID = ENHANCED_CLASSES[case.modality]
    ds.BitsStored, ds.HighBit = case.bits[1], case.bits[1] - 1
    for group in ds.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        k = group.FrameContentSequence[0].InStackPositionNumber - 1
        place.ImagePositionPatient = moved(place.ImagePositionPatient, case, 0, k, rng)


@dataclass
class Slice:
    """One image as the independent reader sees it."""

    echo: float
    normal: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    """(row, column, 3) LPS mm: PS3.3 C.7.6.2.1.1."""


def read_independently(case: Case) -> list[Slice]:
    slices = []
    for path in case.paths:
        ds = pydicom.dcmread(path)
        if "PerFrameFunctionalGroupsSequence" in ds:
            shared = ds.SharedFunctionalGroupsSequence[0]
            for frame, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
                values = group.PixelValueTransformationSequence[0]
                pixels = ds.pixel_array if int(ds.NumberOfFrames) == 1 else ds.pixel_array[frame]
                slices.append(
                    one_slice(
                        pixels,
                        (float(values.RescaleSlope), float(values.RescaleIntercept)),
                        group.PlanePositionSequence[0].ImagePositionPatient,
                        shared.PlaneOrientationSequence[0].ImageOrientationPatient,
                        shared.PixelMeasuresSequence[0].PixelSpacing,
                    )
                )
        else:
            slope, intercept = ds.get("RescaleSlope", 1), ds.get("RescaleIntercept", 0)
            slices.append(
                one_slice(
                    ds.pixel_array,
                    (float(slope), float(intercept)),
                    ds.ImagePositionPatient,
                    ds.ImageOrientationPatient,
                    ds.PixelSpacing,
                    float(ds.EchoTime),
                )
            )
    return slices


def one_slice(pixels, rescale, position, orientation, spacing, echo=0.0) -> Slice:
    rows, columns = pixels.shape
    x, y = np.array(orientation[:3], float), np.array(orientation[3:], float)
    j, i = np.mgrid[:rows, :columns][..., None]
    positions = np.array(position, float) + i * x * float(spacing[1]) + j * y * float(spacing[0])
    normal = np.cross(x, y) / np.linalg.norm(np.cross(x, y))
    return Slice(echo, normal, pixels.astype(np.float64) * rescale[0] + rescale[1], positions)


def compare(volume: Volume, slices: list[Slice], case: Case) -> None:
    """Every pixel of every slice lies where it says, with its value."""
    inverse = np.linalg.inv(volume.affine)
    scale = max(1e-12, max(np.abs(s.values).max() for s in slices))
    resampled = volume.grid.native.resampled
    between = any("interpolated to an even grid" in note for note in volume.notes)
    pixel = np.linalg.norm(volume.affine[:3, :3], axis=0).max()
    taken = np.zeros(volume.shape, int)
    seen = 0
    for found in slices:
        index = found.positions @ inverse[:3, :3].T + inverse[:3, 3]
        nearest = np.rint(index)
        across, within = apart(volume, found, index - nearest)
        if resampled and (within > 1e-6 or across > (1e-6 if between else 0.075)):
            continue
        seen += 1
        assert across <= 0.075  # positions rounded to 0.1 mm are even
        assert within <= 0.01 + 0.11 * pixel
        at = tuple(nearest.astype(int).reshape(-1, 3).T)
        np.testing.assert_allclose(
            volume.voxels[at], found.values.ravel(), rtol=1e-6, atol=1e-6 * scale
        )
        np.add.at(taken, at, 1)
    assert taken.max() <= 1
    if resampled:
        assert seen or between  # one slice at least stays exactly as it is
        compare_planes(volume, slices, scale)
    else:
        assert (taken == 1).all()


def apart(volume: Volume, found: Slice, index: np.ndarray) -> tuple[float, float]:
    """How far pixels of a slice lie from voxels: across and within the slice, mm."""
    offset = index.reshape(-1, 3) @ volume.affine[:3, :3].T
    across = offset @ found.normal
    within = offset - across[:, None] * found.normal
    return np.abs(across).max(), np.linalg.norm(within, axis=1).max()


def compare_planes(volume: Volume, slices: list[Slice], scale: float) -> None:
    """Voxels of a corrected grid that lie in a slice are interpolated linearly within it."""
    centres = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), -1)
    world = centres @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    for found in slices:
        rows, columns = found.values.shape
        if min(rows, columns) < 2:
            continue
        origin = found.positions[0, 0]
        down, right = found.positions[1, 0] - origin, found.positions[0, 1] - origin
        offset = world - origin
        j, i = offset @ down / (down @ down), offset @ right / (right @ right)
        inside = np.abs(offset @ found.normal) < 1e-3
        inside &= (j > -1e-4) & (j < rows - 1 + 1e-4) & (i > -1e-4) & (i < columns - 1 + 1e-4)
        j, i = np.clip(j[inside], 0, rows - 1), np.clip(i[inside], 0, columns - 1)
        if not any("within its plane" in note for note in volume.notes):  # as good as straight
            aside = np.stack([j, i]) - np.rint([j, i])
            assert np.abs(aside).max(initial=0) < 0.11
            j, i = np.rint(j), np.rint(i)
        j0, i0 = np.minimum(j.astype(int), rows - 2), np.minimum(i.astype(int), columns - 2)
        b, a, v = j - j0, i - i0, found.values
        expected = (1 - b) * ((1 - a) * v[j0, i0] + a * v[j0, i0 + 1])
        expected += b * ((1 - a) * v[j0 + 1, i0] + a * v[j0 + 1, i0 + 1])
        # whole numbers are rounded
        tolerance = 2e-3 * scale + (0.51 if volume.voxels.dtype.kind in "iu" else 0)
        assert np.abs(volume.voxels[inside] - expected).max(initial=0) <= tolerance


def check(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_case(case, Path(folder))
        slices = read_independently(case)
        echoes = sorted({s.echo for s in slices})
        try:
            volume = read(folder, allow_gaps=case.allow_gaps)
        except SammedError as error:
            if len(echoes) == 1:
                refused(case, error)
                return
        else:
            event("one volume")
            said = any("different echo time" in note for note in volume.notes)
            assert said == (len(echoes) > 1)
            compare(volume, slices, case)
            return
        check_frames(case, folder, slices, echoes)


def refused(case: Case, error: SammedError) -> None:
    event("refused")
    if case.is_plain:
        raise AssertionError("nothing is wrong with it") from error


def check_frames(case: Case, folder: str, slices: list[Slice], echoes: list[float]) -> None:
    """Each echo is a frame."""
    for frame, echo in enumerate(echoes):
        try:
            volume = read(folder, frame=frame, allow_gaps=case.allow_gaps)
        except SammedError as error:
            refused(case, error)
        else:
            event("a frame")
            compare(volume, [s for s in slices if s.echo == echo], case)


@pytest.mark.thorough
@settings(max_examples=150, phases=PHASES)
@given(cases())
def test_agrees_or_refuses(case):
    check(case)


@pytest.mark.slow
@settings(max_examples=10_000, phases=PHASES)
@given(cases())
def test_agrees_or_refuses_ten_thousand_times(case):
    check(case)
