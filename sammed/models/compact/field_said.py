"""What was said of an object, drawn on a field as its network hears it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sammed.imaging.boxes import Box3D
from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.field import Field
from sammed.prompts import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
)
from sammed.prompts.strokes import lasso_mask


def spans(field: Field, low: Sequence[float], high: Sequence[float]) -> Tensor:
    """A block's edges in samples, (1, 3, 2) float32."""
    return torch.from_numpy(field.spans(low, high)).float()[None]


def drawn_prompts(
    field: Field, interactions: Sequence[Interaction], shape: tuple[int, int, int]
) -> Tensor:
    """Interactions as channels on a field, (1, len(PROMPTS), s, s, s) float32.

    Parameters
    ----------
    field
        Where.
    interactions
        What was said of an object.
    shape
        Of the volume.
    """
    prompts = drawing.no_prompts(1, field.size)
    channels = prompts[0]
    clicks: dict[int, list[Sequence[float]]] = {drawing.CLICK_IN: [], drawing.CLICK_OUT: []}
    strokes: dict[int, list[Tensor]] = {drawing.STROKE_IN: [], drawing.STROKE_OUT: []}
    for said in interactions:
        if isinstance(said, Box3D):
            box = drawing.box_channel(spans(field, said.low, said.high), field.size)[0]
            channels[drawing.BOX] = drawing.joined(channels[drawing.BOX], box)
        elif isinstance(said, BoxPrompt):
            _add_slab(channels, field, said)
        elif isinstance(said, PointPrompt):
            clicks[drawing.CLICK_IN if said.positive else drawing.CLICK_OUT].append(said.at)
        elif isinstance(said, MaskPrompt):
            _add_painted(channels, field, said, shape)
        else:
            channel = drawing.STROKE_IN if said.positive else drawing.STROKE_OUT
            strokes[channel].append(_stroked(field, said))
    for channel, at in clicks.items():
        if at:
            places = torch.from_numpy(field.to_samples(np.array(at) + 0.5)).float()
            channels[channel] = drawing.click_channel(places[None], field.size)[0]
    for channel, lines in strokes.items():
        if lines:
            channels[channel] = drawing.stroke_channel(torch.cat(lines)[None], field.size)[0]
    return prompts


def _add_slab(channels: Tensor, field: Field, said: BoxPrompt) -> None:
    edges = spans(field, said.block.low, said.block.high)
    slab = drawing.slab_channel(edges, torch.tensor([said.axis]), field.size)[0]
    channels[drawing.SLAB] = drawing.joined(channels[drawing.SLAB], slab)


def _stroked(field: Field, said: ScribblePrompt | LassoPrompt) -> Tensor:
    """The samples that a stroke passes, or that a lasso surrounds, as points (k, 3)."""
    if isinstance(said, ScribblePrompt):
        voxels = said.voxels
    else:
        pixels = np.argwhere(lasso_mask(said)) + np.array((said.box.r0, said.box.c0))
        voxels = np.insert(pixels, said.axis, said.index, axis=1)
    return torch.from_numpy(field.to_samples(voxels + 0.5)).float()


def _add_painted(
    channels: Tensor, field: Field, said: MaskPrompt, shape: tuple[int, int, int]
) -> None:
    """Slices across the axis along which the fewest are painted."""
    painted = [said.slices(axis) for axis in range(3)]
    axis = int(np.argmin([len(indices) for indices in painted]))
    cube = field.cube(shape)
    across = [a for a in range(3) if a != axis]
    rows, cols = (cube.weights[a] for a in across)
    used = tuple(cube.used[a] for a in across)
    for index in painted[axis].tolist():
        low, high = [0.0, 0.0, 0.0], [float(n) for n in shape]
        low[axis], high[axis] = float(index), index + 1.0
        on = drawing.intervals(spans(field, low, high)[0, axis], field.size)
        section = np.take(said.voxels, index, axis)[used].astype(np.float32)
        inside = torch.from_numpy(rows @ section @ cols.T > 0.5).unsqueeze(axis)
        given = on.reshape([-1 if a == axis else 1 for a in range(3)])
        signs = drawing.signed(inside, torch.ones_like(inside)).expand_as(channels[0])
        channels[drawing.PAINTED] = torch.where(given, signs, channels[drawing.PAINTED])
