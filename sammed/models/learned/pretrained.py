"""What a segmenter begins with: features that were learned from synthetic scenes.

A few cases and minutes teach little from nothing. What borders, organs and tissues look like has
been taught beforehand, on drawn scenes of which every voxel is known and whose intensities are
random, as Dey et al. (2024, arXiv:2411.02372) found it to help; no image of a person was used.
``sammed train segmenter`` makes the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from sammed.errors import WeightsMismatchError
from sammed.models.checkpoints import digest, read_safetensors
from sammed.models.compact.weight_files import TaggedArchitecture, added
from sammed.models.dense.net import KINDS, OUTPUTS, SALIENT
from sammed.models.learned.net import build_net
from sammed.models.learned.plan import Look

FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class PretrainedArchitecture(TaggedArchitecture):
    """Everything that decides the shape of a network that segmenters begin with.

    Attributes
    ----------
    dims
        3: for solid patches; 2: for slices.
    channels
        Of an image: its brightness; of slices also what is standardised locally.
    width, levels
        As of `sammed.models.learned.plan.Look`.
    answers
        Of each voxel.
    kinds
        Told apart beside them; 0: none.
    patch
        Samples along each side of what it is trained on.
    """

    family: ClassVar[str] = "segmenter-unet/1"
    preprocessing: ClassVar[str] = "segmenter-input/1"

    dims: int = 3
    channels: int = 1
    width: int = 16
    levels: int = 4
    answers: int = len(OUTPUTS)
    kinds: int = len(KINDS)
    patch: int = 48

    @property
    def look(self) -> Look:
        """What it sees while it is trained."""
        flat = self.dims == 2
        patch = (1 if flat else self.patch, self.patch, self.patch)
        local = 2 * (self.patch // 8) + 1 if self.channels > 1 else 0
        spacing = (0.0 if flat else 1.0, 1.0, 1.0)
        axis = 0 if flat else None
        return Look(spacing, patch, axis, width=self.width, levels=self.levels, local=local)


SOLID = PretrainedArchitecture()
FLAT = PretrainedArchitecture(2, 2, 24, 5, len((*OUTPUTS, SALIENT)), 0, 160)

FILES = {3: FOLDER / "solid.safetensors", 2: FOLDER / "flat.safetensors"}
"""The shipped weights, by the dimensions of a patch."""


class PretrainedNet(nn.Module):
    """A segmenter's network that answers what every scene knows of its voxels."""

    def __init__(self, architecture: PretrainedArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.body = build_net(a.look, a.channels, a.answers)
        last = self.body.get_submodule("model.2.0")
        self.kind = nn.Conv3d(int(last.in_channels), a.kinds, 1) if a.kinds else None  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Run the network.

        Parameters
        ----------
        image : (n, channels, ...)
            Standardised brightness.

        Returns
        -------
        answers : (n, answers, ...)
            Logits.
        kinds : (n, kinds, ... / 2) or None
            Logits at half the resolution.
        """
        first, middle, last = (self.body.get_submodule(f"model.{n}") for n in range(3))
        features = middle(first(image))
        return last(features), self.kind(features) if self.kind is not None else None


def read_pretrained(path: Path, usual: PretrainedArchitecture) -> dict[str, Tensor]:
    """The state of a `PretrainedNet` in a file.

    Parameters
    ----------
    path
        A ``.safetensors`` file.
    usual
        What it has to be of.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is truncated, foreign, or made for another architecture.
    """
    about, stored = read_safetensors(path, "reinstall sammed or train some: sammed train segmenter")
    tag = about.get("architecture", "")
    if tag != usual.tag:
        raise WeightsMismatchError(
            f"{path} holds weights of {tag or 'another model'!r}; expected {usual.tag!r}"
        )
    nothing = PretrainedNet(usual)
    for value in nothing.state_dict().values():
        value.zero_()
    return added(nothing, stored, str(path), whole=True).state_dict()


@cache
def _shipped(dims: int) -> dict[str, Tensor]:
    body, stored = "body.", read_pretrained(FILES[dims], {3: SOLID, 2: FLAT}[dims])
    return {k.removeprefix(body): v for k, v in stored.items() if k.startswith(body)}


def begin(net: nn.Module, look: Look) -> None:
    """Give a segmenter's network the shipped features, in place; what does not fit stays random.

    Its last layer, which answers a project's structures, does not; nor does a part of the deepest
    level of a network that has another number of them.

    Parameters
    ----------
    net
        From `sammed.models.learned.net.build_net`.
    look
        That it was built for.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        If the package was installed without the weights, or with others.
    """
    own = net.state_dict()
    net.load_state_dict(fitted(_shipped(2 if look.flat_axis is not None else 3), own))


def began_with(look: Look) -> str:
    """What `begin` gave a network, for those who ask where a model comes from."""
    file = FILES[2 if look.flat_axis is not None else 3]
    return f"{file.stem} {digest(file, 'sha256')[:12]}"


def fitted(stored: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's state with what fits of another one's.

    Parameters
    ----------
    stored
        Of a network of the same form, perhaps with more or fewer levels, channels or answers.
    own
        The network's.

    Examples
    --------
    >>> colour = fitted({"model.0.conv.weight": torch.ones(1, 1, 3)}, {
    ...     "model.0.conv.weight": torch.zeros(1, 3, 3)})
    >>> round(float(colour["model.0.conv.weight"].sum()), 3)
    3.0
    """
    found = dict(own)
    for name, mine in own.items():
        theirs = stored.get(name)
        if theirs is None:  # where one network ends, the other goes a level deeper
            theirs = next((stored[n] for n in _other_depth(name) if n in stored), None)
        if theirs is None:
            continue
        if name.startswith("model.0.") and theirs.ndim > 1:
            theirs = _of_channels(theirs, mine.shape[1])
        if theirs.shape == mine.shape:
            found[name] = theirs.clone()
    return found


_BELOW = "submodule."


def _other_depth(name: str) -> tuple[str, ...]:
    """What a parameter of the deepest level is called in a network that goes deeper, or ends."""
    above, _, rest = name.rpartition(_BELOW)
    if rest.startswith("0."):
        return (f"{above}{_BELOW}{rest.removeprefix('0.')}",)
    return (f"{above}{_BELOW}0.{rest}",)


def _of_channels(kernel: Tensor, count: int) -> Tensor:
    """A kernel for so many channels: for colours each a share of the brightness's."""
    there = kernel.shape[1]
    if count <= there:
        return kernel[:, :count]
    return torch.cat([kernel[:, :1] / count] * count, 1)
