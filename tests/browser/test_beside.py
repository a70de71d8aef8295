"""Other scans in the workbench, in a real browser: taken from, compared with, side by side."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sammed import io
from tests.browser.pages import ROWS_COLS
from tests.examples.scans import body, dice
from tests.workbench.test_beside import TARGET, bodies, pair, phases, visits, written

__all__ = ["bodies", "phases", "visits"]

pytestmark = pytest.mark.thorough


@pytest.fixture
def home(tmp_path):
    """Where servers keep things, see `tests.browser.conftest.Server`."""
    return tmp_path / "home"


def grid(volume):
    return volume.shape, volume.spacing


def go_to(page, name):
    page.page.locator(".objects .pick", has_text=name).click()
    page.page.wait_for_timeout(200)


def test_what_an_example_shows_lies_on_the_organ_and_can_be_taken_back(serve, opened, bodies):
    scan, example = bodies
    target = body(TARGET)
    server = serve(scan, "--example", pair(example), "--model", "ellipse")
    page = opened(server).wait_for_scan(*grid(target[0]))
    dialog = page.page.get_by_role("dialog")
    dialog.wait_for()
    assert "a.nii.gz + a_labels.nii.gz" in dialog.inner_text()
    dialog.locator("#wanted").fill("liver, left kidney")
    dialog.get_by_role("button", name="Take", exact=True).click()
    page.page.wait_for_selector(".found li", timeout=120_000)
    page.wait_until_idle()
    told = page.page.locator(".found").inner_text()
    assert "kidney_left: not found" in told
    assert "stands out" in told
    assert "alike there by" in told
    assert list(page.volumes()) == ["liver"]
    truth = target[1].voxels == 1
    index = int(truth.sum(axis=(1, 2)).argmax())
    page.wheel_to(0, index)
    assert dice(page.tinted(0), truth[index]) > 0.7, "the mask is on the liver"
    assert "Taken from a" in page.page.locator(".trust").inner_text()
    page.page.keyboard.press("Control+z")
    page.wait_until_idle()
    assert page.volumes() == {}
    assert not page.tinted(0).any()
    page.page.keyboard.press("Control+y")
    page.wait_until_idle()
    page.page.reload()
    page.page.wait_for_selector("body[data-shows=work][data-opened=yes]")
    page.wait_until_idle()
    assert list(page.volumes()) == ["liver"]
    assert "Taken from a" in page.page.locator(".trust").inner_text()
    assert not page.errors
    assert not page.foreign_requests()


def test_an_example_is_dropped_and_the_work_is_stopped(serve, opened, bodies):
    scan, (image, labels) = bodies
    page = opened(serve(scan, "--model", "ellipse")).wait_for_scan(*grid(body(TARGET)[0]))
    page.page.get_by_role("button", name="Take from another scan").click()
    dialog = page.page.get_by_role("dialog")
    take = dialog.get_by_role("button", name="Take", exact=True)
    assert take.is_disabled(), "nothing is chosen yet"
    files = dialog.locator("input[type=file]").first
    files.set_input_files([image])
    page.page.wait_for_selector("dialog .status.warn")
    assert "expected a scan and its label map" in dialog.locator(".status").inner_text()
    files.set_input_files([image, labels])
    dialog.locator(".labelled li").wait_for()
    take.click()
    page.page.get_by_role("button", name="Stop (Esc)").click()
    page.wait_until_idle()
    assert "nothing was changed" in page.message
    assert page.volumes() == {}
    assert page.page.locator(".found").inner_text() == ""


def test_what_goes_wrong_is_said_and_stays_to_be_read(serve, opened, bodies, tmp_path):
    scan, _ = bodies
    volume = io.read(scan)
    itself = written(volume, body(TARGET)[1], tmp_path, "same")
    server = serve(scan, "--example", pair(itself), "--model", "ellipse")
    page = opened(server).wait_for_scan(*grid(volume))
    page.page.get_by_role("dialog").get_by_role("button", name="Take", exact=True).click()
    page.page.wait_for_selector(".found .warn", timeout=60_000)
    assert "the scan itself" in page.page.locator(".found").inner_text()
    page.page.get_by_role("button", name="Close this list").click()
    assert page.page.locator(".found").inner_text() == ""


def test_each_lesion_then_and_now_and_where_it_is(serve, opened, visits):
    scan, then, truth = visits
    volume = io.read(scan)
    server = serve(scan, "--prior", pair(then), "--days", "60", "--model", "ellipse")
    page = opened(server, width=1440, height=900).wait_for_scan(*grid(volume))
    dialog = page.page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.get_by_label("Days between").input_value() == "60"
    dialog.get_by_role("button", name="Compare", exact=True).click()
    page.page.wait_for_selector(".lesions", timeout=120_000)
    page.wait_until_idle()
    page.page.wait_for_timeout(300)
    rows = [row.inner_text().split() for row in page.page.locator(".lesions tbody tr").all()]
    assert [row[0] + row[1] for row in rows] == ["lesion1", "lesion2", "lesion3"]
    assert "gone" in rows[2]
    assert rows[0][-1].startswith("+")
    assert rows[1][-1].startswith("−")
    assert rows[2][-1] == "−100"
    assert "60 days apart" in page.page.locator(".follow-up").inner_text()

    for number in (2, 1):
        page.page.locator(".lesions tbody tr").nth(number - 1).click()
        page.page.wait_for_timeout(200)
        middle = np.argwhere(truth.voxels == 10 * number).mean(axis=0)
        shown = page.page.locator(".where")  # what is under the mouse is told below
        page.page.mouse.move(*page.screen(0, middle[1] + 0.5, middle[2] + 0.5))
        index = round(float(middle[0]))
        assert f"lesion {number}" in page.page.locator(".trust h2").inner_text()
        assert abs(int(shown.inner_text().split()[3]) - index) <= 1, "its slice is shown"
        assert page.tinted(0)[round(middle[1]), round(middle[2])], "and its mask is on it"

    page.page.keyboard.press("Delete")
    page.page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    page.wait_until_idle()
    assert "not in the list" in page.page.locator(".lesions tbody tr").first.inner_text()
    page.page.keyboard.press("Control+z")
    page.wait_until_idle()

    page.page.get_by_role("button", name="Then and now side by side").click()
    page.page.wait_for_timeout(500)
    names = [p.get_attribute("data-phase") for p in page.page.locator(".phase").all()]
    assert names == ["now", "then"]
    assert not page.errors


def canvases(page):
    return page.page.locator(".phase canvas").all()


def coloured(page):
    """(y, x, 3) of each phase as it is on the screen."""
    page.page.wait_for_timeout(150)
    shots = [canvas.screenshot() for canvas in canvases(page)]
    return [np.array(Image.open(BytesIO(shot)).convert("RGB")).astype(int) for shot in shots]


def pictures(page):
    return [picture.mean(axis=2) for picture in coloured(page)]


def test_phases_scroll_together_under_one_crosshair(serve, opened, phases):
    scan, other, volume = phases
    server = serve("--channel", f"art={scan}", "--channel", f"late={other}", "--model", "ellipse")
    page = opened(server, width=1440, height=900).wait_for_scan(*grid(volume))
    headers = [h.inner_text() for h in page.page.locator(".phase header").all()]
    assert "art" in headers[0]
    assert "late" in headers[1]
    assert "moved by" in headers[1]
    assert "mm" in headers[1]
    page.page.keyboard.press("m")
    first, second = pictures(page)
    assert first.shape == second.shape
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.98, "the same slice, aligned"

    canvas = canvases(page)[1]
    box = canvas.bounding_box()
    page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.page.mouse.wheel(0, -120)
    moved, along = pictures(page)
    assert np.abs(moved - first).max() > 20, "scrolled"
    assert np.corrcoef(moved.ravel(), along.ravel())[0, 1] > 0.98, "together"
    page.page.keyboard.down("Control")
    page.page.mouse.wheel(0, -300)
    page.page.keyboard.up("Control")
    larger, beside = pictures(page)
    assert np.abs(larger - moved).max() > 20, "nearer"
    assert np.corrcoef(larger.ravel(), beside.ravel())[0, 1] > 0.98, "together"
    page.page.keyboard.press("m")
    page.page.keyboard.press("r")

    page.page.keyboard.press("v")
    at = (box["width"] * 0.4, box["height"] * 0.45)
    page.page.mouse.click(box["x"] + at[0], box["y"] + at[1])
    page.page.wait_for_timeout(200)
    for picture in coloured(page):  # both lines go through the same place of each
        blue = picture[:, :, 2] - picture[:, :, 0]
        assert blue[:30, round(at[0]) - 8 : round(at[0]) + 9].max() > 20, "from above"
        assert blue[round(at[1]) - 8 : round(at[1]) + 9, :30].max() > 20, "from the left"
    page.page.get_by_role("radio", name="Coronal slices").click()
    first, second = pictures(page)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.97
    page.page.get_by_role("button", name="Back to three planes").click()
    assert page.page.locator(".plane[data-axis='1'] canvas").first.is_visible()
    assert not page.errors


def test_a_phase_that_comes_late_is_waited_for(serve, opened, phases):
    scan, other, volume = phases
    server = serve("--channel", f"art={scan}", "--channel", f"late={other}", "--model", "ellipse")
    page = opened(server, width=1440, height=900)
    page.page.add_init_script(
        "const fetched = window.fetch;"
        "const released = new Promise((release) => (window.release = release));"
        "window.fetch = async (url, ...rest) => {"
        "  if (String(url).includes('phase=')) await released;"
        "  return fetched(url, ...rest);"
        "};"
    )
    page.page.reload()
    page.page.wait_for_selector("body[data-shows=work][data-opened=no]")
    assert not canvases(page), "the scan is there before its phases"
    page.page.evaluate("window.release()")
    page.wait_for_scan(*grid(volume))
    assert len(canvases(page)) == 2
    assert not page.errors


def test_what_is_drawn_on_a_phase_is_drawn_on_all(serve, opened, phases):
    scan, other, volume = phases
    labels = body(TARGET)[1]
    truth = labels.voxels == 1
    server = serve("--channel", f"art={scan}", "--channel", f"late={other}", "--model", "two_class")
    page = opened(server, width=1440, height=900).wait_for_scan(*grid(volume))
    index = volume.shape[0] // 2
    rows, cols = np.nonzero(truth[index])
    high, wide = (volume.shape[a] * volume.spacing[a] for a in ROWS_COLS[0])
    box = canvases(page)[1].bounding_box()
    scale = min(box["width"] / wide, box["height"] / high) * 0.98

    def screen(row, col):
        right = (col - volume.shape[2] / 2) * volume.spacing[2] * scale
        down = (row - volume.shape[1] / 2) * volume.spacing[1] * scale
        return box["x"] + box["width"] / 2 + right, box["y"] + box["height"] / 2 + down

    page.page.keyboard.press("b")
    page.page.mouse.move(*screen(rows.min(), cols.min()))
    page.page.mouse.down()
    page.page.mouse.move(*screen((rows.min() + rows.max()) / 2, (cols.min() + cols.max()) / 2))
    page.page.mouse.move(*screen(rows.max() + 1, cols.max() + 1))
    page.page.mouse.up()
    page.page.locator(".objects .ml", has_text="ml").wait_for()
    page.wait_until_idle()
    tinted = [(p.max(axis=2) - p.min(axis=2) > 50).sum() for p in coloured(page)]
    assert min(tinted) > 500
    assert max(tinted) < 1.2 * min(tinted), "the same mask on both"


def test_a_phase_is_dropped_and_taken_away(serve, opened, phases):
    scan, other, volume = phases
    page = opened(serve(scan, "--model", "ellipse")).wait_for_scan(*grid(volume))
    page.page.get_by_role("button", name="Phases side by side").click()
    dialog = page.page.get_by_role("dialog")
    dialog.wait_for()
    add = dialog.get_by_role("button", name="Add", exact=True)
    assert add.is_disabled()
    dialog.locator("input[type=file]").first.set_input_files([other])
    page.page.wait_for_selector("dialog button.primary:enabled")
    assert dialog.get_by_label("Name").input_value() == "late"
    add.click()
    page.page.wait_for_selector(".phase[data-phase=late]", timeout=60_000)
    page.page.get_by_role("button", name="Take late away").click()
    page.page.wait_for_selector(".phases", state="hidden")
    assert page.page.locator(".plane[data-axis='0'] canvas").first.is_visible()
    assert not page.errors


def test_a_phase_of_somebody_elses_grid_is_seen_on_this_one(serve, opened, phases, tmp_path):
    """Another number of slices and another spacing: the same places beside each other."""
    scan, _, volume = phases
    thick = replace(volume, voxels=np.ascontiguousarray(volume.voxels[::2]))
    affine = volume.affine.copy()
    affine[:3, 0] *= 2
    other = tmp_path / "thick.nii.gz"
    io.write_volume(type(volume).from_array(thick.voxels, affine, modality="CT"), other)
    server = serve(
        "--channel", f"a={scan}", "--channel", f"b={other}", "--align", "header",
        "--model", "ellipse",
    )  # fmt: skip
    page = opened(server, width=1440, height=900).wait_for_scan(*grid(volume))
    page.page.keyboard.press("m")
    first, second = pictures(page)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9
