from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sammed.errors import (
    GeometryError,
    LabelError,
    PromptError,
    SammedError,
    UnreadableFileError,
)
from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.prompts.files import document, read_prompts
from tests.phantoms import OBLIQUE, SHAPE, STRAIGHT, in_all_orders

VOXELS = np.zeros(SHAPE, np.int16)
VOLUME = Volume.from_array(VOXELS, STRAIGHT)
TURNED = Volume.from_array(VOXELS, OBLIQUE)

OBJECTS = (
    ObjectPrompts(
        "liver",
        3,
        boxes=(BoxPrompt(0, 2, Box2D(1, 3, 5, 9)), BoxPrompt(0, 4, Box2D(0, 0, 7, 11))),
        points=(PointPrompt((4, 6, 10)), PointPrompt((0, 1, 2), positive=False)),
    ),
    ObjectPrompts("spleen", 1, boxes=(BoxPrompt(1, 6, Box2D(0, 3, 5, 9)),), propagate="off"),
    ObjectPrompts("cord", 7, boxes=(BoxPrompt(2, 10, Box2D(1, 2, 4, 5)),), propagate="between"),
    ObjectPrompts("kidney", 2, blocks=(Box3D(1, 2, 3, 4, 6, 9), Box3D(0, 0, 0, 1, 1, 1))),
)


def no_mask(path: Path, value: int | None) -> np.ndarray:
    raise AssertionError(f"no mask was named, but {path} {value} was read")


def save(folder: Path, data: object, name: str = "p.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def objects_file(folder: Path, *objects: object, **about: object) -> Path:
    return save(folder, {"format": "sammed-prompts/1", "objects": list(objects), **about})


# -- sammed-prompts/1 ------------------------------------------------------------------------


def test_written_prompts_are_read_as_they_were_for_all_48_files(tmp_path):
    for number, volume in enumerate(in_all_orders(VOXELS)):
        path = save(tmp_path, document(OBJECTS, volume), f"{number}.json")
        assert tuple(read_prompts(path, volume, no_mask)) == OBJECTS


def test_what_an_object_is_is_written_where_its_name_does_not_say_it(tmp_path):
    told = (OBJECTS[0].replaced(name="Segment_1", structure="liver"), *OBJECTS[1:])
    written = document(told, VOLUME)
    assert [entry.get("structure") for entry in written["objects"]] == ["liver", None, None, None]
    assert all("structure" not in entry for entry in document(OBJECTS, VOLUME)["objects"])
    assert read_prompts(save(tmp_path, written), VOLUME, no_mask).objects == told


def test_the_document_is_in_the_files_own_indices():
    stored = VOXELS[:, ::-1].transpose(2, 0, 1)  # (k, j, i) of the file is (x, z, -y)
    affine = STRAIGHT[:, [2, 0, 1, 3]] @ np.diag([1, 1, -1, 1])
    affine[:3, 3] = STRAIGHT[:3, 3] + STRAIGHT[:3, 1] * 6
    volume = Volume.from_array(stored, affine)
    np.testing.assert_allclose(volume.affine, STRAIGHT, atol=1e-9)
    data = document(OBJECTS, volume, window="auto")
    assert (data["format"], data["space"], data["window"]) == ("sammed-prompts/1", "voxel", "auto")
    liver, spleen, cord, kidney = data["objects"]
    # rows 1..5 of y are i = 2..6 of the file; z is j; columns 3..9 are k
    assert liver["boxes"][0] == {"axis": "j", "index": 2, "box": [2, 3, 6, 9]}
    assert liver["points"][0] == {"at": [0, 4, 10], "positive": True}
    assert spleen["boxes"] == [{"axis": "i", "index": 0, "box": [0, 3, 5, 9]}]
    assert cord["boxes"] == [{"axis": "k", "index": 10, "box": [2, 1, 5, 4]}]
    assert kidney["boxes"][0] == {"box3d": [1, 1, 3, 5, 4, 9]}
    assert [o["propagate"] for o in data["objects"]] == ["auto", "off", "between", "auto"]
    assert json.loads(json.dumps(data)) == data


def test_the_example_of_the_format(tmp_path):
    path = objects_file(
        tmp_path,
        {
            "name": "liver",
            "label": 1,
            "boxes": [
                {"axis": "k", "index": 3, "box": [2, 1, 9, 6]},
                {"box3d": [3, 2, 1, 9, 6, 5]},
            ],
            "points": [{"at": [9, 5, 3], "positive": False}, {"at": [1, 2, 3]}],
            "mask": "painted.nii.gz",
            "propagate": "between",
        },
        space="voxel",
    )
    mask = np.zeros(SHAPE, bool)
    mask[2, 3, 4] = True
    asked = []

    def reader(file: Path, value: int | None) -> np.ndarray:
        asked.append((file, value))
        return mask

    (liver,) = read_prompts(path, VOLUME, reader)
    assert liver == ObjectPrompts(
        "liver",
        1,
        (BoxPrompt(0, 3, Box2D(1, 2, 6, 9)),),
        (Box3D(1, 2, 3, 5, 6, 9),),
        (PointPrompt((3, 5, 9), False), PointPrompt((3, 2, 1), True)),
        MaskPrompt(mask),
        "between",
    )
    assert asked == [(tmp_path / "painted.nii.gz", None)]
    assert liver.mask is not None
    assert liver.mask.source == str(tmp_path / "painted.nii.gz")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [("m.nii.gz#3", "m.nii.gz", 3), ("a#b.nii", "a#b.nii", None), ("sub/m.nii", "sub/m.nii", None)],
)
def test_a_mask_may_be_one_label_of_a_file(tmp_path, text, name, value):
    asked = []

    def reader(file: Path, value: int | None) -> np.ndarray:
        asked.append((file, value))
        return np.ones(SHAPE, bool)

    (obj,) = read_prompts(objects_file(tmp_path, {"mask": text}), VOLUME, reader)
    assert asked == [(tmp_path / name, value)]
    assert obj.mask is not None
    assert obj.mask.source == str(tmp_path / text)
    assert document([obj], VOLUME)["objects"][0]["mask"] == str(tmp_path / text)


