"""What a user might say of an object on a field, drawn from the object itself.

Any mix of prompts; then clicks into the network's own errors. Places are chosen in coarse cells
first, so that thick parts of an object, or of an error, are clicked more often than thin ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.volume_net import Fields
from sammed.synthesis.field_samples import FAMILIES
from sammed.training.volume_batches import FieldBatch

CELL = 4
"""Samples along each side of the cells in which places are chosen."""

ADDED: dict[str, dict[str, float]] = {
    "box": {"in": 0.15, "out": 0.1, "slab": 0.08, "painted": 0.06, "stroke": 0.05, "former": 0.08},
    "slice": {"in": 0.12, "out": 0.1, "painted": 0.04, "stroke": 0.04, "former": 0.06},
    "free": {"out": 0.25, "former": 0.05},
    "close": {"in": 0.1, "out": 0.1, "former": 0.85},
}
"""How often something is said besides, by what was said first."""

FREE: dict[str, float] = {"in": 0.5, "stroke": 0.25, "painted": 0.25}
"""What is said first where there is no box, and how often."""


@dataclass(frozen=True)
class Picker:
    """Source of places: random numbers on the device of a batch."""

    rng: np.random.Generator
    noise: torch.Generator

    @classmethod
    def of(cls, rng: np.random.Generator, device: torch.device | str) -> Picker:
        """Seeded by ``rng``."""
        noise = torch.Generator(device=device)
        noise.manual_seed(int(rng.integers(2**62)))
        return cls(rng, noise)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1)."""
        return torch.rand(shape, generator=self.noise, device=self.noise.device)

    def places(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A place in each mask, and how thick the mask is there.

        Parameters
        ----------
        mask : (n, s, s, s) bool

        Returns
        -------
        places : (n, 3) float32
            Centres of samples that are true; NaN where the mask is empty.
        thickness : (n,) float32
            Share of the neighbourhood that is true; 0 where the mask is empty.
        """
        n, size = len(mask), mask.shape[-1]
        share = functional.avg_pool3d(mask[:, None].float(), CELL)
        thick = functional.avg_pool3d(share, 3, 1, 1) * (share > 0)
        cells = thick.flatten(1)
        chosen = (cells * (0.5 + 0.5 * self.uniform(n, cells.shape[1]))).argmax(1)
        side = size // CELL
        corner = torch.stack((chosen // side**2, chosen // side % side, chosen % side), 1) * CELL
        inner = torch.arange(CELL, device=mask.device)
        z, y, x = (corner[:, a, None] + inner for a in range(3))
        rows = torch.arange(n, device=mask.device)[:, None, None, None]
        part = mask[rows, z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]].flatten(1)
        within = (part * (0.5 + self.uniform(n, CELL**3))).argmax(1)
        offset = torch.stack((within // CELL**2, within // CELL % CELL, within % CELL), 1)
        places = (corner + offset).float() + 0.5
        thickness = cells.amax(1)
        return torch.where(thickness[:, None] > 0, places, torch.nan), thickness


def shown(batch: FieldBatch, prompts: Tensor) -> Fields:
    """What the network sees of a batch with these prompts."""
    size = batch.image.shape[-1]
    boxed = (batch.family == _number("box")) | (batch.family == _number("close"))
    block = torch.where(boxed[:, None, None], batch.box, torch.nan)
    inside = drawing.blocks(batch.edges, size).float()
    return Fields(batch.image, inside, prompts, block, batch.step, batch.voxel)


def _number(family: str) -> int:
    return list(FAMILIES).index(family)


def first_prompts(rng: np.random.Generator, batch: FieldBatch, alone: bool = False) -> Tensor:
    """What a user says first of each object, (n, len(PROMPTS), s, s, s) float32.

    Parameters
    ----------
    rng
        Source of randomness.
    batch
        The fields; of those with a box their own.
    alone
        Say one thing only (and of objects seen closely the coarse answer).
    """
    n, size = len(batch), batch.image.shape[-1]
    picker = Picker.of(rng, batch.image.device)
    prompts = drawing.no_prompts(n, size, batch.image.device)
    families = [list(FAMILIES)[f] for f in batch.family.tolist()]
    blocks = shown(batch, prompts).block
    prompts[:, drawing.BOX] = drawing.box_channel(blocks, size)
    slices = torch.where(blocks.isnan(), batch.box, torch.nan)
    prompts[:, drawing.SLAB] = drawing.slab_channel(slices, batch.axis, size)
    said = [_said(rng, family, alone) for family in families]
    for name, channel in CLICKS.items():
        rows = [row for row, names in enumerate(said) if name in names]
        if rows:
            _click(picker, batch, prompts, rows, channel)
    for row, names in enumerate(said):
        for name in names:
            if name not in CLICKS:
                SAY[name](picker, batch.rows(slice(row, row + 1)), prompts[row])
    return prompts


def _said(rng: np.random.Generator, family: str, alone: bool) -> list[str]:
    first = [str(rng.choice(list(FREE), p=list(FREE.values())))] if family == "free" else []
    if alone:
        return [*first, *(["former"] if family == "close" else [])]
    return [*first, *(name for name, share in ADDED[family].items() if rng.random() < share)]


def _click(
    picker: Picker, batch: FieldBatch, prompts: Tensor, rows: list[int], channel: int
) -> None:
    """One to four clicks in the objects of some rows, or beside them, all rows at once."""
    target = batch.target[rows]
    mask = target if channel == drawing.CLICK_IN else _beside(target)
    counts = picker.rng.choice((1, 2, 3, 4), size=len(rows), p=(0.6, 0.2, 0.1, 0.1))
    places = torch.stack([picker.places(mask)[0] for _ in range(int(counts.max()))], 1)
    wanted = np.arange(places.shape[1]) < counts[:, None]
    known = torch.from_numpy(wanted).to(places.device)[..., None]
    drawn = drawing.click_channel(torch.where(known, places, torch.nan), mask.shape[-1])
    prompts[rows, channel] = drawn


def _beside(target: Tensor) -> Tensor:
    """What lies near an object but not in it."""
    coarse = functional.max_pool3d(target[:, None].float(), CELL)
    near = functional.max_pool3d(coarse, 3, 1, 1)
    whole = functional.interpolate(near, scale_factor=float(CELL), mode="nearest")[:, 0] > 0
    return whole & ~target


def _slice_at(one: FieldBatch, axis: int, place: float) -> tuple[float, float]:
    """Ends in samples of the image's slice across an axis that holds a place."""
    return slice_ends(place, float(one.edges[0, axis, 0]), float(one.voxel[0, axis]))


def slice_ends(place: float, first: float, voxel: float) -> tuple[float, float]:
    """Ends of the slice that holds a place, of slices so thick that begin at ``first``.

    Examples
    --------
    >>> slice_ends(7.0, 5.0, 1.5)
    (6.5, 8.0)
    """
    index = float(np.floor((place - first) / voxel))
    return first + index * voxel, first + (index + 1) * voxel


def _plane(picker: Picker, one: FieldBatch) -> tuple[int, Tensor]:
    """An axis, and which samples (s,) lie on one slice across it that shows the object."""
    axis = int(picker.rng.integers(3))
    place = picker.places(one.target)[0][0, axis]
    ends = torch.tensor(_slice_at(one, axis, float(place)), device=one.image.device)
    return axis, drawing.intervals(ends, one.image.shape[-1])


def _along(on: Tensor, axis: int) -> Tensor:
    """Which samples lie on a slice, for broadcasting over (s, s, s)."""
    return on.reshape([-1 if a == axis else 1 for a in range(3)])


def _say_slab(picker: Picker, one: FieldBatch, prompts: Tensor) -> None:
    axis, on = _plane(picker, one)
    section = one.target[0] & _along(on, axis)
    if not section.any():
        return
    spans = []
    for a in range(3):
        filled = section.movedim(a, 0).flatten(1).any(1).nonzero()[:, 0]
        low, high = float(filled[0]), float(filled[-1] + 1)
        off = picker.rng.uniform(-0.06, 0.06, 2) * (high - low)
        spans.append((low + off[0], high + off[1]))
    first = on.nonzero()[:, 0]
    spans[axis] = float(first[0]), float(first[-1] + 1)
    span = torch.tensor(spans, device=one.image.device, dtype=torch.float32)[None]
    across = torch.tensor([axis], device=one.image.device)
    slab = drawing.slab_channel(span, across, prompts.shape[-1])[0]
    prompts[drawing.SLAB] = drawing.joined(prompts[drawing.SLAB], slab)


def _say_painted(picker: Picker, one: FieldBatch, prompts: Tensor) -> None:
    for _ in range(int(picker.rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))):
        axis, on = _plane(picker, one)
        given = _along(on, axis).expand_as(one.target[0])
        painted = drawing.signed(one.target[0], given)
        prompts[drawing.PAINTED] = torch.where(given, painted, prompts[drawing.PAINTED])


