"""The workbench as a person uses it, in a real browser."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sammed.io import read
from tests.browser.pages import Workbench
from tests.phantoms import dice

SAMPLE = Path("sample_data/phantom_ct.nii.gz").resolve()
LABELS = Path("sample_data/phantom_labels.nii.gz").resolve()

pytestmark = pytest.mark.thorough


def blob(affine: np.ndarray, shape: tuple[int, int, int] = (40, 36, 30)) -> nib.Nifti1Image:
    """A bright body without any symmetry: a bar with a knob at one end, on noise."""
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    bar = (abs(i - 15) < 6) & (abs(j - 20) < 4) & (abs(k - 14) < 5)
    knob = (i - 24) ** 2 + (j - 24) ** 2 + (k - 17) ** 2 < 30
    voxels = np.random.default_rng(5).normal(0, 8, shape) + 100 * (bar | knob)
    return nib.Nifti1Image(voxels.astype(np.int16), affine)


def grid(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Canonical extents and mm of a file."""
    volume = read(path)
    return volume.shape, volume.spacing


def save(page: Workbench) -> None:
    """With what is chosen at first: the label map and the prompts."""
    page.page.keyboard.press("Control+s")
    page.page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    page.page.wait_for_selector("dialog", state="detached")


def test_a_box_a_mask_a_file(serve, opened, tmp_path):
    page = opened(serve(SAMPLE, "-o", tmp_path / "organs.nii.gz")).wait_for_scan(*grid(SAMPLE))
    assert "box" in page.hint
    page.wheel_to(0, 44)
    page.name("spleen")
    volume, labels = read(SAMPLE), nib.load(LABELS)
    truth = volume.grid.reorientation.apply(np.asarray(labels.dataobj).T == 2)
    rows, cols = np.nonzero(truth[44])
    page.drag(0, (rows.min(), cols.min()), (rows.max() + 1, cols.max() + 1))
    page.wait_until_idle()
    assert dice(page.tinted(0), truth[44]) > 0.9
    assert page.volumes()["spleen"].endswith("ml")
    save(page)
    saved = np.asarray(nib.load(tmp_path / "organs.nii.gz").dataobj)
    assert dice(saved > 0, np.asarray(labels.dataobj) == 2) >= 0.95
    assert not page.errors
    assert not page.foreign_requests()


AFFINES = {
    "as it lies": np.diag([1.5, 1.5, 3.0, 1.0]),
    "left-handed": np.diag([-1.5, 1.5, 3.0, 1.0]),
    "turned axes": np.array([[0, 0, 3.0, 0], [-1.5, 0, 0, 9], [0, 1.5, 0, -4], [0, 0, 0, 1.0]]),
    "oblique": np.array(
        [[1.41, -0.513, 0, 3], [0.513, 1.41, 0, 5], [0, 0, 3.0, 7], [0, 0, 0, 1.0]]
    ),
}


@pytest.mark.parametrize("kind", AFFINES)
def test_masks_lie_on_the_object_in_all_planes(serve, opened, tmp_path, kind):
    """Drawn on the screen by hand, found on the screen, and right in the file."""
    scan, out = tmp_path / "scan.nii.gz", tmp_path / "found.nii.gz"
    nib.save(blob(AFFINES[kind]), scan)
    volume = read(scan)
    truth = volume.voxels > 50
    page = opened(serve(scan, "--model", "two_class", "-o", out)).wait_for_scan(*grid(scan))
    where = np.argwhere(truth)
    middle = [int(v) for v in np.median(where, axis=0)]
    page.wheel_to(0, middle[0])
    rows, cols = np.nonzero(truth[middle[0]])
    page.drag(0, (rows.min(), cols.min()), (rows.max() + 1, cols.max() + 1))
    page.wait_until_idle()
    for axis in (1, 2):  # the planes cut the new object in the middle of its box
        assert page.tinted(axis).any()
        page.wheel_to(axis, middle[axis])
    shown = [page.tinted(axis) for axis in range(3)]
    save(page)
    found = volume.grid.reorientation.apply(np.asarray(nib.load(out).dataobj).T) > 0
    assert dice(found, truth) > 0.7
    for axis in range(3):
        assert dice(shown[axis], found.take(middle[axis], axis)) > 0.99, f"plane {axis}"
    assert np.allclose(nib.load(out).affine, nib.load(scan).affine, atol=1e-4)
    assert not page.errors


def test_clicks_undo_and_rename(serve, opened, tmp_path):
    scan = tmp_path / "scan.nii.gz"
    nib.save(blob(AFFINES["as it lies"]), scan)
    truth = read(scan).voxels > 50
    page = opened(serve(scan, "--model", "two_class")).wait_for_scan(*grid(scan))
    middle = [int(v) for v in np.median(np.argwhere(truth), axis=0)]
    page.wheel_to(0, middle[0])
    rows, cols = np.nonzero(truth[middle[0]])
    page.drag(0, (rows.min(), cols.min()), (rows.max() + 1, cols.max() + 1))
    page.wait_until_idle()
    before = page.tinted(0)
    page.page.keyboard.press("o")
    inside = np.argwhere(truth[middle[0]])[0]
    page.click(0, *(int(v) for v in inside))
    page.wait_until_idle()
    assert "1 click outside" in page.page.locator(".trust").inner_text()
    page.page.keyboard.press("Control+z")
    page.wait_until_idle()
    assert "click" not in page.page.locator(".trust .said").inner_text()
    page.page.keyboard.press("v")
    assert dice(page.tinted(0), before) > 0.98
    page.page.keyboard.press("Control+y")
    page.wait_until_idle()
    assert "1 click outside" in page.page.locator(".trust").inner_text()
    pick = page.page.locator(".objects .pick")
    pick.focus()
    page.page.keyboard.press("F2")
    page.page.keyboard.type("liver")
    page.page.keyboard.press("Enter")
    page.wait_until_idle()
    assert list(page.volumes()) == ["liver"]
    assert not page.errors
