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
    previous: VolumeMask | None,
    shape: tuple[int, int, int],
) -> Tensor:
    """What the locator hears, (len(HEARD), s, s, s) float32.

    Parameters
    ----------
    block
        The 3D box.
    interactions
        Points and painted slices; what else there is, is not heard.
    previous
        A former answer.
    shape
        Of the volume.
    """
    field = Field.round(block.low, block.high, BOX_SHARE, BLOCK_SIZE)
    drawn = drawn_prompts(field, interactions, shape)[0]
    box = drawing.blocks(spans(field, block.low, block.high), field.size)[0]
    former = torch.zeros_like(drawn[0])
    if previous is not None:
        logits = np.clip(previous.logits, -LOUDEST, LOUDEST)
        clipped = VolumeMask(previous.block, logits, previous.predicted_iou)
        former = drawing.former_channel(torch.from_numpy(field_mask(clipped, field, shape)))
    painted = drawn[drawing.PAINTED] * box
    return torch.stack((drawn[drawing.CLICK_IN], drawn[drawing.CLICK_OUT], painted, former))
