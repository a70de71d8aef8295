"""Small segment-anything networks with seeded random weights."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import Sam

from sammed.models.sam.network import Architecture, build_network

TINY = Architecture(dim=32, depth=2, heads=2, global_blocks=(1,))


def random_sam(architecture: Architecture = TINY, image_size: int = 256, seed: int = 1) -> Sam:
    """A network whose every parameter counts: none is 0, logits reach well beyond ±1."""
    torch.manual_seed(seed)
    network = build_network(architecture, image_size)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "pos" in name or "norm" in name or name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
            if "output_hypernetworks_mlps" in name and "layers.2" in name:
                parameter.mul_(20)
    return network.requires_grad_(False)


def slice_image(shape: tuple[int, int] = (90, 130), channels: int = 1) -> np.ndarray:
    """A bright off-centre ellipse on a noisy slope, (channels, h, w) float32 in [0, 1]."""
    rng = np.random.default_rng(3)
    slope = 0.2 + 0.1 * (np.arange(shape[1]) + 0.5) / shape[1]
    image = slope + 0.02 * rng.standard_normal((channels, *shape))
    image[:, ellipse(shape)] += 0.5
    return np.clip(image, 0, 1).astype(np.float32)


def ellipse(shape: tuple[int, int] = (90, 130)) -> np.ndarray:
    """The object of `slice_image`: rows 20..50, columns 70..110."""
    rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
    return ((rows - 35) / 15) ** 2 + ((cols - 90) / 20) ** 2 < 1
