"""Labelled scans for the tests of what lies beside a volume: bodies, lesions, phases."""

import json
import subprocess

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import segmentation  # noqa: E402

from tests.slicer.conftest import SAMMED_PYTHON  # noqa: E402

BODY = """
import sys
import numpy as np
from sammed.synthesis.abdomens import make_abdomen
for seed in (7, 12):
    volume, labels = make_abdomen(seed, slices=20)
    np.savez(f"{sys.argv[1]}/{seed}.npz", voxels=volume.voxels, labels=labels.voxels,
             affine=volume.affine)
"""

ORGANS = {1: "liver", 2: "spleen", 3: "kidney_right", 4: "kidney_left", 5: "aorta"}
_CENTERS = ((12, 20, 20), (16, 40, 40), (10, 40, 18))


def make_bodies(folder):
    """Two synthetic bodies in files, made by the engine's Python."""
    subprocess.run([SAMMED_PYTHON, "-c", BODY, str(folder)], check=True)
    return {seed: dict(np.load(folder / f"{seed}.npz")) for seed in (7, 12)}


def add_volume(voxels, affine, name):
    """A volume node of an array (z, y, x) with its affine to LPS mm."""
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine)[:, [2, 1, 0, 3]]
    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(voxels), matrix)
    node.SetName(name)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(400, 40)
    return node


def add_segmentation(volume, labels, names, name="drawn"):
    """A segmentation node of a label array on a volume's grid."""
    node = segmentation.make(volume)
    node.SetName(name)
    for value, called in names.items():
        segment_id = segmentation.add(node, called)
        segmentation.set_value(node, segment_id, value)
        whole = [0, 0, 0, *labels.shape]
        segmentation.write(node, segment_id, volume, whole, labels == value)
    return node


def ball(shape, center, mm, spacing):
    """(z, y, x) bool."""
    away = sum(
        ((g - c) * s) ** 2 for g, c, s in zip(np.indices(shape), center, spacing, strict=True)
    )
    return np.sqrt(away) < mm


def lesions(radii, seed):
    """A block like a liver with dark balls of so many mm: (voxels, labels, affine)."""
    shape, mm = (30, 60, 64), (2.0, 1.5, 1.5)
    values = np.full(shape, -90.0)
    values[3:27, 6:54, 6:58] = 100
    values[5:9, 30:50, 30:34] = 160
    drawn = np.zeros(shape, np.uint8)
    for number, (center, radius) in enumerate(zip(_CENTERS, radii, strict=True), 1):
        inside = ball(shape, center, radius, mm) if radius else np.zeros(shape, bool)
        values[inside] = 30
        drawn[inside] = 10 * number
    noise = np.random.default_rng(seed).normal(0, 6, shape)
    affine = np.diag([*mm, 1.0])[[2, 1, 0, 3]].astype(float)
    affine[:3, 3] = (-40, -30, 12)
    return np.rint(values + noise).astype(np.int16), drawn, affine


def thing():
    """(voxels (k, j, i), organ): small, and without noise, so that little is to be asked."""
    k, j, i = np.ogrid[:9, :26, :28]
    organ = ((k - 4) / 3.2) ** 2 + ((j - 15) / 7.0) ** 2 + ((i - 11) / 6.0) ** 2 <= 1
    return np.where(organ, 120, 20).astype(np.int16), organ


def segment_named(node, name):
    """The ID of the segment that is called so."""
    return node.GetSegmentation().GetSegmentIdBySegmentName(name)


def names_of(node):
    """The names of all segments."""
    segments = node.GetSegmentation()
    return [segments.GetSegment(i).GetName() for i in segments.GetSegmentIDs()]


def mask_of(node, name, volume):
    """A segment on the whole volume, by Slicer's own way."""
    segment_id = segment_named(node, name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0


def asked_for(folder):
    """What a worker that notes its requests was asked: see `noting`."""
    return [json.loads(line) for line in (folder / "asked").read_text().splitlines()]
