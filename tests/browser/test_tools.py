"""Each tool and key, colour and single slices, small and large screens, without a mouse."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from sammed.io import read, read_labels
from tests.browser.pages import Workbench
from tests.browser.test_breaks import draw, scan  # noqa: F401
from tests.browser.test_workbench import AFFINES, blob, grid
from tests.phantoms import dice

pytestmark = pytest.mark.thorough

AXE = Path("workbench/node_modules/axe-core/axe.min.js").resolve()


@pytest.fixture
def page(serve, opened, scan) -> Workbench:  # noqa: F811
    return opened(serve(scan, "--model", "two_class")).wait_for_scan(*grid(scan))


def said(page: Workbench) -> str:
    return page.page.locator(".trust .said").inner_text()


def test_painted_slices_are_kept_as_they_are(page, scan):  # noqa: F811
    middle = draw(page, scan)
    before = page.tinted(0)
    page.page.keyboard.press("d")
    page.drag(0, (5, 5), (5, 12))
    page.wait_until_idle()
    after = page.tinted(0)
    assert after[5, 6:11].all()
    assert dice(after & before, before) > 0.98
    page.page.keyboard.press("e")
    page.drag(0, (5, 5), (5, 12))
    page.wait_until_idle()
    assert not page.tinted(0)[5, 6:11].any()
    assert "painted slices" in said(page)
    page.wheel_to(1, 20)
    page.page.keyboard.press("d")
    page.drag(1, (5, 5), (5, 12))
    assert "axial" in page.message
    page.wheel_to(0, middle)
    page.page.keyboard.press("Control+z")
    page.wait_until_idle()
    assert page.tinted(0)[5, 6:11].all()


@pytest.mark.parametrize(("key", "word"), [("s", "scribble"), ("l", "lasso")])
def test_strokes_say_inside_and_outside(page, scan, key, word):  # noqa: F811
    draw(page, scan)
    page.page.keyboard.press(key)
    page.drag(0, (18, 12), (20, 18))
    page.wait_until_idle()
    assert f"1 {word}" in said(page)
    page.page.keyboard.press("x")
    assert "not" in page.hint
    page.drag(0, (3, 3), (4, 9))
    page.wait_until_idle()
    assert f"2 {word}" in said(page)
    page.page.keyboard.press("Control+z")
    page.wait_until_idle()
    assert f"1 {word}" in said(page)


def test_c_goes_through_the_models_masks(serve, opened, scan):  # noqa: F811
    """compact has three guesses at one thing; the choice is the structure's own, and is undone."""
    page = opened(serve(scan)).wait_for_scan(*grid(scan))
    draw(page, scan)
    choice = page.page.get_by_role("radiogroup", name="Which of the model’s masks is meant")

    def chosen() -> str:
        return choice.locator("[aria-checked=true]").inner_text()

    assert chosen() == "Best mask"
    for expected in ("1", "2"):
        page.page.keyboard.press("c")
        page.wait_until_idle()
        assert chosen() == expected
    assert "mask 2 of 3" in page.message
    page.page.keyboard.press("Control+z")
    page.wait_until_idle()
    assert chosen() == "1"
    choice.get_by_text("Best mask").click()
    page.wait_until_idle()
    assert chosen() == "Best mask"


def test_a_3d_box_by_its_faces(page, scan):  # noqa: F811
    truth = read(scan).voxels > 50
    low, high = np.argwhere(truth).min(axis=0), np.argwhere(truth).max(axis=0) + 1
    middle = [int(v) for v in (low + high) // 2]
    for axis, index in enumerate(middle):
        page.wheel_to(axis, index)
    page.page.keyboard.press("3")
    page.drag(0, (low[1], low[2]), (high[1], high[2]))
    assert "Enter" in page.hint
    half = round(min((high[1] - low[1]) * 1.5, (high[2] - low[2]) * 1.5) / 3 / 2)
    column = (low[2] + high[2]) / 2
    page.drag(1, (middle[0] - half, column), (low[0], column))
    page.drag(1, (middle[0] + half + 1, column), (high[0], column))
    page.page.keyboard.press("Enter")
    page.wait_until_idle()
    assert "1 3D box" in said(page)
    shown = page.page.evaluate("document.querySelector('.objects .ml').textContent")
    expected = truth.sum() * 1.5 * 1.5 * 3 / 1000
    assert float(shown.split()[0]) == pytest.approx(expected, rel=0.25)


def test_a_colour_is_chosen_seen_and_saved(page, scan):  # noqa: F811
    draw(page, scan)
    swatch = page.page.get_by_label("Colour of structure 1")
    swatch.evaluate("e => { e.value = '#10c020'; e.dispatchEvent(new Event('change')); }")
    page.page.wait_for_timeout(150)
    picture = page.picture(0).astype(int)
    assert (picture[..., 1] - picture.max(axis=2) == 0)[page_green(picture)].all()
    assert page_green(picture).sum() > 50
    page.page.keyboard.press("Control+s")
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("3D Slicer segmentation", exact=True).check()
    dialog.get_by_role("button", name="Save", exact=True).click()
    dialog.wait_for(state="detached")
    saved = read_labels(scan.with_name("scan.labels.seg.nrrd"))
    assert saved.colours[1] == (0x10, 0xC0, 0x20)


def page_green(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 1] > picture[..., 0] + 60) & (picture[..., 1] > picture[..., 2] + 40)


