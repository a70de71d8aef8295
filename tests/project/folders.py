"""Small projects of scans whose structures are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.imaging.volume import LabelVolume, Volume
from sammed.project.folder import Project
from sammed.project.sources import find_scans
from tests.phantoms import affine_of

SHAPE = (12, 20, 24)


def scan(number: int, shape: tuple[int, int, int] = SHAPE) -> tuple[Volume, NDArray[np.uint8]]:
    """A bright ball (1) and a darker box beside it (2), elsewhere in each scan."""
    rng = np.random.default_rng(number)
    z, y, x = np.indices(shape)
    at = rng.uniform(-1, 1, 3) + np.array(shape) / 2 + (0, 0, 5)
    ball = (2 * (z - at[0])) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < 25
    box = (abs(z - at[0]) < 3) & (abs(y - at[1]) < 4) & (abs(x - at[2] + 11) < 3)
    labels = np.where(ball, 1, np.where(box, 2, 0)).astype(np.uint8)
    image = 100 * labels + rng.normal(0, 10, shape)
    volume = Volume.from_array(image.astype(np.float32), affine_of())
    return volume, labels


def write_scans(folder: Path, count: int) -> None:
    """Scans and, in another folder, their label maps."""
    (folder / "scans").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(count):
        volume, labels = scan(number)
        io.write_volume(volume, folder / "scans" / f"p{number}.nii.gz")
        mapped = LabelVolume(labels, volume.grid, {1: "ball", 2: "box"})
        io.write_labels(mapped, folder / "labels" / f"p{number}.nii.gz")


def make_project(folder: Path, count: int = 3) -> Project:
    """A project of such scans."""
    write_scans(folder, count)
    project = Project.create(folder / "study", {"ball": 0, "box": 0})
    project.add(find_scans([str(folder / "scans" / "*.nii.gz")]))
    return project
