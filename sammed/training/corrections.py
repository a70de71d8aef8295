"""What a user says of a wrong answer in a 3D box: clicks into its errors, painted slices.

Half of the locator's samples are corrections: there is a former answer, the network's own or one
that is wrong in a way of its own (filled, hollowed, cut, grown into a neighbour), and something is
said of it. So one network learns what fills a 3D box and what a click on its answer means.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.cubes import BOX_SHARE
from sammed.models.compact.locator_net import HEARD, Blocks
from sammed.training.volume_prompts import Picker, slice_ends

CLICK_IN, CLICK_OUT, PAINTED, FORMER = range(len(HEARD))

SHARE = 0.5
"""Of a batch's samples that are corrections."""

OWN_SHARE = 0.5
"""Of these, how many have the network's own answer as the former one."""

CLICKS = (0.1, 0.4, 0.18, 0.12, 0.1, 0.1)
"""How often nothing is clicked, and how often one to five clicks are made."""

PAINTED_SHARE = 0.15
"""How often one to three slices are painted as well."""

MENDED = 5.0
"""Samples round a click within which further clicks find nothing wrong any more."""

OUTSIDE = -8.0
"""Logit of a former answer beyond the 3D box."""

Answer = Callable[[Blocks], Tensor]
"""A network's logits of blocks of which nothing else was said."""


def corrections(rng: np.random.Generator, shown: Blocks, target: Tensor, answer: Answer) -> Tensor:
    """What was said of a batch besides its 3D boxes: of some samples nothing.

    Parameters
    ----------
    rng
        Source of randomness.
    shown, target
        The batch; the target is 0 or 1, (n, s, s, s).
    answer
        The network's own.

    Returns
    -------
    (n, len(HEARD), s, s, s) float32
    """
    said = target.new_zeros((len(target), len(HEARD), *target.shape[1:]))
    count = int(rng.binomial(len(target), SHARE))
    own = int(rng.binomial(count, OWN_SHARE))
    wanted = target > 0
    former = target.new_empty((count, *target.shape[1:]))
    if own:
        shift = torch.from_numpy(rng.uniform(-2, 2, own)).float()[:, None, None, None]
        former[:own] = answer(_rows(shown, own)) + shift
    for row in range(own, count):
        former[row] = wrong(rng, wanted, row)
    for row in range(count):
        clicks = int(rng.choice(len(CLICKS), p=CLICKS))
        slices = int(rng.integers(1, 4)) if rng.random() < PAINTED_SHARE else 0
        voxels = shown.voxels[row]
        said[row] = said_of(rng, former[row], wanted[row], voxels, clicks, slices)
    return said


def said_of(
    rng: np.random.Generator,
    former: Tensor,
    target: Tensor,
    voxels: Tensor,
    clicks: int,
    slices: int = 0,
) -> Tensor:
    """A former answer on a cube, and what is said of it, (len(HEARD), s, s, s).

    Parameters
    ----------
    rng
        Source of randomness.
    former, target
        (s, s, s) logits, bool.
    voxels
        Size of the 3D box in voxels, (3,).
    clicks, slices
        How many clicks are made, each into the largest error that is left, and slices painted.
    """
    picker, size = Picker.of(rng, "cpu"), target.shape[-1]
    box = _box(size)
    former = torch.where(box, former, OUTSIDE)
    said = former.new_zeros((len(HEARD), *target.shape))
    said[FORMER] = drawing.former_channel(former)
    found, left = former > 0, box.clone()
    places: dict[int, list[Tensor]] = {CLICK_IN: [], CLICK_OUT: []}
    for _ in range(clicks):
        kinds = torch.stack((target & ~found & left, found & ~target & left))
        at, thickness = picker.places(kinds)
        worse = int(thickness.argmax())
        if not thickness[worse]:
            break
        places[CLICK_OUT if worse else CLICK_IN].append(at[worse])
        left &= _distance(at[worse], size) > MENDED
    for channel, points in places.items():
        if points:
            said[channel] = drawing.click_channel(torch.stack(points)[None], size)[0]
    for _ in range(slices if target.any() else 0):
        axis = int(rng.integers(3))
        on = _slice_on(float(picker.places(target[None])[0][0, axis]), float(voxels[axis]), size)
        given = (on.reshape([-1 if a == axis else 1 for a in range(3)]) & box).expand_as(target)
        said[PAINTED] = torch.where(given, drawing.signed(target, given), said[PAINTED])
    return said


