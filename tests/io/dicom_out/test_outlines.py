"""RTSTRUCT outlines as others draw them: repeated, overlapping, nested, under one number."""

from __future__ import annotations

import numpy as np
import pytest

from sammed import io as sammed_io
from sammed.errors import LabelError
from sammed.imaging import geometry
from sammed.io.dicom.objects import rtstruct
from sammed.io.dicom.objects.filling import Remarks, fill_together
from tests.io.dicom.make_series import make_series, straight_affine
from tests.io.dicom_out.sources import ct_volume
from tests.io.dicom_out.test_rtstruct import square, structure_set


@pytest.fixture
def volume(tmp_path):
    return ct_volume(tmp_path / "series", (6, 12, 14))


def read(tmp_path, volume, outlines, kind="CLOSED_PLANAR", **options):
    path = tmp_path / "rt.dcm"
    structure_set(volume, {"organ": outlines}, kind).save_as(path, enforce_file_format=True)
    return rtstruct.read(path, volume, **options)


def box(low, high):
    mask = np.zeros((12, 14), bool)
    mask[low[0] : high[0], low[1] : high[1]] = True
    return mask


class TestRepeated:
    """An outline that is there twice is no hole."""

    @pytest.mark.parametrize(
        "again",
        [
            lambda p: p,
            lambda p: np.roll(p, 1, axis=0),  # from another start
            lambda p: p[::-1],  # in the other direction
            lambda p: np.concatenate([p, p[:1]]),  # closed
            lambda p: np.repeat(p, 2, axis=0),
            lambda p: np.concatenate([p[:1], (p[:1] + p[1:2]) / 2, p[1:]]),  # a point more
            lambda p: p + np.array([0, 0.05, -0.05]),
            lambda p: np.roll(p, 2, axis=0)[::-1] + np.random.default_rng(0).uniform(
                -0.1, 0.1, p.shape
            ) * (0, 1, 1),
        ],
    )  # fmt: skip
    def test_counts_once(self, again, tmp_path, volume):
        outline = square(2, (2, 3), (9, 10))
        labels = read(tmp_path, volume, [outline, square(3, (2, 3), (9, 10)), again(outline)])
        stored = labels.file_array()
        np.testing.assert_array_equal(stored[2] == 1, box((2, 3), (9, 10)))
        np.testing.assert_array_equal(stored[3] == 1, box((2, 3), (9, 10)))
        assert labels.notes == ("rt.dcm: 1 outlines are there twice and count once",)

    def test_rounded_to_whole_mm(self, tmp_path, volume):
        angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        round_ = np.stack([2 + 0 * angle, 6 + 4.3 * np.sin(angle), 7 + 4.3 * np.cos(angle)], 1)
        coarse = round_.copy()
        coarse[:, 1:] = np.round(coarse[:, 1:])
        alone = read(tmp_path, volume, [round_]).file_array()
        np.testing.assert_array_equal(read(tmp_path, volume, [round_, coarse]).file_array(), alone)

    def test_a_hole_given_twice_stays_a_hole(self, tmp_path, volume):
        outer, inner = square(2, (1, 1), (11, 12)), square(2, (3, 3), (9, 9))
        stored = read(tmp_path, volume, [outer, inner, inner[::-1], outer]).file_array()
        np.testing.assert_array_equal(stored[2] == 1, box((1, 1), (11, 12)) & ~box((3, 3), (9, 9)))

    def test_a_thin_wall_is_no_repetition(self):
        angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        circle = np.stack([np.sin(angle), np.cos(angle)], 1)
        outlines = [circle * 12 + 16, circle * 11.3 + 16]
        found = Remarks()
        mask = fill_together(outlines, (32, 32), found)
        distance = np.hypot(*(np.mgrid[:32, :32] - 16))
        assert found == Remarks()
        assert not mask[distance < 11].any()
        assert mask[(distance > 11.4) & (distance < 11.9)].all()


