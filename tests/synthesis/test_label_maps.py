"""Volumes drawn from label maps, and the fields round their objects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from sammed import cli
from sammed.errors import InputError
from sammed.models.compact import field_prompts as drawing
from sammed.synthesis.blocks import draw_blocks
from sammed.synthesis.canvas import Target
from sammed.synthesis.field_samples import FAMILIES, draw_fields, field_volume, jittered
from sammed.synthesis.label_maps import open_map, prepare, prepare_folder, split
from sammed.synthesis.label_scenes import cut, make_label_scene, neighbours, paint
from sammed.synthesis.slab import Slab
from sammed.synthesis.source import OF_LABELS, Source, unseen
from tests.phantoms import affine_of, save_nifti

SPACING = (2.0, 1.0, 1.0)


def labelled(seed=0, shape=(20, 40, 44)):
    """Balls of all sizes in a body, labelled 7, 20, 300, ..."""
    rng = np.random.default_rng(seed)
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    labels = np.zeros(shape, np.int16)
    labels[3:17, 5:35, 6:38] = 7
    for value in (20, 21, 300, 301):
        centre = rng.uniform((6, 12, 12), (14, 28, 32))
        square = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, (2, 1, 1), strict=True))
        labels[square < rng.uniform(4, 8) ** 2] = value
    return labels


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    (folder / "a").mkdir()
    for number in range(3):
        save_nifti(
            folder / "a" / f"head_{number}.nii.gz",
            labelled(number).astype(np.uint16).transpose(2, 1, 0).transpose(2, 1, 0),
            affine_of(SPACING, (0, 0, 0)),
        )
    return tuple(prepare_folder(folder, folder / "ready"))


def test_a_map_is_cropped_and_its_labels_numbered(maps):
    found = open_map(maps[0])
    assert found.labels.dtype == np.uint8
    assert np.unique(found.labels).tolist() == [0, 1, 2, 3, 4, 5]
    assert found.labels.size <= 20 * 40 * 44
    for label in found.present:
        low, high = found.bounds[label - 1].T
        inside = found.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        assert np.count_nonzero(inside == label) == np.count_nonzero(found.labels == label)


def test_maps_are_prepared_once(maps, tmp_path):
    assert prepare_folder(maps[0].parent, tmp_path) == sorted(maps)
    assert not list(tmp_path.iterdir())


def test_a_command_prepares_maps_for_other_machines(maps, tmp_path, capsys):
    source = maps[0].parents[1] / "a"
    for _ in range(2):
        assert cli.main(["train", "label-maps", str(source), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == [f"3 label maps in {tmp_path / 'out'}"] * 2
    ready = sorted((tmp_path / "out").iterdir())
    assert [p.name for p in ready] == [f"head_{n}.labels.npz" for n in range(3)]
    np.testing.assert_array_equal(open_map(ready[1]).labels, open_map(maps[1]).labels)


@pytest.mark.thorough
def test_prepared_maps_are_read_without_any_format_package(maps):
    code = (
        "import sys; sys.modules['nibabel'] = None; from pathlib import Path; "
        "from sammed.synthesis.field_samples import *; "
        f"draw_fields((1, 2), 2, 32, Source(({str(maps[0])!r} and Path({str(maps[0])!r}),)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_folder_without_label_maps_is_a_clear_error(tmp_path):
    with pytest.raises(InputError, match="no label maps"):
        prepare_folder(tmp_path, tmp_path)
    with pytest.raises(InputError, match="0 labels"):
        prepare(np.zeros((3, 4, 5), int), (1, 1, 1))


def test_a_subject_is_trained_on_or_held_back_never_both():
    names = [f"n__0522c{n:04d}{v}_{who}" for n in range(20) for v in ("", "b")[: 1 + n % 2]
             for who in ("oncologist", "radiographer")]  # fmt: skip
    kept, held = split([Path(f"{name}.labels.npz") for name in names])
    assert len(kept) + len(held) == len(names)
    assert held
    assert not {p.name[:12] for p in kept} & {p.name[:12] for p in held}


def test_a_cut_that_is_not_turned_shows_the_map():
    """Along the map's own axes, without a warp, a grid in its middle is the map itself."""
    source = prepare(labelled(), SPACING)

    class Straight:
        def random(self):
            return 0.0

        def normal(self, mean, deviation, size=None):
            return np.zeros(size)

        def choice(self, values, p=None):
            return 0.0

    shape = source.labels.shape
    centre = (np.array(shape) - 1) / 2
    found = cut(Straight(), source, centre, shape, np.array(SPACING))
    np.testing.assert_array_equal(found, source.labels)


