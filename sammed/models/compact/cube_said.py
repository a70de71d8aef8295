"""What was said of an object besides its 3D box, and a former answer, on the locator's cube."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sammed.imaging.boxes import Box3D
from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.cubes import BOX_SHARE
from sammed.models.compact.field import Field, field_mask
from sammed.models.compact.field_said import drawn_prompts, spans
from sammed.models.compact.locator_net import BLOCK_SIZE
from sammed.models.protocols import VolumeMask
from sammed.prompts import Interaction

LOUDEST = 5.0
"""Logits of a former answer count up to this: it is averaged over voxels, so no side may shout."""


def said_on_cube(
    block: Box3D,
    interactions: Sequence[Interaction],
    former: Tensor | None,
    shape: tuple[int, int, int],
) -> Tensor:
    """What the locator hears, (len(HEARD), s, s, s) float32.

    Parameters
    ----------
    block
        The 3D box.
    interactions
        Points and painted slices; what else there is, is not heard.
    former
        A former answer, from `former_on_cube`.
    shape
        Of the volume.
    """
    field = _field(block)
    drawn = drawn_prompts(field, interactions, shape)[0]
    box = drawing.blocks(spans(field, block.low, block.high), field.size)[0]
    painted = drawn[drawing.PAINTED] * box
    former = torch.zeros_like(painted) if former is None else former
    return torch.stack((drawn[drawing.CLICK_IN], drawn[drawing.CLICK_OUT], painted, former))


def former_on_cube(block: Box3D, previous: VolumeMask, shape: tuple[int, int, int]) -> Tensor:
    """A former answer as the locator is shown it, (s, s, s) float32; parameters as above."""
    logits = np.clip(previous.logits, -LOUDEST, LOUDEST)
    clipped = VolumeMask(previous.block, logits, previous.predicted_iou)
    return drawing.former_channel(torch.from_numpy(field_mask(clipped, _field(block), shape)))


def _field(block: Box3D) -> Field:
    return Field.round(block.low, block.high, BOX_SHARE, BLOCK_SIZE)
