"""Networks of the package segment-anything-hq, built to fit a checkpoint's tensors."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sammed.errors import BackendUnavailableError, WeightsMismatchError
from sammed.models.checkpoints import check_tensors, read_tensors

TINY = "image_encoder.patch_embed.seq.0.c.weight"
HIGH_QUALITY = "mask_decoder.hf_token.weight"
_POSITIONS = "image_encoder.pos_embed"

NAMES = ("mobile_sam", "hq_sam_tiny", "hq_sam_vit_b", "hq_sam_vit_l", "hq_sam_vit_h")
"""MobileSAM, Light HQ-SAM, and HQ-SAM with segment-anything's encoders."""

_BY_WIDTH = {768: "hq_sam_vit_b", 1024: "hq_sam_vit_l", 1280: "hq_sam_vit_h"}


def build_network(name: str) -> Any:
    """Build one of `NAMES`, randomly initialised; those of segment-anything's without memory.

    Raises
    ------
    BackendUnavailableError
        If the package, or timm, which it needs, is not installed.
    """
    try:
        with warnings.catch_warnings():  # the package uses names that timm is about to drop
            warnings.simplefilter("ignore")
            import segment_anything_hq as package
    except ImportError as error:
        raise BackendUnavailableError(
            f"model {name!r} needs the packages segment-anything-hq and timm, and "
            f"{error.name or error} is not installed; install them with "
            "'pip install \"sammed[hq]\"'"
        ) from None
    if name == "mobile_sam":
        return package.sam_model_registry_baseline["vit_tiny"]().eval()
    size = name.removeprefix("hq_sam_").replace("tiny", "vit_tiny")
    tiny = size == "vit_tiny"
    with contextlib.nullcontext() if tiny else torch.device("meta"):
        return package.sam_model_registry[size]().eval()


def load_network(path: Path, *, name: str | None = None) -> tuple[Any, str]:
    """Read a checkpoint into the network that it fits.

    Parameters
    ----------
    path
        A file of HQ-SAM's or MobileSAM's tensors.
    name
        One of `NAMES`; ``None`` takes the one of the file.

    Returns
    -------
    (segment_anything_hq.modeling.Sam, str)
        The network, ready for inference, and which it is.

    Raises
    ------
    BackendUnavailableError
        If a package is not installed.
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If the file is broken, or its tensors are not those of the network.
    """
    tensors = read_tensors(path)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    found = recognise(shapes)
    if found is None:
        raise WeightsMismatchError(
            f"{path} holds no weights of HQ-SAM or MobileSAM (its tensors begin with "
            f"{', '.join(list(shapes)[:3])}); expected {HIGH_QUALITY} or {TINY} among them"
        )
    if name is not None and found != name:
        raise WeightsMismatchError(
            f"{path} holds weights of {found}; expected {name}: name the model {found!r}, or "
            "leave the name out"
        )
    network = build_network(found)
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    known = {key: shape for key, shape in shapes.items() if key in expected}  # as the package does
    check_tensors(known, expected, str(path))
    fitted = {key: tensors[key].to(torch.float32) for key in expected}
    network.load_state_dict(fitted, assign=True)
    for constant, values in (
        ("pixel_mean", (123.675, 116.28, 103.53)),
        ("pixel_std", (58.395, 57.12, 57.375)),
    ):
        setattr(network, constant, torch.tensor(values).view(-1, 1, 1))
    return network.eval().requires_grad_(False), found


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Whose tensors these are: one of `NAMES`; ``None``: neither HQ-SAM's nor MobileSAM's."""
    if TINY in shapes:
        return "hq_sam_tiny" if HIGH_QUALITY in shapes else "mobile_sam"
    if HIGH_QUALITY not in shapes:
        return None
    return _BY_WIDTH.get(shapes.get(_POSITIONS, (0,))[-1])
