"""Transfer syntaxes, photometric interpretations, padding."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, fragment_frame, generate_frames, itemize_fragment
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from sammed.errors import SammedError, UnreadableFileError, UnsupportedFormatError
from sammed.imaging.volume import HeaderWindow
from sammed.io.dicom.images.read import read, survey
from sammed.io.dicom.pixels import codecs
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import make_series, phantom, put_pixels

HTJ2K = (  # 12 bits of default_rng(5), encoded by OpenJPH 0.26.3
    "/0//UQApQAAAAAALAAAABwAAAAAAAAAAAAAACwAAAAcAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUE"
    "BEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAOkAAf+TwAAm"
    "z/EFB3QAAMAAEoDNAYd0AMAAEsAAE8AAEoDfAod0ABQO8AKBdABuAod0AMAAFfAABXQAAV7v1ExvLdaDAPAAUgC+"
    "lgDjQhoEksK53wCDAXs2AAbC3XZUnevXjQBCgL2WAMAALqIAAXSQAAugDhCCqComlccnvQW5Dcu07NGYMfTRWs0R"
    "5GP4O/XUAd8pOF5SgbM6ABHJJpySykq450rUUNbOs0cJj/voQLWgX1byL2n8yhYpANG6AMjyxanlls/EBImBTcHO"
    "iXa78WO85AAoLs44XkIBVpsA/9k="
)


def compress(ds, syntax):
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(syntax, generate_instance_uid=False)


def compressed_by_pydicom(syntax):
    return lambda ds, k: compress(ds, syntax)


def encapsulated(encode, bits=None, photometric=None):
    """An edit that replaces pixels by what ``encode(rows x columns array)`` makes of them."""

    def edit(ds, k):
        stored = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}")
        shape = (ds.Rows, ds.Columns, 3) if ds.SamplesPerPixel == 3 else (ds.Rows, ds.Columns)
        stored = stored[: int(np.prod(shape))].reshape(shape)
        ds.PixelData = encapsulate([encode(stored)])
        ds["PixelData"].is_undefined_length = True
        ds.PhotometricInterpretation = photometric or ds.PhotometricInterpretation

    return edit


LARGE = (3, 37, 41)
"""Large enough for the wavelets of JPEG 2000."""


@pytest.mark.parametrize("voxels", [phantom(LARGE), phantom(LARGE, 0, 4096).astype(np.uint16)])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless(syntax, voxels, tmp_path):
    edit = compressed_by_pydicom(syntax)
    series = make_series(tmp_path, voxels=voxels, edit=edit, syntax=syntax)
    assert_same(read(tmp_path), series.voxels, series.affine)


@pytest.mark.parametrize(
    ("syntax", "decoder"),
    [(JPEGLSLossless, "pyjpegls"), (JPEG2000Lossless, "pylibjpeg"), (JPEGLSLossless, "SimpleITK")],
)
def test_every_decoder_that_may_be_asked(syntax, decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(codecs, "decoders", lambda *_: (decoder,))
    voxels = phantom(LARGE, 0, 4096).astype(np.uint16)
    edit = compressed_by_pydicom(syntax)
    series = make_series(tmp_path, voxels=voxels, edit=edit, syntax=syntax)
    assert_same(read(tmp_path), series.voxels, series.affine)


def test_deflated(tmp_path):
    series = make_series(tmp_path, syntax=DeflatedExplicitVRLittleEndian)
    assert_same(read(tmp_path), series.voxels, series.affine)


def test_jpeg_lossless(tmp_path):
    """Encoded by SimpleITK, one slice at a time."""
    scratch = str(tmp_path / "encoded.dcm")

    def edit(ds, k):
        writer = sitk.ImageFileWriter()
        writer.SetFileName(scratch)
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(voxels[k]))
        encoded = dcmread(scratch)
        assert encoded.file_meta.TransferSyntaxUID == JPEGLosslessSV1
        assert encoded.PixelRepresentation == 0
        ds.PixelData = encoded.PixelData
        ds["PixelData"].is_undefined_length = True

    voxels = phantom(low=0, high=4096).astype(np.uint16)
    series = make_series(tmp_path / "a", voxels=voxels, edit=edit, syntax=JPEGLosslessSV1)
    assert_same(read(tmp_path / "a"), series.voxels, series.affine)


def test_jpeg_baseline(tmp_path):
    def encode(stored):
        out = io.BytesIO()
        Image.fromarray(stored).save(out, "JPEG", quality=100)
        return out.getvalue()

    voxels = np.add.outer(np.arange(5) * 20, np.add.outer(np.arange(24) * 3, np.arange(32)))
    series = make_series(
        tmp_path,
        voxels=voxels.astype(np.uint8),
        intercepts=-7,
        edit=encapsulated(encode),
        syntax=JPEGBaseline8Bit,
    )
    assert_same(read(tmp_path), series.voxels, series.affine, atol=2)


@pytest.mark.parametrize("decoder", ["pylibjpeg", "SimpleITK"])
def test_htj2k(decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(codecs, "decoders", lambda *_: (decoder,))
    voxels = np.random.default_rng(5).integers(0, 4096, (1, 7, 11)).astype(np.uint16)
    edit = encapsulated(lambda stored: base64.b64decode(HTJ2K))
    make_series(tmp_path, voxels=voxels, intercepts=0, bits=12, edit=edit, syntax=HTJ2KLossless)
    np.testing.assert_array_equal(read(tmp_path).voxels, voxels)


@pytest.mark.parametrize("syntax", [MPEG2MPML, UID("1.2.840.10008.1.2.4.103")])
def test_syntaxes_that_are_not_handled(syntax, tmp_path):
    edit = encapsulated(lambda stored: b"\0" * 100)
    make_series(tmp_path, edit=edit, syntax=syntax)
    with pytest.raises(UnsupportedFormatError, match="not handled"):
        read(tmp_path)
    assert not survey(tmp_path).series[0].usable


def test_corrupt_codestream(tmp_path):
    data = base64.b64decode(HTJ2K)
    edit = encapsulated(lambda stored: data[:120] + b"\x17" * 99)
    make_series(tmp_path, edit=edit, syntax=HTJ2KLossless)
    with pytest.raises(UnreadableFileError, match=r"JPEG 2000.*cannot be decoded"):
        read(tmp_path)


@pytest.mark.parametrize("size", [(7, 12), (65535, 65535)])
def test_codestream_of_another_size(size, tmp_path):
    """It is found out before any memory is taken for it."""
    rows, columns = (n.to_bytes(4, "big") for n in size)
    data = base64.b64decode(HTJ2K)
    data = data.replace(b"\0\0\0\x0b\0\0\0\x07", columns + rows, 1)
    make_series(tmp_path, edit=encapsulated(lambda stored: data), syntax=HTJ2KLossless)
    with pytest.raises(UnreadableFileError, match=f"{size[0]}x{size[1]} pixels.*says 7x11"):
        read(tmp_path)


def test_compressed_in_name_only(tmp_path):
    series = make_series(tmp_path)
    for path in series.paths:
        data = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
        path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="transfer syntax is wrong"):
        read(tmp_path)


class TestMonochrome1:
    @staticmethod
    def edit(ds, k):
        ds.PhotometricInterpretation = "MONOCHROME1"
        ds.WindowCenter, ds.WindowWidth = "600", "300"

    def test_is_turned_so_that_high_is_bright(self, tmp_path):
        series = make_series(tmp_path, modality="MR", edit=self.edit)
        total = series.voxels.min() + series.voxels.max()
        volume = read(tmp_path)
        assert_same(volume, total - series.voxels, series.affine)
        assert volume.voxels.dtype == np.int16
        assert volume.windows == (HeaderWindow(total - 600, 300),)
        assert "MONOCHROME1" in remarks(volume)[0]

    def test_hounsfield_units_stay_what_they_are(self, tmp_path):
        series = make_series(tmp_path, modality="CT", edit=self.edit)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert volume.windows == (HeaderWindow(600, 300),)
        assert "MONOCHROME1" in remarks(volume)[0]

    def test_mixed_with_monochrome2(self, tmp_path):
        def edit(ds, k):
            if k == 2:
                ds.PhotometricInterpretation = "MONOCHROME1"

        make_series(tmp_path, edit=edit)
        with pytest.raises(UnsupportedFormatError, match="differ in kind"):
            read(tmp_path)


class TestPadding:
    @staticmethod
    def padded(value, voxels):
        voxels = voxels.copy()
        voxels[1, :2], voxels[3, 4:, 5:] = value, value
        return voxels

    @pytest.mark.parametrize("value", [-32768, -2000, 32767])
    def test_far_outside_gets_the_lowest_true_value(self, value, tmp_path):
        true = phantom(low=-1000, high=1000)
        lowest = np.delete(true.reshape(5, -1), [1], axis=0)  # some of it is overwritten
        stored = self.padded(value, true)
        lowest = stored[stored != value].min()

        def edit(ds, k):
            ds.add_new("PixelPaddingValue", "SS", value)

        series = make_series(tmp_path, voxels=stored, intercepts=-24, edit=edit)
        volume = read(tmp_path)
        expected = np.where(stored == value, lowest, stored) - 24
        assert_same(volume, expected, series.affine)
        assert f"{(stored == value).sum()} padding pixels" in remarks(volume)[0]

    def test_among_true_values_is_left(self, tmp_path):
        """Headers name 0 as padding where 0 is water; what cannot be told apart is kept."""
        stored = self.padded(0, phantom(low=-1000, high=1000))

        def edit(ds, k):
            ds.add_new("PixelPaddingValue", "SS", 0)

        series = make_series(tmp_path, voxels=stored, edit=edit)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == ()

    def test_sign_of_the_header_may_be_wrong(self, tmp_path):
        stored = self.padded(-2000, phantom(low=-1000, high=1000))

        def edit(ds, k):
            ds.add_new("PixelPaddingValue", "US", 65536 - 2000)

        make_series(tmp_path, voxels=stored, edit=edit)
        assert read(tmp_path).voxels.min() == stored[stored != -2000].min()

    def test_range(self, tmp_path):
        stored = self.padded(-3000, phantom(low=-1000, high=1000))
        stored[0, 0, 0] = -2950

        def edit(ds, k):
            ds.add_new("PixelPaddingValue", "SS", -3000)
            ds.add_new("PixelPaddingRangeLimit", "SS", -2900)

        make_series(tmp_path, voxels=stored, edit=edit)
        assert read(tmp_path).voxels.min() == stored[stored > -2900].min()


class TestColour:
    def test_rgb_in_place(self, tmp_path):
        voxels = np.random.default_rng(4).integers(0, 256, (5, 7, 11, 3)).astype(np.uint8)
        series = make_series(tmp_path, voxels=voxels, modality="OT")
        volume = read(tmp_path)
        assert volume.is_colour
        assert volume.voxels.dtype == np.uint8
        assert_same(volume, voxels, series.affine)

    def test_planar_configuration(self, tmp_path):
        voxels = np.random.default_rng(4).integers(0, 256, (5, 7, 11, 3)).astype(np.uint8)

        def edit(ds, k):
            ds.PlanarConfiguration = 1
            ds.PixelData = np.moveaxis(voxels[k], -1, 0).tobytes() + b"\0"

        series = make_series(tmp_path, voxels=voxels, modality="OT", edit=edit)
        assert_same(read(tmp_path), voxels, series.affine)

    def test_ybr(self, tmp_path):
        grey = np.random.default_rng(4).integers(0, 256, (5, 7, 11)).astype(np.uint8)
        voxels = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], -1)

        def edit(ds, k):
            ds.PhotometricInterpretation = "YBR_FULL"

        series = make_series(tmp_path, voxels=voxels, modality="OT", edit=edit)
        assert_same(read(tmp_path), np.stack([grey] * 3, -1), series.affine, atol=1)

    @pytest.mark.parametrize("bits", [8, 16])
    def test_palette(self, bits, tmp_path):
        table = np.random.default_rng(6).integers(0, 256, (3, 256)).astype(np.uint16)
        voxels = np.random.default_rng(4).integers(0, 256, (5, 7, 11)).astype(np.uint8)

        def edit(ds, k):
            ds.PhotometricInterpretation = "PALETTE COLOR"
            for name, column in zip(("Red", "Green", "Blue"), table, strict=True):
                setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
                data = (column * 257 if bits == 16 else column).astype(f"<u{bits // 8}")
                setattr(ds, f"{name}PaletteColorLookupTableData", data.tobytes())

        series = make_series(tmp_path, voxels=voxels, modality="OT", edit=edit)
        assert_same(read(tmp_path), table.T[voxels], series.affine)

    def test_palette_without_its_table(self, tmp_path):
        def edit(ds, k):
            ds.PhotometricInterpretation = "PALETTE COLOR"

        make_series(tmp_path, voxels=phantom(low=0, high=9).astype(np.uint8), edit=edit)
        with pytest.raises(UnreadableFileError, match="colour table"):
            read(tmp_path)

    def test_a_picture_without_a_place(self, tmp_path):
        """A secondary capture: at the origin, and said so."""
        voxels = np.random.default_rng(4).integers(0, 256, (1, 7, 11, 3)).astype(np.uint8)

        def edit(ds, k):
            del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing

        make_series(tmp_path, voxels=voxels, modality="OT", edit=edit)
        volume = read(tmp_path)
        np.testing.assert_array_equal(volume.voxels, voxels)
        assert volume.spacing == (1, 1, 1)
        assert "origin" in " ".join(volume.notes)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BitsAllocated", 12),
        ("BitsAllocated", 64),
        ("BitsStored", 17),
        ("HighBit", 3),
        ("SamplesPerPixel", 4),
        ("SamplesPerPixel", 0),
        ("PhotometricInterpretation", "CMYK"),
        ("PhotometricInterpretation", "RGB"),
        ("RescaleSlope", "0"),
        ("RescaleSlope", "1e300"),
        ("NumberOfFrames", "0"),
        ("NumberOfFrames", "7"),
    ],
)
def test_pixel_modules_that_make_no_sense(keyword, value, tmp_path):
    def edit(ds, k):
        setattr(ds, keyword, value)

    make_series(tmp_path, edit=edit)
    with pytest.raises(SammedError):
        read(tmp_path)


@pytest.mark.parametrize(("rows", "message"), [(6, "154 bytes; expected 132"), (8, "expected 176")])
def test_pixel_data_of_another_length(rows, message, tmp_path):
    def edit(ds, k):
        pixels = ds.PixelData
        ds.Rows = rows
        ds.PixelData = pixels + pixels if rows == 6 else pixels

    make_series(tmp_path, edit=edit)
    with pytest.raises(UnreadableFileError, match="bytes; expected"):
        read(tmp_path)


def test_trailing_padding_of_pixel_data(tmp_path):
    def edit(ds, k):
        ds.PixelData += b"\0" * 10

    series = make_series(tmp_path, edit=edit)
    assert_same(read(tmp_path), series.voxels, series.affine)


def test_float_pixels(tmp_path):
    def edit(ds, k):
        values = np.frombuffer(ds.PixelData, "<i2").astype("<f4")
        del ds.PixelData
        ds.FloatPixelData = values.tobytes()
        ds.BitsAllocated = 32

    make_series(tmp_path, edit=edit)
    with pytest.raises(UnsupportedFormatError, match="FloatPixelData"):
        read(tmp_path)


def test_frames_in_several_pieces(tmp_path):
    """Fragments of a frame belong together, whatever the offset table says."""
    voxels = phantom(LARGE, 0, 4096).astype(np.uint16)

    def edit(ds, k):
        compress(ds, JPEG2000Lossless)
        (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
        pieces = list(fragment_frame(frame, 3))
        table = b"\xfe\xff\x00\xe0\x04\x00\x00\x00" + (k * 1000).to_bytes(4, "little")
        ds.PixelData = table + b"".join(map(itemize_fragment, pieces))
        ds["PixelData"].is_undefined_length = True

    series = make_series(tmp_path, voxels=voxels, edit=edit, syntax=JPEG2000Lossless)
    assert_same(read(tmp_path), series.voxels, series.affine)


def test_put_pixels_writes_what_it_is_given(tmp_path):
    """The generator itself, against pydicom's own reading."""
    series = make_series(tmp_path)
    ds = dcmread(series.paths[0])
    np.testing.assert_array_equal(ds.pixel_array, series.voxels[0])
    put_pixels(ds, phantom()[1])
    np.testing.assert_array_equal(ds.pixel_array, phantom()[1])
