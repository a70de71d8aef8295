from __future__ import annotations

import json

import pytest

from sammed.errors import EvaluationError, InputError, UnreadableFileError
from sammed.evaluation.manifest import pair_folders, read_manifest, read_names, share_subject


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
    assert (b.id, b.labels, b.prompts) == ("b.seg", {}, None)


def test_folders_are_paired_by_name(tmp_path):
    images, references = tmp_path / "imagesTs", tmp_path / "labelsTs"
    images.mkdir()
    references.mkdir()
    for name in ("case_2_0000.nii.gz", "case_1.nii.gz", "alone.nii.gz", "notes.txt"):
        (images / name).touch()
    for name in ("case_2.nii.gz", "case_1.nrrd", "other.nii.gz"):
        (references / name).touch()
    first, second = pair_folders(images, references, {1: "liver"})
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
    assert read_names(path) == {1: "liver", 2: "spleen"}
    path.write_text('{"labels": {"background": 0, "liver": 1}}')
    assert read_names(path) == {1: "liver"}
    path.write_text('{"liver": "one"}')
    with pytest.raises(UnreadableFileError, match="no whole number"):
        read_names(path)