def test_the_same_seed_gives_the_same_scene(maps):
    one, other = (make_label_scene((4, 2), maps) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    assert len(one.targets) == len(other.targets) > 0
    assert one.image.dtype == np.float32
    assert 0 <= one.image.min() <= one.image.max() <= 1


def test_the_picture_shows_the_labels_where_they_are():
    """Labels explain brightness; moved by two voxels along any axis they explain less."""

    def explained(image, labels):
        means = np.nan_to_num(ndimage.mean(image, labels, np.arange(labels.max() + 1)))
        return float(1 - ((image - means[labels]) ** 2).mean() / max(image.var(), 1e-9))

    shares = {move: [] for move in [None, *((axis, s) for axis in range(3) for s in (-2, 2))]}
    for seed in range(12):
        labels = prepare(labelled(seed), SPACING).labels.astype(np.int16)
        image = paint(np.random.default_rng(seed), labels, 2.0)
        assert image.shape == labels.shape
        for move, found in shares.items():
            moved = labels if move is None else np.roll(labels, move[1], move[0])
            found.append(explained(image, moved))
    own = np.mean(shares.pop(None))
    assert own > 0.4
    assert all(np.mean(found) < own - 0.05 for found in shares.values())


def test_labels_that_touch_are_neighbours():
    assert neighbours(np.array([[[1, 1, 2], [3, 1, 2]]], np.int16)) == [(1, 2), (1, 3)]


@pytest.fixture(scope="module")
def samples(maps):
    return [s for n in range(25) for s in draw_fields((9, n), 5, 32, Source(maps))]


@pytest.mark.thorough
def test_all_families_and_both_sources_occur(samples):
    assert {s.family for s in samples} == set(range(len(FAMILIES)))
    kinds = {s.kind for s in samples}
    assert kinds & {"anatomy", "union", "guest"}
    assert kinds - {"anatomy", "union", "guest", "core", "shell"}


def test_samples_hold_what_they_say(samples):
    for sample in samples:
        assert sample.image.shape == sample.target.shape == (32, 32, 32)
        assert sample.target.any()
        boxed = list(FAMILIES)[sample.family] != "free"
        assert np.isfinite(sample.box).all() == boxed
        assert (sample.voxel > 0).all()
        voxels = (sample.edges[:, 1] - sample.edges[:, 0]) / sample.voxel
        np.testing.assert_allclose(voxels, voxels.round(), atol=1e-2)


def test_a_slice_is_one_voxel_thick_and_shows_the_object(samples):
    import torch

    for sample in samples:
        if list(FAMILIES)[sample.family] != "slice":
            continue
        low, high = sample.box[sample.axis]
        assert high - low == pytest.approx(sample.voxel[sample.axis], rel=1e-3)
        index = (low - sample.edges[sample.axis, 0]) / sample.voxel[sample.axis]
        assert index == pytest.approx(round(float(index)), abs=1e-2)
        on = drawing.intervals(torch.tensor([float(low), float(high)]), 32).numpy()
        if on.any():
            near = ndimage.binary_dilation(on, iterations=2)
            assert np.take(sample.target, np.flatnonzero(near), sample.axis).any()


def test_an_object_that_goes_on_touches_the_face(samples):
    """Most of the time: what goes on beyond a face is seen at it, and what does not is not."""
    right = []
    for sample in samples:
        for face in range(6):
            section = np.take(sample.target, 0 if face % 2 == 0 else -1, face // 2)
            right.append(bool(section.any()) == bool(sample.beyond[face]))
    assert np.mean(right) > 0.9


@pytest.mark.thorough
def test_some_volumes_have_one_slice_or_a_few(maps):
    depths = [len(field_volume((7, n), Source(maps)).image) for n in range(60)]
    assert 0 < sum(depth < 6 for depth in depths) < 15
    thin = next(n for n, depth in enumerate(depths) if depth < 6)
    volume = field_volume((7, thin), Source(maps))
    assert all(t.mask.shape == volume.image.shape and t.mask.any() for t in volume.targets)


def test_a_jittered_box_is_a_box_in_the_image():
    rng = np.random.default_rng(0)
    box = np.array([(2, 5), (0, 9), (10, 11)], float)
    for _ in range(50):
        off = jittered(rng, box, (6, 9, 20))
        assert (off[:, 0] >= 0).all()
        assert (off[:, 1] > off[:, 0]).all()
        assert (off[:, 1] <= (6, 9, 20)).all()
        np.testing.assert_array_equal(off, off.round())


@pytest.mark.thorough
def test_blocks_of_label_maps_show_their_objects(maps):
    """Half of the volumes are the maps'; objects of few or no voxels are never asked for."""
    samples = [s for n in range(40) for s in draw_blocks((4, n), 6, Source(maps))]
    labelled = [s for s in samples if s.kind in OF_LABELS]
    assert 0.2 < len(labelled) / len(samples) < 0.8
    assert all(s.target.any() for s in samples)
    again = draw_blocks((4, 0), 6, Source(maps))
    np.testing.assert_array_equal(again[0].image, samples[0].image)


def test_an_object_that_nothing_sets_apart_is_seldom_asked_for():
    mask = np.zeros((6, 9, 12), bool)
    mask[2:4, 3:6, 4:8] = True
    target = Target("anatomy", mask)
    rng = np.random.default_rng(0)
    faint = Slab(np.full(mask.shape, 0.5, np.float32), [target])
    bright = Slab(np.where(mask, 0.6, 0.5).astype(np.float32), [target])
    assert 0.5 < np.mean([unseen(rng, faint, target, mask) for _ in range(200)]) < 0.9
    assert not any(unseen(rng, bright, target, mask) for _ in range(200))
    assert not any(unseen(rng, faint, Target("organ", mask), mask) for _ in range(50))
