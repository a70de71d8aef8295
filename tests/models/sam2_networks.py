"""Small networks of SAM 2's with seeded random weights, and frames for its own predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sammed.models.sam2.network import build_network, configuration

SIZE = 256
TINY = {
    "image_encoder": {
        "trunk": {"embed_dim": 16, "stages": [1, 1, 2, 1], "global_att_blocks": [3]},
        "neck": {"backbone_channel_list": [128, 64, 32, 16]},
    },
    "memory_attention": {"num_layers": 2},
}
"""What a configuration says otherwise, for a network that runs in an instant."""


def random_sam2(architecture: str = "sam2.1_tiny", seed: int = 1, presence: float = 3.0) -> Any:
    """A network whose every parameter counts: none is 0, and objects are present (``presence``)."""
    from omegaconf import OmegaConf

    torch.manual_seed(seed)
    network = build_network(OmegaConf.merge(configuration(architecture), TINY), SIZE)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "pos" in name or "norm" in name or name.endswith(("bias", "gamma")):
                parameter.add_(0.1 * torch.randn_like(parameter))
            if name.startswith(("no_", "maskmem")):
                parameter.add_(0.5 * torch.randn_like(parameter))
            if name.startswith(("obj_ptr", "memory_attention")) and name.endswith("weight"):
                parameter.mul_(2)
            if "obj_ptr_tpos_proj" in name:
                parameter.mul_(20)
            if "output_hypernetworks_mlps" in name and "layers.2" in name:
                parameter.mul_(20)
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(presence)
    return network.requires_grad_(False)


def predictor_of(network: Any, architecture: str = "sam2.1_tiny") -> Any:
    """SAM 2's own predictor for videos, with the same weights."""
    from omegaconf import OmegaConf

    own = {"_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor"}
    predictor = build_network(OmegaConf.merge(configuration(architecture), TINY, own), SIZE)
    predictor.load_state_dict(network.state_dict())
    return predictor


def frames(folder: Path, count: int, size: int = SIZE) -> np.ndarray:
    """A bright ellipse that moves and grows, as JPEG files for the predictor.

    Returns
    -------
    (count, 3, size, size) float32
        In [0, 1]: the same pixels as the files hold.
    """
    rng = np.random.default_rng(3)
    rows, cols = np.mgrid[:size, :size] / size
    held = []
    for i in range(count):
        grey = 60 + 30 * cols + 6 * rng.standard_normal((size, size))
        grey[((rows - 0.4 - 0.005 * i) / 0.2) ** 2 + ((cols - 0.5) / 0.15) ** 2 < 1] += 90
        file = folder / f"{i}.jpg"
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB").save(file)
        held.append(np.asarray(Image.open(file), np.float32).transpose(2, 0, 1) / 255)
    return np.stack(held)
