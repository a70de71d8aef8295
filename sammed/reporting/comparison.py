"""Several models on one scan with the same prompts: one table and one picture, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sammed import api
from sammed.engine.progress import Progress
from sammed.engine.settings import Settings
from sammed.errors import Cancelled, LabelError, SammedError, SegmentationError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.masks import dice
from sammed.imaging.pictures import BACKGROUND, CAPTION_PX, GAP_PX, TEXT_COLOUR, side_by_side
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models.protocols import Model
from sammed.prompts import BoxPrompt, ObjectPrompts, PromptSet
from sammed.reporting.cutting import cut_out, titled
from sammed.views.slices import PLANES, choose_plane

Bool3 = NDArray[np.bool_]

PANEL_PX = 240
"""Longer side of a panel."""

ROOM = 0.3
"""Room round an object, as a share of its extent."""

LEAST_ROOM_MM = 15.0

REFERENCE_COLOUR, FOUND_COLOUR = (110, 220, 120), (255, 92, 92)

MOST_DRAWN = 8
"""So many objects are drawn, in the order of the prompts; the table has all."""


@dataclass(frozen=True)
class Entry:
    """One object as one model finds it.

    Attributes
    ----------
    model, object
        Their names.
    volume_ml
        Of what was found; 0 if nothing was.
    slices
        On which it was found.
    seconds
        Of segmenting all objects, shared out evenly; the model is loaded beforehand.
    predicted_iou
        Mean over the slices of the IoU that the engine expects; ``None`` if the model cannot tell.
    agreement
        Mean Dice with what the other models found; ``None`` without others.
    dice
        Dice with the reference; ``None`` without one.
    error
        Why nothing was found, or the model could not be used.
    """

    model: str
    object: str
    volume_ml: float = 0.0
    slices: int = 0
    seconds: float = 0.0
    predicted_iou: float | None = None
    agreement: float | None = None
    dice: float | None = None
    error: str = ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several models made of the same prompts.

    Attributes
    ----------
    volume, objects, window
        The scan, what was said, and how to show it.
    entries
        Model by model, object by object.
    labels
        By model the label map; models that could not be used have none.
    reference
        What was compared with, by object, (z, y, x) bool; empty without a reference.
    """

    volume: Volume
    objects: PromptSet
    window: Window
    entries: tuple[Entry, ...]
    labels: Mapping[str, LabelVolume]
    reference: Mapping[str, Bool3] = field(default_factory=dict)

    def rows(self) -> list[dict[str, object]]:
        """The entries as dictionaries, for tables and JSON."""
        return [asdict(entry) for entry in self.entries]


