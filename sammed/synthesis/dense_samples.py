"""Training samples for the dense network: patches of scenes of which every voxel is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.models.dense.borders import standardised
from sammed.synthesis.dense_scenes import DenseScene, Labels, make_dense_scene
from sammed.synthesis.fields import Array
from sammed.synthesis.source import Source

PATCH_SIZE = 48
"""Voxels along each side of a patch."""

CUBES = ("image", "standard", "inside", "thing", "border", "inner", "depth", "kind")
"""What a sample says of every voxel."""

UNKNOWN = 255
"""Kind of voxels of which nobody says one."""

PER_SCENE = 6
"""Patches cut from one scene: making it costs more than all of them."""


@dataclass(frozen=True, eq=False)
class DenseSample:
    """A patch; ``s`` is `PATCH_SIZE`.

    Attributes
    ----------
    image, standard : (s, s, s) float16
        Brightness in [0, 1], and standardised by its neighbourhood; 0 beyond the image.
    inside, thing, border, inner : (s, s, s) uint8
        Within the image; part of a thing; at the border of a largest one; of any part.
    depth : (s, s, s) float16
        Distance to the border of the largest thing, as a share of its deepest voxel's.
    kind : (s, s, s) uint8
        Which of `sammed.models.dense.net.KINDS` it is, or `UNKNOWN`.
    stretch : (3,) float32
        Size of a voxel in units of its shortest side.
    upright
        Whether its axes mean what those of volumes do: then it is only mirrored from left to right.
    """

    image: NDArray[np.float16]
    standard: NDArray[np.float16]
    inside: NDArray[np.uint8]
    thing: NDArray[np.uint8]
    border: NDArray[np.uint8]
    inner: NDArray[np.uint8]
    depth: NDArray[np.float16]
    kind: NDArray[np.uint8]
    stretch: Array
    upright: bool

    def turned(self, rng: np.random.Generator) -> DenseSample:
        """The same with its axes in any order, mirrored at random; what is upright stays so."""
        order, steps = rng.permutation(3), rng.choice((-1, 1), 3)
        if self.upright:
            order, steps[:2] = np.arange(3), 1
        flips = tuple(slice(None, None, int(step)) for step in steps)
        cubes: dict[str, Any] = {n: getattr(self, n).transpose(order)[flips] for n in CUBES}
        return DenseSample(**cubes, stretch=self.stretch[order], upright=self.upright)


def draw_dense(seed: tuple[int, ...], source: Source, count: int = PER_SCENE) -> list[DenseSample]:
    """Patches of one scene; the same seed gives the same patches."""
    rng = np.random.default_rng((*seed, 1))
    return patches(make_dense_scene(seed, source), rng, count)


def patches(scene: DenseScene, rng: np.random.Generator, count: int) -> list[DenseSample]:
    """Patches from anywhere in a scene."""
    stretch = np.array((scene.step, 1.0, 1.0), np.float32) / min(scene.step, 1.0)
    border, inner = at_border(scene.outer), at_border(scene.inner)
    arrays = (
        scene.image.astype(np.float16),
        standardised(scene.image, stretch).astype(np.float16),
        np.ones(scene.image.shape, np.uint8),
        scene.things.astype(np.uint8),
        border.astype(np.uint8),
        inner.astype(np.uint8),
        depth_of(scene.outer, border, scene.step).astype(np.float16),
        np.full(border.shape, UNKNOWN, np.uint8) if scene.kind is None else scene.kind,
    )
    pad = [(0, max(0, PATCH_SIZE - n)) for n in scene.image.shape]
    padded = [np.pad(a, pad) for a in arrays]
    found = []
    for _ in range(count):
        low = [int(rng.integers(n - PATCH_SIZE + 1)) for n in padded[0].shape]
        part = tuple(slice(a, a + PATCH_SIZE) for a in low)
        cubes: dict[str, Any] = {n: a[part].copy() for n, a in zip(CUBES, padded, strict=True)}
        found.append(DenseSample(**cubes, stretch=stretch, upright=scene.upright))
    return found


def at_border(labels: Labels) -> NDArray[np.bool_]:
    """Voxels beside one of another label.

    Examples
    --------
    >>> at_border(np.array([[[1, 1, 2, 2, 2]]])).astype(int)
    array([[[0, 1, 1, 0, 0]]])
    """
    found = np.zeros(labels.shape, bool)
    for axis in range(3):
        near, far = [slice(None)] * 3, [slice(None)] * 3
        near[axis], far[axis] = slice(None, -1), slice(1, None)
        apart = labels[tuple(near)] != labels[tuple(far)]
        found[tuple(near)] |= apart
        found[tuple(far)] |= apart
    return found


def depth_of(labels: Labels, border: NDArray[np.bool_], step: float) -> Array:
    """Distance to the border, as a share of the deepest voxel of the same label."""
    distance = ndimage.distance_transform_edt(~border, (step, 1.0, 1.0)).astype(np.float32)
    distance += np.float32(0.5)
    values, which = np.unique(labels, return_inverse=True)
    deepest = ndimage.maximum(distance, which.reshape(labels.shape), np.arange(len(values)))
    return np.asarray(distance / np.asarray(deepest, np.float32)[which].reshape(labels.shape))
