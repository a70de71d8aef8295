"""Which witnesses of a 3D box are believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed.engine.judging import most_trusted, trust
from sammed.engine.object_volume import ObjectVolume
from sammed.imaging.boxes import Box3D


def block_with(logits: np.ndarray) -> ObjectVolume:
    return ObjectVolume(Box3D(3, 4, 5, *(3 + n for n in (12, 13, 14))), logits.astype(np.float16))


BENT, SHORT = np.full((2, 12, 12, 12), -4.0)
SHORT[:4] = 4.0
BENT[:4] = BENT[:, :4] = 4.0
"""Both touch all sides of the box across two axes, one along the third as well."""
WAYS = [block_with(SHORT), block_with(BENT)]


def test_of_ways_that_agree_alike_that_is_trusted_which_fills_the_box():
    for ways in (WAYS, WAYS[::-1]):
        assert most_trusted(ways, WAYS, WAYS[0].block, 0.0) is ways[0]
        assert most_trusted(ways, WAYS, WAYS[0].block, 0.1) is WAYS[1]


def test_witnesses_outvote_an_empty_part_of_the_box():
    """Two of three: 0.91 against 0.78; a third of a box that is empty counts 0.67."""
    witnesses = [WAYS[0], WAYS[0], WAYS[1]]
    assert most_trusted(WAYS, witnesses, WAYS[0].block, 0.1) is WAYS[0]
    assert most_trusted(WAYS, witnesses, WAYS[0].block, 1.0) is WAYS[1]


def test_what_lies_beyond_the_box_does_not_count():
    inner = Box3D(3, 4, 5, 7, 16, 17)  # here both are full
    assert most_trusted(WAYS, WAYS, inner, 1.0) is WAYS[0]


@given(seed=st.integers(0, 10_000), emptiness=st.floats(0, 3))
def test_trust_is_one_for_a_box_that_is_filled_as_all_say(seed, emptiness):
    rng = np.random.default_rng(seed)
    mask = rng.random((4, 5, 6)) < 0.2
    assert trust(mask, [mask, mask], emptiness) <= 1
    mask[0], mask[:, 0] = True, True
    assert trust(mask, [mask, mask], emptiness) == pytest.approx(1)
