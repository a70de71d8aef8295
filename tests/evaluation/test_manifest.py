from __future__ import annotations

import json
import re

import pytest

from sammed.errors import EvaluationError, InputError, UnreadableFileError
from sammed.evaluation.manifest import pair_folders, read_manifest, share_subject
from sammed.evaluation.objects import Wanted, parse_names, read_names


def test_json_manifest(cohort):
    one, two, broken = read_manifest(cohort)
    assert one.image == cohort.parent / "one.nii.gz"
    assert one.labels == {1: "round", 2: "long", 7: "nowhere"}
    assert (one.area, one.modality, one.truth) == ("phantom", "MR", "manual")
    assert one.prompt_source == one.label
    assert (one.subject, two.subject) == ("one.nii.gz", "two.nii.gz")
    assert broken.id == "broken"


def test_csv_manifest_says_the_same(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text(
        "id,image,label,labels,area,subject,prompts\n"
        "a,img/a.nii.gz,lab/a.nii.gz,1=liver;12=left kidney,abdomen,p1,other/a.nii.gz\n"
        ",img/b.nii.gz,lab/b.seg.nrrd,,,,\n"
    )
    a, b = read_manifest(path)
    assert a.labels == {1: "liver", 12: "left kidney"}
    assert a.subject == "p1"
    assert a.prompts == a.prompt_source == tmp_path / "other/a.nii.gz"
    assert (b.id, b.labels, b.prompts) == ("b", {}, None)


def test_folders_are_paired_by_name(tmp_path):
    images, references = tmp_path / "imagesTs", tmp_path / "labelsTs"
    images.mkdir()
    references.mkdir()
    for name in ("case_2_0000.nii.gz", "case_1.nii.gz", "alone.nii.gz", "notes.txt"):
        (images / name).touch()
    for name in ("case_2.nii.gz", "case_1.nrrd", "other.nii.gz"):
        (references / name).touch()
    first, second = pair_folders(images, references, Wanted({1: "liver"}))
    assert (first.id, first.image.name, first.label.name) == (
        "case_1",
        "case_1.nii.gz",
        "case_1.nrrd",
    )
    assert (second.id, second.image.name) == ("case_2", "case_2_0000.nii.gz")
    assert second.labels == {1: "liver"}
    with pytest.raises(EvaluationError, match="same name"):
        pair_folders(images, images.parent)
    with pytest.raises(UnreadableFileError, match="no folder"):
        pair_folders(images, tmp_path / "none")


def test_cases_of_one_person_share_a_subject(cohort):
    one, two, broken = share_subject(read_manifest(cohort), ["one", "broken"])
    assert one.subject == broken.subject != two.subject
    with pytest.raises(InputError, match="no case three"):
        share_subject([one], ["one", "three"])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"image": "a.nii.gz"}], "has no label"),
        ([{"id": "a", "image": "i", "label": "l"}] * 2, "two cases"),
        ([{"id": "../a", "image": "i", "label": "l"}], "cannot name a file"),
        ([{"image": "i", "label": "l", "labels": {"x": "liver"}}], "case 1"),
    ],
)
def test_contradictions_are_named(tmp_path, entries, message):
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"format": "sammed-cases/1", "cases": entries}))
    with pytest.raises(InputError, match=message):
        read_manifest(path)


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(UnreadableFileError, match="no manifest"):
        read_manifest(tmp_path / "none.json")
    path = tmp_path / "cases.json"
    for text in ("{", "[]", '{"format": "other/1", "cases": []}'):
        path.write_text(text)
        with pytest.raises(UnreadableFileError, match=r"cases\.json"):
            read_manifest(path)
    path.write_text('{"format": "sammed-cases/1", "cases": []}')
    with pytest.raises(EvaluationError, match="lists no case"):
        read_manifest(path)


def test_names_either_way_round(tmp_path):
    path = tmp_path / "names.json"
    path.write_text('{"1": "liver", "2": "spleen"}')
    assert read_names(path) == Wanted({1: "liver", 2: "spleen"})
    path.write_text('{"labels": {"background": 0, "liver": 1}}')
    assert read_names(path) == Wanted({1: "liver"})
    path.write_text('{"labels": {"0": "background", "1": "liver"}}')
    assert read_names(path) == Wanted({1: "liver"})


