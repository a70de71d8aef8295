"""What goes wrong while someone works: ends, reloads, second pages, stops, full disks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sammed.io import read
from tests.browser.pages import Workbench
from tests.browser.test_workbench import AFFINES, blob, grid, save
from tests.io.dicom.make_series import make_series, straight_affine
from tests.phantoms import dice

pytestmark = pytest.mark.thorough


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    nib.save(blob(AFFINES["as it lies"]), path)
    return path


def draw(page: Workbench, scan: Path) -> int:
    """A box round the object on its middle slice."""
    truth = read(scan).voxels > 50
    middle = int(np.median(np.nonzero(truth)[0]))
    page.wheel_to(0, middle)
    rows, cols = np.nonzero(truth[middle])
    page.drag(0, (rows.min(), cols.min()), (rows.max() + 1, cols.max() + 1))
    page.wait_until_idle()
    return middle


def test_a_killed_server_has_lost_nothing(serve, opened, scan):
    server = serve(scan, "--model", "two_class")
    page = opened(server).wait_for_scan(*grid(scan))
    page.name("bar with knob")
    middle = draw(page, scan)
    before = page.tinted(0)
    server.kill()
    page.page.wait_for_selector(".cover:not([hidden])")
    again = opened(serve(scan, "--model", "two_class")).wait_for_scan(*grid(scan))
    again.wait_until_idle()
    again.wheel_to(0, middle)
    assert list(again.volumes()) == ["bar with knob"]
    assert dice(again.tinted(0), before) > 0.99
    again.page.keyboard.press("Control+z")
    again.wait_until_idle()
    assert not again.tinted(0).any()


def test_a_reload_changes_nothing(serve, opened, scan):
    page = opened(serve(scan, "--model", "two_class")).wait_for_scan(*grid(scan))
    middle = draw(page, scan)
    before = page.tinted(0)
    page.page.reload()
    page.wait_for_scan(*grid(scan))
    page.wait_until_idle()
    page.wheel_to(0, middle)
    assert dice(page.tinted(0), before) > 0.99
    assert "token" not in page.page.url


def test_a_break_of_the_network_heals(serve, opened, scan):
    page = opened(serve(scan, "--model", "two_class")).wait_for_scan(*grid(scan))
    page.page.evaluate("window.dispatchEvent(new Event('offline'))")
    page.page.context.set_offline(True)
    page.page.wait_for_timeout(200)
    page.page.context.set_offline(False)
    page.wait_until_idle()
    draw(page, scan)
    assert page.tinted(0).any()


def test_a_second_page_looks_on_until_it_takes_over(serve, opened, scan):
    server = serve(scan, "--model", "two_class")
    first = opened(server).wait_for_scan(*grid(scan))
    second = opened(server).wait_for_scan(*grid(scan))
    assert second.page.locator(".looks-on").is_visible()
    middle = draw(first, scan)
    second.wheel_to(0, middle)
    second.page.locator(".objects li").wait_for()
    assert dice(second.tinted(0), first.tinted(0)) > 0.99
    second.drag(0, (5, 5), (12, 12))
    assert "looks on" in second.message
    second.page.get_by_role("button", name="Work on this page").click()
    first.page.wait_for_selector(".looks-on:not([hidden])")
    second.page.keyboard.press("Control+z")
    second.wait_until_idle()
    first.page.locator(".objects li").wait_for(state="detached")


@pytest.mark.alone
def test_escape_stops_within_half_a_second(serve, opened, tmp_path):
    sample = Path("sample_data/phantom_ct.nii.gz").resolve()
    page = opened(serve(sample, "-o", tmp_path / "o.nii.gz")).wait_for_scan(*grid(sample))
    page.page.keyboard.press("3")
    page.drag(0, (20, 20), (100, 130))
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(".status-bar progress:not([hidden])", timeout=60_000)
    page.page.locator(".hint", has_text="slices").wait_for(timeout=60_000)
    started = time.perf_counter()
    page.page.keyboard.press("Escape")
    page.page.wait_for_selector("body[data-working=no]", timeout=5000)
    seconds = time.perf_counter() - started
    assert seconds < 1.0, (
        seconds
    )  # half a second of the engine's, and a browser's on a busy machine
    assert "stopped" in page.message


def test_a_file_is_not_replaced_without_a_question(serve, opened, scan, tmp_path):
    out = tmp_path / "out.nii.gz"
    page = opened(serve(scan, "--model", "two_class", "-o", out)).wait_for_scan(*grid(scan))
    draw(page, scan)
    save(page)
    first = out.read_bytes()
    page.page.keyboard.press("Control+z")
    page.page.keyboard.press("Control+y")
    page.wait_until_idle()
    out.write_bytes(b"someone else's")
    page.page.keyboard.press("Control+s")
    page.page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    question = page.page.get_by_role("dialog", name="Replace?")
    question.wait_for()
    question.get_by_role("button", name="Cancel").click()
    assert out.read_bytes() == b"someone else's"
    page.page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    question.get_by_role("button", name="Replace").click()
    page.page.wait_for_selector("dialog", state="detached")
    assert nib.load(out).shape == nib.load(scan).shape
    assert len(out.read_bytes()) == pytest.approx(len(first), rel=0.1)


def test_ending_is_told(serve, opened, scan):
    server = serve(scan, "--model", "two_class")
    page = opened(server).wait_for_scan(*grid(scan))
    page.page.get_by_role("button", name="End sammed").click()
    page.page.wait_for_selector(".cover:not([hidden])")
    assert "ended" in page.page.locator(".cover").inner_text()
    assert server.process.wait(15) == 0


def test_of_several_series_one_is_chosen(serve, opened, tmp_path):
    noise = np.random.default_rng(3).integers(0, 60, (12, 40, 48), np.int16)
    noise[4:8, 10:30, 12:36] += 200
    for number, name in ((3, "scout"), (4, "abdomen")):
        folder = tmp_path / "scans" / name

        def named(dataset, _, number=number, name=name):
            dataset.SeriesNumber, dataset.SeriesDescription = number, name
            return dataset

        make_series(
            folder, noise.shape, straight_affine(), voxels=noise, seed=f"1.{number}", edit=named
        )
    page = opened(serve(tmp_path / "scans", "--model", "two_class"))
    cards = page.page.locator(".card")
    cards.nth(1).wait_for()
    assert "scout" in cards.nth(0).inner_text()
    assert page.page.locator(".card img").count() == 2
    page.page.get_by_role("button", name="Open abdomen").click()
    volume = read(tmp_path / "scans" / "abdomen")
    page.wait_for_scan(volume.shape, volume.spacing)
    assert "abdomen" in page.page.locator(".title").inner_text()
    page.drag(0, (10, 12), (30, 36))
    page.wait_until_idle()
    page.page.keyboard.press("Control+s")
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("DICOM SEG", exact=True).check()
    dialog.get_by_role("button", name="Save", exact=True).click()
    dialog.wait_for(state="detached")
    assert "saved" in page.message


class SlowWay:
    """A tunnel to a server in which everything takes its time, as over a poor line."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port, self._seconds = port, seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._carry, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _carry(self, reader, writer) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))

    async def _pass(self, reader, writer) -> None:
        while chunk := await reader.read(1 << 16):
            await asyncio.sleep(self._seconds)
            writer.write(chunk)
            await writer.drain()
        writer.close()

    def close(self) -> None:
        """Ends what is under way and the loop: a task left over complains in another test."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture
def slow_way():
    """Makes tunnels that are closed with the test, however it ends."""
    with contextlib.ExitStack() as ends:
        yield lambda port, seconds: ends.enter_context(contextlib.closing(SlowWay(port, seconds)))


def test_a_slow_line_only_takes_longer(serve, opened, scan, slow_way):
    server = serve(scan, "--model", "two_class")
    way = slow_way(server.port, 0.15)
    server.address = server.address.replace(f":{server.port}/", f":{way.port}/")
    page = opened(server).wait_for_scan(*grid(scan))
    truth = read(scan).voxels > 50
    middle = draw(page, scan)
    assert dice(page.tinted(0), truth[middle]) > 0.7
    page.page.keyboard.press("p")
    for number in range(3):  # faster than the answers come
        page.click(0, 17 + number, 12)
    page.wait_until_idle()
    assert "3 clicks inside" in page.page.locator(".trust .said").inner_text()
    assert not page.errors