def test_defaults(tmp_path):
    box = {"index": 3, "box": [2, 1, 9, 6]}
    (obj,) = read_prompts(objects_file(tmp_path, {"boxes": [box]}), VOLUME, no_mask)
    assert obj == ObjectPrompts("object", 0, (BoxPrompt(0, 3, Box2D(1, 2, 6, 9)),))


@pytest.mark.parametrize("space", ["ras", "lps"])
def test_millimetres_mean_the_same_for_all_48_files(tmp_path, space):
    sign = np.array([-1, -1, 1]) if space == "ras" else np.ones(3)
    centre = geometry.apply_affine(OBLIQUE, np.array([2, 3, 5])) * sign
    low, high = (
        (centre - np.array([1.2, 1.1, 2.6])).tolist(),
        (centre + np.array([1.3, 1, 2.4])).tolist(),
    )
    entry = {
        "boxes": [
            {"box3d": low + high},
            {"axis": "k", "index": float(centre[2]), "box": low[:2] + high[:2]},
        ],
        "points": [{"at": centre.tolist()}],
    }
    path = objects_file(tmp_path, entry, space=space)
    found = [o for v in in_all_orders(VOXELS) for o in read_prompts(path, v, no_mask)]
    assert all(obj == found[0] for obj in found)
    assert found[0].points == (PointPrompt((2, 3, 5)),)
    assert (found[0].boxes[0].axis, found[0].boxes[0].index) == (0, 2)


