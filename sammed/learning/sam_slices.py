"""Accepted cases as what segment-anything learns from: whole slices, and what is drawn on them.

Slices lie in the plane and under the window in which the engine would look at the structure, and
are embedded through the engine's own door: an embedding that ``sammed embed`` or an earlier round
has kept is found, and what is embedded here is found later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sammed.engine.decoding import SliceDecoder
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window, resolve_window
from sammed.learning.judging import Taught
from sammed.models.protocols import Embedding, ImageModel
from sammed.views.embeddings import EmbeddingStore, content_hash
from sammed.views.slices import PLANES, SliceStack, View, choose_plane

Mask = NDArray[np.bool_]

EACH = 12
"""Slices of a structure of a case that are shown, evenly spread; embedding one takes seconds."""

MOST = 240
"""Slices in all: half a gigabyte of embeddings, a quarter of an hour of ViT-B on two cores."""

Told = Callable[[int, int], None]
"""Takes how many slices are embedded, of how many; raises to stop."""


@dataclass(frozen=True, eq=False)
class ShownSlice:
    """A slice with the structures that are drawn on it.

    Attributes
    ----------
    levels : (c, h, w) uint8
        Windowed.
    view
        All of it, as the model sees it.
    masks : (h, w) bool
        By structure.
    beside : (h, w) bool
        Structure → the same on the slice before or after, where it is there.
    embedding
        Of the view; ``None`` where the encoder is to learn.
    """

    levels: NDArray[np.uint8]
    view: View
    masks: Mapping[str, Mask]
    beside: Mapping[str, Mask] = field(default_factory=dict)
    embedding: Embedding | None = None

    def pixels(self) -> NDArray[np.float32]:
        """What the model is shown, (c, h, w) of the view; see `ViewBatch`."""
        return self.view.render(self.levels.astype(np.float32) / np.float32(255), eight_bit=True)


@dataclass(frozen=True, eq=False)
class _Stack:
    """What is shown of a case under one window: slice → structures that it was chosen for."""

    case: Taught
    window: Window
    chosen: Mapping[int, Sequence[str]]


def make_slices(
    cases: Iterable[Taught],
    structures: Mapping[int, str],
    model: ImageModel,
    store: EmbeddingStore | None,
    told: Told = lambda done, total: None,
) -> list[ShownSlice]:
    """Slices of accepted cases, at most `MOST`.

    Parameters
    ----------
    cases
        Accepted ones.
    structures
        Value → name.
    model
        Whose views, and whose embeddings.
    store
        Where embeddings are kept; ``None``: none are made.
    told
        See `Told`; called after each slice.
    """
    stacks = [stack for case in cases for stack in _stacks(case, structures)]
    total = sum(len(stack.chosen) for stack in stacks)
    every = max(1.0, total / MOST)
    kept = {int(n * every) for n in range(min(total, MOST))}
    made: list[ShownSlice] = []
    number = 0
    for stack in stacks:
        here = range(number, number + len(stack.chosen))
        wanted = [index for n, index in zip(here, sorted(stack.chosen), strict=True) if n in kept]
        number += len(stack.chosen)
        for one in _shown(stack, wanted, structures, model, store):
            made.append(one)
            told(len(made), len(kept))
    return made


def _stacks(case: Taught, structures: Mapping[int, str]) -> Iterator[_Stack]:
    """A case once for each window under which the engine would look at its structures."""
    axis = PLANES[choose_plane("auto", case.volume)]
    chosen: dict[tuple[float, float], tuple[Window, dict[int, list[str]]]] = {}
    for value, name in structures.items():
        mask = np.asarray(case.labels == value)
        if not mask.any():
            continue
        region = case.volume.voxels[Box3D.from_mask(mask).slices]
        window = resolve_window("auto", case.volume, region)
        _, slices = chosen.setdefault((window.low, window.high), (window, {}))
        filled = np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))
        places = np.linspace(0, len(filled) - 1, min(EACH, len(filled))).round().astype(int)
        for index in filled[places]:
            slices.setdefault(int(index), []).append(name)
    for window, slices in chosen.values():
        yield _Stack(case, window, slices)


def _shown(
    stack: _Stack,
    wanted: Sequence[int],
    structures: Mapping[int, str],
    model: ImageModel,
    store: EmbeddingStore | None,
) -> Iterator[ShownSlice]:
    volume, names = stack.case.volume, {name for some in stack.chosen.values() for name in some}
    slices = SliceStack(volume, choose_plane("auto", volume), stack.window)
    decoder = None
    if store is not None and wanted:
        key = content_hash(volume.voxels)
        decoder = SliceDecoder(slices, model, store, key, zoom=None)
    labels = np.moveaxis(stack.case.labels, slices.axis, 0)
    values = {name: value for value, name in structures.items() if name in names}
    for index in wanted:
        view = View.whole(index, slices.shape, model.spec.view_size)
        masks = {name: labels[index] == value for name, value in values.items()}
        levels = np.rint(slices.image(index) * 255).astype(np.uint8)
        there = {name: mask for name, mask in masks.items() if mask.any()}
        beside = {name: _beside(labels == values[name], index) for name in there}
        yield ShownSlice(
            levels,
            view,
            there,
            {name: mask for name, mask in beside.items() if mask is not None},
            decoder.embed(view) if decoder else None,
        )


def _beside(mask: Mask, index: int) -> Mask | None:
    """The structure on the slice before, else after; ``None`` if it is on neither."""
    for other in (index - 1, index + 1):
        if 0 <= other < len(mask) and mask[other].any():
            return mask[other]
    return None
