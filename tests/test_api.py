from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

import sammed
from sammed import api, io
from sammed.engine.progress import Progress
from sammed.engine.settings import Settings
from sammed.errors import (
    GridMismatchError,
    InputError,
    LabelError,
    PromptError,
    SegmentationError,
    UnreadableFileError,
)
from sammed.imaging.boxes import Box2D, Box3D
from sammed.models import registry
from sammed.prompts import BoxPrompt, PointPrompt
from tests.phantoms import (
    OBLIQUE,
    ORDERS,
    ORGAN,
    STRAIGHT,
    StubModel,
    affine_of,
    dice,
    image_of,
    organ_volume,
    reordered,
    save_nifti,
)

VOLUME = organ_volume()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "ct.nii.gz", image_of(ORGAN))


def organ_box(loose: int = 1) -> str:
    """The organ on slice 8 of a file that is stored in canonical order."""
    box = Box2D.from_mask(ORGAN[8]).expand(loose)
    return f"{box.c0},{box.r0},{box.c1},{box.r1}@8"


# -- one call --------------------------------------------------------------------------------


def test_a_file_and_a_box(file):
    labels = sammed.segment(str(file), box=f"liver={organ_box()}", model="two_class")
    assert labels.names == {1: "liver"}
    assert dice(labels.voxels, ORGAN) > 0.97
    io.write_labels(labels, file.with_name("out.nii.gz"))
    again = io.read_labels(file.with_name("out.nii.gz"), like=sammed.read(file))
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert again.names == {1: "liver"}


def test_a_volume_and_a_model(file):
    model = StubModel(52)
    told: list[Progress] = []
    labels = api.segment(
        VOLUME,
        box=[organ_box(), "second=1,1,6,6@2"],
        point="24,17,8",
        labels={"object": 9},
        model=model,
        settings=Settings(plane="axial"),
        progress=told.append,
    )
    assert dice(labels.voxels == 9, ORGAN) > 0.99
    assert labels.names == {9: "object", 1: "second"}
    assert model.decoded
    assert told


def test_a_prompt_file_and_the_propagation(file):
    prompts = file.with_name("p.json")
    box = Box2D.from_mask(ORGAN[8]).expand(1)
    entry = {
        "name": "organ",
        "boxes": [{"axis": "k", "index": 8, "box": [box.c0, box.r0, box.c1, box.r1]}],
        "propagate": "off",
    }
    prompts.write_text(json.dumps({"format": "sammed-prompts/1", "objects": [entry]}))
    labels = api.segment(file, prompts=prompts, model=StubModel(52))
    assert np.flatnonzero(labels.voxels.any(axis=(1, 2))).tolist() == [8]
    labels = api.segment(file, prompts=str(prompts), propagate="auto", model=StubModel(52))
    assert dice(labels.voxels, ORGAN) > 0.99


def test_millimetres_and_voxels_are_the_same_object():
    stored, affine = reordered(image_of(ORGAN), OBLIQUE, (1, 2, 0), (1, -1, -1))
    volume = sammed.Volume.from_array(stored, affine, modality="CT")
    block = Box3D.from_mask(ORGAN)
    index = volume.grid.file_index(np.array([block.low, block.high]) - 0.5)
    low, high = np.sort(index, axis=0) + 0.5
    voxels = ",".join(f"{v:.0f}" for v in (*low, *high))
    expected = api.segment(volume, box=voxels, model=StubModel(52))
    assert dice(expected.voxels, ORGAN) > 0.99
    straight = organ_volume(affine_of(degrees=(0, 0, 0)))
    lps = block.corners(straight.affine)
    text = ",".join(f"{v:.4f}" for v in (*lps.min(axis=0), *lps.max(axis=0)))
    labels = api.segment(straight, box=text, space="lps", model=StubModel(52))
    np.testing.assert_array_equal(labels.voxels, expected.voxels)


