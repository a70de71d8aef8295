"""Grey TIFFs of every type of number, and what ImageJ and OME say beside the pages."""

from __future__ import annotations

import warnings
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from PIL import Image

from sammed import io
from sammed.errors import SammedWarning, UnreadableFileError, UnsupportedFormatError
from sammed.imaging.volume import LabelVolume

from .by_hand import tiff

TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


def values(dtype: str, shape=(7, 11)) -> np.ndarray:
    """All that the type can hold, or nearly."""
    rng = np.random.default_rng(0)
    if dtype[0] == "f":
        return (rng.normal(size=shape) * 100).astype(dtype)
    bounds = np.iinfo(dtype)
    array = rng.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)
    array[0, :2] = bounds.min, bounds.max
    return array


def as_read(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.itemsize < 8 and array.dtype != np.float16 else array.astype("f4")


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_number(tmp_path, dtype, big_endian):
    page = values(dtype)
    volume = io.read(tiff(tmp_path / "a.tif", [page], big_endian=big_endian))
    np.testing.assert_array_equal(volume.voxels[0], as_read(page))
    assert volume.voxels.dtype == as_read(page).dtype


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_low_is_white_in_every_type(tmp_path, dtype, big_endian):
    """Unsigned numbers are turned, as for MONOCHROME1; others are said to be as they are."""
    page = values(dtype)
    path = tiff(tmp_path / "a.tif", [page], white_is_zero=True, big_endian=big_endian)
    with warnings.catch_warnings(record=True):
        volume = io.read(path)
    expected = np.iinfo(dtype).max - page if dtype[0] == "u" else page
    np.testing.assert_array_equal(volume.voxels[0], as_read(expected))
    assert any("low values are white in it" in note for note in volume.notes)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f8"])
def test_labels_are_what_is_stored(tmp_path, dtype):
    """ImageJ saves masks so: 255 is stored, shown black, and is the object."""
    page = (np.arange(77).reshape(7, 11) % 3).astype(dtype)
    labels = io.read_labels(tiff(tmp_path / "a.tif", [page], white_is_zero=True))
    np.testing.assert_array_equal(labels.voxels[0], page)


@pytest.mark.parametrize("dtype", ["i1", "u4", "f8"])
def test_pages_and_strips_and_compression(tmp_path, dtype):
    pages = [values(dtype), values(dtype)[::-1], values(dtype)[:, ::-1]]
    path = tiff(tmp_path / "a.tif", pages, pack=zlib.compress, compression=8, rows_per_strip=3)
    volume = io.read(path)
    np.testing.assert_array_equal(volume.voxels, as_read(np.stack(pages)))
    np.testing.assert_array_equal(io.read(path, frame=1).voxels[0], as_read(pages[1]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "int32"])
def test_compression_that_only_libtiff_knows(tmp_path, dtype):
    """LZW, as most viewers write it."""
    page = values(np.dtype(dtype).str[1:])
    image = sitk.GetImageFromArray(page)
    sitk.WriteImage(image, str(tmp_path / "a.tif"), True, imageIO="TIFFImageIO")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].compression.name != "NONE"
    np.testing.assert_array_equal(io.read(tmp_path / "a.tif").voxels[0], page)
    lzw = tmp_path / "b.tif"
    if dtype in ("uint8", "uint16", "int32"):
        Image.fromarray(page).save(lzw, compression="tiff_lzw")
        np.testing.assert_array_equal(io.read(lzw).voxels[0], page)


def test_bilevel_either_way(tmp_path):
    mask = values("u1") > 99
    for name, compression in (("a.tif", "raw"), ("b.tif", "group4"), ("c.tif", "packbits")):
        Image.fromarray(mask).save(tmp_path / name, compression=compression)
        np.testing.assert_array_equal(io.read_labels(tmp_path / name).voxels[0] > 0, mask)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.T),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].T),
        (8, np.rot90),
    ],
)
def test_orientations(tmp_path, orientation, turned):
    """As TIFF defines them; Pillow mixed up grey pages that lie on their side."""
    page = values("u1")
    path = tiff(tmp_path / "a.tif", [page], tags={274: orientation})
    np.testing.assert_array_equal(io.read(path).voxels[0], turned(page))
    Image.fromarray(page).convert("P").save(
        tmp_path / "b.tif", tiffinfo={274: orientation}, compression="raw"
    )
    np.testing.assert_array_equal(io.read_labels(tmp_path / "b.tif").voxels[0], turned(page))


