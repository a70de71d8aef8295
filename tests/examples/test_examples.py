"""One scan explains another: sides first, then what is refused, then what is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sammed
from sammed import io
from sammed.api import gather_prompts, load_model, make_session
from sammed.errors import Cancelled, InputError, SegmentationError
from sammed.examples.asking import example_model, gathered
from sammed.examples.library import Example, folder, pair
from sammed.examples.model import Taking
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models.protocols import VolumeImage
from sammed.synthesis.abdomens import ORGANS
from tests.examples.scans import body, dice, only, reversed_left_right, without
from tests.phantoms import reordered

pytestmark = pytest.mark.thorough
PLAIN = Taking(look=False, keep=False, threads=1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def found(volume: Volume, examples, objects=None, taking: Taking = PLAIN, labels=None):
    """The result and the account, with a companion that draws ellipses."""
    model = example_model(examples, load_model("ellipse"), objects, labels, taking)
    wanted = list(model.spec.structures)
    prompts = gather_prompts(volume, named=wanted, structures=model.spec.structures)
    session = make_session(volume, model, prompts)
    session.segment()
    return session, model.account


def organ(session, name: str) -> np.ndarray:
    return session.object_mask(name)


def test_left_is_the_patients_left_however_the_file_stores_it():
    volume, truth = body(40)
    example = body(41)
    array, affine = reordered(volume.voxels, volume.affine, (2, 0, 1), (-1, 1, -1))
    turned = Volume.from_array(array, affine, modality="CT")
    for scan in (volume, turned):
        session, _ = found(scan, [example], ["left kidney"])
        mask = organ(session, "kidney_left")
        assert dice(mask, truth.voxels == ORGANS["kidney_left"]) > 0.7
        assert dice(mask, truth.voxels == ORGANS["kidney_right"]) == 0


def test_the_other_side_is_refused_without_mirror_and_taken_with_it():
    volume, truth = body(40)
    one, labels = body(41)
    right = [(one, only(labels, "kidney_right"))]
    with pytest.raises(InputError, match=r"Kidney, left .* only kidney_right .*--mirror"):
        example_model(right, load_model("ellipse"), ["left kidney"], taking=PLAIN)
    session, account = found(volume, right, ["left kidney"], replace(PLAIN, mirror=True))
    assert "mirrored" in account.examples[0]["example"]
    mask = organ(session, "kidney_left")
    assert dice(mask, truth.voxels == ORGANS["kidney_left"]) > 0.5
    assert dice(mask, truth.voxels == ORGANS["kidney_right"]) == 0


def test_a_ct_of_which_the_file_says_nothing_is_compared_as_one():
    (volume, _), (one, labels) = body(40), body(41)
    masks = []
    for modality in ("CT", ""):
        named = [(replace(one, modality=modality), only(labels, "liver"))]
        session, _ = found(replace(volume, modality=modality), named)
        masks.append(organ(session, "liver"))
    assert np.array_equal(*masks)


def test_an_example_whose_sides_are_exchanged_is_refused():
    volume, _ = body(40)
    wrong = reversed_left_right(*body(41))
    with pytest.raises(InputError, match="left and right seem exchanged"):
        found(volume, [wrong])


def test_the_scan_itself_is_no_example():
    with pytest.raises(InputError, match="is the scan itself"):
        found(body(40)[0], [body(40)])


def test_another_modality_is_refused():
    volume, labels = body(41)
    other = replace(volume, modality="MR")
    with pytest.raises(InputError, match=r"is MR and .* is CT"):
        found(body(40)[0], [(other, replace(labels, grid=other.grid))])


def test_a_slice_explains_no_volume():
    volume, labels = body(41)
    thin = Volume.from_array(volume.voxels[8:9], volume.affine, modality="CT")
    drawn = LabelVolume(labels.voxels[8:9], thin.grid, labels.names)
    with pytest.raises(InputError, match="one is a single slice and the other is a volume"):
        found(body(40)[0], [(thin, drawn)])


def test_what_looks_alike_nowhere_is_refused():
    volume, labels = body(41)
    noise = np.random.default_rng(0).normal(0, 200, volume.shape).astype(np.int16)
    other = replace(volume, voxels=noise)
    with pytest.raises(InputError, match=r"nowhere .*correlation"):
        found(body(40)[0], [(other, replace(labels, grid=other.grid))])


def test_a_label_that_is_not_there_is_said(tmp_path: Path):
    image, labels = write(tmp_path, 41)
    example = replace_only(pair(f"{image},{labels}"), 9)
    with pytest.raises(InputError, match="no voxel of label 9; it has 1, 2, 3, 4, 5"):
        found(body(40)[0], [example])


def replace_only(example: Example, value: int) -> Example:
    return Example(example.id, example.image, example.labels, example.subject, only=value)


def write(folder: Path, seed: int, image: str = "", labels: str = "") -> tuple[Path, Path]:
    volume, drawn = body(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / (image or f"b{seed}.nii.gz"), folder / (labels or f"b{seed}_labels.nii.gz")
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    io.write_volume(volume, paths[0])
    io.write_labels(drawn, paths[1])
    return paths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.nii.gz", "is no pair"),
        (",b.nii.gz", "is no pair"),
        ("a.nii.gz,b.nii.gz", "there is no file a.nii.gz"),
        ("a.nii.gz,b.nii.gz#x", "after # comes a label's value"),
    ],
)
def test_what_is_no_pair_is_said(text: str, message: str):
    with pytest.raises(InputError, match=message):
        pair(text)


def test_a_word_that_is_not_known_is_refused_and_nothing_is_guessed():
    with pytest.raises(InputError, match="no known name; in the examples there is aorta"):
        example_model([body(41)], load_model("ellipse"), ["zebra"], taking=PLAIN)
    with pytest.raises(InputError, match=r"'Leberr' is no known name"):
        example_model([body(41)], load_model("ellipse"), ["Leberr"], taking=PLAIN)


def test_one_example_finds_all_organs_better_than_an_affine_copy():
    volume, truth = body(40)
    session, account = found(volume, [body(41)])
    scores = {n: dice(organ(session, n), truth.voxels == v) for n, v in ORGANS.items()}
    assert min(scores.values()) > 0.6
    assert np.mean(list(scores.values())) > 0.8
    assert account.objects["liver"]["agreement"] is None


def test_several_examples_vote_and_agree(home: Path):
    volume, truth = body(40)
    taking = replace(PLAIN, keep=True, threads=2)
    session, account = found(volume, [body(41), body(42), body(43)], ["liver", "spleen"], taking)
    assert {line["examples"] for line in account.objects.values()} == {3}
    assert account.objects["liver"]["agreement"] > 0.8
    assert dice(organ(session, "liver"), truth.voxels == 1) > 0.85
    again, second = found(volume, [body(41), body(42), body(43)], ["liver", "spleen"], taking)
    assert all(line["kept_from_before"] for line in second.examples)
    for name in ("liver", "spleen"):
        assert np.array_equal(organ(session, name), organ(again, name))


def test_an_organ_that_is_not_there_is_missing_and_the_rest_is_found():
    volume = without(40, "spleen")
    session, account = found(volume, [body(41)])
    assert "spleen" in session.runs
    assert not organ(session, "spleen").any()
    assert "the model found no 'spleen' (" in session.runs["spleen"].error
    assert account.objects["spleen"]["missing"]
    assert organ(session, "liver").any()


def test_nothing_found_at_all_is_an_error():
    with pytest.raises(SegmentationError, match="found no 'spleen'"):
        sammed.segment(without(40, "spleen"), examples=[body(41)], objects=["spleen"],
                       model="ellipse")  # fmt: skip


def test_the_same_result_each_time_and_with_any_number_of_threads():
    volume, _ = body(40)
    masks = [
        organ(found(volume, [body(41), body(42)], ["aorta"], replace(PLAIN, threads=n))[0], "aorta")
        for n in (1, 2)
    ]
    assert np.array_equal(masks[0], masks[1])


def test_work_stops_when_asked_to():
    model = example_model([body(41)], load_model("ellipse"), taking=PLAIN)
    calls = [0]

    class Watch:
        def check(self) -> None:
            calls[0] += 1
            if calls[0] > 30:
                raise Cancelled("stopped; nothing was changed")

        def advance(self, done: int, total: int | None = None) -> None: ...

    volume = body(40)[0]
    window = resolve_window("auto", volume)
    with pytest.raises(Cancelled):
        model.find(VolumeImage(volume, window), reporter=Watch())
    assert calls[0] <= 40  # a filter ends its step


def test_the_models_own_look_joins_where_there_is_an_edge():
    volume, truth = body(40)
    _, without_look = found(volume, [body(41)], ["liver"])
    taking = replace(PLAIN, look=True)
    model = example_model([body(41)], load_model("compact"), ["liver"], taking=taking)
    session = make_session(
        volume, model, gather_prompts(volume, structures=model.spec.structures, named=["liver"])
    )
    session.segment()
    assert "model" not in without_look.objects["liver"]
    assert "counts" in model.account.objects["liver"]["model"]
    assert dice(organ(session, "liver"), truth.voxels == 1) > 0.8


def test_python_takes_pairs_and_gives_a_label_map():
    labels = sammed.segment(
        body(40)[0], examples=[body(41)], objects=["Milz"], labels={"spleen": 7}, model="ellipse"
    )
    assert labels.volume_ml("spleen") > 50
    assert "'Milz' is 'spleen'" in " ".join(labels.notes)


# -- libraries -----------------------------------------------------------------------------


def test_label_maps_beside_their_images(tmp_path: Path):
    write(tmp_path, 41)
    write(tmp_path, 42, "images/b42.nii.gz", "labels/b42.nii.gz")
    assert sorted(one.id for one in folder(tmp_path)) == ["b41", "b42"]


def test_bids_derivatives(tmp_path: Path):
    write(tmp_path, 41, "sub-1/anat/sub-1_T1w.nii.gz",
          "derivatives/drawn/sub-1/anat/sub-1_desc-organs_dseg.nii.gz")  # fmt: skip
    (one,) = folder(tmp_path)
    assert (one.subject, one.id) == ("sub-1", "sub-1_T1w")


def test_an_nnunet_folder_names_its_labels(tmp_path: Path):
    write(tmp_path, 41, "imagesTr/x_0000.nii.gz", "labelsTr/x.nii.gz")
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "gizzard": 2}}')
    (one,) = folder(tmp_path)
    assert one.values({})["gizzard"] == 2


def test_a_manifest_and_its_subjects(tmp_path: Path):
    write(tmp_path, 41)
    (tmp_path / "cases.json").write_text(
        '{"format": "sammed-cases/1", "cases": [{"id": "a", "image": "b41.nii.gz", '
        '"label": "b41_labels.nii.gz", "labels": {"1": "Leber"}, "subject": "p"}]}'
    )
    (one,) = folder(tmp_path)
    assert (one.subject, one.values({})["Leber"]) == ("p", 1)


def test_a_project_gives_its_accepted_cases(tmp_path: Path):
    from sammed.project.folder import Project
    from sammed.project.sources import find_scans

    image, _ = write(tmp_path / "scans", 41)
    project = Project.create(tmp_path / "study", ORGANS)
    project.add(find_scans([str(image)]))
    with pytest.raises(InputError, match="holds no labelled scan"):
        folder(tmp_path / "study")
    case = project.cases()[0]
    volume = case.volume()
    project.accept(case.id, replace(body(41)[1], grid=volume.grid))
    (one,) = folder(tmp_path / "study")
    assert one.values({})["liver"] == 1


def test_a_folder_without_labels_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="holds no labelled scan"):
        folder(tmp_path)
    with pytest.raises(InputError, match="no folder of examples"):
        gathered(tmp_path / "nowhere")


def test_of_a_library_what_does_not_fit_is_left_out_with_a_note(tmp_path: Path):
    write(tmp_path, 40)
    write(tmp_path, 41)
    volume = io.read(tmp_path / "b40.nii.gz")
    session, account = found(volume, tmp_path, ["liver"])
    assert any("is the scan itself" in note for note in account.notes)
    assert [line["example"] for line in account.examples] == ["b41"]
    assert organ(session, "liver").any()
