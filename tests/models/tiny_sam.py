"""A tiny segment-anything model by its name, with a checkpoint where official ones are kept."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from sammed import folders
from sammed.models import catalogue
from sammed.models.entry import ModelEntry, WeightsFile
from sammed.models.sam import entries
from sammed.models.sam.network import ARCHITECTURES
from tests.models.networks import TINY, random_sam

NAME = "tiny_sam"
SIDE = 128
"""At which it is run; its checkpoint is one of 1024 px, as all are."""


def checkpoint(path: Path, seed: int = 1) -> Path:
    """A file with the tensors of a random network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(random_sam(TINY, 1024, seed).state_dict(), path)
    return path


def register(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """Make the model known by its name; its checkpoint lies in the folder of weights.

    Returns
    -------
    Path
        Of the checkpoint.
    """
    monkeypatch.setenv(folders.HOME_VARIABLE, str(home))
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    file = f"{NAME}.pth"
    build = partial(entries.build, name=NAME, architecture="tiny", encode_size=SIDE)
    weights = WeightsFile(file, 0, f"https://example.org/{file}", sha256="")
    entry = ModelEntry(NAME, "tiny", "MIT", build, aliases=("sam_tiny",), weights=weights)
    monkeypatch.setitem(catalogue.BUILT_IN, NAME, entry)
    path = folders.weights_folder() / file
    return path if path.is_file() else checkpoint(path)
