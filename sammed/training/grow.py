"""A larger compact that answers as a smaller one.

Blocks that the smaller network lacks begin as the identity: their last normalisation multiplies by
zero. So training goes on from where the smaller one stopped (Chen, Goodfellow and Shlens 2016,
Net2Net, arXiv:1511.05641).
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from sammed.errors import InputError
from sammed.io.output import check_output
from sammed.models.compact.net import CompactNet
from sammed.models.compact.weight_files import read_weights
from sammed.training.checkpoint import export_weights

LAST_SCALE = ".second.1.weight"
"""How the name of a block's last normalisation's scale ends."""


def grow(weights: Path, out: Path, large: CompactNet | None = None, force: bool = False) -> None:
    """Write weights of a network with more blocks that gives the same answers.

    Parameters
    ----------
    weights
        Of the smaller network, a ``.safetensors`` file.
    out
        The ``.safetensors`` file to write.
    large
        A network of the larger architecture; what the smaller one has is overwritten. ``None``: one
        of the present architecture, the same each time.
    force
        Overwrite ``out`` if it is there.

    Raises
    ------
    InputError
        If the network is not larger by blocks alone, or ``out`` cannot be written.
    """
    check_output(out, force)
    if large is None:
        torch.manual_seed(0)
        large = CompactNet()
    tag, tensors = read_weights(weights, "compact")
    have = {_current(name): value for name, value in tensors.items()}
    values = large.state_dict()
    misfits = [n for n, v in have.items() if n not in values or values[n].shape != v.shape]
    if misfits:
        raise InputError(
            f"{tag!r} cannot grow into {large.architecture.tag!r}: "
            f"{len(misfits)} of its tensors have no place there, the first is {misfits[0]!r}"
        )
    for name in values.keys() - have.keys():
        if name.endswith(LAST_SCALE):
            values[name] = torch.zeros_like(values[name])
    export_weights(out, values | have, large.architecture.tag, f"grown from {tag}")


def _current(name: str) -> str:
    """A tensor's name; where one block was all on the way up, it had no number."""
    return re.sub(r"^(decoder\.\d)\.(first|second)\.", r"\1.0.\2.", name)
