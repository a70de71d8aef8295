"""What is measured on: a synthetic CT, and segment-anything with seeded random weights.

The official weights are not needed: random ones cost the same, and exactness can be checked on
them as well. Their masks mean nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam

from sammed.imaging.boxes import Box2D
from sammed.imaging.volume import Volume
from sammed.models.protocols import ImageModel
from sammed.models.sam.backends import build_encoder
from sammed.models.sam.model import SamModel
from sammed.models.sam.network import ARCHITECTURES, build_network, fit_positions
from sammed.prompts import BoxPrompt, ObjectPrompts

SIDE = 512
SPACING = (2.5, 0.8, 0.8)
WINDOW = "soft-tissue"


@lru_cache(maxsize=2)
def random_network(architecture: str = "vit_b", seed: int = 1) -> Sam:
    """segment-anything with random weights whose masks are neither empty nor full."""
    torch.manual_seed(seed)
    network = build_network(ARCHITECTURES[architecture])
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "pos" in name or "norm" in name or name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
            if "output_hypernetworks_mlps" in name and "layers.2" in name:
                parameter.mul_(20)
    return network.requires_grad_(False)


def model(
    engine: str = "torch", precision: str = "float32", size: int = 1024, name: str = "vit_b"
) -> ImageModel:
    """A model over `random_network`, encoding at ``size`` px."""
    network = random_network(name)
    if size != 1024:
        smaller = build_network(ARCHITECTURES[name], size)
        smaller.load_state_dict(fit_positions(network.state_dict(), smaller))
        network = smaller.requires_grad_(False)
    encoder = build_encoder(network.image_encoder, engine=engine, precision=precision)
    variant = "" if precision == "float32" else precision
    return SamModel(network, name=name, weights_hash="5eed" * 16, encoder=encoder, variant=variant)


def volume(slices: int, side: int = SIDE) -> Volume:
    """Noisy soft tissue with five bright ellipsoids through most slices, int16 HU."""
    rng = np.random.default_rng(5)
    voxels = rng.integers(-30, 30, (slices, side, side), np.int16)
    for number in range(5):
        mask = _ellipsoid(slices, side, number)
        voxels[mask] += np.int16(80 + 10 * number)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(SPACING[::-1]))  # index (z, y, x) to (L, P, S)
    return Volume.from_array(voxels, affine, modality="CT")


def boxes(number: int, slices: int, side: int = SIDE) -> dict[int, Box2D]:
    """Box of one of the ellipsoids on every slice, by slice index; a little too large."""
    mask = _ellipsoid(slices, side, number)
    return {z: Box2D.from_mask(mask[z]).expand(4).clip((side, side)) for z in range(slices)}


def prompted(number: int, slices: int, side: int = SIDE) -> ObjectPrompts:
    """One object with a box on every slice and no propagation, as a naive loop would do it."""
    asked = tuple(BoxPrompt(0, z, box) for z, box in boxes(number, slices, side).items())
    return ObjectPrompts(f"object {number}", number + 1, boxes=asked, propagate="off")


def levels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A windowed slice, (1, h, w) in [0, 1], as SamPredictor takes it: (h, w, 3) uint8."""
    return np.repeat(np.rint(image[0] * 255).astype(np.uint8)[..., None], 3, axis=-1)


def _ellipsoid(slices: int, side: int, number: int) -> NDArray[np.bool_]:
    """One of up to 20, placed on a grid; through all slices, thinner towards both ends."""
    rows, cols = divmod(number % 20, 5)
    centre = (side * (0.2 + 0.2 * rows), side * (0.12 + 0.19 * cols))
    z = (np.arange(slices) + 0.5) / slices * 2 - 1
    radius = side * 0.07 * np.sqrt(1 - 0.8 * z**2)
    y, x = np.arange(side) - centre[0], np.arange(side) - centre[1]
    distance = np.hypot(y[:, None] / 1.2, x[None])
    return np.asarray(distance[None] < radius[:, None, None])
