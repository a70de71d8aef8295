"""Weights files of our own networks: tagged safetensors, in half precision or in 8 bits."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sammed.errors import WeightsMismatchError, WeightsNotFoundError

SCALE = ".scale"
"""What is appended to a kernel's name to name its scales."""


def eight_bit(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """A kernel as whole numbers and a scale for each output channel.

    Parameters
    ----------
    kernel : (outputs, ...)
        Of at least two dimensions.

    Returns
    -------
    numbers : (outputs, ...) int8
    scales : (outputs,) float32
        ``numbers * scales`` is the kernel, to half a step.
    """
    scales = kernel.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
    shaped = scales.reshape(-1, *[1] * (kernel.ndim - 1))
    return torch.round(kernel / shaped).to(torch.int8).contiguous(), scales.contiguous()


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as float32, kernels multiplied by their scales."""
    whole = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            continue
        values = tensor.float()
        if tensor.dtype == torch.int8:
            scales = tensors[name + SCALE].float()
            values = values * scales.reshape(-1, *[1] * (values.ndim - 1))
        whole[name] = values
    return whole


def read_weights(path: Path, model: str) -> tuple[str, dict[str, Tensor]]:
    """The tag and the tensors (float32) of a weights file.

    Parameters
    ----------
    path
        A ``.safetensors`` file that ``sammed train`` wrote.
    model
        What it should hold, for messages and as the argument of ``sammed train``.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is truncated or foreign.
    """
    if not path.is_file():
        raise WeightsNotFoundError(
            f"no weights at {path}; reinstall sammed or train some: sammed train {model}"
        )
    try:
        with safe_open(path, "pt") as file:
            tag = (file.metadata() or {}).get("architecture", "")
            return tag, _whole({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError) as error:
        raise WeightsMismatchError(
            f"{path} is not a readable safetensors file ({error}); expected {model}'s weights"
        ) from error


def wrong_tag(path: Path, found: str, expected: str) -> WeightsMismatchError:
    """The error of a file made for another architecture."""
    return WeightsMismatchError(
        f"{path} holds weights of {found or 'another model'!r}; expected {expected!r} or alike"
    )


def fill(net: nn.Module, tensors: dict[str, Tensor], path: Path, model: str) -> None:
    """Put weights into a network.

    Raises
    ------
    WeightsMismatchError
        If a tensor is missing, unknown or of another shape.
    """
    wanted = {k: v.shape for k, v in net.state_dict().items() if v.is_floating_point()}
    found = {k: v.shape for k, v in tensors.items()}
    if wanted != found:
        wrong = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        raise WeightsMismatchError(
            f"{path} does not fit {model}: {len(wrong)} tensors differ, the first is {wrong[0]!r}"
        )
    net.load_state_dict(tensors, strict=False)


def fold_norms(net: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution before it, in place; for inference."""
    for module in net.modules():
        if isinstance(module, nn.Sequential) and len(module) == 2:
            first, second = module[0], module[1]
            if isinstance(first, nn.Conv2d | nn.Conv3d) and isinstance(
                second, nn.BatchNorm2d | nn.BatchNorm3d
            ):
                module[0] = nn.utils.fusion.fuse_conv_bn_eval(first, second)
                module[1] = nn.Identity()
    return net