def compare_models(
    volume: Volume,
    objects: PromptSet,
    models: Mapping[str, Callable[[], Model]],
    settings: Settings | None = None,
    reference: Mapping[str, Bool3] | None = None,
    progress: Callable[[str, Progress], None] | None = None,
) -> Comparison:
    """Segment the same objects with several models.

    Parameters
    ----------
    volume
        The scan.
    objects
        Checked prompts, with label values.
    models
        By name how each is built. One that cannot be, or does not take the prompts, has its reason
        in the table; the others go on.
    settings
        Of the sessions.
    reference
        Of each object that is to be scored its true mask, (z, y, x) bool; see `truths`.
    progress
        Called with the model's name after each slice.

    Raises
    ------
    SegmentationError
        If no model found anything.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> spleen = api.gather_prompts(volume, boxes=["spleen=99,56,131,97@44"])
    >>> models = {name: lambda name=name: api.load_model(name) for name in ("two_class", "ellipse")}
    >>> found = compare_models(volume, spleen, models)
    >>> [(entry.model, entry.object) for entry in found.entries]
    [('two_class', 'spleen'), ('ellipse', 'spleen')]
    """
    entries: list[Entry] = []
    masks: dict[str, dict[str, Bool3]] = {}
    labels: dict[str, LabelVolume] = {}
    windows: list[Window] = []
    for name, build in models.items():
        try:
            session = api.make_session(volume, build(), objects, settings)
            started = time.perf_counter()
            session.segment(partial(progress, name) if progress else None)
        except Cancelled:
            raise
        except SammedError as error:
            entries += [Entry(name, obj.name, error=str(error)) for obj in objects]
            continue
        seconds = (time.perf_counter() - started) / max(len(session.objects), 1)
        labels[name], found = session.result(), {}
        windows.append(session.window)
        for obj in session.objects:
            run, found[obj.name] = session.runs[obj.name], session.object_mask(obj.name)
            calibrated = session.model.spec.calibrated and run.slices
            expected = float(np.mean([s.predicted_iou for s in run.slices])) if calibrated else None
            voxels = int(np.count_nonzero(found[obj.name]))
            entries.append(
                Entry(
                    name, obj.name, voxels * float(np.prod(volume.spacing)) / 1000,
                    len(run.slices), seconds, expected, error=run.error,
                )
            )  # fmt: skip
        masks[name] = found
    if not any(entry.volume_ml for entry in entries):
        reasons = dict.fromkeys(f"{e.model}: {e.error}" for e in entries)
        raise SegmentationError("no model found anything; " + "; ".join(reasons))
    true = reference or {}
    scored = tuple(_scored(entry, masks, true) for entry in entries)
    return Comparison(volume, objects, windows[0], scored, labels, true)


def truths(
    reference: LabelVolume, objects: PromptSet, values: Mapping[str, int]
) -> dict[str, Bool3]:
    """The objects' masks in a label map: by the values that are stated, else by their names.

    A label map that only counts its labels does not say which is which, so nothing is guessed.

    Parameters
    ----------
    reference
        On the grid of the scan.
    objects
        Those that are wanted.
    values
        Of objects whose value in the reference is stated.

    Raises
    ------
    LabelError
        If one is not there.
    """
    named = {name: value for value, name in reference.names.items() if name != f"label_{value}"}
    found = {}
    for obj in objects:
        value = values.get(obj.name, named.get(obj.name))
        mask = np.asarray(reference.voxels == (0 if value is None else value))
        if not value or not mask.any():
            there = ", ".join(f"{v} {n}" for n, v in named.items()) or "no names"
            raise LabelError(
                f"{obj.name!r} is not in the reference, which holds {there}; "
                f"say which value it has there: --label {obj.name}=VALUE"
            )
        found[obj.name] = mask
    return found


def _scored(
    entry: Entry, masks: Mapping[str, Mapping[str, Bool3]], reference: Mapping[str, Bool3]
) -> Entry:
    if entry.model not in masks:
        return entry
    own = masks[entry.model][entry.object]
    others = [m[entry.object] for name, m in masks.items() if name != entry.model]
    agreement = float(np.mean([dice(own, other) for other in others])) if others else None
    true = reference.get(entry.object)
    return replace(entry, agreement=agreement, dice=None if true is None else dice(own, true))


def draw_comparison(found: Comparison) -> Image.Image:
    """A sheet: a row an object, a column a model (and first the reference, if there is one)."""
    rows = []
    for obj in list(found.objects)[:MOST_DRAWN]:
        shown = _shown(found, obj)
        place = _place(found.volume, obj.boxes, list(shown.values()))
        if place is None:
            continue
        axis, index, region = place
        sizes = [n * s for n, s in zip(region.shape, _pixel(found.volume, axis), strict=True)]
        panels = []
        for name, labels in shown.items():
            panel = cut_out(
                found.volume, labels, found.window, axis, index, region, PANEL_PX / max(sizes)
            )
            panels.append(_widened(titled(panel, _title(found, name, obj.name))))
        rows.append(_named(side_by_side(panels), obj.name))
    return _stacked(rows)


