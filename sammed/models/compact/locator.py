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
    def locate(
        self, view: BlockView, said: Tensor | None = None, ways: int = 8
    ) -> NDArray[np.float32]:
        """Logits of the object on the cube, the mean of some ways to mirror it.

        Parameters
        ----------
        view
            What the 3D box shows.
        said : (len(HEARD), s, s, s)
            What was said besides, as `sammed.models.compact.cube_said.said_on_cube` draws it;
            ``None``: nothing.
        ways
            Of the eight, the first so many.

        Returns
        -------
        (s, s, s) float32
        """
        image, inside = (
            torch.from_numpy(np.ascontiguousarray(a)).to(self._device)
            for a in (view.image, view.inside)
        )
        looks = MIRRORED[:ways]
        extent, voxels = (
            torch.from_numpy(a).to(self._device).expand(len(looks), 3)
            for a in (view.extent, view.voxels)
        )
        seen = Blocks(_mirrored(image, looks), _mirrored(inside, looks), extent, voxels)
        planes = block_planes(seen).contiguous(memory_format=torch.channels_last_3d)
        heard = None if said is None else _mirrored(said.to(self._device), looks)
        answers = self._net(planes, heard)
        back = [torch.flip(a, axes) for a, axes in zip(answers, looks, strict=True)]
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


def _mirrored(cube: Tensor, looks: Sequence[tuple[int, ...]]) -> Tensor:
    """A cube, or several (..., s, s, s), mirrored in each of some ways."""
    return torch.stack([torch.flip(cube, [axis - 3 for axis in axes]) for axes in looks])
