from __future__ import annotations

import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sammed import io
from sammed.errors import (
    InputError,
    LabelError,
    OutputError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging.volume import LabelVolume, Volume

GREY = np.arange(77).reshape(7, 11).astype(np.uint8)
RGB = np.random.default_rng(0).integers(0, 255, (7, 11, 3)).astype(np.uint8)
IDENTITY = [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_grey(tmp_path, suffix):
    Image.fromarray(GREY).save(tmp_path / f"a{suffix}")
    volume = io.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.voxels, GREY[None])
    assert volume.affine.tolist() == IDENTITY
    assert volume.spacing == (1, 1, 1)
    assert "a picture has no voxel size: 1 mm was assumed" in volume.notes


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits(tmp_path, suffix):
    array = GREY.astype(np.uint16) * 700
    Image.fromarray(array).save(tmp_path / f"a{suffix}")
    volume = io.read(tmp_path / f"a{suffix}")
    assert volume.voxels.dtype == np.uint16
    np.testing.assert_array_equal(volume.voxels[0], array)


def test_float_tiff(tmp_path):
    Image.fromarray(GREY.astype(np.float32) / 7).save(tmp_path / "a.tif")
    np.testing.assert_allclose(io.read(tmp_path / "a.tif").voxels[0], GREY / 7, rtol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colour(tmp_path, mode):
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    volume = io.read(tmp_path / "a.png")
    assert volume.is_colour
    np.testing.assert_array_equal(volume.voxels[0], RGB)
    assert ("the alpha channel was dropped" in volume.notes) == (mode == "RGBA")


def test_jpeg_is_turned_as_it_says(tmp_path):
    picture = Image.fromarray(GREY * 3)
    exif = picture.getexif()
    exif[0x0112] = 6  # turn right by 90 degrees to view
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    volume = io.read(tmp_path / "a.jpg")
    assert volume.shape == (1, 11, 7)
    assert abs(volume.voxels[0].astype(int) - np.rot90(GREY * 3, -1)).max() < 20
    assert any("EXIF" in note for note in volume.notes)


def test_palette_is_colour_as_an_image_and_values_as_labels(tmp_path):
    picture = Image.fromarray(GREY % 3, mode="L").convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    assert io.read(tmp_path / "a.png").is_colour
    np.testing.assert_array_equal(io.read_labels(tmp_path / "a.png").voxels[0], GREY % 3)


def test_bilevel_mask(tmp_path):
    Image.fromarray(GREY > 40).save(tmp_path / "a.png")
    labels = io.read_labels(tmp_path / "a.png", names={1: "polyp"})
    np.testing.assert_array_equal(labels.voxels[0], GREY > 40)
    assert labels.names == {1: "polyp"}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("highest", [200, 60000])
def test_labels_round_trip(tmp_path, suffix, highest):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    volume = io.read(tmp_path / "a.png")
    voxels = np.where(RGB[None, ..., 0] > 100, highest, 0)
    voxels = voxels.astype(np.uint8 if highest < 256 else np.uint16)
    io.write_labels(LabelVolume(voxels, volume.grid, {highest: "a"}), tmp_path / f"b{suffix}")
    again = io.read_labels(tmp_path / f"b{suffix}", like=volume)
    np.testing.assert_array_equal(again.voxels, voxels)
    with Image.open(tmp_path / f"b{suffix}") as written:
        np.testing.assert_array_equal(np.array(written), voxels[0])


@pytest.fixture
def pages(tmp_path):
    stack = [Image.fromarray(GREY + 20 * k) for k in range(5)]
    stack[0].save(tmp_path / "a.tif", save_all=True, append_images=stack[1:])
    return tmp_path / "a.tif"


def test_pages_are_slices(pages):
    volume = io.read(pages)
    np.testing.assert_array_equal(volume.voxels, [GREY + 20 * k for k in range(5)])
    assert "its 5 pages were read as a stack of slices" in volume.notes
    assert volume.affine.tolist() == IDENTITY


def test_one_page(pages):
    np.testing.assert_array_equal(io.read(pages, frame=3).voxels, [GREY + 60])
    with pytest.raises(InputError, match="no frame 5"):
        io.read(pages, frame=5)


def test_labels_of_pages(pages, tmp_path):
    volume = io.read(pages)
    labels = LabelVolume((volume.voxels > 90).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "b.tif")
    np.testing.assert_array_equal(io.read_labels(tmp_path / "b.tif").voxels, labels.voxels)
    with pytest.raises(OutputError, match="PNG holds one slice, here are 5"):
        io.write_labels(labels, tmp_path / "b.png")


def test_pages_of_different_sizes(tmp_path):
    small = Image.fromarray(GREY[:3])
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[small])
    with pytest.raises(UnsupportedFormatError, match="different sizes"):
        io.read(tmp_path / "a.tif")
    assert io.read(tmp_path / "a.tif", frame=1).shape == (1, 3, 11)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_text_renamed(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(UnreadableFileError, match="is not a picture"):
        io.read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("keep", [0.3, 0.8])
def test_truncated(tmp_path, suffix, keep, capfd):
    noise = np.random.default_rng(0).integers(0, 255, (60, 70)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(UnreadableFileError) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_one_flipped_bit_in_a_png(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 70)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UnreadableFileError, match="damaged"):
        io.read(tmp_path / "a.png")


def test_far_too_large_a_picture(tmp_path):
    # a header that claims 60000 x 60000 pixels over almost no data
    data = bytearray(_png_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UnsupportedFormatError, match="too large"):
        io.read(tmp_path / "a.png")


def _png_bytes() -> bytes:
    buffer = BytesIO()
    Image.fromarray(GREY).save(buffer, "PNG")
    return buffer.getvalue()


def test_jpeg_labels_are_refused(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    with pytest.raises(UnsupportedFormatError, match="does not keep label values"):
        io.read_labels(tmp_path / "a.jpg")


def test_colour_labels_are_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(LabelError, match="colour"):
        io.read_labels(tmp_path / "a.png")


def test_voxels_that_no_picture_holds(tmp_path):
    volume = Volume.from_array(np.zeros((1, 7, 11), np.float32), np.array(IDENTITY, float))
    with pytest.raises(OutputError, match="these voxels are float32"):
        io.write_volume(volume, tmp_path / "a.png")
