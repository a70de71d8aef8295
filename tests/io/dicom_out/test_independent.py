"""SEG and RTSTRUCT against independent readers: highdicom, and a plain loop over outlines."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from sammed import io
from sammed.imaging.volume import Volume
from sammed.io.dicom.objects import rtstruct
from tests.io.dicom.make_series import make_enhanced, make_series
from tests.io.dicom.test_independent import rotation
from tests.io.dicom_out.test_rtstruct import structure_set

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


@dataclass
class Case:
    """An image, and what is drawn on it."""

    seed: int
    shape: tuple[int, int, int]
    affine: np.ndarray
    enhanced: bool
    kind: str
    segments: int
    overlapping: bool
    empty: bool
    share: float


@st.composite
def cases(draw) -> Case:
    shape = tuple(draw(st.integers(low, 6)) for low in (2, 3, 4))
    affine = np.eye(4)
    quaternion = draw(
        st.tuples(*[st.integers(-4, 4)] * 4).filter(any)
        | st.sampled_from([(1, 0, 0, 0), (1, 1, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0)])
    )
    spacing = [draw(st.sampled_from([0.4, 0.8, 1.0, 2.5, 5.0])) for _ in range(3)]
    affine[:3, :3] = rotation(quaternion)[:, ::-1] * spacing
    affine[:3, 0] *= draw(st.sampled_from([1, -1]))
    affine[:3, 3] = np.array(draw(st.tuples(*[st.integers(-3000, 3000)] * 3))) / 10
    return Case(
        seed=draw(st.integers(0, 2**32 - 1)),
        shape=shape,
        affine=affine,
        enhanced=draw(st.booleans()),
        kind=draw(st.sampled_from(["BINARY", "BINARY", "FRACTIONAL", "LABELMAP"])),
        segments=draw(st.integers(1, 3)),
        overlapping=draw(st.booleans()),
        empty=draw(st.booleans()),
        share=draw(st.sampled_from([0.1, 0.5, 0.9])),
    )


def image(case: Case, folder: Path) -> tuple[Path, list[pydicom.Dataset]]:
    """Write the image; its datasets in the order of k."""
    voxels = np.zeros(case.shape, np.int16)
    if case.enhanced:
        series = make_enhanced(folder / "ct" / "0", affine=case.affine, voxels=voxels)
        return series.folder, [pydicom.dcmread(series.paths[0])]
    series = make_series(folder / "ct", affine=case.affine, voxels=voxels)
    datasets = [pydicom.dcmread(path) for path in series.paths]
    return series.folder, sorted(datasets, key=lambda d: int(d.InstanceNumber))


def drawn(case: Case, rng) -> np.ndarray:
    """(k, row, column, segment) in 0..1."""
    mask = rng.random((*case.shape, case.segments)) < case.share
    mask[rng.integers(case.shape[0])] = False  # a slice that holds nothing
    if not case.overlapping or case.kind == "LABELMAP":
        mask &= np.cumsum(mask, axis=-1) == 1
    if case.kind == "FRACTIONAL":
        return mask * rng.integers(1, 256, mask.shape) / 255
    return mask


def written_by_highdicom(case: Case, mask: np.ndarray, datasets, path: Path) -> None:
    described = [
        hd.seg.SegmentDescription(
            number, f"segment {number}", codes.SCT.Tissue, codes.SCT.Tissue,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, case.segments + 1)
    ]  # fmt: skip
    if case.kind == "LABELMAP":
        array = (mask * np.arange(1, case.segments + 1)).sum(-1).astype(np.uint8)
    else:
        array = mask.astype(np.float32 if case.kind == "FRACTIONAL" else np.uint8)
    hd.seg.Segmentation(
        datasets, array, case.kind, described, hd.UID(), 9, hd.UID(), 1, "m", "m", "1", "1",
        omit_empty_frames=case.empty,
    ).save_as(path)  # fmt: skip


def by_position(affine: np.ndarray, array: np.ndarray) -> dict[tuple[float, ...], np.ndarray]:
    """World position of each voxel, in tenths of the smallest spacing, → its value(s)."""
    index = np.argwhere(np.ones(array.shape[:3], bool))
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return {
        tuple(place): array[tuple(at)]
        for place, at in zip(np.round(world, 1) + 0.0, index, strict=True)
    }


def check_seg(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ct, datasets = image(case, Path(folder))
        mask, path = drawn(case, rng), Path(folder) / "seg.dcm"
        if not mask.any() and (case.empty or case.kind == "LABELMAP"):
            return  # highdicom writes no object without frames
        written_by_highdicom(case, mask, datasets, path)
        like = io.read(ct)
        labels, alone = io.read_labels(path, like=like), io.read_labels(path)
        theirs = hd.seg.segread(path).get_volume(
            segment_numbers=list(range(1, case.segments + 1)), rescale_fractional=True
        )
    np.testing.assert_allclose(labels.affine, like.affine, atol=1e-6)
    expected = by_position(theirs.affine, theirs.array)
    compare_seg(case, by_position(alone.affine, alone.voxels), expected)
    whole = by_position(labels.affine, labels.voxels)
    compare_seg(case, {place: whole[place] for place in expected}, expected)
    assert not any(value for place, value in whole.items() if place not in expected)


def compare_seg(case: Case, ours: dict, theirs: dict) -> None:
    """Each voxel has the segment of theirs that wins there."""
    assert ours.keys() == theirs.keys()
    places = list(ours)
    found, given_ = np.array([ours[p] for p in places]), np.array([theirs[p] for p in places])
    sizes = (given_ > 0).sum(axis=0)
    if case.kind == "FRACTIONAL":
        # at least a half; the most probable, the later of equal ones
        order = given_[:, ::-1].argmax(axis=1)
        winner = np.where(given_.max(axis=1) >= 0.5 - 1e-6, case.segments - order, 0)
    else:
        rank = sorted(range(case.segments), key=lambda n: (-sizes[n], n))
        winner = np.zeros(len(found), int)
        for n in rank:  # the smaller one is painted last
            winner[given_[:, n] > 0] = n + 1
    np.testing.assert_array_equal(found, winner)


def star(rng, k: int, centre, low: float, high: float) -> np.ndarray:
    """An outline that is seen as a whole from a point within it, (n, 3) file indices."""
    count = rng.integers(5, 12)
    angle = (np.arange(count) + rng.uniform(0, 0.9, count)) / count * 2 * np.pi
    radius = rng.uniform(low, high, count)
    return np.stack(
        [np.full(count, k), centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)],
        axis=1,
    )


def inside(polygon: np.ndarray, row: float, column: float) -> bool:
    """PNPOLY, after W. R. Franklin."""
    found = False
    for (_, r0, c0), (_, r1, c1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if (r0 > row) != (r1 > row) and column < (c1 - c0) * (row - r0) / (r1 - r0) + c0:
            found = not found
    return found


@dataclass
class Drawing:
    """Outlines of one structure; ``repeated`` and ``hole`` by slice."""

    seed: int
    affine: np.ndarray
    slices: int
    holes: bool
    repeated: bool


@st.composite
def drawings(draw) -> Drawing:
    case = draw(cases())
    return Drawing(case.seed, case.affine, draw(st.integers(1, 4)), *draw(
        st.tuples(st.booleans(), st.booleans())
    ))  # fmt: skip


def check_rtstruct(drawing: Drawing) -> None:
    rng = np.random.default_rng(drawing.seed)
    shape = (4, 16, 18)
    expected = np.zeros(shape, bool)
    outlines = []
    for k in range(drawing.slices):
        centre = rng.uniform(6, 10, 2)
        outer = star(rng, k, centre, 3.5, 9)
        parts = [outer]
        if drawing.holes:
            hole = outer.copy()
            hole[:, 1:] = centre + (outer[:, 1:] - centre) * rng.uniform(0.2, 0.7)
            parts.append(hole)
        for row in range(shape[1]):
            for column in range(shape[2]):
                expected[k, row, column] = sum(inside(p, row, column) for p in parts) % 2
        if drawing.repeated:
            chosen = parts[rng.integers(len(parts))]
            again = np.roll(chosen, rng.integers(len(chosen)), axis=0)
            parts.append(again[:: rng.choice([1, -1])])
        outlines += parts
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_series(Path(folder) / "ct", affine=drawing.affine, voxels=np.zeros(shape, np.int16))
        volume: Volume = io.read(Path(folder) / "ct")
        flip = np.linalg.inv(volume.grid.affine) @ drawing.affine
        placed = [points @ flip[:3, :3].T + flip[:3, 3] for points in outlines]
        path = Path(folder) / "rt.dcm"
        structure_set(volume, {"a": placed}).save_as(path, enforce_file_format=True)
        if not expected.any():
            return
        labels = rtstruct.read(path, volume)
    ours = by_position(labels.affine, labels.voxels > 0)
    for place, value in by_position(drawing.affine, expected).items():
        assert ours[place] == value, place


@pytest.mark.thorough
@settings(max_examples=40, phases=PHASES)
@given(cases())
def test_seg(case):
    check_seg(case)


@pytest.mark.thorough
@settings(max_examples=40, phases=PHASES)
@given(drawings())
def test_rtstruct(drawing):
    check_rtstruct(drawing)


@pytest.mark.slow
@settings(max_examples=1_500, phases=PHASES)
@given(cases())
def test_seg_often(case):
    check_seg(case)


@pytest.mark.slow
@settings(max_examples=3_000, phases=PHASES)
@given(drawings())
def test_rtstruct_often(drawing):
    check_rtstruct(drawing)
