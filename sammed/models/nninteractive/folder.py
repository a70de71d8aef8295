"""A folder of nnInteractive's weights: read without running what it holds, kept as one file.

nnInteractive is published as nnU-Net writes a trained model: ``plans.json``, ``dataset.json``, a
JSON file on the interactions, a ``LICENSE``, and ``fold_0/checkpoint_final.pth``. Its own loader
unpickles whatever the checkpoint holds. Here tensors and plain containers alone are read; what is
needed of all of it goes into one safetensors file.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.errors import SammedWarning, WeightsMismatchError, WeightsNotFoundError
from sammed.models.checkpoints import check_there, read_safetensors, read_torch, sha256

if TYPE_CHECKING:
    from torch import Tensor

ABOUT = "nninteractive"
"""Key of the metadata of a made file."""

OFFICIAL = "b3ac4421f85457bbd1aa0d87f5e67bcb7bc8e2ce6b824b6ac45077cc5d630ea9"
"""SHA-256 of the checkpoint of nnInteractive v1.0, by which MONAI Label and others pin it."""

INTERACTIONS = ("inference_info.json", "inference_session_class.json")
"""What the file on interactions may be called: today, and in v1.0."""

BESIDE = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)
"""What nnU-Net's checkpoints hold beside tensors and plain values: numpy's numbers of its log."""

_REMEDY = "fetch the folder nnInteractive_v1.0 again"
_LEAST = "plans.json"


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, as plain values and tensors.

    Attributes
    ----------
    plans, dataset
        nnU-Net's ``plans.json`` and ``dataset.json``.
    interactions
        Which interactions the model takes and how they are drawn, by the name of the file.
    configuration
        Which of the plans' configurations was trained.
    license
        As the folder says, empty if it does not.
    source
        SHA-256 (hex) of the checkpoint.
    tensors
        By name.
    """

    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    interactions: Mapping[str, Any]
    configuration: str
    license: str
    source: str
    tensors: Mapping[str, Tensor]

    def __repr__(self) -> str:
        return f"<Trained: {self.configuration}, {len(self.tensors)} tensors, {self.license}>"


def find(folder: Path, made: str) -> Path:
    """The checkpoint of the model folder that a folder is or holds, or a file made before.

    Parameters
    ----------
    folder
        The model folder itself, or one with it in it or in its ``models``, as nnInteractive keeps
        them.
    made
        What a file is called that `write` has written.

    Raises
    ------
    WeightsNotFoundError
        If there is none, or more than one.
    """
    if (folder / made).is_file():
        return folder / made
    around = [folder, *sorted(folder.glob("*")), *sorted(folder.glob("models/*"))]
    found = [path for path in around if (path / _LEAST).is_file()]
    if len(found) != 1:
        what = f"several models ({', '.join(p.name for p in found)})" if found else "no model"
        raise WeightsNotFoundError(
            f"{folder} holds {what}; expected one folder with {_LEAST}, dataset.json, "
            f"{' or '.join(INTERACTIONS)} and fold_0/checkpoint_final.pth in it, as "
            "nnInteractive_v1.0 has them"
        )
    checkpoints = sorted(found[0].glob("fold_*/checkpoint_final.pth"))
    if len(checkpoints) != 1:
        raise WeightsNotFoundError(
            f"{found[0]} has {len(checkpoints)} checkpoints; expected one, "
            f"fold_0/checkpoint_final.pth: {_REMEDY}"
        )
    return checkpoints[0]


def is_checkpoint(path: Path) -> bool:
    """Whether a file is the checkpoint in a model folder, as far as a glance tells."""
    around = path.parent.parent
    return path.suffix == ".pth" and any((around / name).is_file() for name in INTERACTIONS)


def is_made(path: Path) -> bool:
    """Whether `write` has written a file."""
    if path.suffix != ".safetensors":
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return ABOUT in (file.metadata() or {})
    except SafetensorError:
        return False


def read(path: Path) -> Trained:
    """Read a model: a file that `write` wrote, or the checkpoint in a model folder.

    Raises
    ------
    WeightsNotFoundError
        If a file is missing.
    WeightsMismatchError
        If one is truncated, holds code, or is none of nnInteractive's.
    """
    check_there(path, _REMEDY)
    return _read_made(path) if path.suffix == ".safetensors" else _read_folder(path)


