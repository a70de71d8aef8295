"""The file of a learned model: safetensors, what it was taught, and a checksum of all of it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.errors import WeightsMismatchError
from sammed.models.checkpoints import check_there, read_safetensors
from sammed.models.learned.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "sammed-learned/"
VERSION = 3
"""3: slices may be seen standardised locally as well; 2: the network's last level is another."""
_OLDEST = 2
"""Files of this version and later can be read."""
SUFFIX = ".sammed"

_TUNED = "tuned"
"""How names of tensors begin that tell what tuning changed."""

_REMEDY = "learn it again with 'sammed learn', or take a whole copy"
_LONGEST_HEADER = 64 << 20


@dataclass(frozen=True)
class Teaching:
    """What a model was taught, and what came of it; plain data.

    Attributes
    ----------
    plan
        How it sees.
    name
        Of the project.
    cases
        Ids of the cases that it learned from, with the marks of their scans.
    judged
        What it reaches on cases that were held back, see `sammed.learning.judging`.
    about
        When, for how long, in how many steps, by which version.
    calibration
        How its own doubt becomes an estimated Dice, see `sammed.learning.estimate`.
    tuned
        What a promptable model was tuned on, the hashes of what it was tuned from (``parents``;
        of segment-anything also ``of``, see `sammed.models.sam.parent`), what that gains
        (``judged``), its ``structures``, and those that it became ``worse`` at; empty if none was.
    """

    plan: Plan
    name: str = ""
    cases: Mapping[str, str] = field(default_factory=dict)
    judged: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def structures(self) -> dict[str, int]:
        """What is found without a prompt, name → value: nothing, if no look was learned."""
        found = self.plan.structures.items() if self.plan.looks else ()
        return {name: value for value, name in found}


@dataclass(frozen=True, eq=False)
class LearnedFile:
    """What a file holds.

    Attributes
    ----------
    teaching
        See `Teaching`.
    weights
        Of each look's network, by its own names.
    card
        The model card, as text.
    digest
        SHA-256 (hex) of everything.
    tuned
        Part of what was tuned → what changed of it, see `sammed.models.compact.tuned` and
        `sammed.models.sam.tuned`.
    """

    teaching: Teaching
    weights: tuple[Mapping[str, Tensor], ...]
    card: str
    digest: str
    tuned: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


def pack(
    teaching: Teaching,
    weights: tuple[Mapping[str, Tensor], ...],
    card: str,
    tuned: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> bytes:
    """The content of a file, which `read_learned` reads.

    Parameters
    ----------
    teaching
        See `Teaching`.
    weights
        State of each look's network.
    card
        The model card, as text.
    tuned
        As in `LearnedFile`.
    """
    from safetensors.torch import save

    tensors = {
        f"{number}.{name}": tensor.detach().half().contiguous()
        for number, state in enumerate(weights)
        for name, tensor in state.items()
    }
    tensors |= {
        f"{_TUNED}.{part}.{name}": tensor.contiguous()
        for part, stored in (tuned or {}).items()
        for name, tensor in stored.items()
    }
    said = {
        "plan": teaching.plan.as_dict(),
        "name": teaching.name,
        "cases": dict(teaching.cases),
        "judged": dict(teaching.judged),
        "about": dict(teaching.about),
        "calibration": dict(teaching.calibration),
        "tuned": dict(teaching.tuned),
    }
    metadata = {
        "format": f"{FORMAT}{VERSION}",
        "teaching": json.dumps(said, sort_keys=True),
        "card": card,
    }
    return save(tensors, {**metadata, "sha256": _digest(metadata, tensors)})


def read_learned(path: Path) -> LearnedFile:
    """A learned model's file, checked.

    Parameters
    ----------
    path
        As ``sammed learn`` wrote it.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it was cut or edited, is of a newer version, or is none.
    """
    metadata, tensors = read_safetensors(path, _REMEDY)
    teaching = _teaching(path, metadata)
    digest = metadata.get("sha256", "")
    if _digest({k: v for k, v in metadata.items() if k != "sha256"}, tensors) != digest:
        raise WeightsMismatchError(
            f"{path} was changed since it was learned (its checksum does not fit); {_REMEDY}"
        )
    weights: list[dict[str, Tensor]] = [{} for _ in teaching.plan.looks]
    tuned: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if first == _TUNED:
            part, _, rest = rest.partition(".")
            tuned.setdefault(part, {})[rest] = tensor
        else:
            weights[int(first)][rest] = tensor.float() if tensor.is_floating_point() else tensor
    return LearnedFile(teaching, tuple(weights), metadata.get("card", ""), digest, tuned)


def read_teaching(path: Path) -> Teaching:
    """What a file says of itself; its tensors are not read.

    Parameters
    ----------
    path
        As ``sammed learn`` wrote it.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it cannot be read, is of a newer version, or is none.
    """
    check_there(path, _REMEDY)
    return _teaching(path, _header(path))


def is_newer(path: Path) -> bool:
    """Whether a file is a learned model's of a version that this sammed does not read yet."""
    version = _header(path).get("format", "").removeprefix(FORMAT)
    return version.isdecimal() and int(version) > VERSION


def is_learned(path: Path) -> bool:
    """Whether a file is a learned model's, or is called like one."""
    return path.suffix.lower() == SUFFIX or FORMAT in _header(path).get("format", "")


def _header(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty if it is none."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LONGEST_HEADER:
                return {}
            said = json.loads(stream.read(length))
    except (OSError, ValueError, struct.error):
        return {}
    metadata = said.get("__metadata__", {}) if isinstance(said, dict) else {}
    return metadata if isinstance(metadata, dict) else {}


def _teaching(path: Path, metadata: Mapping[str, str]) -> Teaching:
    form = str(metadata.get("format", ""))
    if not form.startswith(FORMAT):
        raise WeightsMismatchError(
            f"{path} is no learned model, or was cut (it does not say that it is one); {_REMEDY}"
        )
    version = form.removeprefix(FORMAT)
    if not version.isdecimal() or not _OLDEST <= int(version) <= VERSION:
        older = version.isdecimal() and int(version) < _OLDEST
        raise WeightsMismatchError(
            f"{path} is a learned model of version {version}; this sammed reads version {VERSION}: "
            + ("learn it again with 'sammed learn'" if older else "update sammed")
        )
    try:
        said = json.loads(metadata["teaching"])
        return Teaching(
            Plan.from_dict(said["plan"]),
            str(said["name"]),
            dict(said["cases"]),
            dict(said["judged"]),
            dict(said["about"]),
            dict(said["calibration"]),
            dict(said.get("tuned", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsMismatchError(
            f"{path} was changed since it was learned ({error}); {_REMEDY}"
        ) from None


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    hasher = hashlib.sha256()
    for name in sorted(metadata):
        hasher.update(f"{name}\0{metadata[name]}\0".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        hasher.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        hasher.update(tensor.contiguous().numpy().tobytes())
    return hasher.hexdigest()
