"""Strokes are heard on slices that nobody stroked, where voxels look like what was stroked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine import stroke_walk
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.stroke_walk import walked
from sammed.errors import Cancelled
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.recipe import Walk
from sammed.prompts import MaskPrompt, ObjectPrompts, PointPrompt, ScribblePrompt
from sammed.session import Session
from tests.phantoms import STRAIGHT, StubModel, organ_volume

SHAPE = (12, 20, 22)
WINDOW = Window(0, 100, "all of it")
WALK = Walk(stiffness=3000.0, trust=0.1, doubt=4.0)
BODY = Box3D(2, 5, 5, 10, 15, 12)
BESIDE = Box3D(2, 5, 12, 10, 15, 17)
"""Touches the body, and is a little darker."""


def scan():
    voxels = np.full(SHAPE, 10, np.int16)
    voxels[BODY.slices], voxels[BESIDE.slices] = 80, 60
    return Volume.from_array(
        voxels + np.random.default_rng(0).integers(-2, 3, SHAPE, np.int16), STRAIGHT, modality="MR"
    )


def seen_as(block, logit=3.0):
    return ObjectVolume(block, np.full(block.shape, logit, np.float16))


def line(z, y, columns, positive=True):
    return ScribblePrompt(np.array([(z, y, x) for x in columns]), positive)


def voxels_of(block):
    mask = np.zeros(SHAPE, bool)
    mask[block.slices] = True
    return mask


def dice(found, block):
    mask, wanted = found.mask_in(SHAPE), voxels_of(block)
    return 2 * (mask & wanted).sum() / (mask.sum() + wanted.sum())


LEAKED = seen_as(BODY.union(BESIDE), 1.0)
OUT = line(6, 10, range(12, 17), positive=False)
IN = line(4, 10, range(6, 11))


def test_what_leaked_goes_from_every_slice_and_the_rest_stays():
    obj = ObjectPrompts("x", scribbles=[IN, OUT])
    found = walked(LEAKED, obj, scan(), WINDOW, replace(WALK, trust=0.003))
    assert dice(LEAKED, BODY) < 0.75
    assert dice(found, BODY) > 0.99
    usual = walked(LEAKED, obj, scan(), WINDOW, WALK)
    assert dice(LEAKED, BODY) < dice(usual, BODY) < dice(found, BODY)
    assert usual.mask_in(SHAPE)[BODY.slices].all()
    gone = ~usual.mask_in(SHAPE)[BESIDE.slices]
    assert gone.sum(axis=(1, 2)).astype(bool)[2:7].all()  # also where nothing was stroked


def test_what_was_missed_is_found_on_slices_beside():
    part = seen_as(Box3D(3, 5, 5, 6, 15, 12))
    obj = ObjectPrompts("x", scribbles=[IN, line(6, 10, range(6, 11))])
    found = walked(part, obj, scan(), WINDOW, replace(WALK, trust=0.01))
    assert dice(found, BODY) > dice(part, BODY) + 0.1
    assert not found.mask_in(SHAPE)[~voxels_of(BODY)].any()


def test_who_draws_one_stroke_or_none_or_paints_a_slice_moves_nothing():
    alone = ObjectPrompts("x", scribbles=[IN])
    assert walked(LEAKED, alone, scan(), WINDOW, WALK) is LEAKED
    clicked = ObjectPrompts("x", points=(PointPrompt((4, 8, 8)),))
    assert walked(LEAKED, clicked, scan(), WINDOW, WALK) is LEAKED
    painted = ObjectPrompts("x", scribbles=[IN, OUT], mask=MaskPrompt(voxels_of(BODY)))
    assert walked(LEAKED, painted, scan(), WINDOW, WALK) is LEAKED


def test_limits_stay_limits():
    part, weak = seen_as(Box3D(3, 5, 5, 6, 15, 12)), replace(WALK, trust=0.001)
    alone = ObjectPrompts("x", scribbles=[IN, IN], propagate="off")
    assert walked(part, alone, scan(), WINDOW, weak).block == part.block
    boxed = ObjectPrompts("x", scribbles=[IN, IN], blocks=(Box3D(2, 4, 4, 7, 16, 13),))
    within = walked(part, boxed, scan(), WINDOW, weak).mask_in(SHAPE)
    assert within[6].any()
    assert not within[7:].any()


def test_large_blocks_are_looked_at_coarsely_and_stay_fine_where_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(stroke_walk, "MOST_VOXELS", 1500)
    obj = ObjectPrompts("x", scribbles=[IN, OUT])
    found = walked(LEAKED, obj, scan(), WINDOW, replace(WALK, trust=0.003))
    assert dice(found, BODY) > 0.9
    trusted = walked(LEAKED, obj, scan(), WINDOW, replace(WALK, trust=1e5))
    stroked = np.zeros(SHAPE, bool)
    for said in (IN, OUT):
        stroked[tuple(said.voxels.T)] = True
    same = np.abs(trusted.on(LEAKED.block) - LEAKED.logits.astype(np.float32)) < 0.05
    assert same.mean() > 0.9


def test_colour_and_a_single_slice():
    grey = scan().voxels[6:7].astype(np.uint8)
    colour = Volume.from_array(np.repeat(grey[..., None], 3, -1), STRAIGHT, modality="photograph")
    leaked = seen_as(Box3D(0, 5, 5, 1, 15, 17), 1.0)
    said = [line(0, 10, range(6, 11)), line(0, 10, range(12, 17), positive=False)]
    weak = replace(WALK, trust=0.003)
    found = walked(leaked, ObjectPrompts("x", scribbles=said), colour, WINDOW, weak)
    mask = found.mask_in((1, *SHAPE[1:]))[0]
    assert mask[5:15, 5:12].all()
    assert not mask[:, 12:].any()


def test_only_models_whose_recipe_wants_it_walk():
    usual = StubModel(52).spec.recipe
    plain = StubModel(52, recipe=replace(usual, walk=None))
    walking = StubModel(52, recipe=replace(usual, walk=WALK))
    said = line(7, 17, range(18, 30)), line(7, 3, range(2, 12), positive=False)
    heard = []
    for model in (plain, walking):
        session = Session(organ_volume(), model)
        session.put(ObjectPrompts("organ").with_(*said))
        session.segment()
        heard.append(session.runs["organ"].volume)
    common = heard[0].block
    moved = np.abs(heard[0].on(common) - heard[1].on(common))[heard[0].mask]
    assert float(moved.max()) > 0.1
    assert (heard[0].mask == (heard[1].on(common) > 0)).mean() > 0.95


def test_a_walk_stops_when_told():
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise Cancelled("stopped")

    obj = ObjectPrompts("x", scribbles=[IN, OUT])
    with pytest.raises(Cancelled):
        walked(LEAKED, obj, scan(), WINDOW, replace(WALK, trust=0.003), check)
    assert len(asked) == 3
