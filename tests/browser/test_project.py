"""A project in a real browser: five scans, from new to exported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from sammed.io import read
from sammed.project.folder import Project
from tests.browser.test_workbench import AFFINES, blob, grid
from tests.phantoms import dice

pytestmark = pytest.mark.thorough

MODEL = ("--model", "two_class")


def sammed(folder, *words):
    """A command, as it is typed; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "sammed", *map(str, words)],
        cwd=folder, env={**os.environ, "SAMMED_HOME": str(folder / "home"), "COLUMNS": "200"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def study(tmp_path):
    """Five scans of a body without symmetry, each of another size."""
    (tmp_path / "scans").mkdir()
    for number in range(5):
        shape = (40 + number, 36, 30)
        nib.save(blob(AFFINES["as it lies"], shape), tmp_path / "scans" / f"patient-{number}.nii")
    sammed(tmp_path, "project", "new", "study", "--images", "scans/*.nii",
           "--structures", "body=3,knob")  # fmt: skip
    return Project(tmp_path / "study")


def case_in_hand(page) -> str:
    text = page.page.locator(".case h2").inner_text()
    return text.removeprefix("case ").split(":")[0]


def ready(page, project):
    """The case in hand, once it is shown."""
    page.page.wait_for_selector("body[data-shows=work]", timeout=60_000)
    id = case_in_hand(page)
    page.wait_for_scan(*grid(project.case(id).image))
    return id


def truth_of(project, id):
    return read(project.case(id).image).voxels > 50


def draw(page, project, id):
    """A box round the body on its middle slice; what is on the screen then."""
    truth = truth_of(project, id)
    middle = int(np.median(np.nonzero(truth)[0]))
    page.wheel_to(0, middle)
    rows, cols = np.nonzero(truth[middle])
    page.drag(0, (rows.min(), cols.min()), (rows.max() + 1, cols.max() + 1))
    page.wait_until_idle()
    return middle, page.tinted(0)


def accept(page, id):
    page.page.keyboard.press("Control+Enter")
    page.page.wait_for_function(
        "id => !document.querySelector('.case h2')?.textContent.includes(`case ${id}:`)"
        " || document.body.dataset.shows === 'start'",
        arg=id,
    )
    page.page.wait_for_selector("body[data-between=no]")


def exported(folder, project, id):
    labels = np.asarray(nib.load(folder / "labelsTr" / f"{id}.nii.gz").dataobj).T
    return read(project.case(id).image).grid.reorientation.apply(labels)


def test_five_scans_from_new_to_exported(serve, opened, study, tmp_path):
    page = opened(serve("study", *MODEL))
    drawn = {}
    for number in range(3):
        id = ready(page, study)
        assert f"{number} of 5 accepted" in page.page.locator(".case h2").inner_text()
        assert list(page.volumes()) == ["body", "knob"]
        assert set(page.volumes().values()) == {"–"}
        assert "Drag a box" in page.hint
        assert page.hint.endswith(": body")
        drawn[id] = draw(page, study, id)
        assert "A for knob, then Ctrl+Enter" in page.hint
        accept(page, id)
        ready(page, study)
        assert f"{id} is accepted" in page.message
        assert "1 prompt" in page.message
    assert len(drawn) == 3
    told = sammed(tmp_path, "project", "status", "study")
    assert "3 accepted" in told
    assert "1 in work" in told
    sammed(tmp_path, "project", "export", "study", "out", "--as", "nnunet")
    names = json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]
    for id, (middle, seen) in drawn.items():
        found = exported(tmp_path / "out", study, id)
        assert dice(found[middle] == names["body"], seen) > 0.99
        assert dice(found, truth_of(study, id)) > 0.7
    assert not page.errors
    assert not page.foreign_requests()


def test_what_was_drawn_survives_a_kill_and_two_get_different_cases(serve, opened, study, tmp_path):
    first = serve("study", *MODEL)
    page = opened(first)
    id = ready(page, study)
    middle, seen = draw(page, study, id)
    first.kill()
    again, other = serve("study", *MODEL), serve("study", *MODEL)
    page, second = opened(again), opened(other)
    assert ready(page, study) == id
    elsewhere = ready(second, study)
    assert elsewhere != id
    page.wait_until_idle()
    page.wheel_to(0, middle)
    assert dice(page.tinted(0), seen) > 0.99
    page.page.get_by_role("button", name="All cases").click()
    row = page.page.get_by_role("row", name=elsewhere)
    assert "in work" in row.inner_text()
    page.page.get_by_role("button", name=f"Open {elsewhere}").click()
    page.page.get_by_text(f"{elsewhere} is in work").wait_for()
    accept(page, id)
    ready(page, study)
    record = study.case(id).record
    assert (record.state, record.prompted) == ("accepted", 1)
    again.end()
    other.end()
    assert all(case.worker is None for case in study.cases())
    assert not second.errors


def test_a_strange_name_is_asked_about_and_the_last_case_leads_on(serve, opened, study, tmp_path):
    for number in range(1, 5):
        sammed(tmp_path, "project", "refuse", "study", f"patient-{number}", "--why", "not now")
    page = opened(serve("study", *MODEL))
    id = ready(page, study)
    page.page.keyboard.press("Control+Enter")
    dialog = page.page.get_by_role("dialog")
    assert "has no label map to accept" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    page.page.wait_for_selector("dialog", state="detached")
    page.page.keyboard.press("a")
    page.wait_until_idle()
    assert page.page.locator(".objects .selected .name").inner_text() == "knob"
    page.page.locator("#new-name").fill("cyst")
    page.page.keyboard.press("Enter")
    draw(page, study, id)
    page.page.keyboard.press("Control+Enter")
    assert "the project has no structure 'cyst'; it has body, knob" in dialog.inner_text()
    dialog.get_by_role("button", name="Add it to the project").click()
    page.page.get_by_text("nothing waits").wait_for()
    assert Project(study.folder).description.structures == {"body": 3, "knob": 1, "cyst": 2}
    page.page.get_by_text("not now").first.wait_for()  # the list of all cases comes a little later
    text = page.page.locator(".start").inner_text()
    assert "sammed learn study" in text
    assert "sammed propose study" in text
    page.page.get_by_role("button", name=f"Open {id}").click()
    assert ready(page, study) == id
    page.wait_until_idle()
    assert page.volumes()["cyst"].endswith("ml")
    page.page.get_by_role("button", name="Refuse").click()
    dialog.get_by_label("Why?").fill("moved")
    dialog.get_by_role("button", name="Refuse").click()
    page.page.get_by_text("nothing waits").wait_for()
    assert study.case(id).record.note == "moved"
    assert not page.errors