def write(trained: Trained, path: Path) -> None:
    """Write a model as one safetensors file; tensors that are one are written once."""
    from safetensors.torch import save_file

    first: dict[tuple[int, tuple[int, ...]], str] = {}
    same: dict[str, str] = {}
    for name, tensor in trained.tensors.items():
        known = first.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name)
        if known != name:
            same[name] = known
    about = {key: value for key, value in vars(trained).items() if key != "tensors"}
    tensors = {n: t.clone().contiguous() for n, t in trained.tensors.items() if n not in same}
    save_file(tensors, path, {ABOUT: json.dumps({**about, "same": same})})


def _read_made(path: Path) -> Trained:
    metadata, tensors = read_safetensors(path, _REMEDY)
    if ABOUT not in metadata:
        raise WeightsMismatchError(
            f"{path} is no file that 'sammed models download nninteractive --from FOLDER' made"
        )
    about = json.loads(metadata[ABOUT])
    tensors |= {name: tensors[known] for name, known in about.pop("same").items()}
    return Trained(**about, tensors=tensors)


def _read_folder(checkpoint: Path) -> Trained:
    folder = checkpoint.parent.parent
    held = read_torch(checkpoint, BESIDE)
    configuration, tensors = _weights_in(held, checkpoint)
    found = [folder / name for name in INTERACTIONS if (folder / name).is_file()]
    if not found:
        raise WeightsNotFoundError(
            f"{folder} has no {' nor '.join(INTERACTIONS)}; it is no model of nnInteractive's, "
            f"or {_REMEDY}"
        )
    source = sha256(checkpoint)
    if source != OFFICIAL:
        warnings.warn(
            f"{checkpoint} is not the checkpoint of nnInteractive v1.0 (its SHA-256 is {source}); "
            "it is taken as it comes",
            SammedWarning,
            stacklevel=2,
        )
    return Trained(
        plans=_object(folder / _LEAST),
        dataset=_object(folder / "dataset.json"),
        interactions={found[0].name: _json(found[0])},
        configuration=configuration,
        license=_license(folder, source),
        source=source,
        tensors=tensors,
    )


def _weights_in(held: object, checkpoint: Path) -> tuple[str, dict[str, Tensor]]:
    """Configuration and tensors of a checkpoint of nnU-Net's."""
    from torch import Tensor

    held = held if isinstance(held, Mapping) else {}
    arguments, weights = held.get("init_args"), held.get("network_weights")
    configuration = arguments.get("configuration") if isinstance(arguments, Mapping) else None
    tensors = weights if isinstance(weights, Mapping) else {}
    if not isinstance(configuration, str) or not tensors:
        raise WeightsMismatchError(
            f"{checkpoint} is no checkpoint of nnInteractive's (it holds "
            f"{', '.join(map(str, list(held)[:3])) or 'nothing by name'}); expected "
            f"network_weights and init_args, as nnU-Net writes them"
        )
    if not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsMismatchError(f"{checkpoint} holds weights that are no tensors; {_REMEDY}")
    return configuration, {str(name): value for name, value in tensors.items()}


def _license(folder: Path, source: str) -> str:
    """The first line of the folder's ``LICENSE``, written as `ModelEntry.license` is."""
    path = folder / "LICENSE"
    lines = path.read_text(errors="replace").split("\n") if path.is_file() else []
    said = next((line.strip() for line in lines if line.strip()), "")
    if not said and source == OFFICIAL:
        said = "CC BY-NC-SA 4.0"
    return said.replace("CC BY", "CC-BY").replace(" ", "-") if said.startswith("CC BY") else said


def _object(path: Path) -> Mapping[str, Any]:
    found = _json(path)
    if not isinstance(found, dict):
        raise WeightsMismatchError(f"{path} holds no JSON object; {_REMEDY}")
    return found


def _json(path: Path) -> Any:
    check_there(path, _REMEDY)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise WeightsMismatchError(f"{path} is truncated or no JSON ({error}); {_REMEDY}") from None