def test_everything_without_a_mouse(page, scan):  # noqa: F811
    truth = read(scan).voxels > 50
    middle = int(np.median(np.nonzero(truth)[0]))
    rows, cols = np.nonzero(truth[middle])
    page.wheel_to(0, middle)
    canvas = page.page.locator(".plane[data-axis='0'] canvas")
    canvas.focus()
    keyboard = page.page.keyboard

    def go(start: int, end: int, forward: str, back: str) -> None:
        for _ in range(abs(end - start)):
            keyboard.press(forward if end > start else back)

    at = [n // 2 for n in truth.shape[1:]]
    go(at[0], rows.min(), "ArrowDown", "ArrowUp")
    go(at[1], cols.min(), "ArrowRight", "ArrowLeft")
    keyboard.press(" ")
    go(rows.min(), rows.max(), "ArrowDown", "ArrowUp")
    go(cols.min(), cols.max(), "ArrowRight", "ArrowLeft")
    keyboard.press(" ")
    page.wait_until_idle()
    assert "1 box" in said(page)
    assert dice(page.tinted(0), truth[middle]) > 0.7
    keyboard.press("n")
    assert "least sure" in page.message or "by hand" in page.message


def test_keys_help_windows_and_layouts(page):
    keyboard = page.page.keyboard
    keyboard.press("?")
    assert "box: drag it" in page.page.get_by_role("dialog").inner_text()
    keyboard.press("Escape")
    page.page.get_by_role("dialog").wait_for(state="detached")
    page.page.locator(".plane[data-axis='1'] canvas").hover()
    keyboard.press("f")
    assert page.page.locator(".plane[data-axis='1']").is_visible()
    assert not page.page.locator(".plane[data-axis='0']").is_visible()
    keyboard.press("f")
    assert page.page.locator(".plane[data-axis='0']").is_visible()
    before = page.picture(0)
    keyboard.press("w")
    page.page.wait_for_timeout(150)
    assert "window" in page.message
    assert (page.picture(0) != before).any()
    for key, tool in {"b": "box", "p": "inside", "o": "outside", "v": "look"}.items():
        keyboard.press(key)
        assert page.page.locator(f"[data-tool={tool}][aria-pressed=true]").count() == 1


def test_dragging_with_the_right_button_changes_the_window(page):
    before = page.page.locator("output.window").inner_text()
    x, y = page.screen(0, 10, 10)
    page.page.mouse.move(x, y)
    page.page.mouse.down(button="right")
    page.page.mouse.move(x + 60, y - 30)
    page.page.mouse.up(button="right")
    assert page.page.locator("output.window").inner_text() != before
    assert not page.volumes()


def test_the_voxel_under_the_mouse_is_the_files(page, scan):  # noqa: F811
    image = nib.load(scan)
    i, j, k = 21, 9, 14
    volume = read(scan)
    z, y, x = (
        int(v) for v in np.rint(np.linalg.inv(volume.grid.reorientation.to_file) @ [k, j, i, 1])[:3]
    )
    page.wheel_to(0, z)
    page.page.mouse.move(*page.screen(0, y + 0.5, x + 0.5))
    page.page.wait_for_timeout(100)
    told = page.page.locator(".where").inner_text()
    assert f"voxel {i}, {j}, {k} " in told
    assert told.split()[-1] == str(int(np.asarray(image.dataobj)[i, j, k]))


def test_a_colour_picture(serve, opened, tmp_path):
    voxels = np.zeros((60, 80, 3), np.uint8)
    voxels[..., 2] = 120
    voxels[20:40, 30:60] = (220, 160, 40)
    Image.fromarray(voxels).save(tmp_path / "polyp.png")
    server = serve(tmp_path / "polyp.png", "--model", "two_class")
    page = opened(server).wait_for_scan((1, 60, 80), (1.0, 1.0, 1.0))
    assert page.page.locator(".plane").filter(visible=True).count() == 1
    page.drag(0, (20, 30), (40, 60))
    page.wait_until_idle()
    assert page.volumes()
    assert not page.errors


@pytest.mark.parametrize("size", [(1280, 720), (3840, 2160)])
def test_it_fits_and_can_be_read_by_all(serve, opened, scan, size):  # noqa: F811
    if not AXE.exists():
        pytest.skip("axe-core is not installed")
    page = opened(serve(scan, "--model", "two_class"), *size).wait_for_scan(*grid(scan))
    draw(page, scan)
    for state in ("work", "save", "keys"):
        if state != "work":
            page.page.keyboard.press("Control+s" if state == "save" else "?")
            page.page.get_by_role("dialog").wait_for()
        page.page.evaluate(AXE.read_text())
        found = page.page.evaluate(
            "axe.run().then(r => r.violations.map(v => [v.id, v.nodes[0].html]))"
        )
        assert found == [], state
        page.page.keyboard.press("Escape")
    wide, high = page.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert (wide, high) == size


def test_the_start_page_takes_a_dropped_scan(serve, opened, tmp_path):
    path = tmp_path / "dropped.nii.gz"
    nib.save(blob(AFFINES["as it lies"]), path)
    page = opened(serve("--model", "two_class"))
    page.page.get_by_role("heading", name="Drop a scan here").wait_for()
    page.page.locator("input[type=file]").first.set_input_files(path)
    page.wait_for_scan(*grid(path))
    assert "dropped" in page.page.locator(".title").inner_text()


def test_what_cannot_be_read_is_said_in_the_page(serve, opened, tmp_path):
    path = tmp_path / "torn.nii.gz"
    path.write_bytes(b"no scan at all")
    page = opened(serve())
    page.page.locator("input[type=file]").first.set_input_files(path)
    page.page.locator(".start .status.warn").wait_for()
    assert "torn.nii.gz" in page.page.locator(".start .status").inner_text()


def test_what_is_drawn_while_an_undo_is_under_way_is_said_of_what_it_leads_to(page, scan):  # noqa: F811
    draw(page, scan)
    page.page.keyboard.press("p")
    for number in range(8):
        page.click(0, 18 + number % 3, 12 + number // 3)
        page.page.keyboard.press("Control+z")
    page.wait_until_idle()
    assert said(page) == "You drew: 1 box"
    page.click(0, 18, 12)
    page.page.keyboard.press("Control+z")
    page.click(0, 20, 16)
    page.wait_until_idle()
    assert said(page) == "You drew: 1 box, 1 click inside"


def test_another_model_sees_what_was_drawn(page, scan):  # noqa: F811
    draw(page, scan)
    before = page.tinted(0)
    page.page.get_by_role("button", name="two_class").click()
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Model").select_option("ellipse")
    dialog.get_by_label("Window").fill("nonsense")
    dialog.get_by_role("button", name="Apply").click()
    dialog.wait_for(state="detached")
    page.page.locator(".message.error", has_text="nonsense").wait_for()
    page.page.get_by_role("button", name="ellipse").click()
    dialog.get_by_label("Window").fill("auto")
    dialog.get_by_role("button", name="Apply").click()
    dialog.wait_for(state="detached")
    page.wait_until_idle()
    after = page.tinted(0)
    assert after.any()
    assert (after != before).any()
    assert "1 box" in said(page)


def test_the_other_keys(page, scan):  # noqa: F811
    draw(page, scan)
    keyboard, shown = page.page.keyboard, page.tinted(0)
    keyboard.press("h")
    assert not page.tinted(0).any()
    keyboard.press("h")
    keyboard.press("t")  # outlines alone
    assert page.tinted(0).sum() < shown.sum() / 4  # they run between voxels
    assert (np.ptp(page.picture(0).astype(int), axis=2) > 30).sum() > 100
    keyboard.press("t")
    keyboard.press("d")
    brush = page.page.locator(".brush")
    before = float(brush.inner_text().split()[0])
    keyboard.press("]")
    assert float(brush.inner_text().split()[0]) > before
    keyboard.press("[")
    assert float(brush.inner_text().split()[0]) == pytest.approx(before)
    keyboard.press("v")
    x, y = page.screen(0, 10, 10)
    page.page.mouse.move(x, y)
    keyboard.down("Control")
    page.page.mouse.wheel(0, -300)
    keyboard.up("Control")
    page.page.wait_for_timeout(150)
    zoomed = page.picture(0)
    keyboard.press("r")
    page.page.wait_for_timeout(150)
    assert (page.picture(0) != zoomed).any()
    assert dice(page.tinted(0), shown) > 0.98
    keyboard.press("Delete")
    page.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.wait_until_idle()
    assert not page.volumes()
    keyboard.press("Control+z")
    page.wait_until_idle()
    assert dice(page.tinted(0), shown) > 0.98


@pytest.mark.parametrize("key", ["b", "d", "s", "l"])
def test_what_is_drawn_over_two_slices_is_not_taken(page, scan, key):  # noqa: F811
    keyboard, mouse = page.page.keyboard, page.page.mouse
    keyboard.press(key)
    mouse.move(*page.screen(0, 10, 10))
    mouse.down()
    mouse.move(*page.screen(0, 20, 16))
    mouse.wheel(0, 120)
    page.page.wait_for_timeout(150)
    mouse.move(*page.screen(0, 22, 24))
    mouse.up()
    assert "slice changed" in page.message
    assert not page.page.locator(".trust .said").count()
