"""segment-anything's networks, built to fit a checkpoint's tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn
from torch.nn import functional

from sammed.errors import InputError, WeightsMismatchError
from sammed.models.checkpoints import check_tensors, read_tensors

IMAGE_SIZE = 1024
"""Side in px of the square that the official networks were trained on."""

PATCH = 16
"""Side in px of the patch that one token stands for."""

PROMPT_DIM = 256
WINDOW = 14
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

_POSITIONS = "image_encoder.pos_embed"
_RELATIVE = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.rel_pos_[hw]$")


@dataclass(frozen=True)
class Architecture:
    """Size of an image encoder."""

    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]


ARCHITECTURES = {
    "vit_b": Architecture(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": Architecture(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": Architecture(1280, 32, 16, (7, 15, 23, 31)),
}


def build_network(architecture: Architecture, image_size: int = IMAGE_SIZE) -> Sam:
    """Build segment-anything's network, randomly initialised.

    Parameters
    ----------
    architecture
        Of the image encoder; prompt encoder and mask decoder are always the same.
    image_size
        Side in px of the square input, a multiple of 16.
    """
    grid = image_size // PATCH
    encoder = ImageEncoderViT(
        depth=architecture.depth,
        embed_dim=architecture.dim,
        img_size=image_size,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=architecture.heads,
        patch_size=PATCH,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=architecture.global_blocks,
        window_size=WINDOW,
        out_chans=PROMPT_DIM,
    )
    prompt_encoder = PromptEncoder(
        embed_dim=PROMPT_DIM,
        image_embedding_size=(grid, grid),
        input_image_size=(image_size, image_size),
        mask_in_chans=16,
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=PROMPT_DIM, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=transformer,
        transformer_dim=PROMPT_DIM,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    return Sam(encoder, prompt_encoder, decoder, list(PIXEL_MEAN), list(PIXEL_STD)).eval()


def load_network(
    path: Path, *, architecture: str | None = None, image_size: int = IMAGE_SIZE
) -> tuple[Sam, str]:
    """Read a checkpoint into the network that it fits.

    Parameters
    ----------
    path
        A ``.pth`` or ``.safetensors`` file of segment-anything's tensors.
    architecture
        ``"vit_b"``, ``"vit_l"`` or ``"vit_h"``; ``None`` takes the one of the file.
    image_size
        Side in px of the network's input; below `IMAGE_SIZE` the position embeddings are
        interpolated to the smaller grid of tokens.

    Returns
    -------
    (Sam, str)
        The network, ready for inference, and its architecture's name.

    Raises
    ------
    InputError
        If the image size is not usable.
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If the file is broken, or its tensors are not those of the architecture.
    """
    if image_size % PATCH or not PATCH <= image_size <= IMAGE_SIZE:
        raise InputError(
            f"cannot encode at {image_size} px; expected a multiple of {PATCH} up to {IMAGE_SIZE}"
        )
    tensors = read_tensors(path)
    name = detect_architecture(tensors, path)
    if architecture not in (None, name):
        raise WeightsMismatchError(
            f"{path} holds weights of {name}; expected {architecture}: choose '--model {name}' or "
            "another file"
        )
    with torch.device("meta"):
        official = build_network(ARCHITECTURES[name])
        network = (
            official if image_size == IMAGE_SIZE else build_network(ARCHITECTURES[name], image_size)
        )
    expected = {key: tuple(value.shape) for key, value in official.state_dict().items()}
    check_tensors({key: tuple(t.shape) for key, t in tensors.items()}, expected, str(path))
    fitted = {key: value.to(torch.float32) for key, value in tensors.items()}
    if image_size != IMAGE_SIZE:
        fitted = fit_positions(fitted, network)
    network.load_state_dict(fitted, assign=True)
    network.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
    network.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    return network.eval().requires_grad_(False), name


def detect_architecture(tensors: Mapping[str, Tensor], path: Path) -> str:
    """Which of segment-anything's encoders a checkpoint was made for.

    Raises
    ------
    WeightsMismatchError
        If for none of them.
    """
    positions = tensors.get(_POSITIONS)
    dim = positions.shape[-1] if positions is not None and positions.ndim == 4 else None
    for name, architecture in ARCHITECTURES.items():
        if architecture.dim == dim:
            return name
    found = f"its tensors begin with {', '.join(list(tensors)[:3])}"
    if dim is not None:
        found = f"its encoder is {dim} wide"
    raise WeightsMismatchError(
        f"{path} holds no segment-anything ViT-B, ViT-L or ViT-H ({found}); expected a tensor "
        f"{_POSITIONS} of width 768, 1024 or 1280"
    )


def fit_positions(tensors: Mapping[str, Tensor], network: Sam) -> dict[str, Tensor]:
    """Interpolate the position embeddings to the grid of tokens of a smaller network.

    Absolute positions bicubically, relative positions of the global blocks linearly, as
    segment-anything itself does for relative positions of another length.
    """
    wanted = network.state_dict()
    fitted = dict(tensors)
    for name, value in tensors.items():
        shape = wanted[name].shape
        if value.shape == shape:
            continue
        if name == _POSITIONS:
            grid = functional.interpolate(
                value.permute(0, 3, 1, 2), shape[1:3], mode="bicubic", align_corners=False
            )
            fitted[name] = grid.permute(0, 2, 3, 1).contiguous()
        elif _RELATIVE.match(name):
            line = functional.interpolate(value.T[None], size=shape[0], mode="linear")
            fitted[name] = line[0].T.contiguous()
    return fitted
