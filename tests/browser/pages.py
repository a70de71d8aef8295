"""The page as a test sees it: where voxels are on the screen, and what can be done."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROWS_COLS = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
MARGIN = 0.98
"""How much of its place a fitted slice takes, at most."""


class Workbench:
    """One page.

    Parameters
    ----------
    page
        Playwright's.
    address
        As the server printed it.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(address)

    def wait_for_scan(self, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Workbench:
        """Until the scan and what is beside it are here; (z, y, x) and mm are for `screen`."""
        self.shape, self.spacing = shape, spacing
        opened = "body[data-shows=work][data-opened=yes][data-working=no]"
        self.page.wait_for_selector(opened, timeout=60_000)
        self.page.wait_for_timeout(200)
        return self

    def screen(self, axis: int, row: float, col: float) -> tuple[float, float]:
        """Where a voxel edge of a fitted plane is on the page."""
        box = self.page.locator(f".plane[data-axis='{axis}'] canvas").bounding_box()
        x, y = self._on_canvas(axis, box, row, col)
        return box["x"] + float(x), box["y"] + float(y)

    def _on_canvas(self, axis: int, box: dict[str, float], row: Any, col: Any) -> tuple[Any, Any]:
        rows, cols = ROWS_COLS[axis]
        high, wide = self.shape[rows] * self.spacing[rows], self.shape[cols] * self.spacing[cols]
        scale = min(box["width"] / wide, box["height"] / high) * MARGIN
        down = (row - self.shape[rows] / 2) * self.spacing[rows] * scale
        right = (col - self.shape[cols] / 2) * self.spacing[cols] * scale
        return box["width"] / 2 + right, box["height"] / 2 + (down if axis == 0 else -down)

    def drag(self, axis: int, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button, from one (row, column) to another."""
        mouse = self.page.mouse
        mouse.move(*self.screen(axis, *start))
        mouse.down()
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        mouse.move(*self.screen(axis, *middle))
        mouse.move(*self.screen(axis, *end))
        mouse.up()

    def click(self, axis: int, row: int, col: int) -> None:
        """In the middle of a voxel."""
        self.page.mouse.click(*self.screen(axis, row + 0.5, col + 0.5))

    def wheel_to(self, axis: int, index: int) -> None:
        """Bring a slice up, by the keyboard of its slider."""
        strip = self.page.locator(f".tile[data-axis='{axis}'] .strip")
        strip.focus()
        self.page.keyboard.press("Home")
        for _ in range(index // 10):
            self.page.keyboard.press("PageUp")
        for _ in range(index % 10):
            self.page.keyboard.press("ArrowUp")
        self.page.wait_for_timeout(60)

    def name(self, name: str) -> None:
        """A new structure of that name."""
        self.page.keyboard.press("a")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")

    def wait_until_idle(self, timeout: float = 120) -> None:
        """Until what was asked for is done and drawn."""
        self.page.wait_for_selector("body[data-working=no]", timeout=timeout * 1000)
        self.page.wait_for_timeout(100)

    def picture(self, axis: int) -> NDArray[np.uint8]:
        """(y, x, 3) of a plane as it is on the screen."""
        shot = self.page.locator(f".plane[data-axis='{axis}'] canvas").screenshot()
        return np.array(Image.open(io.BytesIO(shot)).convert("RGB"))

    def tinted(self, axis: int) -> NDArray[np.bool_]:
        """Where a plane's picture is not grey, sampled in the middle of each voxel: the mask."""
        self.page.keyboard.press("m")  # without crosshair and boxes
        self.page.wait_for_timeout(60)
        picture = self.picture(axis).astype(int)
        self.page.keyboard.press("m")
        coloured = picture.max(axis=2) - picture.min(axis=2) > 30
        box = self.page.locator(f".plane[data-axis='{axis}'] canvas").bounding_box()
        rows, cols = (self.shape[a] for a in ROWS_COLS[axis])
        x, y = self._on_canvas(axis, box, *(np.indices((rows, cols)) + 0.5))
        at = np.rint(np.stack([y, x]) - 0.5).astype(int)
        inside = ((at >= 0) & (at < np.reshape(coloured.shape, (2, 1, 1)))).all(axis=0)
        return inside & coloured[tuple(np.where(inside, at, 0))]

    def volumes(self) -> dict[str, str]:
        """What the list of structures says: name and ml."""
        rows = self.page.locator(".objects li").all()
        return {r.locator(".name").inner_text(): r.locator(".ml").inner_text() for r in rows}

    @property
    def message(self) -> str:
        return self.page.locator(".status-bar .message").inner_text()

    @property
    def hint(self) -> str:
        return self.page.locator(".status-bar .hint").inner_text()

    def foreign_requests(self) -> list[str]:
        """Requests that left for somewhere else than the server."""
        own = re.match(r"http://([^/]+)/", self.address).group(1)
        mine = (f"http://{own}/", f"ws://{own}/", "blob:", "data:")
        return [url for url in self.requests if not url.startswith(mine)]
