"""Pictures of single results: a slice with the outlines of reference and prediction."""

from __future__ import annotations

import base64
import io as memory
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.evaluation.manifest import Case
from sammed.evaluation.objects import mask_of, parse_key
from sammed.evaluation.parts import PartStore
from sammed.evaluation.results import Row
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.views.slices import PLANES, choose_plane

REFERENCE_COLOUR = "#ffffff"
PREDICTION_COLOUR = "#ff9d00"

MARGIN = 0.35
"""Room round the outlines, as a share of their extent."""

SIDE_INCHES = 2.1
DPI = 110

Bool3 = NDArray[np.bool_]


@dataclass(frozen=True)
class Picture:
    """One slice as PNG.

    Attributes
    ----------
    png
        Base64 text.
    title, note
        Which object, and its scores.
    """

    png: str
    title: str
    note: str


def choose_rows(rows: Iterable[Row], count: int) -> tuple[list[Row], list[Row]]:
    """The worst rows, and as many round the median, of scored rows of one seed.

    At most two of each are of one case, lest a single hard case fill the page.
    """
    ordered = sorted((r for r in rows if r.scored), key=lambda r: (r.dice, r.case, r.object))
    worst = _spread(ordered, count)
    middle = ordered[len(ordered) // 2].dice if ordered else 0.0
    rest = [r for r in ordered if r not in worst]
    typical = _spread(sorted(rest, key=lambda r: abs(r.dice - middle)), count)
    return worst, sorted(typical, key=lambda r: r.dice)


def _spread(rows: Sequence[Row], count: int, of_case: int = 2) -> list[Row]:
    taken: list[Row] = []
    for row in rows:
        if len(taken) < count and sum(t.case == row.case for t in taken) < of_case:
            taken.append(row)
    return taken


def draw_rows(
    rows: Sequence[Row], cases: Mapping[str, Case], store: PartStore, window: str = "auto"
) -> list[Picture]:
    """A picture for each row whose mask was kept, in order.

    Parameters
    ----------
    rows
        Of headline conditions.
    cases
        By id.
    store
        Where the masks are.
    window
        The intensity window's text.
    """
    pictures = {}
    for case_id in dict.fromkeys(row.case for row in rows):
        case = cases[case_id]
        volume = io.read(case.image)
        labels = io.read_labels(case.label, like=volume)
        for row in (r for r in rows if r.case == case_id):
            mask = store.mask(row.case, row.model, row.protocol, row.object, volume.shape)
            if mask is not None:
                reference = mask_of(labels.voxels, parse_key(row.label))
                pictures[row] = _picture(row, volume, reference, mask, window)
    return [pictures[row] for row in rows if row in pictures]


def _picture(row: Row, volume: Volume, reference: Bool3, mask: Bool3, window: str) -> Picture:
    plane = choose_plane("auto", volume)
    axis = PLANES[plane]
    others = tuple(a for a in range(3) if a != axis)
    wrong = (reference ^ mask).sum(axis=others)
    index = int(np.argmax(wrong if wrong.any() else reference.sum(axis=others)))
    outlines = [np.take(m, index, axis=axis) for m in (reference, mask)]
    seen = resolve_window(window, volume, volume.voxels[Box3D.from_mask(reference).slices])
    image = seen.apply(np.take(volume.voxels, index, axis=axis))
    pixel_mm = [volume.spacing[a] for a in others]
    frame = _frame(outlines, (pixel_mm[0], pixel_mm[1]))
    note = f"Dice {row.dice:.2f}, NSD {row.nsd:.2f}; {plane} {index}"
    return Picture(
        _png(image, outlines, frame, pixel_mm[0] / pixel_mm[1]), f"{row.case}: {row.object}", note
    )


def _frame(outlines: Sequence[NDArray[np.bool_]], pixel_mm: tuple[float, float]) -> Box2D:
    """A square in mm round both outlines, within the slice."""
    shape = outlines[0].shape
    box = Box2D.from_mask(outlines[0]).union(Box2D.from_mask(outlines[1]))
    if box.is_empty:
        return Box2D(0, 0, *shape)
    height, width = (n * mm for n, mm in zip(box.shape, pixel_mm, strict=True))
    side = max(height, width) * (1 + 2 * MARGIN)
    rows, cols = (side - height) / 2 / pixel_mm[0], (side - width) / 2 / pixel_mm[1]
    return box.expand(rows, cols).clip((shape[0], shape[1]))


def _png(
    image: NDArray[np.float32],
    outlines: Sequence[NDArray[np.bool_]],
    frame: Box2D,
    aspect: float,
) -> str:
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    height, width = frame.shape
    ratio = height * aspect / width
    figure = Figure(figsize=(SIDE_INCHES / max(ratio, 1), SIDE_INCHES * min(ratio, 1)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    grey: dict[str, Any] = {} if image.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 1}
    axes.imshow(image[frame.slices], aspect=aspect, interpolation="bilinear", **grey)
    for outline, colour in zip(outlines, (REFERENCE_COLOUR, PREDICTION_COLOUR), strict=True):
        part = np.pad(outline[frame.slices], 1).astype(float)
        if part.any():
            rows, cols = (np.arange(n) - 1 for n in part.shape)
            drawn = axes.contour(cols, rows, part, levels=[0.5], colors=[colour], linewidths=1.3)
            drawn.set_path_effects([withStroke(linewidth=2.4, foreground="black", alpha=0.55)])
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    out = memory.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, facecolor="black")
    return base64.b64encode(out.getvalue()).decode("ascii")
