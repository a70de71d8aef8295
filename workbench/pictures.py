"""Segments the sample's five organs in the browser, one box each, and draws the manual's pictures.

Prints what it took: clicks, seconds, and the Dice of what was saved. ``python workbench/pictures.py
docs/images`` in a checkout with the tests' packages, Chromium and Node; with a project behind it,
such as ``make demo-loop`` leaves in ``out/loop/study``, the picture of its next case alone; with
``others`` the pictures of other scans beside one alone.
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
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sammed.imaging.masks import dice  # noqa: E402
from sammed.imaging.volume import LabelVolume  # noqa: E402
from sammed.io import read, read_labels, write_labels, write_volume  # noqa: E402
from sammed.synthesis.abdomens import ORGANS, make_abdomen  # noqa: E402
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
        if study == "others":
            shown: list[tuple[list[str | Path], Draw]] = _others(Path(room))
        elif study:
            shown = [([Path(study).absolute()], _draw_case)]
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
    page.wait_for_selector("body[data-shows=work][data-opened=yes]")
    page.locator(".objects .ml", has_text="ml").first.wait_for()
    bench.wait_until_idle()
    page.locator(".objects .pick").first.click()  # goes to where it is
    page.wait_for_timeout(8000)  # the surfaces, and the end of the message
    _shoot(page, folder / "workbench_case.webp")


def _others(room: Path) -> list[tuple[list[str | Path], Draw]]:
    """Synthetic bodies, lesions then and now, and phases, in files; what is drawn of them."""
    new, drawn = make_abdomen(7)
    late = np.roll(new.voxels.astype(np.float32), 2, axis=2)
    bright = new.voxels + 150.0 * (drawn.voxels == ORGANS["aorta"])
    bright += 80.0 * np.isin(drawn.voxels, (ORGANS["kidney_left"], ORGANS["kidney_right"]))
    noise = np.random.default_rng(1).normal(0, 6, (2, *new.shape))
    for name, values in (("arterial", bright + noise[0]), ("late", late + noise[1])):
        voxels = np.rint(values).astype(np.int16)
        write_volume(replace(new, voxels=voxels), room / f"{name}.nii.gz")
    gone = np.where(drawn.voxels == ORGANS["kidney_left"], -85, new.voxels).astype(np.int16)
    write_volume(new, room / "native.nii.gz")
    write_volume(replace(new, voxels=gone), room / "new.nii.gz")
    examples: list[str | Path] = []
    for seed in (12, 13, 14):
        volume, labels = make_abdomen(seed)
        write_volume(volume, room / f"{seed}.nii.gz")
        write_labels(labels, room / f"{seed}_labels.nii.gz")
        examples += ["--example", f"{room}/{seed}.nii.gz,{room}/{seed}_labels.nii.gz"]
    _visits(room)
    then = f"{room}/then.nii.gz,{room}/then_labels.nii.gz"
    out = ["-o", room / "out.nii.gz"]
    phases = [f"{name}={room}/{name}.nii.gz" for name in ("native", "arterial", "late")]
    return [
        ([room / "new.nii.gz", *examples, *out], _draw_examples),
        ([room / "now.nii.gz", "--prior", then, "--days", "90", *out], _draw_follow_up),
        ([text for phase in phases for text in ("--channel", phase)], _draw_phases),
    ]


def _visits(room: Path) -> None:
    """A body with lesions in its liver, and again: one has grown, one shrunk, one is gone."""
    volume, labels = make_abdomen(21)
    liver = np.argwhere(ndimage.binary_erosion(labels.voxels == ORGANS["liver"], iterations=3))
    rng = np.random.default_rng(3)
    centres = liver[rng.permutation(len(liver))[[0, 40, 80]]]
    grid = np.indices(volume.shape)
    spacing = np.reshape(volume.spacing, (3, 1, 1, 1))
    for name, radii in (("then", (12, 11, 9)), ("now", (15, 8, 0))):
        values = volume.voxels.astype(np.float32)
        drawn = np.zeros(volume.shape, np.uint8)
        for number, (centre, mm) in enumerate(zip(centres, radii, strict=True), 1):
            away = np.sqrt((((grid - np.reshape(centre, (3, 1, 1, 1))) * spacing) ** 2).sum(axis=0))
            values = np.where(away < mm, 30 + 0.1 * values, values)
            drawn[away < mm] = number
        noisy = values + rng.normal(0, 6, values.shape)
        write_volume(
            replace(volume, voxels=np.rint(noisy).astype(np.int16)), room / f"{name}.nii.gz"
        )
        names = {n: f"lesion {n}" for n in (1, 2, 3)}
        write_labels(LabelVolume(drawn, volume.grid, names), room / f"{name}_labels.nii.gz")


def _answered(bench: Workbench, act: str, until: str) -> None:
    """The dialog that is open at the start, and what comes of it, surfaces as well."""
    page = bench.page
    dialog = page.get_by_role("dialog")
    dialog.wait_for(timeout=60_000)
    for box in dialog.locator(".labelled input").all():
        box.check()
    dialog.get_by_role("button", name=act, exact=True).click()
    page.wait_for_selector(until, timeout=600_000)
    bench.wait_until_idle()
    page.wait_for_timeout(8000)


def _draw_examples(bench: Workbench, room: Path, folder: Path) -> None:
    _answered(bench, "Take", ".found li")
    bench.page.locator(".objects .pick").first.click()
    bench.wheel_to(0, 17)
    bench.page.wait_for_timeout(1500)
    _shoot(bench.page, folder / "workbench_examples.webp")


def _draw_follow_up(bench: Workbench, room: Path, folder: Path) -> None:
    _answered(bench, "Compare", ".lesions")
    page = bench.page
    page.get_by_role("button", name="Then and now side by side").click()
    page.locator(".lesions tbody tr").first.click()
    page.wait_for_timeout(1000)
    _shoot(page, folder / "workbench_follow_up.webp")


def _draw_phases(bench: Workbench, room: Path, folder: Path) -> None:
    bench.page.wait_for_selector(".phase", timeout=60_000)
    bench.page.wait_for_timeout(1500)
    _shoot(bench.page, folder / "workbench_phases.webp")


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
