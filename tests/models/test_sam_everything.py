"""segment-anything's grid through this package's encoder: the same masks as by its generator."""

from __future__ import annotations

import numpy as np
import pytest
from segment_anything import SamAutomaticMaskGenerator

from sammed.errors import Cancelled
from sammed.models.sam.everything import Grid
from sammed.models.sam.model import MedSamModel, SamModel
from tests.models.networks import random_sam, slice_image


def rgb(shape: tuple[int, int]) -> np.ndarray:
    grey = np.rint(slice_image(shape)[0] * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


@pytest.mark.thorough
@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("shape", [(90, 130), (131, 70)])
def test_the_same_masks_in_the_same_order(shape, layers):
    network = random_sam()
    network.mask_decoder.iou_prediction_head.layers[-1].bias.add_(1)  # thresholds count above 0
    image = rgb(shape)
    ways = {"points_per_side": 6, "crop_n_layers": layers}
    same = {"box_nms_thresh": 0.999, "crop_nms_thresh": 0.999}  # random masks are much alike
    judged = SamAutomaticMaskGenerator(
        network, pred_iou_thresh=0.0, stability_score_thresh=0.0, **ways, **same
    ).generate(image)
    surest = float(np.quantile([one["predicted_iou"] for one in judged], 0.3))
    stable = float(np.quantile([one["stability_score"] for one in judged], 0.3))
    limits = {"pred_iou_thresh": surest, "stability_score_thresh": stable}
    expected = SamAutomaticMaskGenerator(network, **limits, **ways, **same).generate(image)
    assert len(expected) < len(judged)
    grid = Grid(6, layers, surest, stable, 0.999)
    found = SamModel(network, name="tiny").everything(image, grid)
    assert len(found) == len(expected) > 1
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine.mask, theirs["segmentation"])
        assert mine.predicted_iou == pytest.approx(theirs["predicted_iou"], abs=1e-4)
        assert mine.stability == pytest.approx(theirs["stability_score"], abs=1e-4)


def test_the_defaults_are_segment_anythings():
    theirs = SamAutomaticMaskGenerator(random_sam())
    grid = Grid()
    assert grid.points**2 == len(theirs.point_grids[0])
    assert (grid.same, grid.same, grid.predicted_iou, grid.stability, grid.crop_layers) == (
        theirs.box_nms_thresh,
        theirs.crop_nms_thresh,
        theirs.pred_iou_thresh,
        theirs.stability_score_thresh,
        theirs.crop_n_layers,
    )


def test_it_can_be_stopped():
    def stop() -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        SamModel(random_sam(), name="tiny").everything(rgb((60, 80)), Grid(4), check=stop)


def test_medsam_knows_no_points():
    assert "points" not in MedSamModel(random_sam(), name="medsam").spec.prompts
