"""Drawn trunks as volumes with targets: what is asked for, and how often."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sammed.synthesis import torso as torsos
from sammed.synthesis.blocks import draw_blocks
from sammed.synthesis.slab import Slab
from sammed.synthesis.source import Source, make_volume
from sammed.synthesis.torso_slabs import KINDS, LEAST_VOXELS, OF_A_GROUP, group_of, make_trunk


@pytest.fixture(scope="module")
def trunks() -> list[Slab]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torsos, "MOST", (30, 44, 56))
        return [make_trunk((5, n)) for n in range(4)]


def test_targets_are_seen_and_large_enough(trunks: list[Slab]):
    for trunk in trunks:
        assert trunk.image.min() >= 0
        assert trunk.image.max() <= 1
        assert {t.kind for t in trunk.targets} <= set(KINDS)
        for target in trunk.targets:
            assert target.mask.shape == trunk.image.shape
            assert np.count_nonzero(target.mask) >= LEAST_VOXELS


def test_there_are_organs_thin_ones_parts_and_groups(trunks: list[Slab]):
    kinds = Counter(t.kind for trunk in trunks for t in trunk.targets)
    assert set(kinds) == set(KINDS), kinds


def test_alike_things_are_not_most_of_what_is_asked_for(trunks: list[Slab]):
    single = [t for t in trunks[0].targets if t.kind in ("trunk", "trunk_thin")]
    masks = {t.mask.tobytes() for t in single}
    assert len(masks) == len(single)
    assert OF_A_GROUP == 3
    assert group_of("rib 7 left") == group_of("rib 11 right") == "rib"


def test_parts_lie_in_organs_and_walls_are_what_is_left(trunks: list[Slab]):
    for trunk in trunks:
        whole = np.zeros(trunk.image.shape, bool)
        for target in trunk.targets:
            if target.kind != "trunk_part":
                whole |= target.mask
        parts = [t.mask for t in trunk.targets if t.kind == "trunk_part"]
        for one, other in pairwise(parts):
            assert not (one & other).any()


def test_finer_voxels_show_less_of_the_body(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torsos, "MOST", (20, 28, 32))
    fine, coarse = (torsos.make_torso(np.random.default_rng(3), pixel=p) for p in (1.6, 5.0))
    assert fine.frame.pixel < coarse.frame.pixel / 2
    assert np.ptp(fine.frame.axes[2]) < np.ptp(coarse.frame.axes[2]) / 2


def test_a_source_draws_as_many_trunks_as_it_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torsos, "MOST", (20, 24, 28))
    volumes = [make_volume((8, n), Source(trunks=0.5)) for n in range(12)]
    of_trunks = [bool({t.kind for t in v.targets} & set(KINDS)) for v in volumes]
    assert 2 <= sum(of_trunks) <= 10


def test_3d_boxes_are_drawn_of_trunks_and_the_same_seed_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(torsos, "MOST", (24, 28, 32))
    one, other = (draw_blocks((2, 1), 6, Source(trunks=1.0)) for _ in range(2))
    assert one
    assert {s.kind for s in one} <= set(KINDS)
    assert all(s.target.any() for s in one)
    np.testing.assert_array_equal(one[0].image, other[0].image)
