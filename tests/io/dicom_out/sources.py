"""DICOM volumes and label maps for the writers' tests, without going through the reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom

from sammed.imaging.volume import LabelVolume, Volume, make_grid
from sammed.io.dicom.source import DicomSource
from tests.io.dicom.make_series import (
    SHAPE,
    Series,
    make_enhanced,
    make_series,
    straight_affine,
    tilted_affine,
)


def headers_of(series: Series):
    """The series' datasets without pixels, in the order of k."""
    datasets = [pydicom.dcmread(p, stop_before_pixels=True) for p in series.paths]
    return tuple(sorted(datasets, key=lambda d: int(d.InstanceNumber)))


def volume_of(series: Series) -> Volume:
    """The single-frame series as the reader would give it."""
    slices = headers_of(series)
    n, *size = series.voxels.shape
    affines = np.repeat(series.affine[None], n, axis=0)
    affines[:, :3, 3] += np.arange(n)[:, None] * series.affine[:3, 0]
    source = DicomSource(slices, None, affines, tuple(size), series.affine, (n, *size))
    grid = make_grid(series.affine, (n, *size), "dicom", source)
    return Volume.from_file_array(series.voxels, grid, modality="CT", source=series.folder)


def ct_volume(folder: Path, shape=SHAPE, affine=None, **options) -> Volume:
    """A single-frame CT series on disk, as a volume."""
    return volume_of(make_series(folder, shape, affine, **options))


def enhanced_volume(path: Path, shape=SHAPE, times=2, time=1) -> Volume:
    """One time point of an enhanced multi-frame CT whose frames are stored backwards."""
    order = list(range(shape[0] * times))[::-1]
    series = make_enhanced(path, shape, times=times, frame_order=order)
    header = pydicom.dcmread(path, stop_before_pixels=True)
    n = shape[0]
    frames = tuple(order.index(time * n + k) + 1 for k in range(n))
    affines = np.repeat(series.affine[None], n, axis=0)
    affines[:, :3, 3] += np.arange(n)[:, None] * series.affine[:3, 0]
    source = DicomSource((header,), frames, affines, shape[1:], series.affine, shape)
    grid = make_grid(series.affine, shape, "dicom", source)
    return Volume.from_file_array(series.voxels[time * n : (time + 1) * n], grid, modality="CT")


def random_labels(volume: Volume, values=(1, 4, 7), seed=3) -> LabelVolume:
    """Asymmetric labels with names and colours; not all slices hold all of them."""
    rng = np.random.default_rng(seed)
    stored = rng.choice(
        [0, *values], volume.grid.shape, p=[0.7, *(0.3 / len(values),) * len(values)]
    )
    stored[0] = 0
    stored[1][stored[1] == values[0]] = 0
    names = ["kidney_left", "Liver tumour 2", "thing"]
    return LabelVolume(
        volume.grid.reorientation.apply(stored.astype(np.uint8)),
        volume.grid,
        dict(zip(values, names, strict=False)),
        {values[0]: (200, 30, 40)},
    )


def resampled_volume(folder: Path, kind: str) -> Volume:
    """A CT with gantry tilt, or with a gap between slices, on an even and straight grid."""
    n, rows, columns = 6, 11, 13
    affine = tilted_affine(20) if kind == "tilt" else straight_affine()
    drop = () if kind == "tilt" else (2,)
    slices = headers_of(make_series(folder, (n, rows, columns), affine, drop=drop))
    kept = np.array([k for k in range(n) if k not in drop])
    affines = np.repeat(affine[None], len(kept), axis=0)
    affines[:, :3, 3] += kept[:, None] * affine[:3, 0]
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    normal *= np.sign(normal @ affine[:3, 0]) / np.linalg.norm(normal)
    affines[:, :3, 0] = normal * (normal @ affine[:3, 0])
    grid_affine = affine.copy()
    grid_affine[:3, 0] = affines[0, :3, 0]
    rows_there = rows
    if kind == "tilt":  # the slices slide along the rows: the grid has room for all of them
        slide = affine[:3, 0] @ affine[:3, 1] / (affine[:3, 1] @ affine[:3, 1])
        total = int(np.ceil(abs(slide) * (n - 1)))
        grid_affine[:3, 3] += affine[:3, 1] * min(0.0, slide * (n - 1))
        rows_there += total
    shape = (n, rows_there, columns)
    source = DicomSource(slices, None, affines, (rows, columns), grid_affine, shape, True)
    grid = make_grid(grid_affine, shape, "dicom", source)
    return Volume.from_file_array(np.zeros(shape, np.int16), grid, modality="CT")
