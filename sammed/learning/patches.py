"""Patches of lessons as a network is shown them: turned, stretched, bent, lit, pasted.

One grid does all that moves samples, so that an image is resampled once. What is changed, and how
much, is nnU-Net's (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z) where it fits; objects of
other scans are pasted in as fill-in augmentation does (Zhang et al., "Segment Anything also
Detect Anything"; Zhang et al. 2021, CarveMix).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sammed.learning.lessons import Lesson
from sammed.models.learned.plan import Look, Plan

Random = np.random.Generator


@dataclass(frozen=True)
class Changes:
    """How much patches are changed.

    Attributes
    ----------
    on_structures
        Share of the patches that lie round a structure.
    turn, turn_flat
        Most radians, of solid patches and of slices.
    stretch, stretch_axis
        Log of the largest stretch: of all axes, and of each by itself.
    bend
        Largest spread of the bends, in samples.
    bend_every
        Samples between the places that are bent by themselves.
    paste
        Share of the patches into which an object of another scan is pasted.
    """

    on_structures: float = 0.67
    turn: float = 0.3
    turn_flat: float = 0.5
    stretch: float = 0.25
    stretch_axis: float = 0.1
    bend: float = 1.5
    bend_every: int = 10
    paste: float = 0.15


@dataclass(frozen=True)
class Patch:
    """What a network learns from.

    Attributes
    ----------
    image : (c, d, h, w) float32
        Brightness.
    target : (classes, d, h, w) float32
        Shares, which add up to 1.
    unknown : (classes,) bool
        Which classes nobody drew.
    """

    image: Tensor
    target: Tensor
    unknown: Tensor


def draw_patch(
    rng: Random, lessons: Sequence[Lesson], plan: Plan, look: Look, changes: Changes
) -> Patch:
    """A patch of one of the lessons; the same state of the generator gives the same patch.

    Parameters
    ----------
    rng
        Source of randomness.
    lessons
        At least one, of this look.
    plan, look
        What is learned.
    changes
        How much is changed.
    """
    patch = _moved(rng, lessons[int(rng.integers(len(lessons)))], plan, look, changes)
    if len(lessons) > 1 and rng.random() < changes.paste:
        donor = _moved(rng, lessons[int(rng.integers(len(lessons)))], plan, look, changes)
        patch = pasted(patch, donor)
    return replace(patch, image=_lit(rng, patch.image))


def _moved(rng: Random, lesson: Lesson, plan: Plan, look: Look, changes: Changes) -> Patch:
    """A patch round some place, moved and not yet lit."""
    shape = np.array(lesson.classes.shape)
    where = _centre(rng, lesson, changes) + rng.uniform(-0.2, 0.2, 3) * np.array(look.patch)
    if look.flat_axis is not None:
        where[0] = round(float(np.clip(where[0], 0, shape[0] - 1)))
    places = _grid(rng, look, changes) + where[:, None, None, None]
    for axis in plan.mirrors:
        at = look.order.index(axis)
        if rng.random() < 0.5:
            places = np.flip(places, at + 1)
    low = np.clip(np.floor(places.min((1, 2, 3))).astype(int) - 1, 0, shape - 1)
    high = np.clip(np.ceil(places.max((1, 2, 3))).astype(int) + 2, low + 1, shape)
    block = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    extent = np.maximum(high - low - 1, 1)
    unit = 2 * (places - low[:, None, None, None]) / extent[:, None, None, None] - 1
    grid = torch.from_numpy(np.ascontiguousarray(unit[::-1].transpose(1, 2, 3, 0), np.float32))
    image = torch.from_numpy(np.ascontiguousarray(lesson.image[:, block[0], block[1], block[2]]))
    shares = functional.one_hot(
        torch.from_numpy(lesson.classes[block].astype(np.int64)), plan.classes
    )
    both = torch.cat([image, shares.permute(3, 0, 1, 2)[1:].float()])
    found = functional.grid_sample(
        both[None], grid[None], padding_mode="border", align_corners=True
    )[0]
    channels = plan.channels(look)
    target = found[channels:]
    target = torch.cat([1 - target.sum(0, keepdim=True), target])
    return Patch(found[:channels], target, torch.from_numpy(lesson.unknown))


def _centre(rng: Random, lesson: Lesson, changes: Changes) -> NDArray[np.float64]:
    if lesson.spots and rng.random() < changes.on_structures:
        spots = lesson.spots[list(lesson.spots)[int(rng.integers(len(lesson.spots)))]]
        return spots[int(rng.integers(len(spots)))].astype(np.float64)
    return rng.uniform(0, np.array(lesson.classes.shape) - 1)


def _grid(rng: Random, look: Look, changes: Changes) -> NDArray[np.float32]:
    """(3, d, h, w): where each sample of the patch comes from, relative to the middle."""
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in look.patch]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    mm = np.array([look.spacing[axis] or 1.0 for axis in look.order])
    matrix = np.diag(1 / mm) @ _turn(rng, look, changes, mm) @ np.diag(mm)
    stretch = np.exp(
        rng.uniform(-1, 1) * changes.stretch + rng.uniform(-1, 1, 3) * changes.stretch_axis
    )
    if look.flat_axis is not None:
        stretch[0] = 1
    places = np.tensordot((matrix * stretch).astype(np.float32), places, 1)
    if changes.bend and rng.random() < 0.7:
        bends = smooth_noise(rng, 3, look.patch, changes.bend_every)
        bends *= np.float32(rng.uniform(0.2, 1) * changes.bend)
        if look.flat_axis is not None:
            bends[0] = 0
        places = places + bends
    return places.astype(np.float32)


def _turn(
    rng: Random, look: Look, changes: Changes, mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    if look.flat_axis is not None:
        angles = np.array([rng.uniform(-1, 1) * changes.turn_flat, 0.0, 0.0])
    else:
        angles = rng.uniform(-1, 1, 3) * changes.turn
        thick = mm.max() > 2 * mm.min()
        if thick:  # slices much thicker than their pixels are turned within their plane alone
            angles[[axis for axis in range(3) if axis != int(mm.argmax())]] = 0
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (other for other in range(3) if other != axis)
        one = np.eye(3)
        one[[a, b], [a, b]] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    return turn


def smooth_noise(
    rng: Random, channels: int, shape: tuple[int, int, int], every: int
) -> NDArray[np.float32]:
    """(channels, d, h, w) noise of about unit spread that changes slowly."""
    knots = [max(1, round(n / every)) + (n > 1) for n in shape]
    coarse = torch.from_numpy(rng.standard_normal((1, channels, *knots), np.float32))
    fine = functional.interpolate(coarse, shape, mode="trilinear", align_corners=True)
    return np.asarray(fine[0].numpy())


def pasted(patch: Patch, donor: Patch) -> Patch:
    """The donor's structures laid over a patch where that has none; soft at the rim.

    Parameters
    ----------
    patch, donor
        Of one shape.
    """
    inside = 1 - donor.target[:1]
    taken = 1 - patch.target[:1]
    if not bool((inside > 0.5).any()) or bool(((inside > 0.5) & (taken > 0.5)).any()):
        return patch
    reach = [3 if n > 1 else 1 for n in inside.shape[1:]]
    soft = functional.max_pool3d(inside[None], reach, 1, [n // 2 for n in reach])
    soft = functional.avg_pool3d(soft, reach, 1, [n // 2 for n in reach], count_include_pad=False)[
        0
    ]
    soft = soft * (1 - functional.max_pool3d(taken[None], reach, 1, [n // 2 for n in reach])[0])
    rim = (soft > 0) & (inside < 0.5)
    shift = (patch.image - donor.image)[:, rim[0]].mean(1) if bool(rim.any()) else 0
    shift = shift[:, None, None, None] if isinstance(shift, Tensor) else shift
    image = patch.image * (1 - soft) + (donor.image + shift) * soft
    shares = patch.target * (1 - inside) + donor.target * inside
    return Patch(image, shares, patch.unknown | donor.unknown)


def _lit(rng: Random, image: Tensor) -> Tensor:
    """Other noise, sharpness, contrast and shading."""
    shape = tuple(int(n) for n in image.shape[1:])
    if rng.random() < 0.2:
        image = _blurred(image, float(rng.uniform(0.5, 1.2)))
    if rng.random() < 0.15:
        image = _coarser(image, float(rng.uniform(0.5, 0.9)))
    if rng.random() < 0.3:
        shading = smooth_noise(rng, 1, (shape[0], shape[1], shape[2]), 24)
        image = image * (1 + torch.from_numpy(shading) * float(rng.uniform(0.02, 0.15)))
    if rng.random() < 0.4:
        low, high = image.amin(), image.amax()
        unit = (image - low) / (high - low).clamp(min=1e-6)
        image = unit ** float(np.exp(rng.uniform(-0.5, 0.5))) * (high - low) + low
    image = image * float(np.exp(rng.uniform(-0.3, 0.3))) + float(rng.uniform(-0.3, 0.3))
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, np.float32)
        image = image + torch.from_numpy(noise) * float(rng.uniform(0.0, 0.2))
    return image


def _blurred(image: Tensor, sigma: float) -> Tensor:
    taps = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2)
    kernel = torch.from_numpy((taps / taps.sum()).astype(np.float32))
    for axis in range(1, 4):
        if image.shape[axis] < 5:
            continue
        moved = image.movedim(axis, -1)
        flat = functional.pad(moved.reshape(-1, 1, moved.shape[-1]), (2, 2), mode="replicate")
        image = functional.conv1d(flat, kernel[None, None]).reshape(moved.shape).movedim(-1, axis)
    return image


def _coarser(image: Tensor, factor: float) -> Tensor:
    size = [max(1, round(n * factor)) for n in image.shape[1:]]
    small = functional.interpolate(image[None], size, mode="nearest")
    return functional.interpolate(
        small, tuple(image.shape[1:]), mode="trilinear", align_corners=False
    )[0]
