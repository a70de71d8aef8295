"""What was found without a prompt, on its way to the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.boxes import Box3D
from sammed.worker.arrays import Arrays
from sammed.worker.frames import SentFrame


@dataclass(frozen=True)
class Sent:
    """How a client is told of masks: in its own indices, by its own transport.

    Attributes
    ----------
    frame
        The client's indices.
    arrays
        Takes the arrays.
    """

    frame: SentFrame
    arrays: Arrays

    def mask(self, block: Box3D, mask: NDArray[np.bool_]) -> dict[str, Any]:
        """``block`` and ``data`` of a mask that fills a canonical block, as in ``masks``."""
        if block.is_empty or not mask.any():
            return {"block": [0] * 6, "data": None}
        voxels = self.frame.array_out(mask).astype(np.uint8)
        return {"block": self.frame.block_out(block), "data": self.arrays.write(voxels)}
