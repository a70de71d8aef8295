"""The dense network of pictures: what is drawn, what it is told of each pixel, how it learns."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("skimage", reason="colours of pictures need scikit-image")

from sammed import cli
from sammed.errors import WeightsMismatchError
from sammed.models.dense.borders import WEIGHTS, PictureReader, load_dense
from sammed.models.dense.net import OF_PICTURES, DenseArchitecture, DenseNet
from sammed.synthesis import dense_pictures
from sammed.synthesis.dense_chains import DISC, LINK, TUBE, strung
from sammed.synthesis.dense_drawing import Drawing, Plane
from sammed.synthesis.dense_picture_samples import SQUARE, draw_pictures, sample_of
from sammed.synthesis.dense_pictures import DRAWN, make_picture, make_pictures
from sammed.synthesis.source import GENERATOR
from sammed.training.dense_pictures import (
    PictureTask,
    answer,
    salient_loss,
)
from sammed.training.dense_task import as_tensors, fixed_batches, make_chunk, pack
from sammed.training.dense_trainer import DenseOptions, train_dense
from tests.training.networks import InlineStream, losses

TINY = DenseArchitecture(2, 3, (8, 8, 8, 8), (1, 1, 1, 1))


@pytest.fixture
def small(monkeypatch):
    """Data are made in this process, few at a time, of small scenes."""
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)
    monkeypatch.setattr("sammed.training.dense_trainer.PICTURE_CHUNK", 4)
    monkeypatch.setattr("sammed.training.dense_trainer.PICTURE_WINDOW", 2)
    monkeypatch.setattr("sammed.synthesis.dense_scenes.WIDTHS", (24, 36))
    monkeypatch.setattr("sammed.synthesis.dense_pictures.SIDES", (40, 60))
    monkeypatch.setattr("sammed.synthesis.dense_picture_samples.SQUARE", 64)


def options(out: Path, **given) -> DenseOptions:
    usual = DenseOptions(out=out, steps=4, seed=5, validation=0, architecture=TINY, pictures=True)
    return replace(usual, **given)


# -- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(DRAWN))
def test_every_kind_shows_things_that_can_be_outlined(kind):
    """The same seed gives the same picture; things are where they are said to be."""
    shown = 0
    for n in range(6):
        one, other = (make_picture(np.random.default_rng((3, n)), kind) for _ in range(2))
        np.testing.assert_array_equal(one.rgb, other.rgb)
        assert one.rgb.shape == (*one.inside.shape, 3)
        assert 0 <= one.rgb.min() <= one.rgb.max() <= 1
        assert one.salient is not None
        assert (one.things[0] | ~one.salient).all()  # what is salient is a thing
        assert (one.inner[one.things] > 0).all()
        shown += bool(one.salient.any())
    assert shown >= 3


def test_slices_of_volumes_say_nothing_of_what_is_salient(monkeypatch):
    monkeypatch.setattr("sammed.synthesis.dense_pictures.SLICED", 1.0)
    monkeypatch.setattr("sammed.synthesis.dense_scenes.WIDTHS", (24, 36))
    found = make_pictures((1, 2), GENERATOR)
    assert len(found) == dense_pictures.PER_VOLUME
    assert {picture.salient for picture in found} == {None}
    np.testing.assert_array_equal(found[0].rgb[..., 0], found[0].rgb[..., 2])


def test_a_part_shows_among_the_smallest_things_alone():
    plane = Plane(np.random.default_rng(0), 30, 40)
    drawing = Drawing.on(plane, np.zeros((30, 40, 3)))
    whole, part = np.zeros((2, 30, 40), bool)
    whole[5:20, 5:25] = True
    part[8:12, 8:12] = True
    drawing.mark(whole)
    drawing.mark(part, salient=False, part=True)
    assert len(np.unique(drawing.outer)) == 2
    assert len(np.unique(drawing.inner)) == 3
    np.testing.assert_array_equal(drawing.salient, whole)


def test_a_sample_says_nothing_beyond_the_picture_and_is_turned_whole():
    rng = np.random.default_rng(2)
    while True:
        picture = make_picture(rng, "endoscopy")
        if picture.salient.any() and not picture.inside.all():
            break
    sample = sample_of(picture, rng)
    assert sample.image.shape == (3, SQUARE, SQUARE)
    assert not sample.image[:, sample.inside == 0].any()
    turned = sample.turned(np.random.default_rng(5))
    for name in ("inside", "salient", "border"):
        assert getattr(turned, name).sum() == getattr(sample, name).sum()
    lit = sample.image[0][sample.salient * sample.inside > 0].astype(float)
    again = turned.image[0][turned.salient * turned.inside > 0].astype(float)
    assert np.sort(lit) == pytest.approx(np.sort(again))


def test_links_of_a_chain_look_alike_and_are_parted():
    rng = np.random.default_rng(4)
    around = np.full((40, 60, 60), 7, np.int32)
    for _ in range(20):
        labels, look = strung(rng, around, 1.0)
        links = np.unique(labels[(labels >= LINK) & (labels < DISC)])
        if len(links) > 3:
            break
    assert len(links) > 3
    assert len(np.unique(look[(labels >= LINK) & (labels < DISC)])) == 1
    tubes = labels >= TUBE
    np.testing.assert_array_equal(look[tubes], labels[tubes])
    np.testing.assert_array_equal(around == 7, True)


# -- network -----------------------------------------------------------------------------------


def test_salience_is_learned_only_where_it_is_told():
    batch = {"inside": torch.ones(2, 8, 8), "told": torch.ones(2, 8, 8)}
    batch["salient"] = (torch.rand(2, 8, 8) > 0.5).float()
    batch["told"][1] = 0
    logits = torch.randn(2, 8, 8)
    other = logits.clone()
    other[1] = 9.0
    assert float(salient_loss(logits, batch)) == pytest.approx(float(salient_loss(other, batch)))
    right = (batch["salient"] * 2 - 1) * 9
    assert float(salient_loss(right, batch)) < 0.01 < float(salient_loss(-right, batch))
    batch["told"][:] = 0
    assert float(salient_loss(logits, batch)) == 0.0


@pytest.mark.usefixtures("small")
def test_a_batch_holds_what_the_network_needs():
    samples = make_chunk(draw_pictures, 2, 1, 3, GENERATOR)
    again = make_chunk(draw_pictures, 2, 1, 3, GENERATOR)
    np.testing.assert_array_equal(samples[1].image, again[1].image)
    batch = as_tensors(pack(np.random.default_rng(0), samples))
    assert answer(DenseNet(TINY), batch).shape == (3, 5, 64, 64)


def test_a_picture_of_any_extents_is_read_and_nothing_beyond_it():
    torch.manual_seed(0)
    image = np.random.default_rng(0).random((3, 21, 34), np.float32)
    inside = np.ones((21, 34), bool)
    inside[:, 25:] = False
    reader = PictureReader(DenseNet(TINY).eval())
    found = reader.read(image, inside, lambda: None)
    assert found.salient is not None
    assert found.salient.shape == (21, 34)
    assert not found.border[:, 25:].any()
    other = image.copy()
    other[:, :, 25:] = 0.7
    again = reader.read(other, inside, lambda: None)
    np.testing.assert_array_equal(again.salient, found.salient)


# -- runs --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_run_leaves_weights_and_metrics_and_learns(tmp_path, monkeypatch):
    monkeypatch.setattr("sammed.training.dense_trainer.REPORT_EVERY", 12)
    fixed_batches.cache_clear()
    trainer = train_dense(options(tmp_path, steps=24, batch=4, rate=1e-2, validation=8))
    fixed_batches.cache_clear()
    assert np.mean(losses(trainer)[-6:]) < 0.93 * np.mean(losses(trainer)[:6])
    path = tmp_path / PictureTask.weights_name
    assert load_dense(path, OF_PICTURES)[0].architecture == TINY
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 <= float(rows[-1]["val_salient"]) <= 1
    again = train_dense(options(tmp_path / "next", steps=1, init=path))
    assert again.step == 1


@pytest.mark.usefixtures("console")
def test_weights_of_volumes_are_none_of_pictures(tmp_path, capsys):
    with pytest.raises(WeightsMismatchError, match="--pictures") as caught:
        load_dense(WEIGHTS, OF_PICTURES)
    assert "\n" not in str(caught.value)
    asked = ["train", "dense", "--pictures", "--init", str(WEIGHTS), "-o", str(tmp_path), "-q"]
    assert cli.main(asked) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