def test_nothing_found_anywhere_is_an_error():
    with pytest.raises(SegmentationError, match="nothing was segmented for 'object'") as error:
        api.segment(VOLUME, box="1,1,6,6@2", model=StubModel(52))
    assert error.value.exit_code == 4
    with pytest.raises(SegmentationError, match=r"for 'a': .*; nothing was segmented for 'b'"):
        api.segment(VOLUME, box=["a=1,1,6,6@2", "b=40,1,50,6@2"], model=StubModel(52))


def test_an_object_of_which_nothing_is_left_is_an_error():
    with pytest.raises(SegmentationError, match="nothing is left of 'tiny' after clean-up"):
        api.segment(
            VOLUME,
            box=f"tiny={organ_box()}",
            model=StubModel(52),
            settings=Settings(cleanup=sammed.engine.cleanup.Cleanup(smooth_mm=40.0)),
        )


# -- numbers and images in memory ------------------------------------------------------------


def test_numbers_are_what_text_says():
    box = Box2D.from_mask(ORGAN[8]).expand(1)
    sides = (box.c0, box.r0, box.c1, box.r1)
    expected = api.segment(VOLUME, box=f"liver={organ_box()}", model=StubModel(52)).voxels
    for how in (
        {"box": sides, "slice": 8},
        {"box": np.array(sides, np.int16), "slice": np.uint8(8)},
        {"box": sammed.Box(*sides, k=8)},
        {"box": {"liver": (sides, 8)}},
        {"point": (24, 17, 8)},
        {"point": [sammed.Point(24, 17, 8), sammed.Point(1, 1, 8, positive=False)]},
    ):
        labels = api.segment(VOLUME, model=StubModel(52), **how)
        np.testing.assert_array_equal(labels.voxels, expected)
        assert labels.image is VOLUME
    block = Box3D.from_mask(ORGAN)
    numbers = (block.x0, block.y0, block.z0, block.x1, block.y1, block.z1)
    labels = api.segment(VOLUME, box={"a": numbers}, labels={"a": 3}, model=StubModel(52))
    assert dice(labels.voxels == 3, ORGAN) > 0.99
    with pytest.raises(PromptError, match="slice=8 says where a box of four numbers lies"):
        api.segment(VOLUME, box=numbers, slice=8)


@pytest.mark.parametrize(("order", "flips"), ORDERS[::11])
def test_an_image_in_memory_gives_labels_in_its_own_kind(order, flips, tmp_path):
    """The same prompt on a file, nibabel's, SimpleITK's image and an array: the same voxels."""
    stored, affine = reordered(image_of(ORGAN), OBLIQUE, order, flips)
    path = save_nifti(tmp_path / "ct.nii.gz", stored, affine)
    block = Box3D.from_mask(ORGAN)
    grid = sammed.read(path).grid
    low, high = np.sort(grid.file_index(np.array([block.low, block.high]) - 0.5), axis=0) + 0.5

    def found(image: object) -> Any:
        return api.segment(image, box=np.r_[low, high].round(), model=StubModel(52))

    labels = found(path)
    assert isinstance(labels, sammed.LabelVolume)
    expected = labels.ijk_array()
    assert dice(labels.voxels, ORGAN) > 0.99
    opened = nibabel.load(path)
    like = found(opened)
    assert isinstance(like, nibabel.Nifti1Image)
    np.testing.assert_array_equal(np.asarray(like.dataobj), expected)
    np.testing.assert_array_equal(like.affine, opened.affine)
    array = found((np.asarray(opened.dataobj), opened.affine))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, expected)
    image = sitk.ReadImage(str(path))
    like = found(image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(like).T, expected)
    assert like.GetDirection() == image.GetDirection()
    assert like.GetOrigin() == image.GetOrigin()


