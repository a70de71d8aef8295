"""What a person in the workbench waits for, in a real browser, against the engine in this process.

``python -m benchmarks.workbench`` prints a table and writes benchmarks/results/workbench.json. The
browser draws in software, and shares the cores with the server.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.machine import describe
from sammed.imaging.boxes import Box2D
from sammed.io import read, read_labels
from sammed.models.registry import build
from sammed.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from tests.browser.conftest import FLAGS, Server, chromium
from tests.browser.pages import Workbench

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample_data" / "phantom_ct.nii.gz"
LABELS = ROOT / "sample_data" / "phantom_labels.nii.gz"
RESULTS = Path(__file__).parent / "results" / "workbench.json"
SPLEEN = 2
SIZE = (512, 512, 200)
LOOKING = 3000
"""ms between one thing that is done and the next, in which the 3D view is drawn."""

TARGETS = {
    "first picture beyond reading, s": 3.0,
    "first slice beyond the engine's, s": 0.3,
    "object against the engine's": 1.15,
    "click to corrected slice, s": 0.4,
    "server's memory beyond a session, volumes": 1.0,
    "page, first load, MB": 4.0,
    "memory after the edits against before": 1.1,
}


def main() -> int:
    """Measure everything and say what was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=1000, help="edits in a row")
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many counts")
    said = parser.parse_args()
    subprocess.run([sys.executable, ROOT / "workbench" / "build_page.py"], check=True)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        found |= large(chromium, Path(folder), said.rounds)
        found |= one_object(chromium, Path(folder), said.rounds)
        found |= many_edits(chromium, Path(folder), said.edits)
    for what, value in found.items():
        target = TARGETS.get(what)
        state = "" if target is None else ("met" if value <= target else "MISSED")
        wanted = "" if target is None else f"(target {target:g})"
        print(f"{what:<44} {value:8.3f} {wanted} {state}")
    RESULTS.write_text(json.dumps({"machine": describe(), "found": found}, indent=2) + "\n")
    return 0


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, drawing in software."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield launched
        launched.close()


@contextmanager
def workbench(chromium: Any, scan: Path, folder: Path) -> Iterator[tuple[Server, Workbench]]:
    """The page of a scan."""
    server = Server(scan, "-o", folder / f"{time.time_ns()}.nii.gz", cwd=folder)
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    try:
        yield server, Workbench(context.new_page(), server.address)
    finally:
        context.close()
        server.end()


def large(chromium: Any, folder: Path, rounds: int) -> dict[str, float]:
    """A scan of 512 x 512 x 200: from the command to the picture, and the server's memory."""
    path = folder / "large.nii"
    k, j, i = np.ogrid[: SIZE[2], : SIZE[1], : SIZE[0]]
    body = ((k - 100) / 90) ** 2 + ((j - 256) / 180) ** 2 + ((i - 256) / 230) ** 2 < 1
    noise = np.random.default_rng(1).integers(-20, 20, SIZE, np.int16)
    voxels = np.where(body.transpose(2, 1, 0), np.int16(40), np.int16(-1000)) + noise
    nib.save(nib.Nifti1Image(voxels, np.diag([0.8, 0.8, 1.5, 1.0])), path)
    started = time.perf_counter()
    volume = read(path)
    volume.voxels.sum()  # from the disk
    reading = time.perf_counter() - started
    firsts = []
    for _ in range(rounds):
        started = time.perf_counter()
        with workbench(chromium, path, folder) as (server, bench):
            bench.page.wait_for_selector("body[data-shows=work]", timeout=120_000)
            mark(bench, "opened")
            firsts.append(time.perf_counter() - started)
            loaded = weight(bench)
            bench.page.wait_for_timeout(LOOKING)  # the model is loaded meanwhile
            resident = memory(server)
    first = statistics.median(firsts)
    session = session_memory(path)
    nbytes = volume.voxels.nbytes / 2**20
    return {
        "first picture, s": first,
        "reading alone, s": reading,
        "first picture beyond reading, s": first - reading,
        "server's memory beyond a session, volumes": (resident - session) / nbytes,
        "page, first load, MB": loaded,
    }


