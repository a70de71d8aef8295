"""What is said of an object when it was segmented, and when nothing can be said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sammed import cli
from sammed.engine.settings import Settings
from sammed.imaging.boxes import Box3D
from sammed.models import registry
from sammed.prompts import ObjectPrompts, PointPrompt
from sammed.reporting import outlook as outlook_module
from sammed.reporting.expectation import COLUMNS, Example, table_of
from sammed.reporting.outlook import outlook, spoken
from sammed.reporting.run_report import run_report
from sammed.session import Session
from tests.evaluation.conftest import Bright
from tests.phantoms import ORGAN, organ_volume

BLOCK = Box3D.from_mask(ORGAN)
PROMPTS = ObjectPrompts("organ", blocks=(BLOCK,))


def segmented(prompts=PROMPTS, model=None, **settings):
    session = Session(organ_volume(), model or Bright(), Settings(**settings))
    session.put(prompts)
    session.segment()
    return session


def table_like(session, away=0.0):
    """Twenty people's objects like the session's one, or as far away from it in all."""
    rng = np.random.default_rng(0)
    (obj,) = session.objects
    values = np.array(outlook_module._values(session, session.runs[obj.name], obj))
    values = np.where(np.isfinite(values), values, 0.5)
    found = []
    for number in range(20):
        own = values * rng.uniform(0.9, 1.1, len(values)) * 10**away
        own[COLUMNS.index("predicted_iou")] = rng.uniform(0.9, 1.0)
        found.append(
            Example(f"c{number}", f"s{number}", "o", "3D box", rng.uniform(0.75, 0.9), tuple(own))
        )
    return table_of("bright", "", "", found)


@pytest.fixture
def measured(monkeypatch):
    """A session, with a table of objects like its own."""
    session = segmented()
    table = table_like(session)
    monkeypatch.setattr(outlook_module, "table_for", lambda *_: table)
    return session


def test_objects_like_this_are_in_the_run_report(measured):
    report = run_report(measured, measured.result())
    said = report["objects"][0]["expected"]
    assert said["text"].startswith("objects like this reach 0.8")
    assert 0.6 < said["low"] < said["dice"] < said["high"] < 0.97
    assert said["level"] == 0.9
    assert [n["case"][0] for n in said["nearest"]] == ["c"] * 3
    json.dumps(report)
    (first, *_) = said["nearest"]
    assert spoken(said).startswith(
        f"{said['text']} (nearest: {first['case']} o {first['dice']:.2f},"
    )


def test_what_is_far_from_everything_is_like_nothing(measured, monkeypatch):
    far = table_like(measured, away=3.0)
    monkeypatch.setattr(outlook_module, "table_for", lambda *_: far)
    said = outlook(measured, measured.objects[0])["expected"]
    assert said["text"].startswith("no object like this was measured: its shape")
    assert "dice" not in said


@pytest.mark.parametrize(
    ("prompts", "settings", "why"),
    [
        (PROMPTS.with_(PointPrompt((6, 20, 25))), {}, "prompts of this kind"),
        (PROMPTS, {"zoom": None}, "settings"),
        (PROMPTS, {"plane": "coronal"}, "settings"),
        (ObjectPrompts("organ", blocks=(Box3D(0, 0, 0, 2, 4, 4),)), {}, "nothing was found"),
    ],
)
def test_other_prompts_and_settings_were_not_measured(measured, prompts, settings, why):
    session = segmented(prompts, **settings)
    said = outlook(session, session.objects[0])["expected"]
    assert why in said["text"]
    assert said["why"] in said["text"]


def test_the_window_is_no_other_setting(measured):
    session = segmented(window="p1-99")
    assert "dice" in outlook(session, session.objects[0])["expected"]


def test_of_a_model_without_a_table_nothing_is_said():
    session = segmented(model=registry.build("two_class"))
    assert outlook(session, session.objects[0]) == {}
    assert "expected" not in run_report(session, session.result())["objects"][0]


def test_the_command_prints_it(measured, tmp_path, capsys):
    arguments = ["segment", "sample_data/phantom_ct.nii.gz", "--box", "99,56,131,97@44"]
    arguments += ["--model", "two_class", "-o", str(tmp_path / "o.nii.gz"), "--propagate", "off"]
    assert cli.main(arguments) == 0
    assert "no object like this was measured: prompts of this kind" in capsys.readouterr().err
