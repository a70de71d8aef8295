"""Other scans beside the one on the table: taken from, compared with, looked at."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from sammed import io
from sammed.errors import InputError
from sammed.synthesis.abdomens import ORGANS
from sammed.workbench import journal
from sammed.workbench.beside import labelled_among
from sammed.workbench.kept_phases import remove_phase
from sammed.workbench.wishes import Wishes, check_wishes
from tests.examples.scans import body, dice, only, without
from tests.examples.test_followup import scan as lesions
from tests.workbench.conftest import painted

TARGET, EXAMPLE = 7, 12


def written(volume, labels, folder, name):
    """A scan and its label map in files."""
    image, drawn = folder / f"{name}.nii.gz", folder / f"{name}_labels.nii.gz"
    io.write_volume(volume, image)
    io.write_labels(labels, drawn)
    return image, drawn


@pytest.fixture
def bodies(tmp_path, home):
    """A body without its left kidney, its truth, and a labelled one of somebody else."""
    scan = tmp_path / "scans" / "new.nii.gz"
    scan.parent.mkdir()
    io.write_volume(without(TARGET, "kidney_left"), scan)
    volume, labels = body(EXAMPLE)
    kept = only(labels, "liver", "kidney_right", "kidney_left")
    return scan, written(volume, kept, tmp_path, "a")


def pair(files):
    return f"{files[0]},{files[1]}"


def mask_of(answer, name, shape):
    mask = np.zeros(shape, bool)
    for entry in answer["masks"]:
        if entry["name"] == name and entry["data"] is not None:
            z0, y0, x0, z1, y1, x1 = entry["block"]
            mask[z0:z1, y0:y1, x0:x1] = entry["data"]
    return mask


def opened(start, *paths, **wishes):
    page = start(*paths, **wishes).page()
    page.hello()
    return page


@pytest.mark.thorough
def test_what_an_example_shows_comes_as_objects_and_what_is_missing_is_said(start, bodies):
    scan, example = bodies
    page = opened(start, scan, examples=(pair(example),))
    (listed,) = page.ask("others")["others"]
    assert listed["name"] == "a.nii.gz + a_labels.nii.gz"
    wanted = ["Leber", "left kidney"]
    request = page.send("take", others=[listed["id"]], objects=wanted)
    taken = page.answer(request)
    assert taken["put"] == ["liver"]
    found = taken["found"]
    assert found["liver"]["by"] == "a"
    assert 0 < found["liver"]["likeness"] <= 1
    assert "stands out" in found["kidney_left"]["missing"]
    steps = [m for m in page.pushed if m["id"] == request and m["event"] == "progress"]
    assert any(m["total"] and m["done"] for m in steps)
    assert any("on this scan" in m["text"] for m in steps)

    shown = page.ask("segment")
    shape = body(TARGET)[0].shape
    truth = body(TARGET)[1].voxels == 1
    liver = mask_of(shown, "liver", shape)
    assert dice(liver, truth) > 0.6
    assert liver.sum() == found["liver"]["voxels"]

    undone = page.ask("undo")
    assert undone["objects"] == []
    assert not undone["can_undo"], "one step of undo for all of it"
    assert page.ask("redo")["objects"] == ["liver"]


@pytest.mark.thorough
def test_it_is_there_again_after_a_crash_with_what_was_said_of_it(bodies, process):
    scan, example = bodies
    one = process(scan, "--example", pair(example), "--model", "ellipse")
    page = one.page()
    page.hello()
    (listed,) = page.ask("others")["others"]
    before = page.ask("take", others=[listed["id"]], objects=["liver"])
    mask = mask_of(page.ask("segment"), "liver", body(TARGET)[0].shape)
    one.kill()

    other = process(scan, "--model", "ellipse")
    page = other.page()
    page.hello()
    assert page.ask("beside")["taken"] == before["found"]
    shown = page.ask("show")
    again = mask_of(page.ask("segment"), "liver", mask.shape)
    assert shown["objects"] == ["liver"]
    assert np.array_equal(again, mask)
    assert shown["can_undo"]


@pytest.mark.thorough
def test_what_the_user_has_is_left_alone_unless_it_may_be_replaced(start, bodies):
    scan, example = bodies
    page = opened(start, scan, examples=(pair(example),))
    (listed,) = page.ask("others")["others"]
    block = [9, 10, 10, 10, 14, 14]
    frame, part = painted(block)
    page.ask("put", [frame], object={"name": "liver", "mask": [part], "propagate": "off"})
    taken = page.ask("take", others=[listed["id"]], objects=["liver"])
    assert taken["found"]["liver"]["left_alone"]
    assert taken["put"] == []
    assert taken["prompts"][0]["mask"] == block
    taken = page.ask("take", others=[listed["id"]], objects=["liver"], replace=["liver"])
    assert taken["put"] == ["liver"]
    assert taken["prompts"][0]["mask"] != block
    assert page.ask("undo")["prompts"][0]["mask"] == block


@pytest.mark.thorough
def test_the_other_side_only_in_a_mirror(start, bodies, tmp_path):
    scan, _ = bodies
    io.write_volume(body(40)[0], scan, force=True)
    volume, labels = body(41)
    right = written(volume, only(labels, "kidney_right"), tmp_path, "right")
    page = opened(start, scan, examples=(pair(right),))
    (listed,) = page.ask("others")["others"]
    refused = page.ask("take", others=[listed["id"]], objects=["kidney_left"])
    assert refused["event"] == "error"
    assert refused["error"]["code"] == "refused"
    assert page.ask("objects")["objects"] == []
    taken = page.ask("take", others=[listed["id"]], objects=["kidney_left"], mirror=True)
    assert list(taken["found"]) == ["kidney_left"]
    left = mask_of(page.ask("segment"), "kidney_left", body(40)[0].shape)
    truth = body(40)[1].voxels
    assert dice(left, truth == ORGANS["kidney_left"]) > 0.5
    assert dice(left, truth == ORGANS["kidney_right"]) == 0


def test_it_can_be_stopped_and_nothing_is_changed(start, bodies):
    scan, example = bodies
    page = opened(start, scan, examples=(pair(example),))
    (listed,) = page.ask("others")["others"]
    request = page.send("take", others=[listed["id"]])
    page.send("cancel", request=request)
    assert page.answer(request)["event"] == "cancelled"
    state = page.ask("objects")
    assert state["objects"] == []
    assert not state["can_undo"]
    assert not state["dirty"]


@pytest.mark.parametrize("named", ["/etc/passwd", "a.nii.gz,a_labels.nii.gz", ""])
def test_a_page_names_entries_of_the_list_and_no_paths(start, bodies, named):
    scan, example = bodies
    page = opened(start, scan, examples=(pair(example),))
    for ask in (
        {"do": "take", "others": [named]},
        {"do": "follow_up", "other": named},
        {"do": "add_phase", "scan": named, "name": "art"},
    ):
        answer = page.ask(**ask)
        assert answer["error"]["code"] == "bad_request", ask


def test_the_scan_itself_is_no_example(start, bodies, tmp_path):
    scan, _ = bodies
    itself = written(without(TARGET, "kidney_left"), body(TARGET)[1], tmp_path, "same")
    page = opened(start, scan, examples=(pair(itself),))
    (listed,) = page.ask("others")["others"]
    answer = page.ask("take", others=[listed["id"]])
    assert "the scan itself" in answer["error"]["message"]


def drop(page, files, kind="labelled", as_="d1"):
    """What comes of files that are dropped beside the scan."""
    for path in files:
        given = {"X_Sammed_Drop": as_, "X_Sammed_Path": quote(Path(path).name)}
        status, _, text = page.get(
            f"/api/upload/{quote(Path(path).name)}", "POST", Path(path).read_bytes(), **given
        )
        assert status == 200, text
    given = {"X_Sammed_Drop": as_, "X_Sammed_As": kind}
    return json.loads(page.get("/api/upload-beside", "POST", b"", **given)[2])


def test_a_scan_and_its_label_map_are_told_apart_whatever_they_are_called(start, bodies, tmp_path):
    scan, (image, labels) = bodies
    page = opened(start, scan)
    one, two = tmp_path / "x1.nii.gz", tmp_path / "x2.nii.gz"
    one.write_bytes(labels.read_bytes())
    two.write_bytes(image.read_bytes())
    (found,) = drop(page, [one, two])["others"]
    assert found["name"] == "x2.nii.gz + x1.nii.gz"
    assert page.ask("others")["others"] == [found]


def test_a_drop_that_is_no_pair_is_refused_with_what_was_found(start, bodies, tmp_path):
    scan, (image, _) = bodies
    page = opened(start, scan)
    alone = drop(page, [image], as_="d1")
    assert "found a.nii.gz; expected a scan and its label map" in alone["error"]["message"]
    twin = tmp_path / "other.nii.gz"
    twin.write_bytes(image.read_bytes())
    both = drop(page, [image, twin], as_="d2")
    assert "neither looks like a label map" in both["error"]["message"]
    assert page.ask("others")["others"] == []


def test_a_folder_of_examples_is_one_entry(tmp_path):
    volume, labels = body(EXAMPLE)
    folder = tmp_path / "drop" / "library"
    folder.mkdir(parents=True)
    written(volume, labels, folder, "a")
    written(volume, labels, folder, "b")
    (offer,) = labelled_among(tmp_path / "drop")
    assert offer.name == "library: 2 scans"
    with pytest.raises(InputError, match="holds 2 labelled scans; expected one"):
        _ = offer.one


def test_what_was_labelled_here_before_is_offered(start, bodies, tmp_path):
    scan, (image, labels) = bodies
    page = opened(start, image)
    assert page.ask("others")["others"] == []
    image.with_name("a.labels.nii.gz").write_bytes(labels.read_bytes())
    page = opened(start, scan)
    assert [o["name"] for o in page.ask("others")["others"]] == ["a.nii.gz + a.labels.nii.gz"]


# -- an earlier scan ---------------------------------------------------------------------------


@pytest.fixture
def visits(tmp_path, home):
    """Three lesions then; now one has grown, one has shrunk, one is gone."""
    then = written(*lesions((8, 8, 7), 1), tmp_path, "then")
    volume, labels = lesions((9.5, 6.5, 0), 2, shift=2)
    scan = tmp_path / "scans" / "now.nii.gz"
    scan.parent.mkdir()
    io.write_volume(volume, scan)
    return scan, then, labels


@pytest.mark.thorough
def test_each_lesion_then_and_now(start, visits):
    scan, then, truth = visits
    page = opened(start, scan, prior=pair(then), days=60.0)
    told = page.ask("beside")
    assert told["days"] == 60
    assert told["compares"]
    answer = page.ask("follow_up", other=told["asked"][0], days=60)
    assert answer["put"] == ["lesion 1", "lesion 2"]
    assert [p["label"] for p in answer["prompts"]] == [10, 20]
    grown, shrunk, gone = answer["table"]["rows"]
    assert grown["now_ml"] == pytest.approx(truth.volume_ml("lesion 1"), rel=0.08)
    assert grown["percent"] > 20 > -20 > shrunk["percent"]
    assert (gone["state"], gone["now_ml"], gone["percent"]) == ("gone", 0, -100)
    for value, row in ((10, grown), (20, shrunk)):
        middle = np.argwhere(truth.voxels == value).mean(axis=0)
        assert np.abs(np.array(row["at"]) - middle).max() < 2, "where the lesion is now"
    told = page.ask("beside")
    assert told["table"] == answer["table"]
    (phase,) = told["phases"]
    assert phase["name"] == "then"
    assert "mm" in phase["said"]
    names = {entry["name"] for entry in told["then"]}
    assert names == {"lesion 1", "lesion 2", "lesion 3"}, "the one that is gone, too"
    assert page.ask("undo")["objects"] == []


@pytest.mark.thorough
def test_the_table_is_there_again_after_a_crash(visits, process):
    scan, then, _ = visits
    one = process(scan, "--prior", pair(then), "--model", "ellipse")
    page = one.page()
    page.hello()
    key = page.ask("beside")["asked"][0]
    table = page.ask("follow_up", other=key)["table"]
    outlined = [(one["name"], one["block"]) for one in page.ask("beside")["then"]]
    assert len(outlined) == 3
    one.kill()
    page = process(scan, "--model", "ellipse").page()
    page.hello()
    told = page.ask("beside")
    assert told["table"] == table
    assert [phase["name"] for phase in told["phases"]] == ["then"]
    assert [(one["name"], one["block"]) for one in told["then"]] == outlined
    assert all(one["data"].any() for one in told["then"])
    assert page.ask("show")["objects"] == ["lesion 1", "lesion 2"]


# -- phases ------------------------------------------------------------------------------------


@pytest.fixture
def phases(tmp_path, home):
    """One body in two phases; the second was shifted by two voxels."""
    volume, _ = body(TARGET)
    scan = tmp_path / "scans" / "art.nii.gz"
    scan.parent.mkdir()
    io.write_volume(volume, scan)
    late = replace(volume, voxels=np.roll(volume.voxels, 2, axis=2))
    other = tmp_path / "late.nii.gz"
    io.write_volume(late, other)
    return scan, other, volume


def voxels_of(page, phase):
    about = phase["shown"]
    status, _, content = page.get(f"/api/volume?phase={quote(phase['name'])}")
    assert status == 200
    return np.frombuffer(content, about["dtype"]).reshape(about["shape"])


def test_phases_lie_on_the_grid_of_the_scan(start, phases):
    scan, other, volume = phases
    page = opened(start, scan, channel="art", channels=(f"late={other}",))
    told = page.ask("beside")
    assert told["name"] == "art"
    (late,) = told["phases"]
    mm = 2 * volume.spacing[2]
    moved = float(late["said"].split("moved by ")[1].split(" mm")[0])
    assert moved == pytest.approx(mm, rel=0.1), late["said"]
    shown = voxels_of(page, late)
    assert shown.shape == volume.shape
    assert shown.dtype == volume.voxels.dtype
    inside = (slice(2, -2), slice(4, -4), slice(6, -6))
    apart = np.abs(shown[inside].astype(float) - volume.voxels[inside])
    rolled = np.abs(np.roll(volume.voxels, 2, axis=2)[inside].astype(float) - volume.voxels[inside])
    assert apart.mean() < rolled.mean() / 3, "moved back onto the scan"


def test_a_phase_that_is_dropped_is_added_and_taken_away(start, phases):
    scan, other, _ = phases
    page = opened(start, scan)
    key = drop(page, [other], "phase")["phase"]["id"]
    added = page.ask("add_phase", scan=key, name="late", align="header")
    assert [p["name"] for p in added["phases"]] == ["late"]
    assert page.ask("add_phase", scan=key, name="")["error"]["code"] == "refused"
    assert page.ask("add_phase", scan=key, name="x", align="askew")["error"]["code"] == "refused"
    assert page.ask("remove_phase", name="late")["phases"] == []
    assert page.get("/api/volume?phase=late")[0] == 404
    assert not page.ask("objects")["dirty"], "looking changes nothing"


def test_a_phase_of_another_place_is_refused(start, phases, tmp_path):
    scan, _, volume = phases
    affine = volume.affine.copy()
    affine[:3, 3] += 5000
    far = tmp_path / "far.nii.gz"
    io.write_volume(type(volume).from_array(volume.voxels[:, :, :40], affine), far)
    page = opened(start, scan)
    key = drop(page, [far], "phase")["phase"]["id"]
    answer = page.ask("add_phase", scan=key, name="far", align="header")
    assert "of the first channel's grid" in answer["error"]["message"]
    assert page.ask("beside")["phases"] == []


def started_again(start, scan, **wishes):
    """A page on the same scan after the program was ended and started again."""
    start.last.stop()
    page = start(scan, **wishes).page()
    page.hello()
    return page


def kept_files(scan):
    return sorted(path.name for path in scan.parent.glob("*.sammed-phase-*"))


def test_phases_are_there_again_although_what_was_dropped_is_not(start, phases):
    scan, other, _ = phases
    page = opened(start, scan)
    for name, drawn in (("late", other), ("later", other), ("gone", other)):
        key = drop(page, [drawn], "phase", as_=name)["phase"]["id"]
        added = page.ask("add_phase", scan=key, name=name, align="header")
    page.ask("remove_phase", name="gone")
    before = {phase["name"]: voxels_of(page, phase) for phase in added["phases"][:2]}
    other.unlink()
    assert len(kept_files(scan)) == 2

    page = started_again(start, scan)
    told = page.ask("beside")
    assert told["name"] == "this scan"
    assert [phase["name"] for phase in told["phases"]] == ["late", "later"]
    assert not page.hello()["scan"]["dirty"], "looking changes nothing"
    for now, then in zip(told["phases"], added["phases"], strict=False):
        assert np.array_equal(voxels_of(page, now), before[now["name"]])
        assert {**now, "id": ""} == {**then, "id": ""}, "windows and what is said, too"

    page.ask("remove_phase", name="late")
    page = started_again(start, scan)
    assert [phase["name"] for phase in page.ask("beside")["phases"]] == ["later"]
    assert len(kept_files(scan)) == 1


def test_a_phase_comes_back_with_what_was_drawn_and_the_journal_stays_one(start, phases):
    """Written anew when it is long, and begun by the phase or by what was drawn."""
    scan, other, _ = phases
    page = opened(start, scan)
    key = drop(page, [other], "phase")["phase"]["id"]
    page.ask("add_phase", scan=key, name="late", align="header")
    block = [9, 10, 10, 10, 14, 14]
    frame, part = painted(block)
    page.ask("put", [frame], object={"name": "liver", "mask": [part], "propagate": "off"})
    for _ in range(2):
        page = started_again(start, scan)
        assert page.hello()["scan"]["restored"]["edits"] == 1
        assert page.ask("show")["objects"] == ["liver"]
        assert [phase["name"] for phase in page.ask("beside")["phases"]] == ["late"]
        assert page.ask("objects")["dirty"]
    assert page.ask("undo")["objects"] == []


def test_a_long_journal_that_is_written_anew_keeps_its_phases(start, phases, monkeypatch):
    scan, other, _ = phases
    page = opened(start, scan)
    key = drop(page, [other], "phase")["phase"]["id"]
    page.ask("add_phase", scan=key, name="late", align="header")
    for n in range(4):
        page.ask("put", object={"name": f"o{n}", "points": [{"at": [8, 17, 24]}]})
    monkeypatch.setattr(journal, "MOST_LINES", 2)
    page = started_again(start, scan)
    assert page.ask("show")["objects"] == ["o0", "o1", "o2", "o3"]
    path = scan.with_name("art.labels.sammed-journal.jsonl")
    done = [json.loads(line).get("do") for line in path.read_text().splitlines()]
    assert done == [None, "base", "phase", "changed"]
    page = started_again(start, scan)
    assert [phase["name"] for phase in page.ask("beside")["phases"]] == ["late"]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.unlink(), "is gone"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "cannot be read"),
        (lambda path: path.write_bytes(b"something else"), "cannot be read"),
        (lambda path: saved_other(path), "something else than was kept"),
        (lambda path: saved_other(path, (3, 4, 5)), "expected"),
    ],
)
def test_a_kept_phase_that_is_gone_cut_or_another_one_is_said_and_not_shown(
    start, phases, harm, words
):
    scan, other, _ = phases
    page = opened(start, scan)
    key = drop(page, [other], "phase")["phase"]["id"]
    page.ask("add_phase", scan=key, name="late", align="header")
    (kept,) = kept_files(scan)
    harm(scan.with_name(kept))
    page = started_again(start, scan)
    assert page.ask("beside")["phases"] == []
    (note,) = [n for n in page.hello()["scan"]["notes"] if "late is not shown again" in n]
    assert words in note
    assert kept in note


def saved_other(path, shape=None):
    with gzip.open(path, "rb") as file:
        voxels = np.load(file)
    with gzip.open(path, "wb") as file:
        np.save(file, voxels + 1 if shape is None else np.zeros(shape, voxels.dtype))


def test_the_command_line_counts_for_more_than_a_phase_of_before(start, phases, tmp_path):
    scan, other, volume = phases
    page = opened(start, scan)
    key = drop(page, [other], "phase")["phase"]["id"]
    page.ask("add_phase", scan=key, name="late", align="header")
    named = tmp_path / "named.nii.gz"
    io.write_volume(replace(volume, voxels=volume.voxels + 5), named)
    page = started_again(start, scan, channels=(f"late={named}",), align="header")
    (late,) = page.ask("beside")["phases"]
    assert np.array_equal(voxels_of(page, late), volume.voxels + 5)


def test_a_journal_cannot_name_a_file_that_is_no_phase(tmp_path):
    victim = tmp_path / "precious.nii.gz"
    victim.write_text("x")
    for file in ("precious.nii.gz", "../a.sammed-phase-1.npy.gz", "", None):
        with pytest.raises(InputError, match="is no file of a phase"):
            remove_phase(tmp_path / f"a{journal.ENDING}", {"file": file})
    assert victim.exists()


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"examples": ("a.nii.gz",)}, "is no pair"),
        ({"examples": ("none.nii.gz,none_labels.nii.gz",)}, "there is no file"),
        ({"channels": ("late",)}, "is no NAME=FILE"),
        ({"channels": ("late=SCAN", "late=SCAN")}, "two channels are called"),
        ({"align": "askew"}, "unknown alignment"),
        ({"paths": (), "channels": ("late=SCAN",)}, "belong to one image"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_page_opens(bodies, wishes, words):
    scan, _ = bodies
    given = {
        name: tuple(text.replace("SCAN", str(scan)) for text in value)
        if isinstance(value, tuple)
        else value
        for name, value in wishes.items()
    }
    with pytest.raises(InputError, match=words):
        check_wishes(Wishes(**{"paths": (scan,), **given}))