def session_memory(path: Path) -> float:
    """MB of a process that has the scan and a model in a session, and nothing else."""
    code = (
        "import sys\nfrom sammed import Session, load_model, read\n"
        "session = Session(read(sys.argv[1]), load_model('compact'))\n"
        "session.volume.voxels.sum()\n"
        "print(open('/proc/self/status').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    return resident_mb(done.stdout)


def memory(server: Server) -> float:
    return resident_mb(Path(f"/proc/{server.process.pid}/status").read_text())


def resident_mb(status: str) -> float:
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def weight(bench: Workbench) -> float:
    """MB of the page itself, without voxels."""
    sizes = bench.page.evaluate(
        "performance.getEntriesByType('resource').filter(e => !e.name.includes('/api/'))"
        ".map(e => e.decodedBodySize)"
    )
    return sum(sizes) / 2**20


def one_object(chromium: Any, folder: Path, rounds: int) -> dict[str, float]:
    """The sample's spleen from one box, then a click; medians of the rounds."""
    volume = read(SAMPLE)
    truth = read_labels(LABELS).voxels == SPLEEN
    index = int(truth.sum(axis=(1, 2)).argmax())
    rows, cols = np.nonzero(truth[index])
    box = (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
    outside = int(rows.min()), int(cols.min())
    model = build("compact")
    page: list[Waited] = []
    engine: list[Waited] = []
    with workbench(chromium, SAMPLE, folder) as (_, bench):
        bench.wait_for_scan(volume.shape, volume.spacing)
        bench.page.wait_for_timeout(4000)  # the model is loaded
        bench.wheel_to(0, index)
        for number in range(rounds + 1):  # another box each time, or nothing is stale
            drawn = Box2D(box[0], box[1], box[2] + number, box[3])
            page.append(in_the_page(bench, drawn, outside))
            engine.append(by_the_engine(Session(volume, model), index, drawn, outside))
    slices, objects, clicks = (middle(page[1:], what) for what in ("slice", "object", "click"))
    ratios = [p.object / e.object for p, e in zip(page[1:], engine[1:], strict=True)]
    return {
        "first slice, s": slices,
        "first slice beyond the engine's, s": slices - middle(engine[1:], "slice"),
        "object, s": objects,
        "object, the engine's, s": middle(engine[1:], "object"),
        "object against the engine's": statistics.median(ratios),
        "click to corrected slice, s": clicks,
        "click, the engine's, s": middle(engine[1:], "click"),
    }


@dataclass(frozen=True)
class Waited:
    """Seconds to the first slice of a box, to its whole object, to the slice of a click."""

    slice: float
    object: float
    click: float


def middle(rounds: list[Waited], what: str) -> float:
    return statistics.median(getattr(waited, what) for waited in rounds)


def in_the_page(bench: Workbench, box: Box2D, outside: tuple[int, int]) -> Waited:
    """What is seen; the page is left without prompts, at rest."""
    forget(bench)
    bench.drag(0, (box.r0, box.c0), (box.r1, box.c1))
    first = mark(bench, "slice") - mark(bench, "edit")
    bench.wait_until_idle()
    whole = mark(bench, "object") - mark(bench, "edit")
    bench.page.wait_for_timeout(LOOKING)
    forget(bench)
    bench.page.keyboard.press("o")
    bench.click(0, *outside)
    click = mark(bench, "slice") - mark(bench, "edit")
    bench.wait_until_idle()
    bench.page.keyboard.press("b")
    for _ in range(2):
        bench.page.keyboard.press("Control+z")
    bench.wait_until_idle()
    bench.page.wait_for_timeout(LOOKING)
    return Waited(first / 1000, whole / 1000, click / 1000)


def by_the_engine(session: Session, index: int, box: Box2D, outside: tuple[int, int]) -> Waited:
    """The same in this process, while the page is at rest."""
    shown: list[float] = []

    def seconds() -> tuple[float, float]:
        shown.clear()
        started = time.perf_counter()
        session.segment(prompted=lambda *_: shown.append(time.perf_counter()))
        return shown[0] - started, time.perf_counter() - started

    session.put(ObjectPrompts("spleen", boxes=(BoxPrompt(0, index, box),)))
    first, whole = seconds()
    session.add("spleen", PointPrompt((index, *outside), False))
    return Waited(first, whole, seconds()[0])


def many_edits(chromium: Any, folder: Path, edits: int) -> dict[str, float]:
    """Clicks and undos in a row: what the server holds, and whether each step arrived."""
    volume = read(SAMPLE)
    truth = read_labels(LABELS).voxels == SPLEEN
    index = int(truth.sum(axis=(1, 2)).argmax())
    rows, cols = np.nonzero(truth[index])
    with workbench(chromium, SAMPLE, folder) as (server, bench):
        bench.wait_for_scan(volume.shape, volume.spacing)
        bench.wheel_to(0, index)
        bench.drag(0, (rows.min(), cols.min()), (rows.max() + 1, cols.max() + 1))
        bench.wait_until_idle()
        inside = int(np.median(rows)), int(np.median(cols))
        sizes, undone = [], 0
        for number in range(edits):
            bench.page.keyboard.press("p")
            bench.click(0, inside[0] + number % 5, inside[1] + number // 5 % 5)
            bench.page.keyboard.press("Control+z")
            if number % max(edits // 10, 1) == 0:
                bench.wait_until_idle()
                sizes.append(memory(server))
        bench.wait_until_idle()
        sizes.append(memory(server))
        undone = int("click" not in bench.page.locator(".trust .said").inner_text())
    print("server's MB over the edits:", ", ".join(f"{size:.0f}" for size in sizes))
    return {
        "memory after the edits against before": sizes[-1] / sizes[1],
        "all edits undone": undone,
    }


def mark(bench: Workbench, name: str) -> float:
    """When the page noted it first, in its own ms; waits until it has."""
    for _ in range(600):
        found = bench.page.evaluate(f"performance.getEntriesByName('{name}').map(e => e.startTime)")
        if found:
            return float(found[0])
        bench.page.wait_for_timeout(50)
    raise SystemExit(f"the page never noted {name!r}")


def forget(bench: Workbench) -> None:
    bench.page.evaluate("performance.clearMarks()")


if __name__ == "__main__":
    raise SystemExit(main())
