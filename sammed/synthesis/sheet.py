"""A picture of many samples, to look at what the generator makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from sammed.synthesis.views import VIEW_SIZE, Sample, draw_samples

TARGET, BOX, PREVIOUS = (0, 230, 90), (255, 200, 0), (70, 130, 255)


def draw_sheet(path: Path, *, rows: int = 8, columns: int = 12, seed: int = 0) -> None:
    """Draw samples: target outline green, box yellow, the neighbouring slice's mask blue.

    Parameters
    ----------
    path
        Where to write the picture.
    rows, columns
        Number of samples.
    seed
        Which samples.
    """
    samples: list[Sample] = []
    key = 0
    while len(samples) < rows * columns:
        samples += draw_samples((seed, key), 2)
        key += 1
    side = VIEW_SIZE + 4
    sheet = Image.new("RGB", (columns * side, rows * side), (40, 40, 40))
    for index, sample in enumerate(samples[: rows * columns]):
        row, column = divmod(index, columns)
        sheet.paste(_tile(sample), (column * side + 2, row * side + 2))
    sheet.save(path)


def _tile(sample: Sample) -> Image.Image:
    image = sample.image.astype(np.float32)
    rgb = np.moveaxis(image, 0, -1) if sample.colour else np.repeat(image[1][..., None], 3, 2)
    rgb = np.clip(rgb * 255, 0, 255).astype(np.uint8)
    rgb[outline(sample.previous)] = PREVIOUS
    rgb[outline(sample.target)] = TARGET
    tile = Image.fromarray(rgb)
    draw = ImageDraw.Draw(tile)
    r0, c0, r1, c1 = (float(v) for v in sample.box)
    if sample.mode != "free":
        draw.rectangle((c0, r0, c1 - 1, r1 - 1), outline=BOX)
    draw.text((2, 1), f"{sample.kind} {sample.mode}", fill=(255, 90, 90))
    return tile


def outline(mask: NDArray[np.generic]) -> NDArray[np.bool_]:
    """The pixels of a mask that touch what is outside it."""
    inside = np.asarray(mask) > 0
    return np.asarray(inside & ~ndimage.binary_erosion(inside))