def table(found: Comparison) -> list[str]:
    """The entries as lines of a table in plain text."""
    heads = ("model", "object", "ml", "slices", "s", "expected IoU", "agreement", "Dice")
    lines: list[tuple[str, ...]] = [heads]
    for e in found.entries:
        numbers = (f"{e.volume_ml:.4g}", str(e.slices), f"{e.seconds:.2f}")
        shares = ("–" if v is None else f"{v:.3f}" for v in (e.predicted_iou, e.agreement, e.dice))
        lines.append((e.model, e.object, *numbers, *shares))
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    texts = ["  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)) for line in lines]
    notes = dict.fromkeys(f"{e.model}: {e.error}" for e in found.entries if e.error)
    return [*(text.rstrip() for text in texts), *notes]


def _shown(found: Comparison, obj: ObjectPrompts) -> dict[str, LabelVolume]:
    """One object by what found it, the reference first."""
    shown = {}
    if obj.name in found.reference:
        shown["reference"] = _painted(found, found.reference[obj.name], REFERENCE_COLOUR)
    for model, labels in found.labels.items():
        shown[model] = _painted(found, labels.voxels == obj.label, FOUND_COLOUR)
    return shown


def _painted(found: Comparison, mask: Bool3, colour: tuple[int, int, int]) -> LabelVolume:
    return LabelVolume(mask.astype(np.uint8), found.volume.grid, {1: "object"}, {1: colour})


def _place(
    volume: Volume, boxes: Sequence[BoxPrompt], shown: list[LabelVolume]
) -> tuple[int, int, Box2D] | None:
    """The prompted slice, else that on which most is found by all; and the part to show of it."""
    masks = [labels.voxels > 0 for labels in shown if labels.voxels.any()]
    if not masks:
        return None
    axis = boxes[0].axis if boxes else PLANES[choose_plane("auto", volume)]
    others = tuple(a for a in range(3) if a != axis)
    areas = [mask.sum(others) for mask in masks]
    index = boxes[0].index if boxes else int(np.argmax(sum(a / a.max() for a in areas)))
    around = Box3D.from_mask(np.logical_or.reduce(masks)).across(axis)
    pixel = _pixel(volume, axis)
    room = [max(ROOM * n, LEAST_ROOM_MM / mm) for n, mm in zip(around.shape, pixel, strict=True)]
    height, width = (volume.shape[a] for a in others)
    return axis, index, around.expand(*room).clip((height, width))


def _pixel(volume: Volume, axis: int) -> list[float]:
    return [s for a, s in enumerate(volume.spacing) if a != axis]


def _title(found: Comparison, column: str, name: str) -> str:
    entry = next((e for e in found.entries if (e.model, e.object) == (column, name)), None)
    if entry is None:
        return column
    score = "" if entry.dice is None else f", Dice {entry.dice:.2f}"
    return f"{column}: {entry.volume_ml:.4g} ml{score}"


def _widened(panel: Image.Image) -> Image.Image:
    """The panel, wide enough for its caption."""
    if panel.width >= PANEL_PX:
        return panel
    wide = Image.new("RGB", (PANEL_PX, panel.height), BACKGROUND)
    wide.paste(panel, (0, 0))
    return wide


def _named(row: Image.Image, name: str) -> Image.Image:
    named = Image.new("RGB", (row.width, row.height + CAPTION_PX), BACKGROUND)
    named.paste(row, (0, CAPTION_PX))
    ImageDraw.Draw(named).text((GAP_PX, 4), name, fill=TEXT_COLOUR)
    return named


def _stacked(rows: list[Image.Image]) -> Image.Image:
    width = max((row.width for row in rows), default=PANEL_PX)
    tops = np.cumsum([0, *(row.height for row in rows)]).tolist()
    sheet = Image.new("RGB", (width, max(tops[-1], PANEL_PX)), BACKGROUND)
    for row, (top, _) in zip(rows, pairwise(tops), strict=True):
        sheet.paste(row, (0, top))
    return sheet