def wrong(rng: np.random.Generator, targets: Tensor, row: int) -> Tensor:
    """Logits of an answer that is wrong in one or two ways, (s, s, s).

    Parameters
    ----------
    rng
        Source of randomness.
    targets
        Of the whole batch, (n, s, s, s) bool.
    row
        The object.
    """
    mask = targets[row].float()
    for _ in range(int(rng.integers(1, 3))):
        mask = WRONG[int(rng.integers(len(WRONG)))](rng, mask, targets)
    soft = functional.avg_pool3d(mask[None, None], 3, 1, 1)[0, 0]
    level, sharpness = rng.uniform(0.35, 0.6), np.exp(rng.uniform(1.5, 3.0))
    return (soft - level) * sharpness


def _grown(mask: Tensor, reach: int) -> Tensor:
    """By a cube, one axis after the other."""
    for axis in range(3):
        width, padding = [1, 1, 1], [0, 0, 0]
        width[axis], padding[axis] = 2 * reach + 1, reach
        mask = functional.max_pool3d(mask[None, None], width, 1, padding)[0, 0]
    return mask


def _filled(rng: np.random.Generator, mask: Tensor, targets: Tensor) -> Tensor:
    """Without its cavities and dents."""
    reach = int(rng.integers(3, 8))
    return 1 - _grown(1 - _grown(mask, reach), reach)


def _eroded(rng: np.random.Generator, mask: Tensor, targets: Tensor) -> Tensor:
    """Without its rind, and without what is thin."""
    return 1 - _grown(1 - mask, int(rng.integers(1, 3)))


def _swollen(rng: np.random.Generator, mask: Tensor, targets: Tensor) -> Tensor:
    return _grown(mask, int(rng.integers(1, 3)))


def _cut(rng: np.random.Generator, mask: Tensor, targets: Tensor) -> Tensor:
    """Without what lies beyond a plane."""
    if not mask.any():
        return mask
    z, y, x = (float(n) * torch.arange(mask.shape[0]) for n in rng.standard_normal(3))
    along = z[:, None, None] + y[None, :, None] + x[None, None, :]
    edge = torch.quantile(along[mask > 0], float(rng.uniform(0.3, 0.8)))
    return mask * (along <= edge)


def _with_ball(rng: np.random.Generator, mask: Tensor, targets: Tensor) -> Tensor:
    """With a ball beside it."""
    near = (_grown(mask, 4) - mask).nonzero()
    if not len(near):
        return mask
    place = near[int(rng.integers(len(near)))].float()
    ball = _distance(place, mask.shape[-1]) < float(rng.uniform(3, 9))
    return torch.maximum(mask, ball.float())


def _with_another(rng: np.random.Generator, mask: Tensor, targets: Tensor) -> Tensor:
    """With what was asked for elsewhere."""
    return torch.maximum(mask, targets[int(rng.integers(len(targets)))].float())


def _ellipsoid(rng: np.random.Generator, mask: Tensor, targets: Tensor) -> Tensor:
    """The ellipsoid that fills the 3D box, instead."""
    size = mask.shape[-1]
    middle = torch.full((3,), size / 2)
    return (_distance(middle, size) <= size * BOX_SHARE / 2).float()


Wrong = Callable[[np.random.Generator, Tensor, Tensor], Tensor]

WRONG: tuple[Wrong, ...] = (
    _filled,
    _filled,
    _eroded,
    _swollen,
    _cut,
    _with_ball,
    _with_another,
    _ellipsoid,
)
"""Ways to be wrong; filled cavities are the commonest of all errors in 3D boxes."""


def _box(size: int) -> Tensor:
    """Where the 3D box lies in its cube, (s, s, s) bool."""
    margin = size * (1 - BOX_SHARE) / 2
    return drawing.blocks(torch.tensor([[[margin, size - margin]] * 3]), size)[0]


def _distance(place: Tensor, size: int) -> Tensor:
    """Of each sample's centre from a place, (s, s, s)."""
    centres = torch.arange(size) + 0.5
    z, y, x = ((centres - float(p)) ** 2 for p in place)
    return (z[:, None, None] + y[None, :, None] + x[None, None, :]).sqrt()


def _slice_on(place: float, voxels: float, size: int) -> Tensor:
    """Which samples lie on the image's slice that holds a place, (s,) bool."""
    margin, voxel = size * (1 - BOX_SHARE) / 2, size * BOX_SHARE / voxels
    return drawing.intervals(torch.tensor(slice_ends(place, margin, voxel)), size)


def _rows(shown: Blocks, count: int) -> Blocks:
    return Blocks(*(t[:count] for t in (shown.image, shown.inside, shown.extent, shown.voxels)))
