"""A volume and its labels in a notebook's widget; boxes that are dragged there."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

import sammed
from sammed.errors import InputError
from sammed.imaging.volume import Volume
from sammed.io import read
from sammed.notebook import box_dragged
from sammed.session import Session
from tests.phantoms import StubModel, dice

pytest.importorskip("ipyniivue", reason="ipyniivue is not installed")


def shown_array(widget, number: int) -> np.ndarray:
    """What the viewer is given, as canonical (z, y, x)."""
    image = nib.Nifti1Image.from_bytes(widget.volumes[number].data)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    return np.asarray(image.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flip", [False, True])
def test_voxels_are_shown_where_they_are(order, flip):
    voxels = np.random.default_rng(0).integers(-50, 50, (5, 6, 7), np.int16)
    affine = np.zeros((4, 4))
    affine[list(order), range(3)] = (2.0, 3.0, -1.5 if flip else 1.5)
    affine[3, 3] = 1
    volume = Volume.from_array(voxels, affine)
    assert (shown_array(sammed.show(volume), 0) == volume.voxels).all()


def test_labels_lie_on_the_image_with_names_and_colours():
    volume = read("sample_data/phantom_ct.nii.gz")
    labels = sammed.read_labels("sample_data/phantom_labels.nii.gz", names={2: "spleen"})
    widget = sammed.show(volume, labels)
    assert (shown_array(widget, 1) == labels.voxels).all()
    table = widget.volumes[1].colormap_label
    assert table.labels[2] == "spleen"
    assert len(table.lut) == 4 * len(table.labels)
    with pytest.raises(InputError, match="one grid"):
        sammed.show(Volume.from_array(np.zeros((3, 4, 5)), np.eye(4)), labels)


def drag(desk, start, end, plane: int) -> None:
    """As the browser tells it, in voxels (i, j, k) of the shown file."""
    numbers = {"vox_start": start, "vox_end": end, "ax_cor_sag": plane}
    desk.picture._event_handlers["drag_release"](numbers)


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_a_dragged_box_segments_the_object_under_it(plane):
    voxels = np.zeros((14, 20, 24), np.int16)
    voxels[3:11, 5:14, 8:19] = 100
    volume = Volume.from_array(voxels, np.diag([2.0, 1.0, 1.0, 1.0]))
    truth = volume.voxels > 50
    session = Session(volume, StubModel())
    desk = session.show("organ")
    where = np.argwhere(truth)
    low, high = where.min(axis=0), where.max(axis=0)
    low[plane] = high[plane] = where[len(where) // 2][plane]
    corners = [as_shown(tuple(v), volume.shape) for v in (low, high)]
    drag(desk, *corners, plane)
    assert [obj.name for obj in session.objects] == ["organ"]
    assert session.objects[0].boxes[0].axis == plane
    assert dice(session.result().voxels > 0, truth) > 0.9
    assert "organ" in desk.words.value
    assert (shown_array(desk.picture, 1) > 0).sum() == (session.result().voxels > 0).sum()


def as_shown(voxel, shape):
    z, y, x = (int(n) for n in voxel)
    return [float(shape[2] - 1 - x), float(shape[1] - 1 - y), float(z)]


def test_what_is_wrong_is_said_above_the_picture():
    voxels = np.random.default_rng(1).integers(0, 50, (6, 20, 24), np.int16)
    session = Session(Volume.from_array(voxels, np.eye(4)), StubModel())
    desk = session.show("organ")
    drag(desk, [30.0, 3.0, 2.0], [33.0, 5.0, 2.0], 0)
    assert "outside" in desk.words.value
    assert not session.objects


def test_any_drag_comes_back_as_the_voxels_it_covered():
    shape = (4, 5, 6)
    for plane in range(3):
        a, b = np.array([1, 1, 1]), np.array([2, 3, 4])
        b[plane] = a[plane]
        ends = [tuple(int(n) for n in as_shown(v, shape)) for v in (a, b)]
        prompt = box_dragged(*ends, plane, shape)
        assert prompt.block.low == tuple(a)
        assert prompt.block.high == tuple(b + 1)