def _say_stroke(picker: Picker, one: FieldBatch, prompts: Tensor) -> None:
    wanted = [(drawing.STROKE_IN, one.target)]
    if picker.rng.random() < 0.35:
        wanted.append((drawing.STROKE_OUT, _beside(one.target)))
    for channel, mask in wanted:
        line = _stroke(picker, mask)
        drawn = drawing.stroke_channel(line[None], prompts.shape[-1])[0]
        prompts[channel] = torch.maximum(prompts[channel], drawn)


def _stroke(picker: Picker, mask: Tensor) -> Tensor:
    """Points (k, 3) of a bent line on a slice, as far as it runs within a mask (1, s, s, s)."""
    axis = int(picker.rng.integers(3))
    start = picker.places(mask)[0][0]
    if start.isnan().any():
        return start.new_empty((0, 3))
    on = torch.zeros(mask.shape[-1], dtype=torch.bool, device=mask.device)
    on[int(start[axis])] = True
    others = [picker.places(mask & _along(on, axis))[0][0] for _ in range(2)]
    along = torch.linspace(0, 1, 2 * mask.shape[-1], device=mask.device)[:, None]
    line = (1 - along) ** 2 * start + 2 * along * (1 - along) * others[0] + along**2 * others[1]
    z, y, x = line.floor().long().clamp(0, mask.shape[-1] - 1).unbind(1)
    return line[mask[0, z, y, x]]


