"""compact's locator: finds the object of a 3D box from all its slices at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammed.models.compact.cubes import BlockView
from sammed.models.compact.entry import LOCATOR
from sammed.models.compact.locator_net import Blocks, LocatorArchitecture, LocatorNet, block_planes
from sammed.models.compact.weight_files import fold_norms, load_network


def load_locator(path: Path | None = None) -> tuple[LocatorNet, str]:
    """The network and the hash of its weights, as `load_network` gives and refuses them.

    Parameters
    ----------
    path
        A ``.safetensors`` file; ``None``: the shipped one.
    """
    return load_network(path or LOCATOR, "locator", LocatorNet, LocatorArchitecture())


class Locator:
    """The network that sees a 3D box as a cube.

    Parameters
    ----------
    net
        From `load_locator`; its norms are folded.
    device
        Where it runs.
    """

    def __init__(self, net: LocatorNet, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._net = fold_norms(net).to(self._device).to(memory_format=torch.channels_last_3d)

    @torch.inference_mode()
    def locate(self, view: BlockView) -> NDArray[np.float32]:
        """Logits of the object on the cube, the mean of the eight ways to mirror it.

        Parameters
        ----------
        view
            What the 3D box shows.

        Returns
        -------
        (s, s, s) float32
        """
        image, inside = (
            torch.from_numpy(np.ascontiguousarray(a)).to(self._device)
            for a in (view.image, view.inside)
        )
        extent, voxels = (
            torch.from_numpy(a).to(self._device).expand(len(MIRRORED), 3)
            for a in (view.extent, view.voxels)
        )
        seen = Blocks(_mirrored(image), _mirrored(inside), extent, voxels)
        planes = block_planes(seen).contiguous(memory_format=torch.channels_last_3d)
        answers = self._net(planes)
        back = [torch.flip(a, axes) for a, axes in zip(answers, MIRRORED, strict=True)]
        return np.asarray(torch.stack(back).mean(0).float().cpu().numpy())

    @torch.inference_mode()
    def glance(self, views: Sequence[BlockView]) -> NDArray[np.float32]:
        """Logits of the objects of several boxes at once, each seen one way: quick.

        Parameters
        ----------
        views
            What the 3D boxes show.

        Returns
        -------
        (n, s, s, s) float32
        """
        image, inside, extent, voxels = (
            torch.from_numpy(np.stack([getattr(view, name) for view in views])).to(self._device)
            for name in ("image", "inside", "extent", "voxels")
        )
        planes = block_planes(Blocks(image, inside, extent, voxels))
        answers = self._net(planes.contiguous(memory_format=torch.channels_last_3d))
        return np.asarray(answers.float().cpu().numpy())


MIRRORED = tuple(axes for n in range(4) for axes in combinations(range(3), n))
"""The axes that are mirrored, eight ways."""


def _mirrored(cube: Tensor) -> Tensor:
    return torch.stack([torch.flip(cube, axes) for axes in MIRRORED])
