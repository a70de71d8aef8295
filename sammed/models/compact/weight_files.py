"""Weights files of our own networks: tagged safetensors, kernels in 8 bits, differences in 4."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from sammed.errors import WeightsMismatchError
from sammed.models.checkpoints import check_tensors, digest, read_safetensors
from sammed.models.compact.quantization import from_four_bit

_Shape = TypeVar("_Shape", bound="TaggedArchitecture")
_Net = TypeVar("_Net", bound=nn.Module)

SCALE = ".scale"
"""What is appended to a kernel's name to name its scales."""


@dataclass(frozen=True)
class TaggedArchitecture:
    """Everything that decides the shape of a network's weights, as numbers and tuples of numbers.

    Attributes
    ----------
    family, preprocessing
        Names of the network's form and of the way its input is encoded.
    """

    family: ClassVar[str]
    preprocessing: ClassVar[str]

    @property
    def tag(self) -> str:
        """Text that identifies the architecture in a weights file."""
        values = (getattr(self, field.name) for field in fields(self))
        parts = (",".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values)
        return f"{self.family} {'-'.join(parts)} {self.preprocessing}"

    @classmethod
    def from_tag(cls: type[_Shape], tag: str) -> _Shape:
        """The architecture that a tag describes.

        Raises
        ------
        ValueError
            If the tag is not one of this family, or of another preprocessing.
        """
        family, text, preprocessing = tag.split(" ")
        parts = [tuple(map(int, part.split(","))) for part in text.split("-")]
        values: list[Any] = [part if len(part) > 1 else part[0] for part in parts]
        if (family, preprocessing) != (cls.family, cls.preprocessing):
            raise ValueError(tag)
        if [_length(v) for v in values] != [_length(f.default) for f in fields(cls)]:
            raise ValueError(tag)
        return cls(*values)


def _length(value: object) -> int:
    return len(value) if isinstance(value, tuple) else 0


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
    about, stored = _stored(path, model)
    try:
        return about.get("architecture", ""), _whole(stored)
    except KeyError as error:
        raise WeightsMismatchError(
            f"{path} lacks {error}; expected {model}'s weights, whole"
        ) from None


def _stored(path: Path, model: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata of a weights file and its tensors as they are stored."""
    return read_safetensors(path, f"reinstall sammed or train some: sammed train {model}")


def load_network(
    path: Path, model: str, build: Callable[[_Shape], _Net], usual: _Shape
) -> tuple[_Net, str]:
    """Read weights and build the network that they fit.

    Parameters
    ----------
    path
        A ``.safetensors`` file.
    model
        What it should hold, for messages.
    build
        The network of an architecture.
    usual
        The architecture that most files have.

    Returns
    -------
    net
        In evaluation mode, float32.
    weights_hash
        SHA-256 of the file, hex.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is truncated, foreign, or made for another architecture.
    """
    tag, tensors = read_weights(path, model)
    try:
        net = build(usual.from_tag(tag))
    except ValueError:
        raise WeightsMismatchError(
            f"{path} holds weights of {tag or 'another model'!r}; expected {usual.tag!r} or alike"
        ) from None
    _fill(net, tensors, str(path))
    return net.eval(), digest(path, "sha256")


def load_branch(
    path: Path, model: str, build: Callable[[_Shape], _Net], usual: _Shape, base: str
) -> tuple[_Net, str]:
    """A network that means something only beside another one, as `load_network` reads it.

    Parameters
    ----------
    path, model, build, usual
        As of `load_network`.
    base
        SHA-256 (hex) of the file that the other network was read from.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is truncated, foreign, or was trained beside other weights.
    """
    net, weights_hash = load_network(path, model, build, usual)
    _check_base(path, _stored(path, model)[0], base, "was trained beside")
    return net, weights_hash


def _check_base(path: Path, about: Mapping[str, str], base: str, how: str) -> None:
    if about.get("base") != base:
        raise WeightsMismatchError(
            f"{path} {how} weights {about.get('base', 'that it does not name')}"
            f"; expected {base}; reinstall sammed"
        )


def load_difference(net: _Net, path: Path, model: str, base: str) -> tuple[_Net, str]:
    """A copy of a network with weights that a file tells by their difference from its own.

    Parameters
    ----------
    net
        The network that the differences are from; not changed.
    path
        A ``.safetensors`` file that ``sammed train average --boxes`` wrote.
    model
        What it should hold, for messages.
    base
        SHA-256 (hex) of the file that ``net`` was read from.

    Returns
    -------
    net
        In evaluation mode, float32.
    weights_hash
        SHA-256 of the file, hex.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is truncated, foreign, or made for other weights than ``net`` has.
    """
    about, stored = _stored(path, model)
    _check_base(path, about, base, "tells the difference from")
    return added(copy.deepcopy(net), stored, str(path), whole=True), digest(path, "sha256")


def added(net: _Net, stored: Mapping[str, Tensor], what: str, *, whole: bool = False) -> _Net:
    """A network changed by a difference from its weights, in place.

    Parameters
    ----------
    net
        The network.
    stored
        The difference, as `packed` made it; what it does not name stays.
    what
        It is called so in messages.
    whole
        Whether it has to name everything.

    Raises
    ------
    WeightsMismatchError
        If the difference is of another network.
    """
    former = {k: v for k, v in net.state_dict().items() if v.is_floating_point()}
    weights = {} if whole else dict(former)
    strange = sorted({name.removesuffix(SCALE) for name in stored} - former.keys())
    if strange:
        raise WeightsMismatchError(f"{what} is of another network: it has {strange[0]!r}")
    for name, value in former.items():
        if name + SCALE in stored:
            change = from_four_bit(stored[name], stored[name + SCALE], value.shape)
            weights[name] = value + change
        elif name in stored:
            weights[name] = value + stored[name].float()
    _fill(net, weights, what)
    return net.eval()


def packed(
    weights: Mapping[str, Tensor], in_few_bits: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Weights, or a difference of them, as files hold them.

    Parameters
    ----------
    weights
        Name → tensor; whole numbers are left out.
    in_few_bits
        What is done with kernels, see `sammed.models.compact.quantization`; the rest becomes half
        precision.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            stored[name], stored[name + SCALE] = in_few_bits(tensor.detach().float())
        else:
            stored[name] = tensor.detach().half().contiguous()
    return stored


def _fill(net: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    wanted = {k: tuple(v.shape) for k, v in net.state_dict().items() if v.is_floating_point()}
    check_tensors({k: tuple(v.shape) for k, v in tensors.items()}, wanted, what)
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


def sha256_of(*hashes: str) -> str:
    """One hash for several."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()
