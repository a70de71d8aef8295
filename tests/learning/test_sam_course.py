"""A small project's rounds with segment-anything: learned, judged, kept, used, refused."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import sammed
from sammed import api, cli, folders
from sammed.errors import (
    Cancelled,
    InputError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from sammed.learning import jury
from sammed.learning.course import Wishes, learn, model_path
from sammed.learning.promptable_sam import PromptableSam
from sammed.learning.prompted import Prompted
from sammed.learning.rounds import rounds
from sammed.learning.sam_recipe import SamRecipe
from sammed.learning.stepping import Rates
from sammed.models.learned.entry import answers_prompts, structures
from sammed.models.learned.file import pack, read_learned
from sammed.models.learned.model import LearnedModel
from sammed.models.sam.parent import Parent
from sammed.models.sam.tuned import tuned_from
from sammed.prompts import ObjectPrompts
from sammed.prompts.simulation import slice_boxes
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from tests.learning.test_course import taught_project
from tests.learning.test_tuning import SMALL
from tests.models.tiny_sam import NAME, checkpoint, register
from tests.phantoms import ROOT
from tests.project.folders import scan
from tests.worker.conftest import Client, read_array

pytestmark = pytest.mark.thorough

FEW = SamRecipe(Rates(3e-3, 0.0, 0.9, loudest=1.0), slices=1, prompts=2)
QUICK = Wishes(steps=2, what="promptable", of=NAME, sam=FEW)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True, scope="module")
def tiny(home):
    with pytest.MonkeyPatch.context() as patch:
        yield register(patch, home)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tiny):
    project = taught_project(tmp_path_factory.mktemp("tuned"), 4, 3)
    learn(project, replace(QUICK, steps=60))
    return project


def masks(model, names, **drawn) -> dict[str, np.ndarray]:
    """What a model answers to boxes on the ball of a scan that nobody learned from."""
    volume, truth = scan(3)
    session = Session(volume, model)
    boxes = slice_boxes(truth == 1, 0)
    session.put(*(ObjectPrompts(name, boxes=boxes, propagate="off", **drawn) for name in names))
    session.segment()
    return {name: np.asarray(session.object_mask(name)) for name in names}


def dice(mask: np.ndarray) -> float:
    truth = scan(3)[1] == 1
    return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


def test_it_reaches_more_from_boxes_and_says_so(tuned):
    report = rounds(tuned)[0].report()
    said = report["prompted"]
    assert said["verdict"]["used"]
    assert said["verdict"]["why"] == f"better than {NAME} as it is"
    mean = said["gained"]["mean"]
    assert mean["after"] > mean["before"] + 0.2
    assert set(said["gained"]["structures"]) == {"ball", "box"}
    assert report["steps_done"] == {"rehearsal sam": 60, "final sam": 60}
    read = read_learned(model_path(tuned))
    assert set(read.tuned) == {"decoder"}
    assert read.weights == ()
    assert (
        f"the mask decoder of {NAME} (SHA-256 {Parent.from_dict(read.teaching.tuned).sha256[:12]})"
        in read.card
    )
    assert "Dice from boxes on 3 slices on 1 held-back case" in read.card
    assert f"left to {NAME} as it is: nothing" in read.card
    assert model_path(tuned).stat().st_size < 2.5e6


def test_the_projects_names_are_answered_as_tuned_and_others_by_the_parent(tuned, tiny):
    model = LearnedModel(model_path(tuned))
    assert model.spec.tuned == {"ball", "box"}
    assert model.prompted("ball") is model.prompted("box") is not model.prompted("cyst")
    assert model.prompted("cyst") is model.prompted("liver")
    assert model.prompted("ball").spec.name == NAME
    parent = sammed.load_model(NAME)
    found = masks(model, ["ball", "thing"])
    alone = masks(parent, ["thing"])
    np.testing.assert_array_equal(found["thing"], alone["thing"])
    assert dice(found["ball"]) > dice(found["thing"]) + 0.2
    assert model.asked("ball").spec.name == "compact"
    assert model.takes_blocks("ball")
    assert not model.takes_blocks("cyst")


def test_its_embeddings_are_those_of_the_parent(tuned):
    model = LearnedModel(model_path(tuned))
    store = EmbeddingStore()
    volume, truth = scan(3)
    boxes = slice_boxes(truth == 1, 0)
    for _ in range(2):
        session = Session(volume, model, store=store)
        for name in ("thing", "ball"):
            session.put(ObjectPrompts(name, boxes=boxes, propagate="off"))
        session.segment()
    assert store.stats.misses == len({box.index for box in boxes})


def test_segmenting_on_the_command_line(tuned, tmp_path):
    volume, _ = scan(3)
    sammed.write(volume, tmp_path / "s.nii.gz")
    model = str(model_path(tuned))
    box = "3,3,16,16@5"
    for name in ("ball", "cyst"):
        said = ["segment", str(tmp_path / "s.nii.gz"), "--box", f"{name}={box}", "--model", model,
                "-o", str(tmp_path / f"{name}.nii.gz")]  # fmt: skip
        assert cli.main(said) == 0
    assert "embeddings" in {path.name for path in folders.home().iterdir()}
    report = json.loads((tmp_path / "ball.report.json").read_text())
    assert report["model"]["tuned"] == ["ball", "box"]
    assert answers_prompts(model_path(tuned))
    assert structures(model_path(tuned)) == {}


PROGRAM = """
import importlib, sys
from pathlib import Path
import pytest
from sammed.cli import run
from tests.models.tiny_sam import register
register(pytest.MonkeyPatch(), Path(sys.argv.pop(1)))
importlib.import_module("sammed.cli.learn").SECONDS_A_LINE = 0.2
run()
"""
"""The command line in a process of its own, which knows the tiny model and tells more often."""


def test_prompts_in_the_worker(tuned, home):
    volume, truth = scan(3)
    client = Client(command=[sys.executable, "-c", PROGRAM, str(home), "worker"])
    try:
        client.hello()
        client.volume(volume.voxels, np.eye(4))
        told = client.ask("settings", model=str(model_path(tuned)))
        assert told["tuned"] == ["ball", "box"]
        around = np.argwhere(truth == 1)
        block = [*around.min(0).tolist(), *(around.max(0) + 1).tolist()]
        boxes = [
            {"axis": 0, "block": [block[3] // 2 + 1, *block[1:3], block[3] // 2 + 2, *block[4:]]}
        ]
        answers = {}
        for name, structure in (("Segment_1", "ball"), ("Segment_2", "")):
            said = {"name": name, "boxes": boxes, "propagate": "off", "structure": structure}
            assert client.ask("put", object=said)["event"] == "done"
            answer = client.ask("segment", whole=[name])
            assert answer["event"] == "done", answer
            entry = next(one for one in answer["masks"] if one["name"] == name)
            answers[name] = read_array(entry["data"]), answer["runs"][name].get("structure")
        assert answers["Segment_1"][1] == "ball"
        assert not answers["Segment_2"][1]
        assert answers["Segment_1"][0].tobytes() != answers["Segment_2"][0].tobytes()
    finally:
        client.stop()


def test_3d_boxes_from_python(tuned):
    volume, _ = scan(0)  # learned from: a network of random weights finds little else
    found = api.segment(volume, box={"ball": (2, 2, 2, 16, 16, 10)}, model=str(model_path(tuned)))
    assert found.names == {1: "ball"}


def test_with_lora_its_factors_are_kept_and_merged(tmp_path, tiny):
    project = taught_project(tmp_path, 3, 2)
    said = []
    outcome = learn(project, replace(QUICK, lora=2), told=lambda progress: said.append(progress))
    read = read_learned(outcome.file)
    assert set(read.tuned) == {"decoder", "lora"}
    assert read.teaching.tuned["rank"] == 2
    assert {t.dtype for t in read.tuned["lora"].values()} == {torch.float16}
    assert "and LoRA of rank 2 in its encoder" in read.card
    assert any("reading slices" in one.doing for one in said)
    model = LearnedModel(outcome.file)
    if model.spec.tuned:
        assert model.prompted(min(model.spec.tuned)).spec.embeds_as == ""


def test_a_stopped_course_goes_on_to_the_same_file(tmp_path):
    whole, parts = (taught_project(tmp_path / name, 3, 2) for name in "ab")
    first = read_learned(learn(whole, QUICK).file)
    calls, doing = 0, []

    def stop(progress):
        nonlocal calls
        doing.append(progress.doing)
        calls += progress.pace is not None
        if calls == 3 and progress.pace is not None:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        learn(parts, QUICK, told=stop)
    assert any(one.startswith("embedding slices, 3 of ") for one in doing)
    second = read_learned(learn(parts, Wishes(sam=FEW), resume=True).file)
    assert second.teaching.tuned["of"] == NAME
    for name, value in first.tuned["decoder"].items():
        assert torch.equal(second.tuned["decoder"][name], value)


def test_it_is_not_resumed_with_another_checkpoint(tmp_path, home):
    project = taught_project(tmp_path, 3, 2)

    def stop(progress):
        if progress.pace is not None:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        learn(project, QUICK, told=stop)
    with pytest.MonkeyPatch.context() as patch:
        register(patch, tmp_path / "home")
        checkpoint(folders.weights_folder() / f"{NAME}.pth", seed=9)
        with pytest.raises(InputError, match="the checkpoint that is tuned has changed"):
            learn(project, resume=True)
    assert learn(project, Wishes(sam=FEW), resume=True)


def test_what_is_worse_is_not_used_and_what_was_tuned_otherwise_is_replaced(
    tuned, tmp_path, monkeypatch
):
    project = taught_project(tmp_path, 4, 3)
    model_path(project).write_bytes(model_path(tuned).read_bytes())
    rows = [Prompted("p1", "p1", "ball", 0.5, 0.4), Prompted("p1", "p1", "box", 0.5, 0.55)]
    monkeypatch.setattr(jury, "judge_prompted", lambda *_: rows)
    outcome = learn(project, QUICK)
    assert not outcome.used
    assert outcome.report["prompted"]["verdict"]["why"] == f"worse than {NAME} as it is"
    rows[0] = Prompted("p1", "p1", "ball", 0.5, 0.49)
    rows[1] = Prompted("p1", "p1", "box", 0.5, 0.52)
    before = rounds(tuned)[0].report()["prompted"]["gained"]["mean"]["after"]
    assert before > 0.51, before
    assert learn(project, QUICK).report["prompted"]["verdict"]["why"] == (
        "the one before reached more on the same cases"
    )
    compact = learn(project, Wishes(steps=2, what="promptable", tuning=SMALL))  # asked otherwise
    assert compact.used
    assert compact.report["notes"][-1] == (
        f"prompts are answered by compact from now on, as it was tuned last; {NAME} as it was "
        "tuned in round 1 is no longer kept"
    )
    read = read_learned(model_path(project))
    assert set(read.tuned) == {"views", "boxes", "locator"}
    assert read.teaching.tuned["worse"] == ["ball"]


def refiled(path, tuned, **change):
    """The file of a project again, with something else said of its tuning."""
    read = read_learned(model_path(tuned))
    teaching = replace(read.teaching, tuned={**read.teaching.tuned, **change})
    path.write_bytes(pack(teaching, read.weights, read.card, read.tuned))
    return path


def test_a_structure_that_came_out_worse_is_left_to_the_parent(tuned, tmp_path):
    model = LearnedModel(refiled(tmp_path / "some.sammed", tuned, worse=["box"]))
    assert model.prompted("box") is model.prompted("cyst") is not model.prompted("ball")


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_another_checkpoint_is_refused_in_one_line(tuned, tmp_path):
    file = refiled(tmp_path / "other.sammed", tuned, parents={"checkpoint": "0" * 64})
    model = LearnedModel(file)  # what it finds by name needs no checkpoint
    with pytest.raises(WeightsMismatchError) as error:
        masks(model, ["ball"])
    assert "other.sammed was tuned from another checkpoint of tiny_sam (SHA-256 000000000000)" in (
        one_line(error)
    )
    assert "learn again with 'sammed learn --what promptable --of tiny_sam'" in str(error.value)
    with pytest.raises(WeightsMismatchError):
        answers_prompts(file)


def test_a_missing_checkpoint_is_told_in_one_line(tuned, tmp_path, monkeypatch):
    monkeypatch.setenv(folders.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsNotFoundError) as error:
        LearnedModel(model_path(tuned)).prompted("ball")
    assert "study.sammed answers prompts with tiny_sam: " in one_line(error)
    assert "sammed models download tiny_sam" in str(error.value)


def test_an_own_checkpoint_is_looked_for_where_it_was_and_beside_the_file(tmp_path):
    own = checkpoint(tmp_path / "there" / "mine.pth")
    said = Parent("mine.pth", hashlib.sha256(own.read_bytes()).hexdigest(), str(own))
    assert Parent.from_dict(said.as_dict()) == said
    assert said.checkpoint(tmp_path / "study.sammed") == own
    moved = own.rename(tmp_path / "mine.pth")
    assert said.checkpoint(tmp_path / "study.sammed") == moved
    moved.unlink()
    with pytest.raises(WeightsNotFoundError) as error:
        said.checkpoint(tmp_path / "study.sammed")
    assert f"which is neither at {own} nor beside it; put it beside it" in one_line(error)


def test_a_file_that_was_cut_is_refused_in_one_line(tuned, tmp_path):
    whole = model_path(tuned).read_bytes()
    (tmp_path / "cut.sammed").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsMismatchError) as error:
        sammed.load_model(tmp_path / "cut.sammed")
    one_line(error)


@pytest.mark.parametrize("of", ["compact", "ellipse", "sam2.1_tiny", "mobile_sam", "study.sammed"])
def test_what_is_no_segment_anything_network_is_refused(tuned, tmp_path, of):
    if of.endswith(".sammed"):
        of = str(model_path(tuned))
    project = taught_project(tmp_path, 2, 2)
    with pytest.raises(InputError) as error:
        learn(project, replace(QUICK, of=of))
    assert (
        "is no segment-anything network, so it cannot be tuned as one; expected vit_b, vit_l, "
        in (one_line(error))
    )
    assert not rounds(project)  # nothing was begun


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"of": ""}, InputError, "say which with --of, such as --of vit_b"),
        ({"lora": -1}, InputError, "no branches of rank -1; expected 1 or more, say 4"),
        ({"lora": 33}, InputError, "no branches of rank 33; expected 1 to 32, say 4"),
        ({"what": "segmenter"}, InputError, "leave --of out, or say --what promptable"),
        ({"of": "nowhere.pth"}, WeightsNotFoundError, "no weights file at nowhere.pth"),
        ({"of": "vit_b"}, WeightsNotFoundError, "sammed models download vit_b"),
        ({"of": "vit_x"}, InputError, "unknown model 'vit_x'"),
    ],
)
def test_bad_wishes(tmp_path, asked, kind, said):
    project = taught_project(tmp_path, 2, 2)
    with pytest.raises(kind, match=said) as error:
        learn(project, replace(QUICK, **{"lora": 2, **asked}))
    one_line(error)
    assert not rounds(project)


def test_a_run_whose_cases_show_nothing_is_refused():
    parent, model = tuned_from(NAME)
    one = PromptableSam({1: "ball"}, lambda _: [], 0, parent, model, FEW, lambda _: None)
    with pytest.raises(
        InputError, match="no case that the final run learns from shows a structure"
    ):
        one.stepper("sam", "final", 0)


def test_bad_wishes_on_the_command_line(tmp_path, capsys):
    project = taught_project(tmp_path, 2, 2)
    for said, why in (
        (["--lora", "4"], "LoRA learns in segment-anything's encoder; say which with --of"),
        (["--of", NAME, "--lora", "0"], "greater than or equal to 1"),
        (["--of", "compact"], "'compact' is no segment-anything network"),
        (["--of", "vit_h"], "sammed models download vit_h"),
    ):
        assert cli.main(["learn", str(project.folder), "--what", "promptable", *said]) != 0
        assert why in " ".join(capsys.readouterr()[1].split())
    assert not rounds(project)


@pytest.mark.alone
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("lora", [(), ("--lora", "2")])
def test_ctrl_c_stops_it_at_once_and_it_goes_on(tmp_path, home, lora):
    project = taught_project(tmp_path, 3, 2)
    run = ["learn", str(project.folder), "--what", "promptable", "--of", NAME, "--threads", "1"]
    one = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home), *run, *lora, "--minutes", "5"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = []
    while not any("loss" in line for line in lines[-1:]):
        lines.append(one.stderr.readline())
    began = time.monotonic()
    one.send_signal(signal.SIGINT)
    _, err = one.communicate(timeout=30)
    assert time.monotonic() - began < 1.5  # half a second on a quiet computer, 65 MB are kept
    assert one.returncode == 130
    assert "--resume' goes on" in err
    (stopped,) = rounds(project)
    assert stopped.is_open
    said = stopped.settings()
    assert (said["of"], said["lora"]) == (NAME, 2 if lora else 0)
    state = stopped.kept()
    assert state["state"]["step"] > 0
    assert (stopped.folder / "run.pt").stat().st_size < 90e6  # decoder, its average, its moments


def test_learning_on_the_command_line(tmp_path, capsys):
    project = taught_project(tmp_path, 3, 2)
    said = ["learn", str(project.folder), "--what", "promptable", "--of", NAME, "--steps", "1",
            "--threads", "1"]  # fmt: skip
    assert cli.main([*said, "--json"]) == 0
    report = json.loads(capsys.readouterr()[0])
    assert report["steps_done"] == {"rehearsal sam": 1, "final sam": 1}
    assert cli.main([*said, "--lora", "2"]) == 0
    told = capsys.readouterr()[1]
    assert "which is meant for a GPU (--device cuda)" in told
    assert "Dice from boxes on 3 slices" in told
