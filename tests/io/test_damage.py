"""Random damage: one clear line, never another exception, never other voxels without a word."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sammed import io
from sammed.errors import SammedError
from sammed.imaging.volume import Volume

from .by_hand import mgh
from .conftest import oblique_affine

ROUNDS = 60


@pytest.fixture
def volume() -> Volume:
    noise = np.random.default_rng(0).integers(0, 3000, (5, 17, 31)).astype(np.uint16)
    return Volume.from_array(noise, oblique_affine())


def read_damaged(path: Path, data: bytes) -> Volume | None:
    """What is read of the damaged file; nothing if it is refused in one line."""
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return io.read(path)
    except SammedError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return None


@pytest.mark.parametrize(
    "suffix", [".nii", ".seg.nrrd", ".nrrd", ".mha", ".nhdr", ".mhd", ".tif", ".mgh"]
)
def test_damaged_headers(tmp_path, volume, labels, suffix, capfd):
    rng = np.random.default_rng(1)
    path = tmp_path / f"a{suffix}"
    if suffix == ".seg.nrrd":
        io.write_labels(labels, path)
    elif suffix == ".mgh":
        mgh(path, volume.voxels[np.newaxis].astype("i4"))
    else:
        io.write_volume(volume, path)
    data = path.read_bytes()
    for _ in range(ROUNDS):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 700), 3):
            damaged[at] = rng.integers(0, 256)
        read_damaged(tmp_path / f"b{suffix}", bytes(damaged))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".png", ".mgz"])
def test_flipped_bits_in_compressed_voxels(tmp_path, volume, suffix):
    rng = np.random.default_rng(1)
    if suffix == ".png":
        volume = replace(
            volume,
            voxels=volume.voxels[:1],
            grid=Volume.from_array(volume.voxels[:1], volume.affine).grid,
        )
    path = tmp_path / f"a{suffix}"
    if suffix == ".mgz":
        mgh(path, volume.voxels[np.newaxis])
        volume = io.read(path)
    else:
        io.write_volume(volume, path)
    data = path.read_bytes()
    start = {".nrrd": b"\n\n", ".mha": b"LOCAL\n", ".png": b"IDAT"}.get(suffix, b"")
    first = data.index(start) + len(start) + (20 if suffix in (".nii.gz", ".nrrd", ".mgz") else 0)
    refused = 0
    for _ in range(ROUNDS):
        damaged = bytearray(data)
        damaged[rng.integers(first, len(data))] ^= 1 << rng.integers(8)
        found = read_damaged(tmp_path / f"b{suffix}", bytes(damaged))
        refused += found is None
        if found is not None:
            np.testing.assert_array_equal(found.voxels, volume.voxels)
    assert refused > ROUNDS // 2