def _say_former(picker: Picker, one: FieldBatch, prompts: Tensor) -> None:
    """A former answer, coarse and with errors of its own."""
    size = one.target.shape[-1]
    coarse = functional.avg_pool3d(one.target[:, None].float(), CELL)
    amount = float(picker.rng.choice((0.0, 0.25, 0.6)))
    wave = picker.uniform(1, 1, size // 8, size // 8, size // 8) - 0.5
    wave = functional.interpolate(wave, size=coarse.shape[2:], mode="trilinear")
    blurred = functional.avg_pool3d(coarse, 3, 1, 1) if picker.rng.random() < 0.5 else coarse
    near = blurred + amount * wave * (functional.max_pool3d(coarse, 3, 1, 1) > 0)
    whole = functional.interpolate(near, size=(size,) * 3, mode="trilinear")[0, 0]
    level, sharpness = picker.rng.uniform(0.3, 0.6), np.exp(picker.rng.uniform(1.5, 3.0))
    prompts[drawing.FORMER] = drawing.former_channel((whole - level) * sharpness)


SAY: dict[str, Callable[[Picker, FieldBatch, Tensor], None]] = {
    "slab": _say_slab,
    "painted": _say_painted,
    "stroke": _say_stroke,
    "former": _say_former,
}
"""How each thing is said: drawn onto a row's channels, in place."""

CLICKS: dict[str, int] = {"in": drawing.CLICK_IN, "out": drawing.CLICK_OUT}
"""What is said by clicks, of all rows at once: most often, and a GPU waits for each small step."""


def corrected(
    rng: np.random.Generator, batch: FieldBatch, prompts: Tensor, logits: Tensor
) -> Tensor:
    """Prompts after one more click, where the answer is most wrong, beside the answer itself.

    Parameters
    ----------
    rng
        Source of randomness.
    batch
        The fields.
    prompts
        What was said so far; not changed.
    logits : (n, s, s, s)
        What the network answered to that.
    """
    picker = Picker.of(rng, batch.image.device)
    found = logits > 0
    missed, missed_thick = picker.places(batch.target & ~found)
    beyond, beyond_thick = picker.places(found & ~batch.target)
    more = prompts.clone()
    more[:, drawing.FORMER] = drawing.former_channel(logits.float())
    wanted = missed_thick >= beyond_thick
    for channel, places, these in (
        (drawing.CLICK_IN, missed, wanted),
        (drawing.CLICK_OUT, beyond, ~wanted),
    ):
        clicks = torch.where(these[:, None], places, torch.nan)
        drawn = drawing.click_channel(clicks[:, None], prompts.shape[-1])
        more[:, channel] = torch.maximum(more[:, channel], drawn)
    return more
