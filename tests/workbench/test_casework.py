"""A project on the workbench: one case after the other, whole or not at all, nobody's twice."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from sammed.api import gather_prompts
from sammed.cli import main
from sammed.errors import InputError
from sammed.imaging.volume import LabelVolume
from sammed.project.folder import Project
from sammed.project.lease import holder_of, take
from sammed.project.sources import find_scans
from sammed.project.working import Working, work_on, work_on_next
from sammed.workbench import casework
from sammed.workbench.casework import CaseBench
from sammed.workbench.wishes import Wishes, check_wishes
from sammed.worker.messages import Fields
from tests.phantoms import ORGAN, STRAIGHT, dice, image_of, save_nifti
from tests.workbench.conftest import BOX, Slow, Stubs, painted

SPOT = [3, 2, 2, 4, 7, 8]
"""A painted block beside the organ."""


@pytest.fixture
def study(tmp_path, home):
    """Three cases of one organ, to be drawn with the names liver and spleen."""
    (tmp_path / "scans").mkdir()
    for number in range(3):
        image = image_of(ORGAN, seed=number)
        save_nifti(tmp_path / "scans" / f"p{number}.nii.gz", image, STRAIGHT)
    project = Project.create(tmp_path / "study", {"liver": 4, "spleen": 2})
    project.add(find_scans([str(tmp_path / "scans" / "*.nii.gz")]))
    return project


@pytest.fixture
def page(start, study):
    made = start(study.folder).page()
    made.hello()
    return made


def draw(page, name="liver", label=4, **said):
    page.ask("put", object={"name": name, "label": label, "boxes": [BOX], **said})
    return page.ask("segment")


def paint(page, name, label, block=SPOT):
    frame, part = painted(block)
    said = {"name": name, "label": label, "mask": [part], "propagate": "off"}
    assert page.ask("put", [frame], object=said)["event"] == "done"
    page.ask("segment")


def open_id(page):
    return page.hello()["scan"]["case"]["id"]


def labels_of(project, id):
    case = project.case(id)
    return case.labels(case.volume(), project.description.names)


def test_the_next_case_is_open_and_ours(page, study):
    hello = page.hello()
    case, project = hello["scan"]["case"], hello["project"]
    assert case["id"] == study.queue()[0].id
    assert case["state"] == "todo"
    assert project["structures"] == [{"name": "liver", "value": 4}, {"name": "spleen", "value": 2}]
    assert (project["accepted"], project["total"]) == (0, 3)
    assert holder_of(study.case(case["id"]).folder).pid == os.getpid()
    assert hello["scan"]["model"] == "compact"
    assert page.ask("show")["objects"] == []


def test_accept_writes_all_of_it_and_opens_the_next(page, study):
    id = open_id(page)
    draw(page)
    answer = page.ask("accept")
    assert answer["event"] == "done", answer
    assert (answer["accepted"], answer["prompted"]) == (id, 1)
    following = answer["scan"]["case"]["id"]
    assert following != id
    record = study.case(id).record
    assert (record.state, record.prompted) == ("accepted", 1)
    assert record.seconds >= 0
    assert record.model.startswith("stub")
    event = record.history[-1]
    assert event["what"] == "accept"
    assert event["who"]
    assert "has no spleen" in event["notes"]
    labels = labels_of(study, id)
    assert set(np.unique(labels.voxels)) == {0, 4}
    assert dice(labels.voxels == 4, ORGAN) > 0.85
    document = study.case(id).file("prompts")
    read = gather_prompts(study.case(id).volume(), files=(document,)).objects
    assert [(o.name, len(o.boxes)) for o in read] == [("liver", 1)]
    assert json.loads(study.case(id).file("report").read_text())["objects"][0]["name"] == "liver"
    assert holder_of(study.case(id).folder) is None
    assert not list(study.case(id).folder.glob("work-*"))
    assert page.ask("show")["objects"] == []
    assert page.hello()["project"]["accepted"] == 1


def test_painted_slices_are_in_the_label_map_that_the_prompts_name(page, study):
    id = open_id(page)
    paint(page, "spleen", 2)
    page.ask("accept")
    case = study.case(id)
    (read,) = gather_prompts(case.volume(), files=(case.file("prompts"),)).objects
    z, y, x = (slice(a, b) for a, b in zip(SPOT[:3], SPOT[3:], strict=True))
    assert read.mask.voxels[z, y, x].all()
    assert set(np.unique(labels_of(study, id).voxels)) == {0, 2}


def test_nothing_is_accepted_in_the_words_of_the_command_line(page, study, capsys):
    id = open_id(page)
    error = page.ask("accept")["error"]
    assert error["code"] == "empty"
    with pytest.raises(InputError) as raised:
        study.accept(study.queue()[-1].id)
    assert error["message"] == str(raised.value).replace(study.queue()[-1].id, id)
    assert page.ask("accept", empty=True)["accepted"] == id
    assert not labels_of(study, id).voxels.any()


def test_what_is_no_structure_is_asked_about(page, study):
    id = open_id(page)
    draw(page)
    paint(page, "cyst", 9)
    error = page.ask("accept")["error"]
    assert (error["code"], error["names"]) == ("surplus", ["cyst"])
    assert error["message"] == "the project has no structure 'cyst'; it has liver, spleen"
    assert study.case(id).record.state == "todo"
    assert page.ask("accept", leave_out=["cyst"])["accepted"] == id
    assert set(np.unique(labels_of(study, id).voxels)) == {0, 4}
    assert "cyst" in study.case(id).record.history[-1]["notes"][0]
    id = open_id(page)
    paint(page, "cyst", 9)
    answer = page.ask("accept", add=["cyst"])
    assert {"name": "cyst", "value": 1} in answer["project"]["structures"]
    assert set(np.unique(labels_of(Project(study.folder), id).voxels)) == {0, 1}


def test_values_follow_names_and_not_the_page(page, study):
    id = open_id(page)
    draw(page, "Spleen", 77)
    page.ask("accept")
    assert set(np.unique(labels_of(study, id).voxels)) == {0, 2}


def test_refuse_skip_and_take_another(page, study):
    first = open_id(page)
    draw(page)
    second = page.ask("skip")["scan"]["case"]["id"]
    assert study.case(first).record.state == "todo"
    assert holder_of(study.case(first).folder) is None
    answer = page.ask("refuse", why="moved")
    third = answer["scan"]["case"]["id"]
    assert (answer["refused"], study.case(second).record.note) == (second, "moved")
    assert len({first, second, third}) == 3
    back = page.ask("skip")["scan"]
    assert back["case"]["id"] == first
    assert back["restored"]["objects"] == 1
    assert page.ask("show")["objects"] == ["liver"]
    assert page.ask("open_case", case=third)["scan"]["case"]["id"] == third
    assert page.ask("open_case", case="p9")["error"]["message"].startswith(
        f"{study.folder} has no case 'p9'"
    )
    told = page.ask("cases")["cases"]
    assert [(line["id"], line["here"]) for line in told] == [
        (case.id, case.id == third) for case in study.cases()
    ]


def test_the_list_of_cases_waits_for_no_work(start, study):
    page = start(study.folder, engine=Slow()).page()
    here = page.hello()["scan"]["case"]["id"]
    page.ask("put", object={"name": "liver", "label": 4, "boxes": [BOX]})
    running = page.send("segment")
    page.until("progress")
    listed = page.ask("cases")
    assert [line["id"] for line in listed["cases"] if line["here"]] == [here]
    assert page.ask("ping")["busy"] == running
    page.ask("cancel", request=running)


def test_a_list_of_cases_that_cannot_be_read_is_an_error_and_no_silence(page, monkeypatch):
    def gone(project):
        raise InputError("the drive is gone")

    monkeypatch.setattr(casework, "overview", gone)
    assert page.ask("cases")["error"]["message"] == "the drive is gone"
    monkeypatch.undo()
    assert page.ask("cases")["event"] == "done"


def test_the_last_case_is_followed_by_what_to_do_next(page, study):
    for _ in range(3):
        draw(page)
        answer = page.ask("accept")
    assert answer["scan"] is None
    assert answer["project"]["says"].startswith("nothing waits")
    assert [c["command"].split()[1] for c in answer["project"]["commands"]] == [
        "learn", "propose", "project",
    ]  # fmt: skip
    assert page.ask("show")["error"]["code"] == "no_volume"
    again = page.ask("open_case", case="p0")["scan"]
    assert again["case"]["state"] == "accepted"
    shown = page.ask("show")
    assert shown["objects"] == ["liver"]
    before = labels_of(study, "p0").voxels
    paint(page, "spleen", 2)
    page.ask("accept")
    after = labels_of(study, "p0").voxels
    np.testing.assert_array_equal(after == 4, before == 4)
    assert (after == 2).any()
    record = study.case("p0").record
    assert (record.prompted, len(record.history)) == (2, 2)


def estimate_of(page, id):
    return next(line["estimate"] for line in page.ask("cases")["cases"] if line["id"] == id)


def test_a_proposal_can_be_corrected(start, study):
    voxels = np.where(ORGAN, 4, 0).astype(np.uint8)
    case = study.case("p1")
    labels = LabelVolume(voxels, case.volume().grid, {4: "liver"})
    with case.held() as lease:
        change = {"state": "proposed", "model": "m", "estimated": {"liver": 0.91}}
        case.commit(lease, "propose", change, labels=labels)
    page = start(study.folder).page()
    told = page.hello()["scan"]["case"]
    assert (told["id"], told["state"]) == ("p1", "proposed")
    assert told["estimated"] == {"liver": 0.91}
    assert estimate_of(page, "p1") == 0.91
    assert page.ask("show")["objects"] == ["liver"]
    assert page.ask("segment")["event"] == "done"
    page.ask("accept")
    np.testing.assert_array_equal(labels_of(study, "p1").voxels, voxels)
    record = study.case("p1").record
    assert (record.prompted, record.model) == (0, "m")
    assert estimate_of(page, "p1") == 0  # a person has looked at it: nothing is estimated
    files = (study.case("p1").file("prompts"),)
    (read,) = gather_prompts(case.volume(), files=files).objects
    np.testing.assert_array_equal(read.mask.voxels, ORGAN)


def test_two_servers_have_different_cases(start, study):
    pages = [start(study.folder).page() for _ in range(3)]
    ids = [open_id(page) for page in pages]
    assert len(set(ids)) == 3
    error = pages[0].ask("open_case", case=ids[1])["error"]
    assert error["kind"] == "InWorkError"
    assert error["message"].startswith(f"{ids[1]} is in work: ")
    assert start(study.folder).page().hello()["scan"] is None
    states = [line["state"] for line in pages[0].ask("cases")["cases"]]
    assert sorted(states) == ["in work", "in work", "todo"]
    assert pages[0].ask("skip")["error"]["message"] == f"no other case waits; {ids[0]} is the last"


def test_a_page_that_looks_on_sees_the_list_and_follows(start, study):
    server = start(study.folder)
    works, looks = server.page("works"), server.page("looks")
    works.hello()
    looks.hello()
    assert looks.ask("skip")["error"]["code"] == "looks_on"
    assert len(looks.ask("cases")["cases"]) == 3
    works.ask("skip")
    assert looks.until("scan")["scan"]["case"]["id"] == open_id(works)


@pytest.mark.thorough
def test_a_killed_server_loses_nothing(process, study):
    server = process(study.folder, "--model", "two_class")
    page = server.page()
    id = open_id(page)
    paint(page, "spleen", 2)
    server.kill()
    assert study.case(id).worker is None
    server = process(study.folder, "--model", "two_class")
    page = server.page()
    scan = page.hello()["scan"]
    assert (scan["case"]["id"], scan["restored"]["objects"]) == (id, 1)
    page.ask("show")
    assert page.ask("accept")["accepted"] == id
    record = study.case(id).record
    assert (record.state, record.prompted) == ("accepted", 1)
    assert (labels_of(study, id).voxels == 2).any()


def test_work_of_before_an_accepted_state_is_not_taken_up_again(study):
    """Killed between the state and the removal of the journal: the state counts."""
    working = work_on(study, "p0")
    journal = working.case.folder / f"{working.stem}.sammed-journal.jsonl"
    journal.write_text("left")
    phase = working.case.folder / f"{working.stem}.sammed-phase-1.npy.gz"
    phase.write_text("left")
    labels = LabelVolume(np.where(ORGAN, 4, 0).astype(np.uint8), working.case.volume().grid, {})
    working.effort.prompted = 3
    working.keep()
    working.accept(labels)
    working.leave()
    again = work_on(study, "p0")
    assert again.stem != working.stem
    assert again.effort.prompted == 0
    again.clear()
    assert not journal.exists()
    assert not phase.exists()
    again.leave()


def test_time_is_counted_without_pauses_and_kept(study, monkeypatch):
    bench = CaseBench(Wishes((study.folder,)), Stubs())
    bench.start()
    now = [100.0]
    effort = bench._working.effort
    monkeypatch.setattr(effort, "_clock", lambda: now[0])
    for later in (0, 10, 50, 61, 5):
        now[0] += later
        bench.touched()
    assert effort.seconds == 65
    bench._active(Fields({}, "active"), None, None)
    id = bench._working.case.id
    bench.close()
    working = work_on(study, id)
    assert working.effort.seconds == 65
    working.leave()


def test_the_lease_is_renewed_at_work_and_tells_since_when(study):
    working = work_on(study, "p0")
    since = holder_of(working.case.folder).since
    working._renewed = time.monotonic() - 1000
    working.keep()
    holder = holder_of(working.case.folder)
    assert (holder.since, holder.renewed > since) == (since, True)
    working.leave()
    other = take(working.case.folder)
    working._renewed = time.monotonic() - 1000
    with pytest.raises(Exception, match="was taken over by"):
        working.keep()
    other.give_back()


def test_what_cannot_be_opened_is_said_and_passed_over(start, study):
    first = study.queue()[0]
    first.image.unlink()
    page = start(study.folder).page()
    hello = page.hello()
    assert hello["scan"]["case"]["id"] == study.queue()[1].id
    (note,) = hello["project"]["notes"]
    assert f"of case {first.id} is gone; bring it back, or refuse the case" in note
    assert "is gone" in page.ask("open_case", case=first.id)["error"]["message"]
    assert study.case(first.id).worker is None
    assert page.ask("show")["event"] == "done"


def test_structures_come_by_name_where_a_model_knows_them(study, monkeypatch):
    from sammed.models import registry

    study.model_file.write_bytes(b"learned")
    known = {"liver": 4}
    monkeypatch.setattr(registry, "structures", lambda path: known)
    bench = CaseBench(Wishes((study.folder,)), Stubs())
    bench.start()
    assert bench.scan["model"] == str(study.model_file)
    assert [(o.name, o.label) for o in bench._case().first] == [("liver", 4)]
    bench.close()
    known["liver"] = 5
    bench = CaseBench(Wishes((study.folder,)), Stubs())
    bench.start()
    assert bench.scan["model"] == "compact"
    assert any("liver is 5 in the model and 4" in note for note in bench.scan["notes"])
    bench.close()


def test_proposals_are_mended_by_compact_as_it_was_tuned(study, monkeypatch):
    bench = CaseBench(Wishes(paths=(study.folder,)), Stubs())
    (id, *_) = [case.id for case in study.queue()]
    working = work_on(study, id)
    bench._working = working
    source = None
    assert bench._model_for(source) == "compact"
    file = study.model_file
    file.write_bytes(b"a file")
    monkeypatch.setattr(casework, "answers_prompts", lambda path: path == file)
    monkeypatch.setattr(casework.registry, "structures", lambda path: {"liver": 4})
    assert bench._model_for(source) == str(file)  # finds things by name, and answers prompts
    labels = LabelVolume(np.where(ORGAN, 4, 0).astype(np.uint8), working.case.volume().grid, {})
    study.accept(id, labels, lease=working._lease)
    assert bench._model_for(source) == f"{file}#prompts"
    monkeypatch.setattr(casework, "answers_prompts", lambda path: False)
    assert bench._model_for(source) == "compact"
    working.leave()


def test_other_things_are_refused(page, study):
    assert "is accepted, not saved" in page.ask("save", files=[])["error"]["message"]
    assert "is a project" in page.ask("choose", choice="recent-1")["error"]["message"]
    scan = study.case("p0").image
    with pytest.raises(InputError, match="open it alone"):
        check_wishes(Wishes((study.folder, scan)))
    with pytest.raises(InputError, match="belong to one image"):
        check_wishes(Wishes((study.folder,), labels=(scan,)))


def test_an_empty_folder_of_a_project_says_what_is_wrong(tmp_path, home, capsys):
    study = tmp_path / "study"
    study.mkdir()
    (study / "project.toml").write_text("format = 'sammed-project/9'\n")
    assert main(["open", str(study), "--no-browser"]) == 1
    assert "has the format 'sammed-project/9'" in capsys.readouterr().err


def test_the_next_is_nobody_elses(study):
    taken: list[Working] = []
    while working := work_on_next(study):
        taken.append(working)
    assert len({one.case.id for one in taken}) == 3
    later = taken[0].case.id
    for one in taken:
        one.leave()
    assert work_on_next(study, later=[later]).case.id != later
