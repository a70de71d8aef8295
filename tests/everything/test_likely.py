"""Which regions are likely things: the measures, the network, its file, and how it learns."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sammed.errors import OutputError, WeightsMismatchError
from sammed.everything.likely import MEASURES, Likely, measured, read_likely, shipped
from sammed.everything.regions import Region
from sammed.models.dense.borders import Borders
from sammed.models.dense.net import KINDS
from sammed.synthesis.source import Source
from sammed.training import likely as learning
from sammed.training.likely import Regions, fitted, train_likely

SHAPE = (12, 16, 20)


def ball(radius: float) -> np.ndarray:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (z - 6) ** 2 + (y - 8) ** 2 + (x - 10) ** 2 <= radius**2


def seen_ball() -> Borders:
    """What a perfect network says of a ball of liver in nothing."""
    thing = ball(4)
    border = ball(4.5) & ~ball(3)
    kinds = np.full((len(KINDS), *SHAPE), 0.001, np.float32)
    kinds[0][~thing], kinds[KINDS.index("liver")][thing] = 0.97, 0.97
    clear = np.where(border, 0.95, 0.02).astype(np.float32)
    return Borders(np.where(thing, 0.95, 0.03).astype(np.float32), clear, clear,
                   thing.astype(np.float32), kinds=kinds)  # fmt: skip


def measures_of(masks: list[np.ndarray], kind: list[float], borders: Borders) -> np.ndarray:
    regions = [Region.of(mask) for mask in masks]
    shared = np.array([[a.iou(b) for b in regions] for a in regions], np.float32)
    stability = np.full(len(masks), 0.6)
    return measured(regions, shared, stability, np.array(kind), borders, lambda: None)


def test_a_thing_is_likelier_than_a_part_of_it_and_than_what_is_none():
    off = np.roll(ball(4), 6, axis=2)
    chances = shipped()(measures_of([ball(4), ball(2), off], [0.9, 0.1, 0.2], seen_ball()))
    assert chances[0] > 0.6
    assert chances[0] > chances[1] + 0.2
    assert chances[0] > chances[2] + 0.2


def test_measures_are_finite_even_of_one_voxel_and_of_everything():
    one = np.zeros(SHAPE, bool)
    one[3, 3, 3] = True
    told = measures_of([one, np.ones(SHAPE, bool)], [0.0, 0.0], seen_ball())
    assert told.shape == (2, len(MEASURES))
    assert np.isfinite(told).all()
    assert ((shipped()(told) >= 0) & (shipped()(told) <= 1)).all()


def test_without_kinds_nothing_is_measured():
    with pytest.raises(ValueError, match="kinds"):
        measures_of([ball(4)], [0.0], replace(seen_ball(), kinds=None))


def test_a_file_for_other_measures_or_a_broken_one_is_refused_in_one_line(tmp_path):
    other = {**shipped().as_dict(), "measures": ["size"]}
    for text in (json.dumps(other), "{}", "no json"):
        (tmp_path / "likely.json").write_text(text)
        with pytest.raises(WeightsMismatchError) as caught:
            read_likely(tmp_path / "likely.json")
        assert "\n" not in str(caught.value)


def drawn_regions(seed: int, count: int = 400) -> Regions:
    """Regions that are things where two of the measures agree; the others say nothing."""
    told = np.random.default_rng(seed).normal(size=(count, len(MEASURES))).astype(np.float32)
    return Regions(told, (told[:, 3] * told[:, 5] > 0).astype(np.float32), bool(seed % 2))


@pytest.mark.thorough
def test_it_learns_what_no_single_measure_tells_and_is_repeatable(monkeypatch):
    scenes = [drawn_regions(seed) for seed in range(6)]
    judge, again = fitted(scenes), fitted(scenes)
    assert learning._order(judge, drawn_regions(9)) > 0.9
    np.testing.assert_array_equal(judge.hidden, again.hidden)
    untaught = Likely(judge.mean, judge.deviation, judge.hidden * 0, judge.out)
    assert abs(learning._order(untaught, drawn_regions(9)) - 0.5) < 0.1


def test_scenes_of_both_kinds_count_the_same_however_many_regions_they_have():
    scenes = [drawn_regions(1, 300), drawn_regions(3, 100), drawn_regions(2, 50)]
    shares = learning._shares(scenes)
    assert shares.sum() == pytest.approx(1)
    assert shares[:400].sum() == pytest.approx(0.5)
    assert shares[:300].sum() == pytest.approx(0.25)


@pytest.mark.thorough
def test_training_reads_scenes_writes_a_file_and_overwrites_none(tmp_path, monkeypatch):
    monkeypatch.setattr("sammed.synthesis.torso.MOST", (18, 24, 28))
    monkeypatch.setattr("sammed.synthesis.dense_scenes.KINDS", {"torso": 0.6, "generator": 0.4})
    monkeypatch.setattr("sammed.synthesis.dense_scenes.WIDTHS", (24, 32))
    told: list[tuple[int, int]] = []
    out = tmp_path / "likely.json"
    found = train_likely(out, 5, Source(), told=lambda done, total: told.append((done, total)))
    assert told[-1] == (4, 5)
    assert found["regions"] > 100
    assert found["order"] > 0.5
    assert read_likely(out).hidden.shape[1] == len(MEASURES) + 1
    with pytest.raises(OutputError, match="force"):
        train_likely(out, 5, Source())
