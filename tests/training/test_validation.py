"""The synthetic validation, and its measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sammed.models.compact.locator_net import LocatorArchitecture, LocatorNet
from sammed.training.blocks import inscribed_ellipsoid, validate_blocks
from sammed.training.validation import (
    dice,
    inscribed_ellipse,
    roc_area,
    validate_synthetic,
)


def test_validation_of_blocks_knows_the_ellipsoid():
    net = LocatorNet(LocatorArchitecture((8, 8, 8), (1, 1, 1))).eval()
    result = validate_blocks(net, 32)
    assert 0.4 < result["block_ellipsoid"] < 0.8
    assert 0 <= result["block"] <= 1
    volume = inscribed_ellipsoid(40).sum() / 30**3
    assert volume == pytest.approx(np.pi / 6, rel=0.02)


def test_validation_of_blocks_clicks_into_errors_and_looks_again():
    def answer(planes, said=None):
        nothing = torch.full((len(planes), *[2 * planes.shape[-1]] * 3), -1.0)
        return nothing if said is None else said[:, 0] - 0.5  # what was clicked, and no more

    result = validate_blocks(answer, 32)
    assert result["block"] == 0 < result["block_clicked"] < 0.5


def test_measures():
    a = np.zeros((4, 4), bool)
    assert dice(a, a) == 1.0
    a[0] = True
    assert dice(a, ~a) == 0.0
    assert roc_area([0.9, 0.8, 0.1], [True, True, False]) == 1.0
    assert np.isnan(roc_area([0.9], [True]))


def test_the_synthetic_validation_measures_every_mode(net):
    measured = validate_synthetic(net, size=64)
    assert {"dice", "dice_single", "own", "whole", "next", "free", "absence_auc"} <= set(measured)
    assert 0.6 < measured["dice_ellipse"] < 0.95


def test_the_inscribed_ellipse_is_in_edge_coordinates():
    mask = inscribed_ellipse(np.array((10, 20, 30, 60), np.float32), 96)
    rows, cols = np.nonzero(mask)
    assert (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1) == (10, 20, 30, 60)
    assert mask.sum() == pytest.approx(np.pi * 10 * 20, rel=0.02)
