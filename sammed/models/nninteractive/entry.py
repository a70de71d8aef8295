"""The catalogue's entry of nnInteractive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import SammedError, WeightsNotFoundError
from sammed.models.entry import BuildRequest, ModelEntry, WeightsFile

if TYPE_CHECKING:
    from sammed.models.nninteractive.model import NnInteractiveModel

NAME = "nninteractive"
LICENSE = "CC-BY-NC-SA-4.0"
FILE = "nninteractive.safetensors"

MEMORY = 7_000_000_000
"""Bytes that a process took at most while a network as that of v1.0, of random weights, saw 192
voxels along each axis on a processor: 7.03e9, of which 1.1e9 before."""


def build(request: BuildRequest, *, autozoom: bool = True) -> NnInteractiveModel:
    """Build nnInteractive.

    Parameters
    ----------
    request
        With a weights file: one that `make` wrote, or the checkpoint in a model folder.
    autozoom
        Look at more of the volume when an object reaches beyond what was seen of it.

    Raises
    ------
    ModelError, WeightsNotFoundError, WeightsMismatchError, BackendUnavailableError
        As `sammed.models.registry.build` says.
    """
    from sammed.models import licences
    from sammed.models.checkpoints import sha256
    from sammed.models.nninteractive.folder import read
    from sammed.models.nninteractive.model import NnInteractiveModel
    from sammed.models.nninteractive.network import load

    if request.weights is None:
        raise WeightsNotFoundError("nnInteractive needs a weights file; name it as the model")
    trained = read(request.weights)
    license = trained.license or request.license
    licences.check_confirmed(NAME, license)
    return NnInteractiveModel(
        load(trained, str(request.weights), request.device),
        name=NAME,
        weights_hash=sha256(request.weights),
        license=license,
        device=request.device,
        autozoom=autozoom,
    )


def make(folder: Path, file: Path) -> None:
    """Write the weights file from the model folder that the user fetched.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        If the folder is none, or something in it is broken or holds code.
    """
    from sammed.models.nninteractive.folder import find, read, write

    write(read(find(folder, FILE)), file)


def _is_one(path: Path) -> bool:
    from sammed.models.nninteractive.folder import is_checkpoint, is_made

    try:
        return is_made(path) or is_checkpoint(path)
    except (SammedError, OSError, ValueError):
        return False


ENTRY = ModelEntry(
    NAME,
    "nnInteractive (Isensee et al. 2025): objects in 3D from boxes, points, strokes on slices",
    LICENSE,
    build,
    weights=WeightsFile(FILE, 0, "https://huggingface.co/MIC-DKFZ/nnInteractive", sha256=""),
    make=make,
    options=("autozoom",),
    recognises=_is_one,
    needs="nninteractive",
    memory=MEMORY,
)
"""The model; its weights are a folder that the user fetches."""
