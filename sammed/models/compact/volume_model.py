"""compact's network for volumes behind the model protocol: an object seen as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammed.errors import BackendUnavailableError
from sammed.imaging.boxes import Box3D
from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.field import FIELD_SIZE, Field, field_image, field_mask
from sammed.models.compact.field_placing import (
    BOX_SHARE,
    block_of,
    first_field,
    fitted_field,
    grown_field,
    united,
)
from sammed.models.compact.field_said import drawn_prompts, spans
from sammed.models.compact.volume_net import (
    Fields,
    VolumeArchitecture,
    VolumeNet,
    field_planes,
    mirrored,
    mirrored_faces,
)
from sammed.models.compact.weight_files import fold_norms, load_network
from sammed.models.protocols import (
    VOLUME_PROMPTS,
    ModelSpec,
    VolumeImage,
    VolumeMask,
    VolumeState,
    Watch,
)
from sammed.prompts import Interaction
from sammed.prompts.interactions import locates

MIRRORED = tuple(axes for n in range(4) for axes in combinations(range(3), n))
"""The axes that are mirrored, eight ways, the first of them none."""

MOST_LOOKS = 4
"""Fields that one object is looked for in, at most."""


def load_volume_net(path: Path) -> tuple[VolumeNet, str]:
    """The network and the hash of its weights, as `load_network` gives and refuses them."""
    return load_network(path, "volume", VolumeNet, VolumeArchitecture())


class VolumeFinder:
    """The network for volumes as a `VolumeModel`.

    Parameters
    ----------
    weights
        A ``.safetensors`` file that ``sammed train volume`` wrote.
    device
        ``"cpu"``, ``"cuda"``.
    size
        Samples along each side of a field.
    half
        Compute in bfloat16: three times as fast where the processor has instructions for it.
    mirrors
        In so many mirrors each field is looked at, 1 to 8; answers are averaged.
    """

    def __init__(
        self,
        weights: Path,
        device: str = "cpu",
        size: int = FIELD_SIZE,
        half: bool = False,
        mirrors: int = 1,
    ) -> None:
        net, digest = load_volume_net(weights)
        try:
            self._device = torch.device(device)
            self._net = fold_norms(net).to(self._device).to(memory_format=torch.channels_last_3d)
        except (RuntimeError, AssertionError) as error:
            raise BackendUnavailableError(
                f"device {device!r} cannot be used ({error}); try --device cpu"
            ) from error
        self.size, self._half, self._mirrors = size, half, MIRRORED[:mirrors]
        self._spec = ModelSpec(
            name="compact",
            prompts=VOLUME_PROMPTS,
            weights_hash=digest,
            engine="torch",
            license="Apache-2.0",
        )

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        return self._spec

    def open(self, image: VolumeImage) -> VolumeState:
        """The volume, of which fields are seen."""
        return _Opened(self, image)

    @torch.inference_mode()
    def look(self, fields: Fields) -> tuple[NDArray[np.float32], float, NDArray[np.float32]]:
        """Logits (s, s, s) of the object on one field, predicted IoU, six chances of going on."""
        seen = Fields(**{k: v.to(self._device) for k, v in vars(fields).items()})
        answers = [self._look(mirrored(seen, axes), axes) for axes in self._mirrors]
        logits, iou, faces = (torch.stack(parts).mean(0) for parts in zip(*answers, strict=True))
        mask: NDArray[np.float32] = logits[0].cpu().numpy()
        beyond = torch.sigmoid(faces[0]).cpu().numpy()
        return mask, float(torch.sigmoid(iou[0])), beyond

    def _look(self, seen: Fields, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """The answer to fields that were mirrored, mirrored back."""
        planes = field_planes(seen).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            logits, iou, faces = self._net(planes)
        back = torch.flip(logits.float(), [axis + 1 for axis in axes])
        return back, iou.float(), mirrored_faces(faces.float(), axes)


@dataclass(frozen=True)
class _Opened:
    """A volume in which objects are looked for."""

    model: VolumeFinder
    image: VolumeImage

    def answer(
        self,
        interactions: Sequence[Interaction],
        previous: VolumeMask | None,
        *,
        reporter: Watch,
    ) -> VolumeMask:
        """The object, looked for in fields that grow and move with it, the last one taken.

        A 3D box is looked at once; what has no known extent again where it goes on beyond the
        field, and once more closely.
        """
        volume = self.image.volume
        solid = [said for said in interactions if isinstance(said, Box3D)]
        limit = united(solid) if solid else None
        region = united([block_of(said) for said in interactions if locates(said)])
        field = first_field(interactions, volume.shape, volume.spacing, self.model.size)
        if previous is not None and limit is None:
            field = _round_previous(previous, region, self.model.size) or field
        found, close = previous, False
        for number in range(MOST_LOOKS):
            reporter.check()
            seen = self._seen(field, interactions, found)
            logits, iou, beyond = self.model.look(seen)
            reporter.advance(number + 1)
            found = self._mask(logits, iou, field, limit)
            if limit is not None:
                break
            larger = None if close else grown_field(field, beyond > 0.5, volume.shape)
            fitted = None if larger else fitted_field(logits > 0, field, region, volume.spacing)
            if close or (larger or fitted) is None:
                break
            field, close = larger or fitted or field, larger is None
        if found is None:
            raise RuntimeError("an object is looked for at least once")
        return found

    def _mask(
        self, logits: NDArray[np.float32], iou: float, field: Field, limit: Box3D | None
    ) -> VolumeMask:
        block = field.block(self.image.volume.shape)
        if limit is not None:
            block = block.intersection(limit)
        return VolumeMask(block, field.back(logits, block), iou)

    def _seen(
        self, field: Field, interactions: Sequence[Interaction], former: VolumeMask | None
    ) -> Fields:
        volume = self.image.volume
        image = torch.from_numpy(field_image(volume, self.image.window, field))[None]
        edges = spans(field, (0, 0, 0), volume.shape)
        prompts = drawn_prompts(field, interactions, volume.shape)
        if former is not None and not former.block.is_empty:
            logits = torch.from_numpy(field_mask(former, field, volume.shape))
            prompts[0, drawing.FORMER] = drawing.former_channel(logits)
        solid = [said for said in interactions if isinstance(said, Box3D)]
        block = torch.full((1, 3, 2), torch.nan)
        if solid:
            region = united(solid)
            block = spans(field, region.low, region.high)
        step = torch.from_numpy(field.step * np.array(volume.spacing)).float()[None]
        voxel = torch.from_numpy(1 / field.step).float()[None]
        inside = drawing.blocks(edges, field.size).float()
        return Fields(image, inside, prompts, block, step, voxel)


def _round_previous(previous: VolumeMask, region: Box3D, size: int) -> Field | None:
    """The field round a former answer and all that was said."""
    mask = previous.logits > 0
    if not mask.any():
        return None
    found, block = Box3D.from_mask(mask), previous.block
    low, high = np.array(block.low) + found.low, np.array(block.low) + found.high
    whole = Box3D(*low.tolist(), *high.tolist()).union(region)
    return Field.round(whole.low, whole.high, BOX_SHARE, size)
