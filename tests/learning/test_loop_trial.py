"""Protocol L: a simulated person, the loop, and what is written of it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from sammed import cli, io
from sammed.errors import InputError
from sammed.evaluation import annotator
from sammed.evaluation.annotator import Annotator, annotate
from sammed.evaluation.manifest import Case
from sammed.evaluation.trial import Target
from sammed.imaging.volume import LabelVolume
from sammed.learning import loop_report, loop_trial, promptable, prompted
from sammed.learning.loop_trial import (
    ALONE,
    LOOP,
    Labelled,
    LoopPlan,
    LoopResult,
    Reached,
    run_loop,
)
from sammed.models.registry import build
from sammed.training import stream
from tests.project.folders import scan


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def cohort(folder, count: int) -> list[Case]:
    cases = []
    for number in range(count):
        volume, labels = scan(number)
        image, label = folder / f"p{number}.nii.gz", folder / f"l{number}.nii.gz"
        io.write_volume(volume, image)
        io.write_labels(
            LabelVolume(labels.astype(np.uint8), volume.grid, {1: "ball", 2: "box"}), label
        )
        cases.append(Case(f"p{number}", image, label, {1: "ball", 2: "box"}, subject=f"p{number}"))
    return cases


def test_a_person_clicks_until_it_is_good():
    volume, truth = scan(0)
    target = Target("ball", 1, truth == 1, truth == 1)
    done = annotate(volume, target, build("compact"), Annotator(target=0.1))
    assert (done.prompts, done.proposed) == (1, False)
    assert done.before == done.after > 0.1
    assert done.seconds == annotator.LOOK_S + annotator.BOX_S
    wall = (truth == 1) & ~ndimage.binary_erosion(truth == 1)  # whose inside looks the same
    unseen = Target("ball", 1, wall, wall)
    more = annotate(volume, unseen, build("compact"), Annotator(target=1.0, most=3))
    assert more.prompts == 3
    corrected = (2 - more.painted) * annotator.CLICK_S + more.painted * annotator.PAINT_S
    assert more.seconds == annotator.LOOK_S + annotator.BOX_S + corrected


def test_who_sees_that_clicks_do_not_help_paints_and_takes_back_what_made_it_worse(monkeypatch):
    volume, truth = scan(0)
    ball = truth == 1
    target = Target("ball", 1, ball, ball)
    half, less = ball.copy(), ball.copy()
    middle = int(np.flatnonzero(ball.any((1, 2))).mean())
    half[middle:], less[middle - 1 :] = False, False
    asked = []

    def answer(session, said):
        asked.append(said)
        if said.mask is None:
            return less if said.points else half
        mended = half.copy()
        painted = said.mask.voxels.any((1, 2))
        mended[painted] = said.mask.voxels[painted]
        return mended

    monkeypatch.setattr(annotator, "_answer", answer)
    done = annotate(volume, target, build("compact"), Annotator(target=1.0))
    slices = np.flatnonzero(ball[middle:].any((1, 2)))
    assert done.after == 1.0
    assert done.painted == len(slices)
    assert done.prompts == 1 + 1 + done.painted
    assert not asked[-1].points  # it made the object smaller
    assert (asked[-1].mask.voxels <= ball).all()
    few = annotate(volume, target, build("compact"), Annotator(target=1.0, most=3))
    assert (few.prompts, few.painted) == (3, 1)


def test_good_proposals_cost_nothing_and_bad_ones_a_box(monkeypatch):
    volume, truth = scan(0)
    target = Target("ball", 1, truth == 1, truth == 1)
    model = SimpleNamespace(spec=replace(build("ellipse").spec, structures={"ball": 1}))
    answers = iter([truth == 1])
    monkeypatch.setattr(annotator, "Session", lambda *_: None)
    monkeypatch.setattr(annotator, "_answer", lambda *_: next(answers))
    good = annotate(volume, target, model, Annotator())
    assert (good.prompts, good.proposed, good.before) == (0, True, 1.0)
    answers = iter([np.zeros_like(truth, bool), truth == 1])
    bad = annotate(volume, target, model, Annotator())
    assert (bad.prompts, bad.proposed) == (1, False)


def test_the_loop_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(promptable, "parts_for", lambda exercises: ("boxes",))
    monkeypatch.setattr(prompted, "MOST", 1)
    plan = stream.StreamPlan
    few = lambda seed, batch, *_, replay: plan(seed, batch, 4, 1, replay)  # noqa: E731
    monkeypatch.setattr(stream, "StreamPlan", few)
    cases = [
        {"id": c.id, "image": str(c.image), "label": str(c.label), "subject": c.subject,
         "labels": {"1": "ball", "2": "box"}}
        for c in cohort(tmp_path, 5)
    ]  # fmt: skip
    (tmp_path / "cases.json").write_text(json.dumps({"format": "sammed-cases/1", "cases": cases}))
    out = tmp_path / "out"
    said = ["evaluate", "--cases", str(tmp_path / "cases.json"), "--protocol", "L", "--rounds",
            "2,1", "--steps", "2", "--target", "0.3", "--untouched", "1", "--out", str(out),
            "--quiet"]  # fmt: skip
    assert cli.main(said) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [one["round"] for one in summary["rounds"]] == [1, 2]
    assert summary["rounds"][0]["loop"] == summary["rounds"][0]["no loop"]
    assert {one["arm"] for one in summary["reached"]} == {"loop", "by chance"}
    assert [one["cases"] for one in summary["reached"]] == [2, 3, 2]
    assert summary["prompts"]["no loop"] >= 6
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    rows = (out / "labelled.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2 * 3
    capsys.readouterr()
    assert cli.main(said) != 0
    assert "is there already; a loop starts anew" in capsys.readouterr()[1]


def test_too_few_cases_are_told_before_anything_is_done(tmp_path):
    with pytest.raises(InputError, match="are too few for rounds of 3, 5"):
        run_loop(cohort(tmp_path, 3), LoopPlan((3, 5), 1), tmp_path / "x")
    image = tmp_path / "q.nii"
    mixed = [Case("p", image, image, {1: "ball"}), Case("q", image, image, {1: "liver"})]
    with pytest.raises(InputError, match="needs the same structures in all cases"):
        run_loop(mixed, LoopPlan((1,), 1), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("option", "value"), [("--rounds", "3,x"), ("--order", "best")])
def test_options_that_make_no_sense(tmp_path, capsys, option, value):
    said = ["evaluate", "--cases", "c.json", "--protocol", "L", option, value, "--out", "x"]
    assert cli.main(said) != 0
    assert value in capsys.readouterr()[1]


def test_protocol_l_runs_by_itself(capsys):
    assert cli.main(["evaluate", "--cases", "c.json", "--protocol", "A,L", "--out", "x"]) != 0


def test_a_report_of_what_was_done():
    def line(arm, number, prompts):
        return Labelled(arm, number, f"c{number}", "s", "ball", 0.5, 0.9, prompts, 0, 20.0, False)

    result = LoopResult(
        (line(LOOP, 1, 4), line(ALONE, 1, 4), line(LOOP, 2, 1), line(ALONE, 2, 6)),
        (Reached(LOOP, 1, 1, 0.8, None, None, 1.0),),
    )
    assert loop_report.share(result) == 0.5
    rounds, whole, reached = loop_report.tables(result, LoopPlan((1, 1), 1))
    assert rounds.lines[3] == ("2, no loop", "1", "0.500", "0.900", "6.0", "0.0", "20")
    assert whole.lines == (("loop", "5", "0.7"), ("no loop", "10", "0.7"))
    assert reached.lines[0][-1] == "–"
    assert loop_trial.as_rows(result)[0]["prompts"] == 4
