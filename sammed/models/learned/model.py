"""A learned model as the engine knows it: structures by name, without a prompt."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.learned.file import Teaching, read_learned
from sammed.models.learned.sight import Seen, Shares, build_nets, look_at
from sammed.models.protocols import ImageModel, ModelSpec, VolumeImage, VolumeMask, Watch
from sammed.models.recipe import PLAIN

FAINT = 0.02
"""A structure's block holds all voxels with at least this share of it."""

LOUDEST = 16.0
"""Logits go no further."""


class LearnedModel:
    """What ``sammed learn`` made.

    Parameters
    ----------
    path
        Its file.
    device
        Where its networks run.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        See `sammed.models.learned.file.read_learned`.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        read = read_learned(path)
        self.teaching: Teaching = read.teaching
        self.card = read.card
        self._device = device
        self.nets = [net.to(device) for net in build_nets(read.teaching.plan, read.weights)]
        self._last: tuple[weakref.ref[Volume] | None, Mapping[str, VolumeMask]] = None, {}
        plan = read.teaching.plan
        self._spec = ModelSpec(
            name="learned",
            prompts=frozenset({"box", "points", "mask", "box3d"}),
            weights_hash=read.digest,
            license="as the cases that it learned from",
            engine="torch",
            recipe=PLAIN,
            structures={name: value for value, name in plan.structures.items()},
        )

    @property
    def spec(self) -> ModelSpec:
        """See `sammed.models.protocols.StructureModel`."""
        return self._spec

    @cached_property
    def prompted(self) -> ImageModel:
        """The built-in network."""
        from sammed.models.registry import build

        built = build("compact", device=self._device)
        if not isinstance(built, ImageModel):
            raise TypeError("compact answers prompts on slices")
        return built

    def find(self, image: VolumeImage, *, reporter: Watch) -> Mapping[str, VolumeMask]:
        """See `sammed.models.protocols.StructureModel`."""
        former, found = self._last
        if former is not None and former() is image.volume:
            return found
        found = self._look(image.volume, reporter)
        self._last = weakref.ref(image.volume), found
        return found

    def see(self, volume: Volume, check: Callable[[], None] = lambda: None) -> Seen:
        """What its looks show of a volume.

        Parameters
        ----------
        volume
            A scan.
        check
            Called often; raises to stop.
        """
        return look_at(volume, self.teaching.plan, self.nets, check, device=self._device)

    def _look(self, volume: Volume, reporter: Watch) -> Mapping[str, VolumeMask]:
        plan = self.teaching.plan
        seen = self.see(volume, reporter.check)
        if not seen.looks:
            return {name: nothing() for name in plan.structures.values()}
        shares = seen.shares
        return {
            name: _mask(shares, number, seen.block)
            for number, name in enumerate(plan.structures.values(), 1)
        }


def nothing() -> VolumeMask:
    """The answer of a structure that is not there."""
    return VolumeMask(Box3D(0, 0, 0, 0, 0, 0), np.zeros((0, 0, 0), np.float16), 0.0)


def _mask(shares: Shares, number: int, block: Box3D) -> VolumeMask:
    """One structure: how much more of it there is than of whatever else there is most of."""
    there = shares[number] > FAINT
    if not there.any():
        return nothing()
    inner = Box3D.from_mask(there)
    z, y, x = inner.slices
    cut = np.maximum(shares[:, z, y, x], np.exp(-LOUDEST))
    others = np.delete(cut, number, axis=0).max(0)
    logits = (np.log(cut[number]) - np.log(others)).clip(-LOUDEST, LOUDEST)
    low = [a + b for a, b in zip(block.low, inner.low, strict=True)]
    size = inner.shape
    placed = Box3D(*low, *(a + n for a, n in zip(low, size, strict=True)))
    mask = logits > 0
    sure = float(cut[number][mask].mean()) if mask.any() else 0.0
    return VolumeMask(placed, logits.astype(np.float16), sure)
