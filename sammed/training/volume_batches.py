"""Batches of fields for the network for volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammed.synthesis.field_samples import FieldSample, draw_fields
from sammed.synthesis.source import Source
from sammed.training import stream

Arrays = dict[str, NDArray[Any]]

PER_VOLUME = 8
"""Samples drawn from one synthetic volume."""


@dataclass(frozen=True)
class FieldBatch:
    """Fields and what is asked for, as tensors on one device; ``s`` samples a side.

    Attributes
    ----------
    image : (n, s, s, s) float32
        Brightness in [0, 1]; 0 beyond the image.
    target : (n, s, s, s) bool
        The object.
    edges, box : (n, 3, 2) float32
        Where the image, and the box, begin and end in samples.
    voxel, step : (n, 3) float32
        Size of a voxel in samples; from one sample to the next in units of length.
    beyond : (n, 6) float32
        1 where the object goes on beyond a face.
    family, axis : (n,) int64
        See `FieldSample`.
    """

    image: Tensor
    target: Tensor
    edges: Tensor
    voxel: Tensor
    step: Tensor
    beyond: Tensor
    family: Tensor
    box: Tensor
    axis: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, which: slice) -> FieldBatch:
        """Some of its rows."""
        return FieldBatch(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def turned(self, order: Sequence[int], mirrored: Sequence[bool]) -> FieldBatch:
        """The same fields with their axes swapped, then mirrored.

        Parameters
        ----------
        order
            Which of the axes (0 z, 1 y, 2 x) becomes the first, the second, the third.
        mirrored
            Of each new axis, whether it runs the other way.
        """
        size = self.image.shape[-1]
        flips = [axis + 1 for axis in range(3) if mirrored[axis]]

        def volume(values: Tensor) -> Tensor:
            return values.permute(0, *(axis + 1 for axis in order)).flip(flips).contiguous()

        def ends(values: Tensor) -> Tensor:
            swapped = values[:, list(order)].clone()
            for axis in range(3):
                if mirrored[axis]:
                    swapped[:, axis] = size - swapped[:, axis].flip(-1)
            return swapped

        beyond = self.beyond.reshape(-1, 3, 2)[:, list(order)].clone()
        for axis in range(3):
            if mirrored[axis]:
                beyond[:, axis] = beyond[:, axis].flip(-1)
        new_axis = torch.tensor([list(order).index(axis) for axis in range(3)])
        return FieldBatch(
            volume(self.image),
            volume(self.target),
            ends(self.edges),
            self.voxel[:, list(order)],
            self.step[:, list(order)],
            beyond.flatten(1),
            self.family,
            ends(self.box),
            new_axis.to(self.axis.device)[self.axis],
        )


def make_chunk(
    seed: int, index: int, count: int, *, size: int, source: Source
) -> list[FieldSample]:
    """The samples of one chunk: a function of its arguments alone."""
    return stream.first_samples(
        lambda n: draw_fields((seed, index, n), PER_VOLUME, size, source), count
    )


def pack(rng: np.random.Generator, samples: Sequence[FieldSample]) -> Arrays:
    """Samples as plain arrays, small enough to send to another process."""
    del rng
    names = [f.name for f in fields(FieldBatch)]
    return {name: np.stack([np.asarray(getattr(s, name)) for s in samples]) for name in names}


def unpack(arrays: Mapping[str, NDArray[Any] | Tensor], device: torch.device | str) -> FieldBatch:
    """The batch that `pack` made, or rows of several, on a device."""
    tensors = {name: torch.as_tensor(array).to(device) for name, array in arrays.items()}
    kinds = {"target": torch.bool, "family": torch.int64, "axis": torch.int64}
    return FieldBatch(
        **{name: tensor.to(kinds.get(name, torch.float32)) for name, tensor in tensors.items()}
    )


def batches(plan: stream.StreamPlan, start: int, *, size: int, source: Source) -> Iterator[Arrays]:
    """Packed batches from step ``start`` on, in this process."""
    make = partial(make_chunk, size=size, source=source)
    return stream.drawn(plan, start, make, pack)
