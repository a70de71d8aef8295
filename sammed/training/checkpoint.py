"""Checkpoints of a training run, and weights files made from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from sammed.errors import UnreadableFileError
from sammed.models.compact.net import CompactNet
from sammed.models.compact.quantization import eight_bit, four_bit
from sammed.models.compact.weight_files import packed


def _write(path: Path, payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(payload)
    os.replace(part, path)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(dict(state), part)
    os.replace(part, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state; nothing is unpickled that could run code.

    Raises
    ------
    UnreadableFileError
        If the file is missing or not a checkpoint.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnreadableFileError(
            f"{path} is not a training checkpoint ({type(error).__name__}); "
            "expected the .pt file that 'sammed train' wrote"
        ) from error
    if not isinstance(state, dict) or "architecture" not in state:
        raise UnreadableFileError(f"{path} is not a checkpoint of compact")
    return state


def export_weights(
    path: Path,
    weights: Mapping[str, Tensor],
    tag: str,
    note: str = "",
    base: str = "",
    kernels: Callable[[Tensor], tuple[Tensor, Tensor]] = eight_bit,
) -> None:
    """Write weights as the package ships them: tagged safetensors, kernels in 8 bits or fewer.

    Parameters
    ----------
    path
        The ``.safetensors`` file.
    weights
        State of the network.
    tag
        Names the architecture that the weights fit.
    note
        How they came to be, for the file's metadata.
    base
        SHA-256 (hex) of the weights file without which they mean nothing, if there is one.
    kernels
        What is done with kernels, see `sammed.models.compact.quantization`.
    """
    metadata = {"architecture": tag, "note": note, "license": "Apache-2.0"}
    if base:
        metadata["base"] = base
    _write(path, save(packed(weights, kernels), metadata))


def export_difference(
    path: Path, weights: Mapping[str, Tensor], net: CompactNet, base: str, note: str = ""
) -> None:
    """Write weights as their difference from a network's, kernels in 4 bits.

    Parameters
    ----------
    path
        The ``.safetensors`` file.
    weights
        State of a network that came from ``net`` by training.
    net
        As it was read from its file.
    base
        SHA-256 (hex) of that file.
    note
        How the weights came to be, for the file's metadata.
    """
    former = net.state_dict()
    change = {k: v - former[k] for k, v in weights.items() if v.is_floating_point()}
    metadata = {"architecture": net.architecture.tag, "base": base, "note": note}
    _write(path, save(packed(change, four_bit), metadata | {"license": "Apache-2.0"}))