BOX = {"axis": "k", "index": 3, "box": [2, 1, 9, 6]}


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ({"boxes": [{"axis": "z", "index": 3, "box": [2, 1, 9, 6]}]}, PromptError, "unknown axis"),
        ({"boxes": [{"axis": "k", "box": [2, 1, 9, 6]}]}, PromptError, "object 0: KeyError 'ind"),
        ({"boxes": [{"index": 3}]}, PromptError, "object 0: KeyError 'box'"),
        ({"boxes": [{"index": 3, "box": [2, 1, 9]}]}, PromptError, r"expected 4 numbers, found \["),
        ({"boxes": [{"index": 3, "box": [2, 1, "x", 6]}]}, PromptError, "object 0: ValueError"),
        ({"boxes": [{"index": 3, "box": [2, 1, None, 6]}]}, PromptError, "expected 4 numbers"),
        ({"boxes": [{"index": 5, "box": [2, 1, 9, 6]}]}, PromptError, "reaches outside the volume"),
        ({"boxes": [{"index": 3, "box": [9, 1, 2, 6]}]}, PromptError, "empty or inverted"),
        ({"boxes": [{"index": 3.5, "box": [2, 1, 9, 6]}]}, PromptError, "has fractions"),
        ({"boxes": [{"box3d": [0, 0, 0, 1, 1, 9]}]}, PromptError, "reaches outside"),
        ({"boxes": [7]}, PromptError, "object 0: TypeError"),
        ({"boxes": None}, PromptError, "object 0: TypeError"),
        ({"points": [{"at": [1, 2]}]}, PromptError, "expected 3 numbers"),
        ({"points": [{"at": [1, 2, 5]}]}, PromptError, "lies outside the volume"),
        ({"points": [{"at": [1, 2, 3], "positive": "no"}]}, PromptError, "expected true or false"),
        ({"boxes": [BOX], "propagate": "both"}, PromptError, "unknown propagate 'both'; expected"),
        ({"boxes": [BOX], "label": "x"}, LabelError, "label 'x' of None is not a whole number"),
        ({"boxes": [BOX], "label": 2.5}, LabelError, "label 2.5 of None"),
        ({"boxes": [BOX], "structure": 3}, PromptError, "structure 3 of None is not a text"),
        (7, PromptError, "cannot read object 0: AttributeError"),
    ],
)
def test_objects_that_make_no_sense(tmp_path, entry, error, message):
    with pytest.raises(error, match=message) as raised:
        read_prompts(objects_file(tmp_path, entry), VOLUME, no_mask)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("{", UnreadableFileError, "p.json is not JSON"),
        ("", UnreadableFileError, "p.json is not JSON"),
        ([], PromptError, "p.json holds no prompts: expected \"format\""),
        ({"format": "sammed-prompts/2", "objects": []}, PromptError, "holds no prompts"),
        ({"format": "sammed-prompts/1", "objects": []}, PromptError, "p.json has no objects"),
        ({"format": "sammed-prompts/1"}, PromptError, "p.json has no objects"),
        (
            {"format": "sammed-prompts/1", "space": "mm", "objects": [{"boxes": [BOX]}]},
            PromptError,
            "unknown space 'mm'; expected voxel, ras, lps",
        ),
        ({"markups": []}, PromptError, "neither a ROI nor a placed control point"),
        ({"markups": [7]}, PromptError, "cannot read a markup: AttributeError"),
        ({"markups": [{"type": "ROI"}]}, PromptError, "cannot read a markup: KeyError 'center'"),
        (
            {"markups": [{"type": "ROI", "center": [0, 0, 0], "size": [1, 1, 1],
                          "orientation": [1, 0]}]},
            PromptError,
            "cannot read a markup: ValueError",
        ),
        (
            {"markups": [{"type": "ROI", "center": [0, 0], "size": [1, 1, 1]}]},
            PromptError,
            "expected 3 numbers",
        ),
        (
            {"markups": [{"type": "ROI", "center": [0, 0, 0], "size": [1, 1, 1],
                          "coordinateSystem": "scanner"}]},
            GeometryError,
            "unknown space 'scanner'",
        ),
        (
            {"markups": [{"type": "ROI", "center": [900, 0, 0], "size": [1, 1, 1]}]},
            PromptError,
            r"'ROI of p\.json' lies outside the volume",
        ),
    ],
)  # fmt: skip
def test_files_that_hold_no_prompts(tmp_path, data, error, message):
    with pytest.raises(error, match=message) as raised:
        read_prompts(save(tmp_path, data), VOLUME, no_mask)
    assert "\n" not in str(raised.value)


def test_keys_that_are_there_twice_are_not_dropped(tmp_path):
    text = '{"format": "sammed-prompts/1", "objects": [{"boxes": [], "name": "a", "boxes": []}]}'
    with pytest.raises(UnreadableFileError, match=r"p\.json has the key 'boxes' 2 times in one"):
        read_prompts(save(tmp_path, text), VOLUME, no_mask)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"cannot read .*none\.json: No such file"):
        read_prompts(tmp_path / "none.json", VOLUME, no_mask)
    with pytest.raises(UnreadableFileError, match="Is a directory"):
        read_prompts(tmp_path, VOLUME, no_mask)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(UnreadableFileError, match="is not JSON"):
        read_prompts(tmp_path / "b.json", VOLUME, no_mask)


def test_errors_of_the_mask_keep_their_kind(tmp_path):
    def reader(file: Path, value: int | None) -> np.ndarray:
        raise UnreadableFileError(f"{file} does not exist")

    with pytest.raises(UnreadableFileError, match=r"m\.nii does not exist"):
        read_prompts(objects_file(tmp_path, {"mask": "m.nii"}), VOLUME, reader)


# -- whatever is in the file -----------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers(-3, 12) | st.floats() | st.text(max_size=3)
keys = st.sampled_from(
    ["name", "label", "boxes", "points", "mask", "propagate", "axis", "index", "box", "box3d",
     "at", "positive", "type", "center", "size", "orientation", "controlPoints", "position"]
)  # fmt: skip
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=6) | st.dictionaries(keys, v, max_size=4), max_leaves=12
)


@pytest.mark.thorough
@given(st.dictionaries(keys, values, max_size=5), st.booleans())
@settings(max_examples=300)
def test_nothing_in_a_file_ends_in_a_traceback(tmp_path, entry, markup):
    def reader(file: Path, value: int | None) -> np.ndarray:
        raise UnreadableFileError(f"{file} does not exist")

    entry = {"type": "ROI", **entry} if markup else entry
    objects = {"format": "sammed-prompts/1", "objects": [entry]}
    path = save(tmp_path, {"markups": [entry]} if markup else objects)
    with contextlib.suppress(SammedError):
        for obj in read_prompts(path, TURNED, reader):
            with contextlib.suppress(SammedError):
                obj.check(SHAPE)