class TestOverlapping:
    def test_in_part_they_are_united(self, tmp_path, volume):
        outlines = [square(2, (1, 1), (7, 8)), square(2, (5, 6), (11, 12))]
        labels = read(tmp_path, volume, outlines)
        np.testing.assert_array_equal(
            labels.file_array()[2] == 1, box((1, 1), (7, 8)) | box((5, 6), (11, 12))
        )
        assert (
            "1 outlines overlap others of their structure in part and were united"
            in (labels.notes[0])
        )

    def test_a_hole_in_united_outlines(self, tmp_path, volume):
        outlines = [
            *(square(2, (1, 1), (9, 8)), square(2, (1, 5), (9, 12))),
            square(2, (3, 5), (5, 8)),  # within both
        ]
        stored = read(tmp_path, volume, outlines).file_array()
        np.testing.assert_array_equal(stored[2] == 1, box((1, 1), (9, 12)) & ~box((3, 5), (5, 8)))

    def test_holes_that_overlap_are_one_hole(self, tmp_path, volume):
        outlines = [
            *(square(2, (0, 0), (12, 14)), square(2, (2, 2), (6, 7))),
            square(2, (4, 5), (9, 11)),
        ]
        stored = read(tmp_path, volume, outlines).file_array()
        hole = box((2, 2), (6, 7)) | box((4, 5), (9, 11))
        np.testing.assert_array_equal(stored[2] == 1, ~hole)

    def test_a_hole_that_pokes_out(self):
        outer = np.array([[0, 0], [0, 30], [30, 30], [30, 0]], float) - 0.5
        hole = np.array([[5, 5], [5, 25], [14, 25], [14, 31], [15, 31], [15, 5]], float) - 0.5
        found = Remarks()
        mask = fill_together([outer, hole], (32, 32), found)
        assert not mask[6:13, 6:24].any()
        assert mask[20:30, :30].all()
        assert found.poking == 1

    @pytest.mark.parametrize("kind", ["CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"])
    def test_exclusive_or_is_what_it_says(self, kind, tmp_path, volume):
        outlines = [square(2, (1, 1), (7, 8)), square(2, (5, 6), (11, 12))]
        labels = read(tmp_path, volume, outlines, kind)
        np.testing.assert_array_equal(
            labels.file_array()[2] == 1, box((1, 1), (7, 8)) ^ box((5, 6), (11, 12))
        )

    def test_touching_outlines(self, tmp_path, volume):
        outlines = [square(2, (1, 1), (7, 8)), square(2, (7, 1), (11, 8))]
        labels = read(tmp_path, volume, outlines)
        np.testing.assert_array_equal(labels.file_array()[2] == 1, box((1, 1), (11, 8)))
        assert labels.notes == ()

    def test_nested_outlines_in_any_order(self):
        """As deep as five, against the even-odd rule, which is right for nested ones."""
        squares = [
            np.array([[n, n], [n, 30 - n], [30 - n, 30 - n], [30 - n, n]], float) - 0.5
            for n in (0, 3, 6, 9, 12)
        ]
        rng = np.random.default_rng(0)
        for _ in range(10):
            order = rng.permutation(5)
            found = Remarks()
            mask = fill_together([squares[i] for i in order], (32, 32), found)
            rings = fill_together(squares, (32, 32), Remarks(), even_odd=True)
            np.testing.assert_array_equal(mask, rings)
            assert found == Remarks()

    def test_outlines_too_small_for_a_voxel_beside_others(self, tmp_path, volume):
        """open-vv/vv pull request 117: they cost the whole slice elsewhere."""
        speck = np.array([(2, 3.1, 3.1), (2, 3.1, 3.2), (2, 3.2, 3.2), (2, 3.2, 3.1)])
        labels = read(
            tmp_path, volume, [square(2, (1, 1), (7, 8)), speck, speck + np.array([0, 2, 2])]
        )
        np.testing.assert_array_equal(labels.file_array()[2] == 1, box((1, 1), (7, 8)))
        assert labels.notes == ("rt.dcm: 2 outlines enclose no voxel centre",)