def test_infinite_voxels_of_a_turned_page(tmp_path):
    """They were left in arrays that turning had made non-contiguous."""
    page = values("f4")
    page[0, 0] = -np.inf
    with pytest.warns(SammedWarning, match="1 voxels are NaN or infinite"):
        volume = io.read(tiff(tmp_path / "a.tif", [page], tags={274: 5}))
    assert np.isfinite(volume.voxels).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_labels_of_few_bits_in_a_png(tmp_path, bits):
    """Pillow spreads them over 0..255: label 1 of 4 bits came out as 17."""
    page = (np.arange(77).reshape(7, 11) % 2**bits).astype(np.uint8)
    per_byte = 8 // bits
    wide = np.pad(page, ((0, 0), (0, -page.shape[1] % per_byte)))
    shifts = np.arange(per_byte)[::-1] * bits
    rows = (wide.reshape(7, -1, per_byte) << shifts).sum(-1).astype(np.uint8)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    header = (11).to_bytes(4, "big") + (7).to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.png").voxels[0], page)


def test_bigtiff_by_its_content(tmp_path):
    stack = np.stack([values("u2")] * 3)
    tifffile.imwrite(tmp_path / "a.dat", stack, bigtiff=True, photometric="minisblack")
    np.testing.assert_array_equal(io.read(tmp_path / "a.dat").voxels, stack)


def test_imagej_with_one_directory_for_all_images(tmp_path):
    """ImageJ describes only the first image of a stack of more than 4 GB."""
    stack = np.stack([values("u2") + k for k in range(5)]).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"}, contiguous=True)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        first = file.pages[0]
        after = first.offset + 2 + 12 * len(first.tags)
    order = "little" if data[:2] == b"II" else "big"
    assert int.from_bytes(data[after : after + 4], order)
    data[after : after + 4] = bytes(4)
    path.write_bytes(data)
    np.testing.assert_array_equal(io.read(path).voxels, stack)
    np.testing.assert_array_equal(io.read(path, frame=2).voxels[0], stack[2])


def test_channels_are_no_slices(tmp_path):
    stack = np.stack([values("u1")] * 12).reshape(4, 3, 7, 11)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.warns(SammedWarning, match="its pages are 3 channels of 4 slices"):
        assert io.read(tmp_path / "a.tif").shape == (12, 7, 11)
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "ZCYX"})
    with pytest.warns(SammedWarning, match="its pages are 3 channels, says its OME description"):
        io.read(tmp_path / "a.ome.tif")


def test_a_voxel_size_that_is_not_read_is_named(tmp_path):
    stack = np.stack([values("u1")] * 4)
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 2.5}
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata=metadata)
    notes = io.read(tmp_path / "a.tif").notes
    assert any(
        "voxel size that ImageJ wrote into it (2.5 um from slice to slice)" in n for n in notes
    )


def test_complex_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values("f4").astype(np.complex64))
    with pytest.raises(UnsupportedFormatError, match="complex"):
        io.read(tmp_path / "a.tif")


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_truncated_pages(tmp_path, keep, capfd):
    path = tiff(tmp_path / "a.tif", [values("f8", (40, 50))] * 3)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(UnreadableFileError) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_labels_round_trip_through_pages(tmp_path):
    volume = io.read(tiff(tmp_path / "a.tif", [values("f8")] * 3))
    labels = LabelVolume((volume.voxels > 0).astype(np.uint16) * 300, volume.grid, {300: "a"})
    io.write_labels(labels, tmp_path / "b.tif")
    np.testing.assert_array_equal(io.read_labels(tmp_path / "b.tif").voxels, labels.voxels)
