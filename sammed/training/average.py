"""Weights of several runs averaged.

Runs that start from the same weights end close enough to each other that the mean of their
weights is a network too, often a better one than any of them; averaged with the weights that they
started from, it keeps what these did better (Wortsman et al. 2022, arXiv:2203.05482 and
arXiv:2109.01903).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from sammed.errors import InputError
from sammed.io.output import check_output
from sammed.models.compact.locator import load_locator
from sammed.models.compact.model import load_net
from sammed.training.checkpoint import export_difference, export_weights

SHIPPED = "shipped"
"""Stands for the weights in the package."""


def average_weights(
    shares: Mapping[str, float],
    out: Path,
    force: bool = False,
    locator: bool = False,
    boxes: bool = False,
) -> None:
    """Write the weighted mean of weights files.

    Parameters
    ----------
    shares
        Weights file (or ``"shipped"``) → its share; shares are divided by their sum.
    out
        The ``.safetensors`` file to write.
    force
        Overwrite it if it is there.
    locator
        The files are the locator's, not of the network for views.
    boxes
        Write the mean as its difference from the shipped weights, as those for boxes alone are.

    Raises
    ------
    InputError
        If a share is not positive, a file is no weights file, the files are of different
        architectures or, with ``boxes``, of another than the shipped ones, or ``out`` cannot be
        written.
    """
    check_output(out, force)
    if not shares or min(shares.values()) <= 0:
        raise InputError(f"cannot average {dict(shares)}: expected at least one file, shares > 0")
    total = sum(shares.values())
    mean: dict[str, Tensor] = {}
    tags: set[str] = set()
    load = load_locator if locator else load_net
    for name, share in shares.items():
        net = load(None if name == SHIPPED else Path(name))[0]
        tags.add(net.architecture.tag)
        if len(tags) > 1:
            raise InputError(f"cannot average different architectures: {sorted(tags)}")
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                mean[key] = mean.get(key, 0) + value.float() * (share / total)
    note = " + ".join(f"{s / total:.3g} {Path(n).parent.name or n}" for n, s in shares.items())
    if boxes:
        shipped, digest = load_net()
        if tags != {shipped.architecture.tag}:
            raise InputError(
                f"cannot tell the difference of {tags.pop()!r} from the shipped weights; "
                f"expected {shipped.architecture.tag!r}"
            )
        export_difference(out, mean, shipped, digest, f"mean of weights: {note}")
    else:
        export_weights(out, mean, tags.pop(), f"mean of weights: {note}")
