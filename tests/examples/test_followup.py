"""A lesion keeps its name and value, and it is said what became of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.api import gather_prompts, load_model, make_session
from sammed.errors import InputError
from sammed.examples.followup import PriorModel, doubling_days
from sammed.examples.library import Example
from sammed.imaging.volume import LabelVolume, Volume
from tests.examples.scans import ball, blurred
from tests.phantoms import STRAIGHT

pytestmark = pytest.mark.thorough

SHAPE, MM = (30, 60, 64), (2.0, 1.5, 1.5)
CENTRES = ((12, 20, 20), (16, 40, 40), (10, 40, 18))
SPACED = STRAIGHT.copy()
SPACED[:3, :3] = STRAIGHT[:3, :3] / np.linalg.norm(STRAIGHT[:3, :3], axis=0) * MM


def scan(radii: tuple[float, ...], seed: int, shift: int = 0) -> tuple[Volume, LabelVolume]:
    """A liver-like block with dark balls, of so many mm; the same place, other noise."""
    values = np.full(SHAPE, -90.0)
    values[3:27, 6:54, 6:58] = 100
    values[5:9, 30:50, 30:34] = 160
    drawn = np.zeros(SHAPE, np.uint8)
    for number, (centre, mm) in enumerate(zip(CENTRES, radii, strict=True), 1):
        inside = ball(SHAPE, centre, mm, MM) if mm else np.zeros(SHAPE, bool)
        values[inside] = 30
        drawn[inside] = 10 * number
    values, drawn = (np.roll(a, shift, axis=2) for a in (values, drawn))
    volume = Volume.from_array(blurred(values, seed), SPACED, modality="CT")
    names = {10 * n: f"lesion {n}" for n in (1, 2, 3)}
    return volume, LabelVolume(drawn, volume.grid, names)


def followed(now: Volume, then: tuple[Volume, LabelVolume], days: float = 0.0):
    model = PriorModel(Example("then", *then, "p"), load_model("ellipse"), days)
    known = model.spec.structures
    session = make_session(now, model, gather_prompts(now, structures=known))
    session.segment()
    return session, model.account


def test_growth_shrinkage_and_disappearance():
    then, (now, truth) = scan((8, 8, 7), 1), scan((9.5, 6.5, 0), 2, shift=2)
    session, account = followed(now, then, days=60)
    assert {o.name: o.label for o in session.objects} == {
        "lesion 1": 10, "lesion 2": 20, "lesion 3": 30,
    }  # fmt: skip
    grown, shrunk, gone = account.changes
    for change in (grown, shrunk):
        assert change.now_ml == pytest.approx(truth.volume_ml(change.name), rel=0.08)
    assert gone.state == "gone"
    assert gone.now_ml == 0
    assert "gone" in session.runs["lesion 3"].error
    assert grown.percent > 50
    assert shrunk.percent < -35
    assert grown.doubling_days == pytest.approx(
        doubling_days(grown.before_ml, grown.now_ml, 60), rel=1e-3
    )
    head, *lines = account.table()
    assert head[0] == "lesion"
    assert [line[-1] for line in lines[:3]] == ["there", "there", "gone"]


def test_what_looks_new_is_told_and_not_drawn():
    then, (now, _) = scan((8, 8, 0), 1), scan((8, 8, 7), 2)
    session, account = followed(now, then)
    assert {change.name for change in account.changes} == {"lesion 1", "lesion 2"}
    (new,) = account.new
    assert new["ml"] == pytest.approx(1.4, rel=0.4)
    assert set(np.unique(session.result().voxels)) == {0, 10, 20}


def test_without_a_time_there_is_no_doubling():
    assert doubling_days(1, 2, 0) is None
    assert doubling_days(2, 1, 30) == pytest.approx(-30)


def test_an_empty_earlier_map_is_refused():
    volume, labels = scan((8, 8, 7), 1)
    empty = replace(labels, voxels=np.zeros_like(labels.voxels))
    with pytest.raises(InputError, match="is empty: there is nothing to follow"):
        PriorModel(Example("then", volume, empty, "p"), load_model("ellipse"))


def test_the_same_scan_is_no_follow_up():
    then = scan((8, 8, 7), 1)
    with pytest.raises(InputError, match="is the scan itself"):
        followed(then[0], then)
