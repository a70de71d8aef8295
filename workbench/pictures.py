"""Segments the sample's five organs in the browser, one box each, and draws the manual's pictures.

Prints what it took: clicks, seconds, and the Dice of what was saved. ``python workbench/pictures.py
docs/images`` in a checkout with the tests' packages, Chromium and Node; with ``case`` behind it,
the picture of a project's case alone.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sammed.evaluation.metrics import dice  # noqa: E402
from sammed.io import read, read_labels  # noqa: E402
from sammed.project.folder import Project  # noqa: E402
from sammed.project.sources import find_scans  # noqa: E402
from tests.browser.conftest import FLAGS, Server  # noqa: E402
from tests.browser.pages import Workbench  # noqa: E402

SCAN = ROOT / "sample_data" / "phantom_ct.nii.gz"
LABELS = ROOT / "sample_data" / "phantom_labels.nii.gz"
NAMES = ROOT / "sample_data" / "phantom_labels.json"
QUALITY = 82


def names() -> list[tuple[int, str]]:
    """The sample's label values and what they stand for."""
    table: dict[str, str] = json.loads(NAMES.read_text())
    return [(int(value), name) for value, name in table.items()]


def main(folder: str, only: str = "") -> int:
    """Do it all, in a window of 1440 by 900."""
    from playwright.sync_api import sync_playwright

    subprocess.run([sys.executable, ROOT / "workbench" / "build_page.py"], check=True)
    with tempfile.TemporaryDirectory() as room, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        _draw_case(browser, Path(room), Path(folder) / "workbench_case.webp")
        if only == "case":
            return 0
        server = Server(SCAN, "-o", Path(room) / "organs.nii.gz", cwd=Path(room))
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            bench = Workbench(page, server.address)
            volume = read(SCAN)
            bench.wait_for_scan(volume.shape, volume.spacing)
            _work(bench, Path(room), lambda name: _shoot(page, Path(folder) / name))
        finally:
            server.end()
        start = Server(cwd=Path(room))
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            Workbench(page, start.address)
            page.get_by_text("Drop a scan here").wait_for()
            _shoot(page, Path(folder) / "workbench_start.webp")
        finally:
            start.end()
            browser.close()
    return 0


def _draw_case(browser: Any, room: Path, path: Path) -> None:
    """A case that was proposed, the third of twelve."""
    study = _study(room)
    server = Server(study, cwd=room)
    try:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        bench = Workbench(page, server.address)
        volume = read(room / "scans" / "patient-11.nii.gz")
        bench.wait_for_scan(volume.shape, volume.spacing)
        page.locator(".objects .ml", has_text="ml").nth(len(names()) - 1).wait_for()
        bench.wait_until_idle()
        bench.wheel_to(0, 44)
        page.wait_for_timeout(8000)  # the surfaces, and the end of the message
        _shoot(page, path)
    finally:
        server.end()


def _study(room: Path) -> Path:
    """A project of twelve such scans: two are accepted, the others proposed, one after mending."""
    truth = read_labels(LABELS)
    image = nib.load(SCAN)
    voxels = np.asarray(image.dataobj)
    (room / "scans").mkdir()
    for number in range(1, 13):
        changed = np.roll(voxels, number % 5, axis=2)  # each a file of its own
        changed = voxels if number == 11 else changed + np.int16(number)
        nib.save(
            nib.Nifti1Image(changed, image.affine, image.header),
            room / "scans" / f"patient-{number:02}.nii.gz",
        )
    project = Project.create(room / "study", {name: value for value, name in names()})
    project.add(find_scans([str(room / "scans" / "*.nii.gz")]))
    for number, case in enumerate(project.cases(), 1):
        labels = replace(truth, names={}, grid=case.volume().grid)
        if number < 4:
            project.accept(case.id, labels, seconds=170 - 40 * number, prompted=9 - 2 * number)
        elif number != 12:
            sure = 0.95 if number == 11 else 0.9 - number / 100
            dices = {name: round(sure - 0.03 * place, 2) for place, (_, name) in enumerate(names())}
            with case.held() as lease:
                change = {"state": "proposed", "model": "study.sammed", "estimated": dices}
                case.commit(lease, "propose", change, labels=labels)
    return project.folder


def _work(bench: Workbench, room: Path, shoot: Callable[[str], None]) -> None:
    truth = read_labels(LABELS)
    page, clicks, started = bench.page, 0, time.perf_counter()
    shoot("workbench_opened.webp")
    for value, name in names():
        voxels = truth.voxels == value
        index = int(voxels.sum(axis=(1, 2)).argmax())
        rows, cols = np.nonzero(voxels[index])
        bench.wheel_to(0, index)
        bench.name(name)
        bench.drag(0, (rows.min(), cols.min()), (rows.max() + 1, cols.max() + 1))
        clicks += 1
        if name == "spleen":
            page.wait_for_timeout(250)
            shoot("workbench_first_slice.webp")
        bench.wait_until_idle()
    seconds = time.perf_counter() - started
    page.wait_for_timeout(6000)  # the surfaces
    shoot("workbench.webp")
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    shoot("workbench_doubtful.webp")
    page.keyboard.press("Control+s")
    page.get_by_role("dialog").wait_for()
    shoot("workbench_save.webp")
    page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    page.locator("dialog").wait_for(state="detached")
    _report(room / "organs.nii.gz", clicks, seconds)


def _report(path: Path, clicks: int, seconds: float) -> None:
    found = read_labels(path)
    print(f"{clicks} boxes, {seconds:.0f} s with the model's work")
    reference = np.asarray(nib.load(LABELS).dataobj)
    saved = np.asarray(nib.load(path).dataobj)
    values = {name: value for value, name in found.names.items()}
    for value, name in names():
        score = dice(saved == values[name], reference == value)
        print(f"{name:14} Dice {score:.3f}")


def _shoot(page: Any, path: Path) -> None:
    """A screenshot as small as it may be: it is for the manual, and every clone carries it."""
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(path, quality=QUALITY, method=6)
    print(f"{path}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