def test_a_picture_and_a_single_slice():
    plane = image_of(ORGAN)[8]
    box = Box2D.from_mask(ORGAN[8]).expand(1)
    sides = (box.c0, box.r0, box.c1, box.r1)
    labels = api.segment((plane.T, np.eye(4)), box=sides, slice=0, model=StubModel(52))
    assert labels.shape == plane.T.shape
    assert dice(labels.T, ORGAN[8]) > 0.97
    colour = np.repeat(np.clip(plane, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    pair = (colour.transpose(1, 0, 2)[:, :, None], np.eye(4))
    labels = api.segment(pair, box=sides, slice=0, model=StubModel(52, threshold=0.2))
    assert labels.shape == (*plane.T.shape, 1)
    assert dice(labels[..., 0].T, ORGAN[8]) > 0.9


# -- gathering prompts -----------------------------------------------------------------------


def test_prompts_of_one_object_are_joined_whatever_they_are():
    objects = api.gather_prompts(
        VOLUME,
        boxes=["a=3,4,9,8@2", "b=1,2,3,4,5,6", "3,4,9,8@i=2", "a=3,4,9,9@3"],
        points=["a=1,2,3", "b=1,2,3,-"],
        labels={"b": 7},
        propagate="between",
    )
    a, b, unnamed = objects
    assert [(o.name, o.label) for o in objects] == [("a", 1), ("b", 7), ("object", 2)]
    assert {o.propagate for o in objects} == {"between"}
    assert a.boxes == (BoxPrompt(0, 2, Box2D(4, 3, 8, 9)), BoxPrompt(0, 3, Box2D(4, 3, 9, 9)))
    assert a.points == (PointPrompt((3, 2, 1)),)
    assert b.blocks == (Box3D(3, 2, 1, 6, 5, 4),)
    assert b.points == (PointPrompt((3, 2, 1), False),)
    assert unnamed.boxes == (BoxPrompt(2, 2, Box2D(4, 3, 8, 9)),)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, PromptError, "no prompt: give --box, --point, --mask or --prompts"),
        ({"boxes": ["1,1,6,6@2"], "space": "mm"}, InputError, "unknown space 'mm'; expected voxel"),
        ({"boxes": ["1,1,6,6@2"], "propagate": "on"}, InputError, "unknown propagation 'on'"),
        ({"boxes": ["1,1,6,6@2"], "labels": {"x": 2}}, LabelError, "a label is given for 'x'"),
        ({"boxes": ["1,1,6,6@2"], "labels": {"object": 0}}, LabelError, "label 0 of 'object'"),
        (
            {"boxes": ["a=1,1,6,6@2", "b=1,1,6,6@2"], "labels": {"a": 2, "b": 2}},
            LabelError,
            "label 2 is given to both",
        ),
        ({"points": ["1,1,6,-"]}, PromptError, "nothing says where 'object' is"),
        ({"masks": ["none.nii.gz"]}, UnreadableFileError, "none.nii.gz does not exist"),
        ({"masks": ["a=none.nii.gz"]}, UnreadableFileError, "none.nii.gz does not exist"),
        ({"files": [Path("none.json")]}, UnreadableFileError, "cannot read none.json"),
    ],
)
def test_prompts_that_make_no_sense(options, error, message):
    with pytest.raises(error, match=message):
        api.gather_prompts(VOLUME, **options)


# -- masks -----------------------------------------------------------------------------------


def painted(folder: Path, name: str, affine: np.ndarray = STRAIGHT, **slices: int) -> Path:
    """A label map with the organ on slice 8 as 1 and on slice 6 as another value."""
    voxels = np.zeros(ORGAN.shape, np.uint8)
    voxels[8][ORGAN[8]] = slices.get("first", 1)
    voxels[6][ORGAN[6]] = slices.get("second", 1)
    return save_nifti(folder / name, voxels, affine)


def test_a_painted_mask_is_an_object(tmp_path):
    path = painted(tmp_path, "m.nii.gz")
    for text, name in [(str(path), "object"), (f"liver={path}", "liver")]:
        (obj,) = api.gather_prompts(VOLUME, masks=[text])
        assert obj.name == name
        assert obj.mask is not None
        assert obj.mask.source == str(path)
        assert obj.mask.slices(0).tolist() == [6, 8]


