"""Analytic phantoms in every orientation, and a small model whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.models.compact.recipe import RECIPE
from sammed.models.protocols import (
    ALL_PROMPTS,
    Embedding,
    ModelSpec,
    ViewBatch,
    ViewMask,
    ViewPrompt,
    check_prompts,
)
from sammed.models.recipe import BLUNT, PLAIN, Recipe
from sammed.prompts import BoxPrompt

SHAPE = (5, 7, 11)
SPACING = (2.5, 0.8, 0.7)
ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample_data"
DATA = ROOT.parent / "shared" / "data"

ORDERS = [
    (order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)
]
"""The 48 ways to store one volume: an order of its axes and their directions."""


def affine_of(
    spacing: Sequence[float] = SPACING,
    degrees: Sequence[float] = (10, 20, -15),
    origin: Sequence[float] = (-123.456789, 45.678901, -934.56789),
) -> NDArray[np.float64]:
    """Index (z, y, x) to LPS mm; by default oblique and asymmetric in every respect."""
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation[:, [2, 1, 0]] * np.asarray(spacing)
    affine[:3, 3] = origin
    return affine


STRAIGHT = affine_of(degrees=(0, 0, 0))
OBLIQUE = affine_of()


def reordered(
    array: NDArray, affine: NDArray[np.float64], order: Sequence[int], flips: Sequence[int]
) -> tuple[NDArray, NDArray[np.float64]]:
    """The same voxels stored otherwise: axis ``a`` of the new array is axis ``order[a]``."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for a, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[axis, a] = flip
        matrix[axis, 3] = array.shape[axis] - 1 if flip < 0 else 0
    turned = array.transpose(*order, *range(3, array.ndim))
    turned = turned[tuple(slice(None, None, flip) for flip in flips)]
    return np.ascontiguousarray(turned), affine @ matrix


def in_all_orders(
    array: NDArray, affine: NDArray[np.float64] = OBLIQUE, **attributes: object
) -> Iterator[Volume]:
    """The volume read from each of the 48 files that could hold it."""
    for order, flips in ORDERS:
        turned, turned_affine = reordered(array, affine, order, flips)
        yield Volume.from_array(turned, turned_affine, **attributes)


def ellipsoid(
    shape: Sequence[int], centre: Sequence[float], radii: Sequence[float]
) -> NDArray[np.bool_]:
    """Voxels (z, y, x) whose centre lies in an ellipsoid, all in voxels."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) < 1


def image_of(mask: NDArray[np.bool_], noise: float = 4.0, seed: int = 5) -> NDArray[np.int16]:
    """Soft tissue of 100 HU in fat of -80 HU, with noise."""
    rng = np.random.default_rng(seed)
    values = np.where(mask, 100.0, -80.0) + noise * rng.standard_normal(mask.shape)
    return np.rint(values).astype(np.int16)


ORGAN_SHAPE = (17, 40, 52)
ORGAN = ellipsoid(ORGAN_SHAPE, (7.6, 17.3, 24.2), (5.2, 10.5, 14.8))


def organ_volume(affine: NDArray[np.float64] = STRAIGHT, **attributes: object) -> Volume:
    """A CT of one ellipsoid, `ORGAN`."""
    attributes = {"modality": "CT", **attributes}
    return Volume.from_array(image_of(ORGAN), affine, **attributes)


def slice_box(mask: NDArray[np.bool_], index: int, axis: int = 0, loose: int = 1) -> BoxPrompt:
    """The box that a user would draw round a mask on a slice, a little loose."""
    section = np.take(mask, index, axis=axis)
    return BoxPrompt(axis, index, Box2D.from_mask(section).expand(loose).clip(section.shape))


def block_of(mask: NDArray[np.bool_], loose: int = 1) -> Box3D:
    """The 3D box that a user would draw round a mask: loose in plane, tight along z."""
    tight = Box3D.from_mask(mask)
    grown = Box3D(
        tight.z0, tight.y0 - loose, tight.x0 - loose, tight.z1, tight.y1 + loose, tight.x1 + loose
    )
    return grown.clip(mask.shape)


def dice(a: NDArray, b: NDArray) -> float:
    a, b = np.asarray(a) > 0, np.asarray(b) > 0
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def save_nifti(path: Path, voxels: NDArray, affine: NDArray[np.float64] = STRAIGHT) -> Path:
    """Write an array (k, j, i), whose affine leads to LPS mm, as NIfTI."""
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), geometry.affine_to_ras(affine))
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    nibabel.save(image, path)
    return path


Rule = Callable[[ViewPrompt, NDArray[np.float32], ViewMask], ViewMask]
"""Changes an answer: gets the prompt, the view's pixels (h, w) and the plain answer."""


