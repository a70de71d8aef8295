"""Learning from a small project, stopping, going on, judging, proposing."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sammed
from sammed import api, cli, io
from sammed.errors import Cancelled, InputError, PromptError, WeightsMismatchError
from sammed.imaging.volume import LabelVolume
from sammed.learning import course
from sammed.learning.course import Wishes, learn, model_path
from sammed.learning.proposing import propose, undo_accepted
from sammed.learning.pupils import survey
from sammed.learning.rounds import rounds, rounds_folder
from sammed.learning.split import Split
from sammed.models.learned import file
from sammed.models.learned.file import read_learned
from sammed.models.learned.model import LearnedModel
from sammed.project.folder import Project
from sammed.project.importing import import_labels, pair
from sammed.project.lease import InWorkError, held
from sammed.session import Session
from tests.phantoms import ROOT
from tests.project.folders import make_project, scan
from tests.worker.conftest import Client

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = Wishes(steps=3, what="segmenter")

TALKATIVE = """
import importlib, sys
from sammed.cli import run
importlib.import_module("sammed.cli.learn").SECONDS_A_LINE = 0.2
run()
"""
"""The command line, which tells how far it is more often than every 15 seconds."""


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def taught_project(folder: Path, count: int = 4, taught: int = 3) -> Project:
    """A project of which some cases are accepted."""
    project = make_project(folder, count)
    files, _ = pair(project, folder / "labels")
    import_labels(project, dict(list(files.items())[:taught]))
    return project


@pytest.fixture(scope="module")
def learned(tmp_path_factory, one_thread) -> Project:
    project = taught_project(tmp_path_factory.mktemp("learned"))
    learn(project, Wishes(steps=150, what="segmenter"))
    return project


@pytest.mark.thorough
def test_it_learns_what_it_was_shown(learned):
    volume, truth = scan(3)
    found = api.segment(volume, model=str(model_path(learned)))
    assert found.names == {1: "ball", 2: "box"}
    assert (
        2
        * ((found.voxels == 1) & (truth == 1)).sum()
        / ((found.voxels == 1).sum() + (truth == 1).sum())
        > 0.6
    )
    report = rounds(learned)[0].report()
    assert report["rehearsed"]
    assert len(report["held"]) == 1
    assert set(report["reached"]["structures"]) == {"ball", "box"}


def test_structures_by_name_and_by_prompt(learned, tmp_path):
    model = sammed.load_model(str(model_path(learned)))
    volume, _ = scan(3)
    session = Session(volume, model)
    session.put(sammed.prompts.ObjectPrompts("box"))
    session.segment()
    assert session.objects[0].label == 2
    assert set(np.unique(session.result().voxels)) == {0, 2}
    with pytest.raises(PromptError, match="nothing says where 'liver' is"):
        session.put(sammed.prompts.ObjectPrompts("liver"))
    session.add_box("liver", (2, 2, 9, 9), slice=6)
    session.segment()
    assert {obj.name: obj.label for obj in session.objects} == {"box": 2, "liver": 1}
    with pytest.raises(InputError, match=r"'gut' is no known name; .* there is ball, box"):
        api.segment(volume, objects=["gut"], model=model)
    found = np.argwhere(session.object_mask("box"))
    z, y, x = (int(n) for n in found[len(found) // 2])
    at = volume.grid.file_index(np.array([z, y, x])).round().astype(int).tolist()
    session.add_point("box", at, positive=False)
    session.segment()
    assert not session.object_mask("box")[z, y, x]
    assert 0 < session.object_mask("box").sum() < len(found)
    session.undo()
    session.segment()
    assert session.object_mask("box").sum() == len(found)
    halved = api.segment(volume, box={"ball": (0, 0, 0, 24, 20, 6)}, model=model)
    assert not halved.ijk_array()[:, :, 6:].any()
    assert halved.names == {1: "ball"}


def test_the_command_line_needs_no_prompt(learned, tmp_path, capsys):
    io.write_volume(scan(3)[0], tmp_path / "s.nii.gz")
    model = str(model_path(learned))
    out = str(tmp_path / "out.nii.gz")
    assert cli.main(["segment", str(tmp_path / "s.nii.gz"), "--model", model, "-o", out]) == 0
    assert io.read_labels(out).names == {1: "ball", 2: "box"}
    again = ["segment", str(tmp_path / "s.nii.gz"), "--model", model, "-o",
             str(tmp_path / "b.nii.gz"), "--object", "box"]  # fmt: skip
    assert cli.main(again) == 0
    assert set(np.unique(io.read_labels(tmp_path / "b.nii.gz").voxels)) == {0, 2}
    replay = ["segment", str(tmp_path / "s.nii.gz"), "--model", model, "-o",
              str(tmp_path / "c.nii.gz"), "--prompts", str(tmp_path / "b.prompts.json"),
              ]  # fmt: skip
    assert cli.main(replay) == 0
    assert set(np.unique(io.read_labels(tmp_path / "c.nii.gz").voxels)) == {0, 2}


@pytest.mark.thorough
def test_so_many_steps_give_the_same_model_also_when_stopped(tmp_path):
    whole = taught_project(tmp_path / "a")
    first = read_learned(learn(whole, QUICK).file)
    parts = taught_project(tmp_path / "b")
    calls = 0

    def stop(progress):
        nonlocal calls
        calls += progress.pace is not None
        if calls == 3 and progress.pace is not None:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        learn(parts, QUICK, told=stop)
    assert rounds(parts)[0].is_open
    resumed = learn(parts, resume=True)
    second = read_learned(resumed.file)
    assert not rounds(parts)[0].is_open
    assert resumed.report["steps_done"] == {"rehearsal look 0": 3, "final look 0": 3}
    assert "the segmenter learned for 6 steps only" in resumed.report["notes"][-1]
    for one, two in zip(first.weights, second.weights, strict=True):
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=0, atol=0)


def test_a_run_is_resumed_with_the_same_cases_only(tmp_path):
    project = taught_project(tmp_path)
    with pytest.raises(InputError, match="no run to resume"):
        learn(project, resume=True)

    def stop(progress):
        if progress.pace:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        learn(project, QUICK, told=stop)
    project.refuse("p0")
    with pytest.raises(InputError, match="have changed since the run was stopped"):
        learn(project, resume=True)


@pytest.mark.thorough
def test_a_worse_model_is_not_used(tmp_path, monkeypatch, capsys):
    project = taught_project(tmp_path)
    learn(project, QUICK)
    before = model_path(project).read_bytes()
    monkeypatch.setattr(
        course.judging, "summary",
        lambda judged: {"mean": {"dice": -1.0, "low": None, "high": None, "cases": 1,
                                 "subjects": 1}, "structures": {}},
    )  # fmt: skip
    outcome = learn(project, QUICK)
    assert not outcome.used
    assert outcome.file.name == "not-used.sammed"
    assert outcome.report["verdict"]["after"] == -1.0
    assert model_path(project).read_bytes() == before
    capsys.readouterr()
    assert cli.main(["project", "status", str(project.folder)]) == 0
    assert "in use without a prompt: round 1, Dice 0." in capsys.readouterr().out
    assert cli.main(["project", "status", str(project.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"]["round"], told["model"]["finds"]) == (1, ["ball", "box"])
    assert told["structures"] == {"ball": 1, "box": 2}


def test_a_model_is_not_judged_by_what_it_proposed_itself(tmp_path):
    project = make_project(tmp_path, 4)
    for n, model in enumerate(("import", "study.sammed 0123456789ab", "compact, 1", "")):
        volume, truth = scan(n)
        project.accept(f"p{n}", LabelVolume(truth, volume.grid, {}), model=model)
    former = SimpleNamespace(cases={"p3": project.case("p3").scan.mark})
    held = Split((), ("p0", "p1", "p2", "p3"), False)
    course_of = SimpleNamespace(_split=held, _project=project)
    assert course._Course._unseen_by(course_of, former) == {"p0", "p2"}


def test_one_case_and_a_structure_that_none_has(tmp_path):
    project = taught_project(tmp_path, 2, 1)
    project.add_structures({"liver": 0})
    outcome = learn(project, QUICK)
    assert outcome.report["reached"] == {}
    assert "no case has liver: it is not learned" in outcome.report["notes"]
    assert outcome.report["structures"] == {"1": "ball", "2": "box"}
    with pytest.raises(InputError, match="estimates of this model were not measured"):
        propose(project, accept_above=0.5)
    (done,) = propose(project).proposals
    assert done.case == "p1"
    assert project.case("p1").record.state == "proposed"


def test_no_accepted_case(tmp_path):
    with pytest.raises(InputError, match="has no accepted case with a structure"):
        learn(make_project(tmp_path, 1), QUICK)


def test_cases_that_cannot_be_read_are_named_and_left_out(tmp_path):
    project = taught_project(tmp_path, 3, 3)
    (tmp_path / "scans" / "p1.nii.gz").write_bytes(b"broken")
    found = survey(project)
    assert list(found.subjects) == ["p0", "p2"]
    assert any("p1 is left out: " in note for note in found.notes)


def test_structures_that_some_cases_lack_are_named(tmp_path):
    project = taught_project(tmp_path, 2, 2)
    volume, labels = scan(1)
    project.accept("p1", LabelVolume(np.where(labels == 1, 1, 0).astype(np.uint8), volume.grid, {}))
    assert "box is learned to be absent in p1" in survey(project).notes


def test_proposals_with_estimates(learned, tmp_path):
    found = propose(learned)
    assert [one.case for one in found.proposals] == ["p3"]
    record = learned.case("p3").record
    assert record.state == "proposed"
    assert set(record.estimated) == {"ball", "box"}
    assert 0 < record.estimated["ball"] <= 1
    again = propose(learned)
    assert not again.proposals
    assert again.skipped == ("p3",)
    learned.accept("p3", prompted=2)
    assert not propose(learned).proposals
    learned.reopen("p3")


@pytest.mark.thorough
def test_proposals_that_are_there_are_accepted_by_their_estimate(tmp_path, monkeypatch):
    """A threshold can be chosen after the estimates were seen, and again after it was undone."""
    from sammed.learning.estimate import Calibration

    project = taught_project(tmp_path, 5, 3)
    learn(project, QUICK)
    estimates = {c.case: min(c.estimated.values()) for c in propose(project).proposals}
    assert set(estimates) == {"p3", "p4"}
    monkeypatch.setattr(Calibration, "from_dict", classmethod(lambda cls, _: cls(people=2)))
    bar = sorted(estimates.values())[-1]
    expected = tuple(id for id, one in estimates.items() if one >= bar)
    found = propose(project, accept_above=bar)
    assert (found.proposals, found.taken) == ((), expected)
    assert {project.case(id).record.state for id in expected} == {"accepted"}
    assert undo_accepted(project) == list(expected)
    with project.case(expected[0]).held():
        lines: list[str] = []
        assert expected[0] not in propose(project, accept_above=bar, say=lines.append).taken
    assert f"{expected[0]} stays as it is" in lines[0]
    assert propose(project, accept_above=bar).taken == expected
    assert propose(project, accept_above=1.01).taken == ()


@pytest.mark.thorough
def test_a_scan_that_cannot_be_read_is_named_by_its_case(tmp_path):
    project = taught_project(tmp_path, 4, 3)
    learn(project, QUICK)
    good = (tmp_path / "scans" / "p3.nii.gz").read_bytes()
    (tmp_path / "scans" / "p3.nii.gz").write_bytes(good[: len(good) // 2])
    for _ in range(2):
        (one,) = propose(project).proposals
        assert one.error
    record = project.case("p3").record
    assert (record.state, len(record.history)) == ("todo", 1)
    assert record.note.startswith("cannot be read: ")
    (tmp_path / "scans" / "p3.nii.gz").write_bytes(good)
    assert not propose(project).proposals[0].error
    assert "cannot be read" not in project.case("p3").record.note


@pytest.mark.thorough
def test_a_model_of_a_newer_version_is_never_replaced(tmp_path):
    project = taught_project(tmp_path, 3, 3)
    first = learn(project, QUICK).file
    newer = first.read_bytes().replace(
        f"{file.FORMAT}{file.VERSION}".encode(), f"{file.FORMAT}{file.VERSION + 6}".encode()
    )
    first.write_bytes(newer)
    with pytest.raises(WeightsMismatchError, match="update sammed"):
        learn(project, QUICK)
    assert first.read_bytes() == newer


@pytest.mark.thorough
def test_the_model_that_was_replaced_is_kept_in_the_round(tmp_path):
    project = taught_project(tmp_path, 3, 3)
    first = learn(project, QUICK).file
    was = first.read_bytes()
    first.write_bytes(was[:-100])  # cut: it cannot be compared with
    learn(project, QUICK)
    assert (project.folder / "rounds" / "002" / "before.sammed").read_bytes() == was[:-100]
    assert first.read_bytes() != was[:-100]


@pytest.mark.thorough
def test_a_structure_that_came_later_is_not_learned_to_be_absent(tmp_path, monkeypatch):
    """Of cases that were accepted before, nothing of it is learned; they are not judged on it."""
    from sammed.learning.judging import judge
    from sammed.learning.pupils import read, survey
    from sammed.project import folder as folders

    project = taught_project(tmp_path, 4, 3)
    monkeypatch.setattr(folders, "now", lambda: "2999-01-01T00:00:00+0000")
    project.add_structures({"late": 0})
    project = Project(project.folder)
    assert project.description.since == {"late": "2999-01-01T00:00:00+0000"}
    late = project.description.structures["late"]
    labels = project.case("p0").labels(project.case("p0").volume(), project.description.names)
    drawn = labels.voxels.copy()
    drawn[0, 0, 0] = late
    project.accept("p0", labels=replace(labels, voxels=drawn))
    found = survey(project)
    (note,) = [one for one in found.notes if "late" in one]
    assert note.startswith("late was not asked for when p1, p2 came to be accepted")
    assert read(project, project.case("p0")).unknown == frozenset()
    case = read(project, project.case("p1"))
    assert case.unknown == {late}
    model = LearnedModel(learn(project, QUICK).file)
    plan = model.teaching.plan
    assert {one.structure for one in judge([case], plan, model.nets)} == {"ball", "box"}


def test_nothing_is_learned_of_what_nobody_drew():
    """The loss does not change with what is answered between background and the unknown."""
    from sammed.learning.unknown import without_unknown

    logits = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    target = torch.nn.functional.one_hot(torch.zeros(2, 4, 4, 4).long(), 3).movedim(-1, 1).float()
    unknown = torch.tensor([[False, False, True], [False, False, False]])
    shares = torch.softmax(logits, 1)
    found, wanted = without_unknown(logits, target, unknown)
    merged = torch.softmax(found, 1)
    torch.testing.assert_close(merged[0, 0], shares[0, 0] + shares[0, 2])
    torch.testing.assert_close(merged[0, 1], shares[0, 1])
    assert float(merged[0, 2].max()) == 0
    torch.testing.assert_close(merged[1], shares[1])
    torch.testing.assert_close(wanted, target)


@pytest.mark.thorough
def test_what_was_accepted_by_estimate_is_undone_at_once(tmp_path, monkeypatch):
    project = taught_project(tmp_path, 5, 3)
    learn(project, QUICK)
    from sammed.learning import proposing
    from sammed.learning.estimate import Calibration, Doubt

    said = Calibration((0.0, 1.0, 0.0, 0.0), 4, 2, 0.9, 0.02).as_dict()
    monkeypatch.setattr(Calibration, "from_dict", classmethod(lambda cls, _: cls(
        tuple(said["weights"]), 4, 2, 0.9, 0.02)))  # fmt: skip
    monkeypatch.setattr(
        proposing, "doubts", lambda *_: {n: Doubt(0.95, 1) for n in ("ball", "box")}
    )
    found = propose(project, accept_above=0.9)
    assert all(one.accepted for one in found.proposals)
    assert {c.id for c in project.cases() if c.record.state == "accepted"} > {"p3", "p4"}
    project.accept("p4", seconds=3)  # a person has looked
    lines = []
    with project.case("p3").held():
        assert undo_accepted(project, lines.append) == []
    assert "p3 stays as it is: p3 is in work" in lines[0]
    assert undo_accepted(project) == ["p3"]
    assert project.case("p3").record.state == "proposed"
    assert project.case("p4").record.state == "accepted"
    assert undo_accepted(project) == []


@pytest.mark.thorough
def test_proposals_of_a_case_that_breaks_go_on(tmp_path):
    project = taught_project(tmp_path, 5, 3)
    learn(project, QUICK)
    (tmp_path / "scans" / "p3.nii.gz").unlink()
    errors = {one.case: one.error for one in propose(project).proposals}
    assert "is gone" in errors["p3"]
    assert errors["p4"] == ""


def broken(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_a_file_that_was_cut_edited_or_is_newer_is_one_line(learned, tmp_path):
    whole = model_path(learned).read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + length])

    def rewritten(change) -> bytes:
        new = json.loads(json.dumps(header))
        change(new["__metadata__"])
        text = json.dumps(new).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + length :]

    edited = bytearray(whole)
    edited[-100] ^= 1
    cases = {
        "cut": (whole[: len(whole) // 2], "truncated"),
        "short": (whole[:100], "truncated|no learned model"),
        "empty": (b"", "is empty"),
        "other": (b"not a model at all, but long enough to be looked at", "truncated|no learned"),
        "edited": (bytes(edited), "was changed since it was learned"),
        "renamed": (
            rewritten(lambda m: m.update(teaching=m["teaching"].replace("ball", "gall"))),
            "was changed since it was learned",
        ),
        "newer": (rewritten(lambda m: m.update(format="sammed-learned/9")), "update sammed"),
        "older": (rewritten(lambda m: m.update(format="sammed-learned/1")), "learn it again"),
        "no plan": (rewritten(lambda m: m.update(teaching="{}")), "was changed"),
    }
    for name, (content, words) in cases.items():
        path = broken(tmp_path / f"{name}.sammed", content)
        with pytest.raises(WeightsMismatchError, match=words) as caught:
            sammed.load_model(path)
        assert "\n" not in str(caught.value), name


def test_commands(learned, capsys):
    folder = str(learned.folder)
    assert cli.main(["project", "status", folder]) == 0
    out, _ = capsys.readouterr()
    assert "3 accepted" in out
    assert "Dice on 1 held-back case of 1 person" in out
    assert cli.main(["propose", folder]) == 0
    assert cli.main(["propose", folder, "--undo"]) == 0
    assert "0 cases are proposals again" in capsys.readouterr()[1]


def test_it_is_evaluated_without_a_prompt(learned, tmp_path, capsys):
    folder = learned.folder.parent
    files = {name: str(folder / f"{name}s" / "p3.nii.gz") for name in ("scan", "label")}
    case = {"id": "p3", "image": files["scan"], "label": files["label"]}
    case["labels"] = {"1": "ball", "2": "box"}
    (tmp_path / "cases.json").write_text(json.dumps({"format": "sammed-cases/1", "cases": [case]}))
    said = ["evaluate", "--cases", str(tmp_path / "cases.json"), "--protocol", "N",
            "--model", str(model_path(learned)), "--no-baselines",
            "--out", str(tmp_path / "results")]  # fmt: skip
    assert cli.main(said) == 0
    rows = (tmp_path / "results" / "results.csv").read_text().splitlines()
    assert len(rows) == 3
    assert ",ball," in rows[1]
    assert cli.main([*said[:-5], "--model", "box", "--out", str(tmp_path / "none")]) != 0
    assert "without one only learned models find anything" in capsys.readouterr()[1]


@pytest.mark.alone
@pytest.mark.thorough
def test_ctrl_c_stops_within_half_a_second_and_is_resumed(tmp_path):
    project = taught_project(tmp_path)
    run = [sys.executable, "-c", TALKATIVE, "learn", str(project.folder), "--threads", "1"]
    one = subprocess.Popen(
        [*run, "--minutes", "5"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    folder = project.folder / "rounds" / "001"
    while not any("steps/s" in line for line in iter(one.stderr.readline, "")):
        pass
    began = time.monotonic()
    one.send_signal(signal.SIGINT)
    assert any("--resume' goes on" in line for line in iter(one.stderr.readline, ""))
    heard = time.monotonic() - began
    one.communicate(timeout=30)
    ended = time.monotonic() - began
    assert one.returncode == 130
    assert (folder / "run.pt").is_file()
    assert heard < 0.5
    assert ended < 1.5  # half a second on a quiet computer
    state = torch.load(folder / "run.pt", weights_only=True)
    assert state["state"]["step"] > 0


@pytest.mark.thorough
def test_killed_while_learning_it_is_resumed_to_the_same_model(tmp_path):
    """Of what was kept last: the same weights as of a run that nobody killed."""
    keeping = TALKATIVE.replace(
        "run()", "importlib.import_module('sammed.learning.course').KEEP_EVERY_S = 0.0\nrun()"
    )
    killed, whole = (taught_project(tmp_path / name) for name in ("killed", "whole"))
    wishes = ["--steps", "20", "--what", "segmenter", "--threads", "1"]
    one = subprocess.Popen(
        [sys.executable, "-c", keeping, "learn", str(killed.folder), *wishes], cwd=ROOT,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    kept = killed.folder / "rounds" / "001" / "run.pt"
    while not kept.is_file() and one.poll() is None:
        time.sleep(0.01)
    one.kill()
    one.communicate(timeout=30)
    assert one.returncode == -signal.SIGKILL
    assert not model_path(killed).exists()
    for project, more in ((killed, ["--resume", "--threads", "1"]), (whole, wishes)):
        assert cli.main(["learn", str(project.folder), *more, "--quiet"]) == 0
    first, second = (read_learned(model_path(one)).weights for one in (killed, whole))
    for a, b in zip(first, second, strict=True):
        for name, value in a.items():
            torch.testing.assert_close(value, b[name], rtol=0, atol=0)


@pytest.mark.thorough
def test_killed_while_learning_nothing_is_half(tmp_path):
    project = taught_project(tmp_path)
    run = [sys.executable, "-c", TALKATIVE, "learn", str(project.folder), "--threads", "1"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    one = subprocess.Popen([*run, "--minutes", "5"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                           env=env)  # fmt: skip
    while not any("steps/s" in line for line in iter(one.stderr.readline, "")):
        pass
    one.kill()
    one.wait()
    assert not model_path(project).exists()
    learn(project, QUICK)
    assert model_path(project).is_file()


@pytest.mark.thorough
def test_the_worker_takes_it(learned):
    worker = Client()
    try:
        worker.hello()
        volume, _ = scan(3)
        worker.volume(
            np.ascontiguousarray(volume.grid.reorientation.invert(volume.voxels)),
            volume.grid.affine,
        )
        said = worker.ask("settings", model=str(model_path(learned)))
        assert said["structures"] == {"ball": 1, "box": 2}
        assert worker.ask("put", object={"name": "box"})["changed"]
        found = worker.ask("segment")
        assert [mask["name"] for mask in found["masks"]] == ["box"]
        taken = worker.ask("take", aside=True)["found"]
        assert [(one["name"], one["by"]) for one in taken] == [
            ("ball", "learned"),
            ("box", "learned"),
        ]
        assert worker.ask("put", object={"name": "liver"})["error"]["message"].startswith(
            "nothing says where 'liver' is"
        )
    finally:
        worker.stop()


def test_one_program_learns_at_a_time(tmp_path):
    project = taught_project(tmp_path, 2, 2)
    with (
        held(rounds_folder(project)),
        pytest.raises(InWorkError, match=r"study is being learned from already, by .*process \d"),
    ):
        learn(project, QUICK)
    assert not rounds(project)


def test_a_round_that_was_stopped_is_told_of(tmp_path, capsys):
    project = taught_project(tmp_path, 2, 2)
    status = ["project", "status", str(project.folder)]

    def stop(progress):
        if progress.pace is not None:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        learn(project, QUICK, told=stop)
    capsys.readouterr()
    assert cli.main(status) == 0
    assert "round 1 was stopped; 'sammed learn" in capsys.readouterr()[0]
    with held(rounds_folder(project)):
        assert cli.main(status) == 0
    assert "is being learned from by" in capsys.readouterr()[0]
    quick = ["--steps", "1", "--what", "segmenter", "--threads", "1"]
    assert cli.main(["learn", str(project.folder), *quick]) == 0
    assert "round 1 was stopped and is given up" in capsys.readouterr()[1]
    assert cli.main(status) == 0
    assert "was stopped" not in capsys.readouterr()[0]


def test_what_a_person_drew_is_not_proposed_over_although_it_was_taken_back(tmp_path):
    project = taught_project(tmp_path, 4, 3)
    learn(project, QUICK)
    volume, truth = scan(3)
    project.accept("p3", LabelVolume(truth, volume.grid, {}), model="drawn")
    project.refuse("p3", "to be seen by somebody else")
    project.reopen("p3")
    assert project.case("p3").record.state == "proposed"
    assert not propose(project).proposals
    kept = project.case("p3").labels(volume, project.description.names)
    assert np.array_equal(kept.voxels, truth)


@pytest.mark.thorough
def test_killed_while_proposing_nothing_is_lost_or_done_twice(tmp_path):
    project = taught_project(tmp_path, 9, 3)
    learn(project, QUICK)
    run = [sys.executable, "-m", "sammed", "propose", str(project.folder)]
    one = subprocess.Popen(
        run, cwd=ROOT, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while all(case.record.state != "proposed" for case in project.cases()) and one.poll() is None:
        time.sleep(0.005)
    one.kill()
    one.wait()
    before = {case.id for case in project.cases() if case.record.state == "proposed"}
    found = propose(project)
    assert not any(proposal.error for proposal in found.proposals)
    assert before == set(found.skipped)
    assert len(found.proposals) + len(found.skipped) == 6
    for case in project.cases():
        assert [event["what"] for event in case.record.history] in (["accept"], ["propose"])
        assert case.labels(case.volume(), project.description.names) is not None