class TestSameNumber:
    @staticmethod
    def make(tmp_path, volume, **options):
        rois = {
            "kidney": [square(2, (1, 1), (7, 8))],
            "tumour": [square(2, (8, 9), (11, 12))],
            "liver": [square(3, (8, 9), (11, 12))],
        }
        dataset = structure_set(volume, rois)
        for item in dataset.StructureSetROISequence[:2]:
            item.ROINumber = 19
        for item in dataset.ROIContourSequence[:2]:
            item.ReferencedROINumber = 19
        dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
        return rtstruct.read(tmp_path / "rt.dcm", volume, **options)

    def test_both_are_kept(self, tmp_path, volume):
        labels = self.make(tmp_path, volume)
        assert labels.names == {19: "kidney", 20: "tumour", 2: "liver"}
        stored = labels.file_array()
        np.testing.assert_array_equal(stored[2] == 19, box((1, 1), (7, 8)))
        np.testing.assert_array_equal(stored[2] == 20, box((8, 9), (11, 12)))
        assert labels.notes == (
            "rt.dcm: the ROIs 'kidney' and 'tumour' both say number 19; the latter was given 20",
        )

    def test_one_of_them_by_its_name(self, tmp_path, volume):
        labels = self.make(tmp_path, volume, only=["tumour"])
        assert list(labels.names.values()) == ["tumour"]
        assert np.count_nonzero(labels.voxels) == 9
        with pytest.raises(LabelError, match="it has kidney, tumour, liver"):
            self.make(tmp_path, volume, only=["spleen"])


def test_a_structure_without_outlines_is_named(tmp_path, volume):
    """Dicom_RT_and_Images_to_Mask issue 27."""
    rois = {"organ": [square(2, (1, 1), (7, 8))], "brain": [], "cord": []}
    dataset = structure_set(volume, rois)
    del dataset.ROIContourSequence[1].ContourSequence
    del dataset.ROIContourSequence[2]
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    labels = rtstruct.read(tmp_path / "rt.dcm", volume)
    assert list(labels.names.values()) == ["organ"]
    assert labels.notes == ("rt.dcm: structures without an outline: brain, cord",)


@pytest.mark.parametrize(("low", "high"), [((-3, 2), (5, 9)), ((2, 2), (9, 17))])
def test_outlines_that_reach_beyond_the_image(low, high, tmp_path, volume):
    """dcmrtstruct2nii issue 28: there the structure was left out."""
    labels = read(tmp_path, volume, [square(2, low, high)])
    cut = np.clip(low, 0, None), np.minimum(high, (12, 14))
    np.testing.assert_array_equal(labels.file_array()[2] == 1, box(*cut))
    assert labels.notes == ("rt.dcm: 1 outlines reach beyond the image and were cut off there",)


def test_slices_that_are_unevenly_spaced(tmp_path):
    """platipy issue 314: outlines belong to the slices as acquired, not to an average grid."""
    made = make_series(tmp_path / "ct", (12, 12, 14), straight_affine(), drop=[3, 5, 7, 9])
    image = sammed_io.read(made.folder, allow_gaps=True)
    source = image.grid.native
    outlines = []
    for affine in source.affines[1:7]:
        pixels = square(0, (3, 4), (9, 10))
        world = pixels @ affine[:3, :3].T + affine[:3, 3]
        outlines.append(geometry.index_from_world(image.grid.affine, world))
    labels = read(tmp_path, image, outlines)
    acquired = source.labels_as_acquired(labels.file_array())
    expected = np.zeros(acquired.shape, bool)
    expected[1:7, 3:9, 4:10] = True
    np.testing.assert_array_equal(acquired == 1, expected)