def test_every_label_of_a_mask_is_an_object(tmp_path):
    path = painted(tmp_path, "m.nii.gz", first=3, second=5)
    objects = api.gather_prompts(VOLUME, masks=[str(path)])
    assert [(o.name, o.label) for o in objects] == [("label_3", 3), ("label_5", 5)]
    assert [o.mask.source for o in objects if o.mask] == [f"{path}#3", f"{path}#5"]
    assert [o.mask.slices(0).tolist() for o in objects if o.mask] == [[8], [6]]


def test_one_object_is_made_of_one_label_of_a_mask(tmp_path):
    """Labels are never merged without a word; ``#`` chooses, as in prompt files."""
    path = painted(tmp_path, "m.nii.gz", first=3, second=5)
    choose = rf"m\.nii\.gz holds 2 labels, 3, 5, .* choose with .*{path.name}#3 or .*#5, or leave"
    file = tmp_path / "p.json"
    file.write_text('{"format": "sammed-prompts/1", "objects": [{"mask": "m.nii.gz"}]}')
    for masks, files in (([f"liver={path}"], ()), ({"liver": path}, ()), ((), (file,))):
        with pytest.raises(PromptError, match=choose):
            api.gather_prompts(VOLUME, masks=masks, files=files)
    with pytest.raises(PromptError, match=r"the mask liver holds 2 labels, .*mask == 3 or mask =="):
        api.gather_prompts(VOLUME, masks={"liver": io.read_labels(path)})
    for masks in ([f"liver={path}#5"], {"liver": f"{path}#5"}):
        (liver,) = api.gather_prompts(VOLUME, masks=masks)
        assert liver.mask is not None
        assert (liver.name, liver.label, liver.mask.slices(0).tolist()) == ("liver", 1, [6])
        assert liver.mask.source == f"{path}#5"
    (alone,) = api.gather_prompts(VOLUME, masks=f"{path}#5")
    assert (alone.name, alone.label) == ("label_5", 5)
    for label, why in ((7, "not in it"), (0, "the background")):
        with pytest.raises(PromptError, match=f"label {label} is {why}; it holds the labels 3, 5"):
            api.gather_prompts(VOLUME, masks=f"{path}#{label}")
        file.write_text(
            f'{{"format": "sammed-prompts/1", "objects": [{{"mask": "m.nii.gz#{label}"}}]}}'
        )
        with pytest.raises(PromptError, match=f"label {label} is {why}"):
            api.gather_prompts(VOLUME, files=[file])


def test_a_mask_in_a_folder_whose_name_looks_like_a_choice(tmp_path):
    path = painted(tmp_path, "m.nii.gz")
    folder = tmp_path / "a=b#1"
    folder.mkdir()
    inside = path.rename(folder / "m.nii.gz")
    (obj,) = api.gather_prompts(VOLUME, masks=[str(inside)])
    assert obj.mask is not None
    assert obj.mask.source == str(inside)


def test_names_in_the_mask_are_kept(tmp_path):
    labels = api.segment(VOLUME, box=[f"liver={organ_box()}", "x=1,1,6,6@2"], model=StubModel(52))
    voxels = labels.voxels.copy()
    voxels[2, 2:5, 2:5] = 2
    io.write_labels(
        sammed.LabelVolume(voxels, VOLUME.grid, {1: "liver", 2: "x"}), tmp_path / "m.nii.gz"
    )
    objects = api.gather_prompts(VOLUME, masks=[str(tmp_path / "m.nii.gz")])
    assert [(o.name, o.label) for o in objects] == [("liver", 1), ("x", 2)]


