"""A learned model as the engine knows it: structures by name, without a prompt."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sammed.errors import SammedWarning
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.compact.model import CompactModel
from sammed.models.compact.tuned import check_parents, shipped_nets, tuned_nets
from sammed.models.learned.file import Teaching, read_learned
from sammed.models.learned.pieces import in_one_piece, told_apart
from sammed.models.learned.sight import Seen, Shares, build_nets, look_at
from sammed.models.protocols import ImageModel, ModelSpec, VolumeImage, VolumeMask, Watch
from sammed.models.recipe import PLAIN
from sammed.models.sam.parent import Parent, is_sam

if TYPE_CHECKING:
    from sammed.models.sam.model import SamModel

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
    prompts_only
        Whether nothing is found by its name: all objects are what their prompts say.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        See `sammed.models.learned.file.read_learned`; also if compact was tuned from other weights
        than those of this package. That of the checkpoint which segment-anything was tuned from is
        asked when the first prompt comes: what is found by name does not need it.
    """

    def __init__(self, path: Path, device: str = "cpu", *, prompts_only: bool = False) -> None:
        read = read_learned(path)
        self.teaching: Teaching = read.teaching
        self._path, self._tuned = path, read.tuned
        self._is_sam = is_sam(read.teaching.tuned)
        if read.tuned and not self._is_sam:
            check_parents(path, read.teaching.tuned["parents"])
        self.card = read.card
        self._device = device
        self.nets = [net.to(device) for net in build_nets(read.teaching.plan, read.weights)]
        self._last: tuple[weakref.ref[Volume] | None, Mapping[str, VolumeMask]] = None, {}
        self._spec = ModelSpec(
            name="learned",
            prompts=frozenset({"box", "points", "mask", "box3d"}),
            weights_hash=read.digest,
            license="as the cases that it learned from",
            engine="torch",
            recipe=PLAIN,
            expensive_encode=self._is_sam,
            structures={} if prompts_only else self.teaching.structures,
            tuned=self._tuned_structures(),
        )

    @property
    def spec(self) -> ModelSpec:
        """See `sammed.models.protocols.StructureModel`."""
        return self._spec

    def prompted(self, name: str) -> ImageModel:
        """The built-in network, or the segment-anything model that was tuned.

        As it was tuned for structures that it became no worse of, else as it was before.
        """
        if not self._is_sam:
            return self.asked(name)
        return self._sam_tuned if self._is_tuned_for(name) else self._sam_before

    def asked(self, name: str) -> ImageModel:
        """Who gives a second opinion on what was found by this name.

        compact, tuned if it was: segment-anything takes seconds a slice.
        """
        tuned = not self._is_sam and self._is_tuned_for(name)
        return self._compact_tuned if tuned else self._compact

    def takes_blocks(self, name: str) -> bool:
        """See `sammed.models.protocols.StructureModel`: where a model was tuned to it."""
        return self._is_tuned_for(name)

    def _is_tuned_for(self, name: str) -> bool:
        return name in self._spec.tuned

    def _tuned_structures(self) -> frozenset[str]:
        tuned = self.teaching.tuned
        return frozenset(tuned["structures"]) - set(tuned["worse"]) if self._tuned else frozenset()

    @cached_property
    def _compact(self) -> CompactModel:
        return CompactModel(device=self._device)

    @cached_property
    def _compact_tuned(self) -> CompactModel:
        nets = tuned_nets(shipped_nets(), self.teaching.tuned["parents"], self._tuned)
        return CompactModel(device=self._device, nets=nets, digest=self._spec.weights_hash)

    @cached_property
    def _sam_before(self) -> SamModel:
        from sammed.models.sam.tuned import untuned

        return untuned(Parent.from_dict(self.teaching.tuned), self._path, self._device)

    @cached_property
    def _sam_tuned(self) -> SamModel:
        from sammed.models.sam.tuned import tuned_model

        scale = float(self.teaching.tuned["scale"])
        return tuned_model(self._sam_before, self._tuned, scale, self._spec.weights_hash)

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
        plan = self.teaching.plan
        return in_one_piece(look_at(volume, plan, self.nets, check, device=self._device), plan)

    def _look(self, volume: Volume, reporter: Watch) -> Mapping[str, VolumeMask]:
        plan = self.teaching.plan
        seen = self.see(volume, reporter.check)
        if not seen.looks:
            return {name: nothing() for name in plan.structures.values()}
        if seen.apart:
            warnings.warn(told_apart(seen.apart), SammedWarning, stacklevel=2)
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
