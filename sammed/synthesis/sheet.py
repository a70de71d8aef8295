"""A picture of many samples, to look at what the generator makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from sammed.synthesis.blocks import BlockSample, draw_blocks
from sammed.synthesis.views import Sample, draw_samples

COLOURS = 64
"""Of the picture: a quarter of the size of one in full colour, and no less to see."""

TARGET, BOX, PREVIOUS = (0, 230, 90), (255, 200, 0), (70, 130, 255)


def draw_sheet(path: Path, *, rows: int = 6, columns: int = 12, seed: int = 0) -> None:
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
    _paste([_tile(sample) for sample in samples[: rows * columns]], columns, path)


def draw_block_sheet(path: Path, *, rows: int = 6, columns: int = 3, seed: int = 0) -> None:
    """Draw samples for 3D boxes, each as five slices of its cube: target outline green.

    Parameters
    ----------
    path
        Where to write the picture.
    rows, columns
        Number of samples.
    seed
        Which samples.
    """
    samples: list[BlockSample] = []
    key = 0
    while len(samples) < rows * columns:
        samples += draw_blocks((seed, key), 2)
        key += 1
    _paste([_strip(sample) for sample in samples[: rows * columns]], columns, path)


def _paste(tiles: Sequence[Image.Image], columns: int, path: Path) -> None:
    """Tiles of one size beside and below each other, as a picture."""
    width, height = tiles[0].width + 4, tiles[0].height + 4
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (40, 40, 40))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(tile, (column * width + 2, row * height + 2))
    sheet.quantize(COLOURS).save(path, optimize=True)


def _strip(sample: BlockSample) -> Image.Image:
    slices = []
    for z in np.linspace(0, len(sample.image) - 1, 7).round().astype(int)[1:-1]:
        rgb = np.repeat(np.clip(sample.image[z] * 255.0, 0, 255).astype(np.uint8)[..., None], 3, 2)
        rgb[outline(sample.target[z])] = TARGET
        slices.append(rgb)
    strip = Image.fromarray(np.concatenate(slices, 1))
    strip = strip.resize((2 * strip.width, 2 * strip.height), Image.Resampling.NEAREST)
    ImageDraw.Draw(strip).text((2, 1), sample.kind, fill=(255, 90, 90))
    return strip


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