def test_regions_and_what_nobody_judged_as_nnunet_writes_them(tmp_path):
    path = tmp_path / "dataset.json"
    labels = {"background": 0, "whole": [1, 2, 3], "core": [3, 2], "enhancing": 3, "ignore": 4}
    path.write_text(json.dumps({"labels": labels, "regions_class_order": [1, 2, 3]}))
    names = {(1, 2, 3): "whole", (2, 3): "core", 3: "enhancing"}
    assert read_names(path) == Wanted(names, ignored=4)
    path.write_text('{"1+2+3": "whole", "3+2": "core", "3": "enhancing"}')
    assert read_names(path) == Wanted(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"liver": "one"}, "'liver' is no label value; expected a whole number in 0..65535"),
        ({"liver": -1}, "-1 is no label value"),
        ({"liver": 65536}, "65536 is no label value"),
        ({"liver": True}, "True is no label value"),
        ({"liver": []}, "a region has no label"),
        ({"liver": [1, "x"]}, "'x' is no label value"),
        ({"1+": "liver"}, "'' is no label value"),
        ({"background": 0}, "it names nothing but the background"),
        ({}, "it names nothing but the background"),
    ],
)
def test_names_that_make_no_sense(tmp_path, content, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_names(content)
    path = tmp_path / "names.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UnreadableFileError, match=re.escape(message)) as error:
        read_names(path)
    assert str(error.value).startswith(str(path))
    for text in ("[1]", "{"):
        path.write_text(text)
        with pytest.raises(UnreadableFileError, match=r"names\.json"):
            read_names(path)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("x_0000.nii.gz", "x.seg.nrrd"),
        ("x.nii.gz", "x.seg.nrrd"),
        ("x_0000.nhdr", "x.dcm"),
        ("x_0000.jpeg", "x.bmp"),
        ("x.IMA", "x.nii"),
        ("x_0000.hdr", "x.HDR"),
        ("scan_2019.nii.gz", "scan_2019.seg.nrrd"),
    ],
)
def test_folders_are_paired_whatever_the_formats(tmp_path, image, label):
    for folder, name in (("images", image), ("labels", label)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
        if name.lower().endswith(".hdr"):
            (tmp_path / folder / name.replace("hdr", "img").replace("HDR", "IMG")).touch()
    (case,) = pair_folders(tmp_path / "images", tmp_path / "labels")
    assert (case.image.name, case.label.name, case.note) == (image, label, "")
    assert case.id == label.split(".")[0]


def test_of_several_channels_the_first_is_taken_and_told(tmp_path):
    images, references = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    references.mkdir()
    for channel in range(3):
        (images / f"x_{channel:04}.nii.gz").touch()
    (references / "x.nii.gz").touch()
    (case,) = pair_folders(images, references)
    assert (case.image.name, case.note) == ("x_0000.nii.gz", "channel 0 of 3")


def test_two_images_of_one_name_are_refused(tmp_path):
    for name in ("x.nii.gz", "x.png"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"x\.nii\.gz and x\.png are of one name"):
        pair_folders(tmp_path, tmp_path)


def test_what_has_no_image_is_told_and_hidden_files_are_none(tmp_path, caplog):
    for folder, names in (("images", ("a", "._a", "x")), ("labels", ("a", "._a", "b", "c"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.nii.gz").touch()
    (case,) = pair_folders(tmp_path / "images", tmp_path / "labels")
    assert case.id == "a"
    assert "2 of 3 label maps in" in caplog.text
    assert "have no image of their name and are left out: b, c" in caplog.text


@pytest.mark.parametrize(
    ("separator", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), (";", "utf-16"), ("\t", "utf-8")],
)
def test_tables_as_spreadsheets_save_them(tmp_path, separator, encoding):
    lines = [("id", " image", "label", "labels"), ("ü", "a.nii", "b.nii", "1=liver|2=spleen")]
    text = "\r\n".join(separator.join(line) for line in lines).replace("|", "/")
    text = text.replace("1=liver/2=spleen", '"1=liver;2=spleen"')
    path = tmp_path / "cases.csv"
    path.write_bytes((text + "\r\n").encode(encoding))
    (case,) = read_manifest(path)
    assert (case.id, case.image.name) == ("ü", "a.nii")
    assert case.labels == {1: "liver", 2: "spleen"}


def test_keys_that_are_there_twice_are_not_dropped(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text('{"labels": {"background": 0, "a": 1, "ignore": 2, "ignore": 3}}')
    with pytest.raises(UnreadableFileError, match="has the key 'ignore' 2 times in one object"):
        read_names(path)
    path.write_text("# ITK-SnAP Label Description File")
    with pytest.raises(UnreadableFileError, match=r'is not JSON.*expected \{"1": "liver", \.\.\.'):
        read_names(path)
