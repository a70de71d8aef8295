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

from sammed.models.compact.weight_files import fold_norms, load_network
from sammed.models.dense.net import OUTPUTS, STRIDE, DenseArchitecture, DenseNet, dense_planes

Float = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights" / "dense.safetensors"
"""The shipped weights."""

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
    """

    thing: Float
    border: Float
    inner: Float
    depth: Float


def load_dense(path: Path | None = None) -> tuple[DenseNet, str]:
    """The network and the hash of its weights, as `load_network` gives and refuses them.

    Parameters
    ----------
    path
        A ``.safetensors`` file; ``None``: the shipped one.
    """
    return load_network(path or WEIGHTS, "dense", DenseNet, DenseArchitecture())


def standardised(image: Float, stretch: NDArray[np.floating]) -> Float:
    """Brightness less the mean of its neighbourhood, in deviations of it.

    Parameters
    ----------
    image : (z, y, x) float32
        In [0, 1].
    stretch : (3,)
        Size of a voxel (z, y, x) in units of the shortest side.

    Returns
    -------
    (z, y, x) float32
        In [-2, 2].

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
        total = torch.zeros((len(OUTPUTS), *first.shape))
        for axes in self._mirrored:
            check()
            one, other, within = (torch.flip(a, axes) for a in (first, standard, inside))
            planes = dense_planes(one[None, None], other[None, None], within[None], sides)
            planes = planes.contiguous(memory_format=torch.channels_last_3d)
            total += torch.flip(self._net(planes)[0], [axis + 1 for axis in axes])
        chance = torch.sigmoid(total / len(self._mirrored)).numpy()
        z, y, x = image.shape
        return Borders(*(np.ascontiguousarray(c[:z, :y, :x]) for c in chance))
