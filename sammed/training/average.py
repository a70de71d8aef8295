"""The mean of several weights files: ``python -m sammed.training.average a b --out mean``.

Runs that start from the same weights and differ by their seed alone end close to each other; the
mean of their weights is as a rule better than any of them (Wortsman et al. 2022, "Model soups",
arXiv:2203.05482).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from sammed.errors import InputError, SammedError
from sammed.models.compact import load_net
from sammed.training.checkpoint import export_weights


def average_weights(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of weights files of compact.

    Parameters
    ----------
    paths
        Two or more ``.safetensors`` files of one architecture.
    out
        File to write.

    Raises
    ------
    InputError
        If there are fewer than two, or their architectures differ.
    """
    if len(paths) < 2:
        raise InputError(f"nothing to average: found {len(paths)} weights file, expected two")
    nets = [load_net(path)[0] for path in paths]
    architecture = nets[0].architecture
    for path, net in zip(paths, nets, strict=True):
        if net.architecture != architecture:
            raise InputError(
                f"{path} has another architecture ({net.architecture.tag}) than {paths[0]} "
                f"({architecture.tag}); only runs from the same weights can be averaged"
            )
    states = [net.state_dict() for net in nets]
    mean = {
        name: torch.stack([state[name].float() for state in states]).mean(0)
        for name, value in states[0].items()
        if value.is_floating_point()
    }
    export_weights(out, mean, architecture, f"mean of {len(paths)} runs")


def main() -> None:
    """Average the files named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m sammed.training.average", description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+", help="weights files of compact")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.safetensors)")
    options = parser.parse_args()
    try:
        average_weights(options.weights, options.out)
    except SammedError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
