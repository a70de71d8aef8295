"""The dense network: what its scenes say of each voxel, how it learns, how it reads an image."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sammed import cli
from sammed.errors import UnreadableFileError, WeightsMismatchError
from sammed.models.compact.entry import LOCATOR
from sammed.models.dense.borders import DenseReader, load_dense, standardised
from sammed.models.dense.net import KINDS, OUTPUTS, DenseArchitecture, DenseNet, pack, unpack
from sammed.synthesis.canvas import Target
from sammed.synthesis.dense_samples import (
    PATCH_SIZE,
    UNKNOWN,
    at_border,
    depth_of,
    draw_dense,
    patches,
)
from sammed.synthesis.dense_scenes import PATCH, cells, levels, make_dense_scene
from sammed.synthesis.label_maps import prepare_folder
from sammed.synthesis.source import GENERATOR, Source
from sammed.training.dense_task import dense_loss, kind_loss, make_chunk, validate_dense
from sammed.training.dense_trainer import DenseOptions, train_dense
from tests.training.networks import InlineStream, losses

TINY = DenseArchitecture(3, 1, (8, 8, 8, 8), (1, 1, 1, 1))


@pytest.fixture
def small(monkeypatch):
    """Data are made in this process, few at a time, of small scenes."""
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)
    monkeypatch.setattr("sammed.training.dense_trainer.CHUNK", 4)
    monkeypatch.setattr("sammed.training.dense_trainer.WINDOW", 2)
    monkeypatch.setattr("sammed.synthesis.dense_scenes.WIDTHS", (24, 36))
    monkeypatch.setattr("sammed.synthesis.torso.MOST", (24, 28, 32))


def options(out: Path, **given) -> DenseOptions:
    usual = DenseOptions(out=out, steps=4, seed=5, validation=0, architecture=TINY)
    return replace(usual, **given)


# -- scenes ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_the_same_seed_gives_the_same_scene():
    one, other = (make_dense_scene((4, 2), GENERATOR) for _ in range(2))
    for name in ("image", "outer", "inner", "things"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert not np.array_equal(one.image, make_dense_scene((4, 3), GENERATOR).image)


@pytest.mark.usefixtures("small")
def test_label_maps_are_drawn_from(tmp_path):
    """Their labels are the things; what nobody labelled is not."""
    from sammed import io
    from sammed.imaging.volume import LabelVolume, Volume

    labels = np.zeros((30, 32, 34), np.uint8)
    labels[4:14, 5:28, 5:28] = 1
    labels[14:26, 5:28, 5:28] = 2
    grid = Volume.from_array(labels, np.eye(4)[[2, 1, 0, 3]]).grid
    for name in ("a_01", "a_02"):
        io.write_labels(LabelVolume(labels, grid, {}), tmp_path / f"{name}.nii.gz")
    source = Source(tuple(prepare_folder(tmp_path, tmp_path / "ready")))
    found = [make_dense_scene((8, n), source) for n in range(12)]
    mapped = [
        s for s in found if s.outer.max() >= PATCH and set(np.unique(s.outer[s.things])) <= {1, 2}
    ]
    assert mapped
    assert all(scene.outer[~scene.things].min() >= PATCH for scene in mapped)


def test_the_largest_and_the_smallest_thing_of_a_voxel():
    class Painted:
        instance = np.zeros((4, 20, 20), np.int16)
        count = 1

    masks = np.zeros((3, 4, 20, 20), bool)
    masks[0, :, 2:12, 2:12] = True
    masks[1, :, 4:8, 4:8] = True
    masks[2] = True  # nearly everything is no thing
    targets = [Target("organ", m) for m in masks]
    outer, inner, things = levels(Painted(), targets)
    np.testing.assert_array_equal(things, masks[0])
    assert len(np.unique(outer)) == 2
    assert len(np.unique(inner)) == 3
    assert outer[0, 5, 5] == outer[0, 2, 2]
    assert inner[0, 5, 5] != inner[0, 2, 2]


def test_cells_fill_a_volume_side_by_side():
    found = cells(np.random.default_rng(3), (20, 40, 40), 1.0)
    assert len(np.unique(found)) > 3
    assert found.min() > 0


def test_depth_is_one_at_the_deepest_voxel_of_each_label():
    labels = np.ones((5, 12, 16), np.int32)
    labels[:, :, 9:] = 2
    border = at_border(labels)
    np.testing.assert_array_equal(np.unique(np.nonzero(border)[2]), [8, 9])
    depth = depth_of(labels, border, 1.0)
    assert depth[:, :, 0] == pytest.approx(1)
    assert depth[:, :, 15] == pytest.approx(1)
    assert depth[border].max() < 0.15


@pytest.mark.usefixtures("small")
def test_patches_of_scenes_that_are_smaller_say_so():
    scene = make_dense_scene((4, 2), GENERATOR)
    (patch,) = patches(scene, np.random.default_rng(0), 1)
    assert patch.image.shape == (PATCH_SIZE,) * 3
    assert patch.inside.sum() == scene.image.size
    turned = patch.turned(np.random.default_rng(1))
    assert turned.inside.sum() == patch.inside.sum()
    assert sorted(turned.stretch) == sorted(patch.stretch)


# -- network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_packed_comes_back(dims):
    samples = torch.randn(2, 3, *(4, 6, 8)[:dims])
    packed = pack(samples)
    assert packed.shape == (2, 3 * 2**dims, *(2, 3, 4)[:dims])
    torch.testing.assert_close(unpack(packed), samples)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_network_answers_every_voxel(dims):
    shape = DenseArchitecture(dims, 1, (8, 8, 8, 8), (1, 1, 1, 1))
    planes = torch.randn(1, shape.planes, *(8, 16, 24)[:dims])
    answers = len(OUTPUTS) + (dims == 2)  # of pictures what is salient, too
    assert DenseNet(shape)(planes).shape == (1, answers, *(16, 32, 48)[:dims])
    assert DenseArchitecture.from_tag(shape.tag) == shape
    with_kinds = replace(shape, kinds=5)
    assert DenseNet(with_kinds)(planes).shape == (1, answers + 5, *(16, 32, 48)[:dims])
    assert DenseArchitecture.from_tag(with_kinds.tag) == with_kinds


def test_the_tag_of_a_network_that_knows_no_kinds_is_understood():
    old = "dense-unet/1 3-1-16,32,48,64-1,1,1,1 dense-input/1"
    assert DenseArchitecture.from_tag(old) == DenseArchitecture(3, 1, (16, 32, 48, 64), (1,) * 4)


def test_kinds_are_learned_where_they_are_known_alone():
    torch.manual_seed(0)
    net = DenseNet(replace(TINY, kinds=len(KINDS))).eval()
    kind = torch.full((1, 16, 16, 16), UNKNOWN)
    features = net.features(torch.randn(1, TINY.planes, 8, 8, 8))
    assert float(kind_loss(net.kind, features, kind, np.random.default_rng(0))) == 0
    kind[:, :8] = KINDS.index("liver")
    before = kind_loss(net.kind, features, kind, np.random.default_rng(0))
    with torch.no_grad():
        net.kind.bias[KINDS.index("liver") * 8 :][:8] += 5
    after = kind_loss(net.kind, features, kind, np.random.default_rng(0))
    assert 0 < float(after) < float(before)


def test_what_lies_beyond_the_image_does_not_count():
    batch = {name: torch.rand(2, 8, 8, 8) for name in OUTPUTS}
    batch |= {name: (batch[name] > 0.5).float() for name in ("thing", "border", "inner")}
    batch["inside"] = torch.zeros(2, 8, 8, 8)
    batch["inside"][:, :4] = 1
    logits = torch.randn(2, len(OUTPUTS), 8, 8, 8)
    other = logits.clone()
    other[:, :, 4:] = 9.0
    for name in OUTPUTS:  # targets beyond count only where the image is
        batch[name][:, 4:] = 0
    assert float(dense_loss(logits, batch)[0]) == pytest.approx(float(dense_loss(other, batch)[0]))


def test_an_image_of_any_extents_is_read_the_same_mirrored():
    torch.manual_seed(0)
    net = DenseNet(TINY).eval()
    image = np.random.default_rng(0).random((7, 21, 34), np.float32)
    found = DenseReader(net, mirrors=8).read(image, (3.0, 1.0, 1.0), lambda: None)
    assert found.border.shape == image.shape
    assert 0 <= found.depth.min() <= found.depth.max() <= 1
    assert np.abs(standardised(image, np.array([3.0, 1.0, 1.0]))).max() <= 2


# -- runs --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_the_same_seed_gives_the_same_weights_and_a_resumed_run_goes_on(tmp_path):
    one = train_dense(options(tmp_path / "one"))
    first = train_dense(options(tmp_path / "parts", steps=2))
    second = train_dense(options(tmp_path / "parts", resume=True))
    assert (first.step, second.step) == (2, 4)
    assert np.isfinite(losses(one)).all()
    assert losses(first) + losses(second) == pytest.approx(losses(one), rel=1e-5)
    for name, value in one.net.state_dict().items():
        torch.testing.assert_close(value, second.net.state_dict()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("small")
def test_a_run_leaves_weights_and_metrics(tmp_path, monkeypatch):
    monkeypatch.setattr("sammed.training.dense_trainer.REPORT_EVERY", 2)
    monkeypatch.setattr("sammed.training.dense_trainer.VALIDATED", 8)
    train_dense(options(tmp_path, validation=8))
    assert load_dense(tmp_path / "dense.safetensors")[0].architecture == TINY
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "4"]
    assert 0 <= float(rows[-1]["val_border"]) <= 1
    again = train_dense(options(tmp_path / "next", steps=1, init=tmp_path / "dense.safetensors"))
    assert again.step == 1
    larger = options(tmp_path / "n", init=tmp_path / "dense.safetensors", architecture=None)
    with pytest.raises(WeightsMismatchError, match=r"a network of another size: .* expected"):
        train_dense(larger)


@pytest.mark.thorough
@pytest.mark.usefixtures("small")
def test_it_learns(tmp_path):
    """Borders of a set that it does not train on are found better than at first."""
    trainer = train_dense(options(tmp_path, steps=24, rate=1e-2))
    untrained = validate_dense(DenseNet(TINY).eval(), 8)
    learned = validate_dense(trainer.net.eval(), 8)
    assert np.mean(losses(trainer)[-6:]) < 0.93 * np.mean(losses(trainer)[:6])
    assert learned["depth"] < untrained["depth"]


@pytest.mark.usefixtures("small")
def test_a_chunk_is_a_function_of_its_arguments():
    one, other = (make_chunk(draw_dense, 2, 1, 3, GENERATOR) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


@pytest.mark.usefixtures("small", "console")
def test_the_command_and_bad_files(tmp_path, capsys):
    (tmp_path / "last.pt").write_bytes(b"nothing of the kind")
    assert cli.main(["train", "dense", "-o", str(tmp_path), "--steps", "1", "--resume", "-q"]) == 1
    assert "not a training checkpoint" in capsys.readouterr().err
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"0" * 40)
    assert cli.main(["train", "dense", "-o", str(tmp_path), "--init", str(bad), "-q"]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    with pytest.raises(WeightsMismatchError, match="dense-unet/1"):
        load_dense(LOCATOR)
    with pytest.raises(UnreadableFileError):
        train_dense(options(tmp_path, resume=True))