def recipe_for(about: Mapping[str, object]) -> Recipe:
    """A recipe as suits a stub: all steps for a quick one that knows how sure it is."""
    if not about.get("calibrated", True):
        return BLUNT
    return PLAIN if about.get("expensive_encode") else RECIPE


class StubModel:
    """Bright pixels in the box and just round it, one candidate; counts what it is asked.

    Without a box the bright parts under the positive points are the object; parts under negative
    points never are.

    Parameters
    ----------
    view_size
        Views and low-res masks have this size.
    zoom
        As in `ModelSpec`.
    threshold
        What is brighter is the object.
    slack
        How far beyond the box the object may reach, in view px.
    rule
        Has the last word on every answer.
    """

    def __init__(
        self,
        view_size: int = 64,
        zoom: float | None = None,
        threshold: float = 0.5,
        slack: float = 2.0,
        rule: Rule | None = None,
        **spec: object,
    ) -> None:
        fixed = {"name": "stub", "view_size": view_size, "mask_size": view_size, "zoom": zoom}
        about = {"prompts": ALL_PROMPTS, "weights_hash": "5" * 64, **fixed, **spec}
        about.setdefault("recipe", recipe_for(about))
        self._spec = ModelSpec(**about)  # type: ignore[arg-type]
        self.threshold, self.slack = threshold, slack
        self.rule = rule
        self.encoded = 0
        self.asked: list[ViewPrompt] = []

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def take(self, **spec: object) -> None:
        """Change what the engine is told of it."""
        self._spec = replace(self._spec, **spec)  # type: ignore[arg-type]

    @property
    def decoded(self) -> int:
        return len(self.asked)

    def encode(self, views: ViewBatch) -> list[Embedding]:
        self.encoded += len(views)
        extent = (views.pixels.shape[2], views.pixels.shape[3])
        return [Embedding({"grey": pixels.mean(axis=0)}, extent) for pixels in views.pixels]

    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        check_prompts(self.spec, prompts)
        grey = np.asarray(embedding.arrays["grey"], np.float32)
        return [self._answer(grey, prompt) for prompt in prompts]

    def _answer(self, grey: NDArray[np.float32], prompt: ViewPrompt) -> ViewMask:
        self.asked.append(prompt)
        bright = grey > self.threshold
        if prompt.box is not None:
            rows, cols = (np.arange(n) + 0.5 for n in grey.shape)
            r0, c0, r1, c1 = prompt.box + self.slack * np.array([-1, -1, 1, 1])
            bright &= ((rows > r0) & (rows < r1))[:, None] & ((cols > c0) & (cols < c1))
        parts, _ = ndimage.label(bright)
        hit = [parts[at] for at in _pixels(prompt.points, grey.shape)]
        inside = [p for p, good in zip(hit, prompt.positive, strict=True) if good and p]
        outside = [p for p, good in zip(hit, prompt.positive, strict=True) if not good and p]
        if prompt.box is None and prompt.mask is None:
            bright &= np.isin(parts, inside)
        bright &= ~np.isin(parts, outside)
        size = self.spec.view_size
        logits = np.full((1, size, size), -8, np.float32)
        logits[0, : grey.shape[0], : grey.shape[1]][bright] = 8
        answer = ViewMask(logits, np.array([0.9], np.float32))
        return self.rule(prompt, grey, answer) if self.rule else answer


def _pixels(points: NDArray[np.float32], shape: tuple[int, int]) -> list[tuple[int, int]]:
    last = np.array(shape) - 1
    return [tuple(int(v) for v in np.clip(np.floor(p), 0, last)) for p in points]


def changed(mask: ViewMask, **values: object) -> ViewMask:
    """An answer with other measures."""
    return replace(mask, **values)  # type: ignore[arg-type]
