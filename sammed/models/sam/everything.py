"""segment-anything's own everything mode, through this package's encoder.

The grid of points, crops, predicted IoU, stability and suppression are those of
``SamAutomaticMaskGenerator`` (Kirillov et al. 2023, Segment Anything,
doi:10.1109/ICCV51070.2023.00371), with its defaults; only the image encoder is replaced by the
faster one with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor

Encoder = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Grid:
    """How a slice is covered with points; the defaults are segment-anything's.

    Attributes
    ----------
    points
        Along each side.
    crop_layers
        Layer n has 4ⁿ overlapping crops, each with a grid of its own.
    predicted_iou, stability
        Masks with less are dropped.
    same
        IoU of boxes above which the less sure of two masks is dropped.
    """

    points: int = 32
    crop_layers: int = 0
    predicted_iou: float = 0.88
    stability: float = 0.95
    same: float = 0.7


@dataclass(frozen=True, eq=False)
class GridMask:
    """One mask of a slice.

    Attributes
    ----------
    mask : (h, w) bool
        In slice pixels.
    predicted_iou, stability
        The model's own measures.
    """

    mask: NDArray[np.bool_]
    predicted_iou: float
    stability: float


def grid_masks(
    network: Sam,
    encoder: Encoder,
    image: NDArray[np.uint8],
    grid: Grid,
    check: Callable[[], None] = lambda: None,
) -> list[GridMask]:
    """All masks of a picture, in segment-anything's order.

    Parameters
    ----------
    network
        With its weights.
    encoder
        Computes (n, 256, g, g) embeddings from (n, 3, size, size) images.
    image : (h, w, 3) uint8
        RGB.
    grid
        How it is covered.
    check
        Called for each crop and each batch of points; may raise to stop.
    """
    generator = SamAutomaticMaskGenerator(
        network,
        points_per_side=grid.points,
        pred_iou_thresh=grid.predicted_iou,
        stability_score_thresh=grid.stability,
        crop_n_layers=grid.crop_layers,
        box_nms_thresh=grid.same,
        crop_nms_thresh=grid.same,
    )
    generator.predictor = _Predictor(network, encoder, check)
    return [
        GridMask(
            np.asarray(one["segmentation"], bool),
            float(one["predicted_iou"]),
            float(one["stability_score"]),
        )
        for one in generator.generate(image)
    ]


class _Predictor(SamPredictor):
    """segment-anything's predictor with another encoder."""

    def __init__(self, network: Sam, encoder: Encoder, check: Callable[[], None]) -> None:
        super().__init__(network)
        self._encode, self._check = encoder, check

    @torch.no_grad()
    def set_torch_image(
        self, transformed_image: Tensor, original_image_size: tuple[int, ...]
    ) -> None:
        """Embed an image that was resized; see segment-anything."""
        self._check()
        self.reset_image()
        self.original_size = original_image_size
        self.input_size = tuple(transformed_image.shape[-2:])
        self.features = self._encode(self.model.preprocess(transformed_image)).float()
        self.is_image_set = True

    def predict_torch(self, *points: Tensor, **options: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Masks of some points; see segment-anything."""
        self._check()
        masks, iou, low_res = super().predict_torch(*points, **options)
        return masks, iou, low_res
