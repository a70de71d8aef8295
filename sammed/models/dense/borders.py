"""What the dense network makes of an image: things, borders and depth of every voxel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import WeightsMismatchError
from sammed.models.compact.weight_files import fold_norms, load_network
from sammed.models.dense.net import (
    OF_VOLUMES,
    OUTPUTS,
    STRIDE,
    DenseArchitecture,
    DenseNet,
    dense_planes,
)

Float = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights" / "dense.safetensors"
PICTURE_WEIGHTS = WEIGHTS.with_name("dense_pictures.safetensors")
"""The shipped weights: of volumes, of pictures and single slices."""

AROUND = 17
"""Pixels a side of the neighbourhood by whose mean and deviation brightness is standardised."""


@dataclass(frozen=True, eq=False)
class Borders:
    """Answers for an image, each (z, y, x) float32 in [0, 1].

    Attributes
    ----------
    thing
        Chance that a voxel is part of a thing.
    border, inner
        Chance that it is at the border of a largest thing, of any part.
    depth
        How far inside the largest thing it is, as a share of that thing's deepest voxel.
    salient
        Of pictures: chance that it is part of what a person would outline.
    kinds : (k, z, y, x) float32
        Of volumes: chance of each of `sammed.models.dense.net.KINDS`, in which a network that was
        trained on trunks sees any image.
    """

    thing: Float
    border: Float
    inner: Float
    depth: Float
    salient: Float | None = None
    kinds: Float | None = None


def load_dense(
    path: Path | None = None, like: DenseArchitecture | None = None
) -> tuple[DenseNet, str]:
    """The network and the hash of its weights, as `load_network` gives and refuses them.

    Parameters
    ----------
    path
        A ``.safetensors`` file; ``None``: the shipped one of volumes.
    like
        One for as many dimensions; ``None``: that of volumes.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        Also if it is the network of pictures where that of volumes should be, or the reverse.
    """
    usual = like or OF_VOLUMES
    path = path or WEIGHTS
    net, digest = load_network(path, "dense", DenseNet, usual)
    if net.architecture.dims != usual.dims:
        raise WeightsMismatchError(
            f"{path} is the dense network of {net.architecture.dims} dimensions; expected "
            f"{usual.dims}: train one of pictures with --pictures, one of volumes without"
        )
    return net, digest


def standardised(image: Float, stretch: NDArray[np.floating]) -> Float:
    """Brightness less the mean of its neighbourhood, in deviations of it.

    Parameters
    ----------
    image : (z, y, x) float32
        In [0, 1]; or (y, x).
    stretch : (3,)
        Size of a voxel (z, y, x) in units of the shortest side; or (2,).

    Returns
    -------
    (z, y, x) float32
        In [-2, 2]; or (y, x).

    Examples
    --------
    >>> flat = standardised(np.full((4, 6, 8), 0.3, np.float32), np.ones(3))
    >>> float(abs(flat).max()) < 1e-3
    True
    """
    size = [max(1, round(AROUND / float(s))) for s in stretch]
    mean = ndimage.uniform_filter(image, size, mode="nearest")
    square = ndimage.uniform_filter(image * image, size, mode="nearest")
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    return np.asarray(np.clip((image - mean) * (0.5 / (spread + 0.02)), -2, 2), np.float32)


class DenseReader:
    """Runs the network over whole images.

    Parameters
    ----------
    net
        From `load_dense`; its norms are folded.
    mirrors
        Ways to mirror an image whose answers are averaged, at most 8.
    """

    def __init__(self, net: DenseNet, mirrors: int = 1) -> None:
        self._kinds = net.architecture.kinds
        self._net = fold_norms(net).eval()
        every = [axes for n in range(4) for axes in combinations(range(3), n)]
        self._mirrored = every[:mirrors]

    @torch.inference_mode()
    def read(
        self, image: Float, spacing: tuple[float, float, float], check: Callable[[], None]
    ) -> Borders:
        """Answers for one channel of a volume.

        Parameters
        ----------
        image : (z, y, x) float32
            In [0, 1].
        spacing
            (z, y, x) in any unit.
        check
            Called before each pass; may raise to stop.
        """
        stretch = np.array(spacing) / min(spacing)
        check()
        shown = image, standardised(image, stretch), np.ones_like(image)
        pad = [(0, -n % STRIDE) for n in image.shape]
        first, standard, inside = (torch.from_numpy(np.pad(one, pad)) for one in shown)
        sides = torch.from_numpy(stretch.astype(np.float32))[None]
        total = torch.zeros((len(OUTPUTS) + self._kinds, *first.shape))
        for axes in self._mirrored:
            check()
            one, other, within = (torch.flip(a, axes) for a in (first, standard, inside))
            planes = dense_planes(one[None, None], other[None, None], within[None], sides)
            planes = planes.contiguous(memory_format=torch.channels_last_3d)
            total += torch.flip(self._net(planes)[0], [axis + 1 for axis in axes])
        z, y, x = image.shape
        logits = total[:, :z, :y, :x] / len(self._mirrored)
        chance = torch.sigmoid(logits[: len(OUTPUTS)]).numpy()
        kinds = torch.softmax(logits[len(OUTPUTS) :], 0).numpy() if self._kinds else None
        thing, border, inner, depth = (np.ascontiguousarray(c) for c in chance)
        return Borders(thing, border, inner, depth, kinds=kinds)


class PictureReader:
    """Runs the network of pictures over whole pictures.

    Parameters
    ----------
    net
        Of two dimensions, from `load_dense`; its norms are folded.
    mirrors
        Ways to mirror a picture whose answers are averaged, at most 4.
    """

    def __init__(self, net: DenseNet, mirrors: int = 4) -> None:
        self._outputs = len(net.architecture.outputs)
        self._net = fold_norms(net).eval()
        self._mirrored: list[tuple[int, ...]] = [(), (1,), (0,), (0, 1)][:mirrors]

    @torch.inference_mode()
    def read(self, image: Float, inside: NDArray[np.bool_], check: Callable[[], None]) -> Borders:
        """Answers for a picture, each (y, x); 0 beyond it.

        Parameters
        ----------
        image : (3, y, x) float32
            CIELAB as of `sammed.everything.coarse.lightness_and_colour`.
        inside : (y, x) bool
            Where the picture is; elsewhere is its frame.
        check
            Called before each pass; may raise to stop.
        """
        check()
        shown = image * inside
        standard = np.stack([standardised(channel, np.ones(2)) for channel in shown]) * inside
        pad = [(0, -n % STRIDE) for n in inside.shape]
        first, other = (torch.from_numpy(np.pad(a, [(0, 0), *pad])) for a in (shown, standard))
        within = torch.from_numpy(np.pad(inside.astype(np.float32), pad))
        total = torch.zeros((self._outputs, *within.shape))
        for axes in self._mirrored:
            check()
            turn = [axis - 2 for axis in axes]
            one, two, three = (torch.flip(a, turn)[None] for a in (first, other, within))
            planes = dense_planes(one, two, three, torch.ones((1, 2)))
            planes = planes.contiguous(memory_format=torch.channels_last)
            total += torch.flip(self._net(planes)[0], turn)
        y, x = inside.shape
        chance = torch.sigmoid(total / len(self._mirrored)).numpy()[:, :y, :x] * inside
        return Borders(*(np.ascontiguousarray(c, np.float32) for c in chance))
