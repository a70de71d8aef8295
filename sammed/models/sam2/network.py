"""SAM 2's networks, built from the package's own configurations to fit a checkpoint's tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from sammed.errors import BackendUnavailableError, InputError, WeightsMismatchError
from sammed.models.checkpoints import check_tensors, read_tensors

IMAGE_SIZE = 1024
"""Side in px of the square that the official networks were trained on."""

STRIDE = 16
"""Side in px of the patch that one token of the memory stands for."""

SIZE_STEP = 32
"""Positions repeat every 8 patches of 4 px: the side is a multiple of it."""

_PATCHES = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")
_ONLY_IN_2_1 = "no_obj_embed_spatial"

_AS_VIDEO_PREDICTOR = {
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}
"""What ``build_sam2_video_predictor`` sets beside the configuration; the holes of a mask, which it
fills where its CUDA extension was built, are left."""


@dataclass(frozen=True)
class Architecture:
    """Which of the package's configurations, and by what its tensors are recognised."""

    config: str
    dim: int
    depth: int


ARCHITECTURES = {
    "sam2.1_tiny": Architecture("sam2.1/sam2.1_hiera_t", 96, 12),
    "sam2.1_small": Architecture("sam2.1/sam2.1_hiera_s", 96, 16),
    "sam2.1_base_plus": Architecture("sam2.1/sam2.1_hiera_b+", 112, 24),
    "sam2.1_large": Architecture("sam2.1/sam2.1_hiera_l", 144, 48),
    "sam2_tiny": Architecture("sam2/sam2_hiera_t", 96, 12),
    "sam2_small": Architecture("sam2/sam2_hiera_s", 96, 16),
    "sam2_base_plus": Architecture("sam2/sam2_hiera_b+", 112, 24),
    "sam2_large": Architecture("sam2/sam2_hiera_l", 144, 48),
}


def build_network(config: Mapping[str, Any], image_size: int = IMAGE_SIZE) -> Any:
    """Build SAM 2's network, randomly initialised.

    Parameters
    ----------
    config
        As the package's configurations say below ``model``, see `configuration`.
    image_size
        Side in px of the square input.

    Returns
    -------
    sam2.modeling.sam2_base.SAM2Base
        With the settings of SAM 2's own predictor for videos.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    settled: Any = OmegaConf.merge(config, _AS_VIDEO_PREDICTOR, {"image_size": image_size})
    grid = image_size // STRIDE
    for attention in ("self_attention", "cross_attention"):
        settled.memory_attention.layer[attention].feat_sizes = [grid, grid]
    network: nn.Module = instantiate(settled, _recursive_=True)
    return network.eval()


def configuration(architecture: str) -> Any:
    """The package's configuration of an architecture.

    Raises
    ------
    BackendUnavailableError
        If the package is not installed.
    """
    check_installed(architecture)
    from omegaconf import OmegaConf

    file = resources.files("sam2") / "configs" / f"{ARCHITECTURES[architecture].config}.yaml"
    return OmegaConf.create(file.read_text()).model


def check_installed(name: str) -> None:
    """Make sure that the package is there.

    Raises
    ------
    BackendUnavailableError
        If it, or something that it needs, is not installed.
    """
    try:
        import sam2  # noqa: F401
    except ImportError as error:
        raise BackendUnavailableError(
            f"model {name!r} needs the package sam2, and {error.name or error} is not installed; "
            "install it with 'pip install \"sammed[sam2]\"'"
        ) from None


def load_network(
    path: Path, *, architecture: str | None = None, image_size: int = IMAGE_SIZE
) -> tuple[Any, str]:
    """Read a checkpoint into the network that it fits.

    Parameters
    ----------
    path
        A ``.pt`` or ``.safetensors`` file of SAM 2's tensors.
    architecture
        One of `ARCHITECTURES`; ``None`` takes the one of the file.
    image_size
        Side in px of the network's input.

    Returns
    -------
    (SAM2Base, str)
        The network, ready for inference, and its architecture's name.

    Raises
    ------
    InputError
        If the image size is not usable.
    BackendUnavailableError
        If the package is not installed.
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If the file is broken, or its tensors are not those of the architecture.
    """
    if image_size % SIZE_STEP or not SIZE_STEP <= image_size <= IMAGE_SIZE:
        raise InputError(
            f"SAM 2 cannot encode at {image_size} px; expected a multiple of {SIZE_STEP} "
            f"up to {IMAGE_SIZE}"
        )
    check_installed(architecture or "sam2")
    tensors = read_tensors(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    found = recognise(shapes)
    if found is None:
        raise WeightsMismatchError(
            f"{path} is no checkpoint of SAM 2: {_PATCHES} is not among its {len(shapes)} tensors "
            f"(first: {', '.join(list(shapes)[:3])}); name the file as the model, and what it is "
            "will be recognised if it is known"
        )
    if architecture is not None and found != architecture:
        raise WeightsMismatchError(
            f"{path} holds weights of {found}; expected {architecture}: name the model {found!r}, "
            "or leave the name out"
        )
    network = build_network(configuration(found), image_size)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_tensors(shapes, expected, str(path))
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network, found


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Whose tensors these are: one of `ARCHITECTURES`; ``None``: not SAM 2's.

    Of an encoder of another size the name of the nearest one of its family is given: the
    comparison of all tensors says then what does not fit.
    """
    if len(shapes.get(_PATCHES, ())) != 4:
        return None
    depth = 1 + max((int(m[1]) for m in map(_BLOCK.match, shapes) if m), default=0)
    family = "sam2.1_" if _ONLY_IN_2_1 in shapes else "sam2_"
    sizes = {n: a for n, a in ARCHITECTURES.items() if n.startswith(family)}
    wanted = shapes[_PATCHES][0], depth
    return min(sizes, key=lambda n: _apart((sizes[n].dim, sizes[n].depth), wanted))


def _apart(one: tuple[int, int], other: tuple[int, int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