def test_a_mask_that_is_empty_or_elsewhere(tmp_path):
    empty = save_nifti(tmp_path / "e.nii.gz", np.zeros(ORGAN.shape, np.uint8))
    with pytest.raises(PromptError, match=r"the mask .*e\.nii\.gz is empty"):
        api.gather_prompts(VOLUME, masks=[str(empty)])
    moved = STRAIGHT.copy()
    moved[0, 3] += 1
    path = painted(tmp_path, "m.nii.gz", moved)
    with pytest.raises(GridMismatchError, match=r"m\.nii\.gz is not on the grid of the image"):
        api.gather_prompts(VOLUME, masks=[str(path)])


def test_a_painted_mask_is_propagated_from_a_file(tmp_path):
    path = painted(tmp_path, "m.nii.gz")
    labels = api.segment(VOLUME, mask=str(path), model=StubModel(52))
    assert dice(labels.voxels, ORGAN) > 0.99
    np.testing.assert_array_equal(labels.voxels[[6, 8]] > 0, ORGAN[[6, 8]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_painted_in_any_plane_is_followed_across_it(axis):
    middle = [int(np.rint(at.mean())) for at in np.nonzero(ORGAN)][axis]
    mask = np.zeros_like(ORGAN)
    where = tuple(middle if a == axis else slice(None) for a in range(3))
    mask[where] = ORGAN[where]
    labels = api.segment(VOLUME, mask=mask.T, model=StubModel(52))
    assert dice(labels.voxels, ORGAN) > 0.97


def test_a_mask_in_memory(tmp_path):
    """Arrays in the file's order, label maps and nibabel's images are what the file is."""
    expected = api.gather_prompts(VOLUME, masks=str(painted(tmp_path, "m.nii.gz", second=5)))
    opened = nibabel.load(tmp_path / "m.nii.gz")
    array = np.asarray(opened.dataobj)
    for mask in (tmp_path / "m.nii.gz", array, opened, io.read_labels(tmp_path / "m.nii.gz")):
        found = api.gather_prompts(VOLUME, masks=mask)
        assert [(o.name, o.label, o.mask) for o in found] == [
            (o.name, o.label, o.mask) for o in expected
        ]
    (one,) = api.gather_prompts(VOLUME, masks=[array > 0])
    assert one.name == "object"
    (named,) = api.gather_prompts(VOLUME, masks={"liver": array > 0})
    assert (named.name, named.mask) == ("liver", one.mask)
    a, b = api.gather_prompts(VOLUME, masks={"a": array == 1, "b": array == 5})
    assert (a.mask, b.mask) == tuple(o.mask for o in expected)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.zeros((52, 40, 17), bool), PromptError, "the mask is empty: nothing is painted"),
        ({"liver": np.zeros((52, 40, 17))}, PromptError, "the mask liver is empty"),
        (np.ones((17, 40, 52)), PromptError, "the mask has shape"),
        (np.full((52, 40, 17), 0.5), LabelError, "the mask is no label map: it holds 0.5"),
        (7.5, PromptError, "the mask has shape"),
    ],
)
def test_masks_in_memory_that_make_no_sense(mask, error, message):
    with pytest.raises(error, match=message):
        api.gather_prompts(VOLUME, masks=mask)


# -- the rest --------------------------------------------------------------------------------


def test_reading_is_timed(file):
    volume, seconds = api.timed_read(file)
    assert volume.shape == ORGAN.shape
    assert 0 < seconds < 60


@pytest.mark.parametrize("name", ["ellipse", "box", "two_class"])
def test_floors_run_from_end_to_end(name):
    labels = api.segment(VOLUME, box=organ_box(0), model=name)
    assert dice(labels.voxels[8], ORGAN[8]) > 0.75
    block = Box3D.from_mask(ORGAN)
    text = f"{block.x0},{block.y0},{block.z0},{block.x1},{block.y1},{block.z1}"
    labels = api.segment(VOLUME, box=text, model=name)
    assert dice(labels.voxels, ORGAN) > 0.6
    assert registry.info(name).available
