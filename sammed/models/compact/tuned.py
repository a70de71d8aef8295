"""compact tuned to somebody's own structures: its three networks, and what tuning changed of them.

What was changed is kept as the difference from the shipped weights, kernels in 4 bits, with the
hashes of the files that it is the difference from: with other weights it means nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from sammed.errors import WeightsMismatchError
from sammed.models.checkpoints import digest
from sammed.models.compact.entry import BOXES, LOCATOR, WEIGHTS
from sammed.models.compact.locator import load_locator
from sammed.models.compact.locator_net import LocatorNet
from sammed.models.compact.model import load_boxes, load_net
from sammed.models.compact.net import CompactNet
from sammed.models.compact.quantization import four_bit
from sammed.models.compact.weight_files import added, packed

PARTS = ("views", "boxes", "locator")
"""The networks: for chains of slices and clicks, for boxes on slices, for 3D boxes as a whole."""

Difference = Mapping[str, Tensor]
"""Tensors of a network's change as they are stored; what has not changed is left out."""


@dataclass(frozen=True, eq=False)
class Nets:
    """compact's networks, in evaluation mode, float32.

    Attributes
    ----------
    views, boxes, locator
        See `PARTS`.
    hashes
        Part → SHA-256 (hex) of the file that it was read from.
    """

    views: CompactNet
    boxes: CompactNet
    locator: LocatorNet
    hashes: Mapping[str, str]

    def part(self, name: str) -> nn.Module:
        """One of `PARTS`."""
        found: nn.Module = getattr(self, name)
        return found


def shipped_nets() -> Nets:
    """The networks that are in the package.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        If a file is missing or broken.
    """
    views, first = load_net()
    boxes, second = load_boxes(views, first)
    locator, third = load_locator()
    return Nets(views, boxes, locator, dict(zip(PARTS, (first, second, third), strict=True)))


def difference(net: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What has changed, in 4 bits.

    Parameters
    ----------
    net
        As it was before.
    weights
        Its state after.
    """
    return packed(dict(_changes(net, weights)), four_bit)


def _changes(net: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, before in net.state_dict().items():
        if before.is_floating_point() and name in weights:
            change = weights[name].float() - before
            if change.any():
                yield name, change


def tuned_nets(shipped: Nets, parents: Mapping[str, str], parts: Mapping[str, Difference]) -> Nets:
    """The networks with what tuning changed.

    Parameters
    ----------
    shipped
        From `shipped_nets`.
    parents
        Part → hash of the file that its difference is from.
    parts
        Part → difference; a part that is not there stays as it is.

    Raises
    ------
    WeightsMismatchError
        If a difference is from other weights than those of the package, or of another network.
    """
    _check("it", parents, shipped.hashes)
    changed: dict[str, nn.Module] = {}
    for name, stored in parts.items():
        net = copy.deepcopy(shipped.part(name))
        changed[name] = added(net, stored, f"the tuned {name}")
    return replace(shipped, **changed)  # type: ignore[arg-type]


def check_parents(path: Path, parents: Mapping[str, str]) -> None:
    """Make sure that a file was tuned from the weights of this package.

    Parameters
    ----------
    path
        The file.
    parents
        Part → hash of the weights that it was tuned from.

    Raises
    ------
    WeightsMismatchError
        If it was tuned from others.
    """
    files = dict(zip(PARTS, (WEIGHTS, BOXES, LOCATOR), strict=True))
    _check(str(path), parents, {name: digest(file, "sha256") for name, file in files.items()})


def _check(what: str, parents: Mapping[str, str], ours: Mapping[str, str]) -> None:
    for name, parent in parents.items():
        if parent != ours.get(name):
            raise WeightsMismatchError(
                f"{what} was tuned from other weights of compact's {name} ({parent[:12]}) than "
                f"this sammed has ({ours.get(name, 'none')[:12]}); learn again with 'sammed learn "
                "--what promptable', or use the sammed that it was learned with"
            )
