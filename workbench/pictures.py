"""Segments the sample's five organs in the browser, one box each, and draws the manual's pictures.

Prints what it took: clicks, seconds, and the Dice of what was saved. ``python workbench/pictures.py
docs/images`` in a checkout with the tests' packages, Chromium and Node; with a project behind it,
such as ``make demo-loop`` leaves in ``out/loop/study``, the picture of its next case alone.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sammed.evaluation.metrics import dice  # noqa: E402
from sammed.io import read, read_labels  # noqa: E402
from tests.browser.conftest import FLAGS, Server, chromium  # noqa: E402
from tests.browser.pages import Workbench  # noqa: E402

SCAN = ROOT / "sample_data" / "phantom_ct.nii.gz"
LABELS = ROOT / "sample_data" / "phantom_labels.nii.gz"
NAMES = ROOT / "sample_data" / "phantom_labels.json"
QUALITY = 82

Draw = Callable[[Workbench, Path, Path], None]


def names() -> list[tuple[int, str]]:
    """The sample's label values and what they stand for."""
    table: dict[str, str] = json.loads(NAMES.read_text())
    return [(int(value), name) for value, name in table.items()]


def main(folder: str, study: str = "") -> int:
    """Do it all, in a window of 1440 by 900."""
    from playwright.sync_api import sync_playwright

    subprocess.run([sys.executable, ROOT / "workbench" / "build_page.py"], check=True)
    with tempfile.TemporaryDirectory() as room, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        if study:
            shown: list[tuple[list[str | Path], Draw]] = [([Path(study).absolute()], _draw_case)]
        else:
            scan = [SCAN, "-o", Path(room) / "organs.nii.gz"]
            shown = [(scan, _draw_work), ([], _draw_start)]
        for arguments, draw in shown:
            server = Server(*arguments, cwd=Path(room))
            try:
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                draw(Workbench(page, server.address), Path(room), Path(folder))
            finally:
                server.end()
        browser.close()
    return 0


def _draw_start(bench: Workbench, room: Path, folder: Path) -> None:
    bench.page.get_by_text("Drop a scan here").wait_for()
    _shoot(bench.page, folder / "workbench_start.webp")


def _draw_case(bench: Workbench, room: Path, folder: Path) -> None:
    """The case of a project that is next, as it was proposed."""
    page = bench.page
    page.wait_for_selector("body[data-shows=work]")
    page.locator(".objects .ml", has_text="ml").first.wait_for()
    bench.wait_until_idle()
    page.locator(".objects .pick").first.click()  # goes to where it is
    page.wait_for_timeout(8000)  # the surfaces, and the end of the message
    _shoot(page, folder / "workbench_case.webp")


def _draw_work(bench: Workbench, room: Path, folder: Path) -> None:
    volume, truth = read(SCAN), read_labels(LABELS)
    bench.wait_for_scan(volume.shape, volume.spacing)

    def shoot(name: str) -> None:
        _shoot(bench.page, folder / name)

    page, clicks, started = bench.page, 0, time.perf_counter()
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
