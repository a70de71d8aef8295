"""Weights files: read without running what they contain, compared with what a model expects."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed import folders
from sammed.errors import WeightsMismatchError, WeightsNotFoundError

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

SUFFIXES = (".pth", ".pt", ".safetensors", ".sammed")
"""What a weights file may be called."""

_FETCH = (
    "fetch an official one with 'sammed models download NAME' or copy it in with "
    "'sammed models import FILE'"
)

_WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state")
_BLOCK = 1 << 22


def is_weights_path(name: str) -> bool:
    """Whether a model's name is meant as the path of a weights file."""
    return name.lower().endswith(SUFFIXES) or "/" in name or os.sep in name


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name, mapped from disk where the format allows.

    PyTorch files are unpickled with ``weights_only``, which builds tensors and plain containers
    and refuses everything else. A dictionary that wraps the tensors as training loops do
    (``"model"``, ``"state_dict"``) is opened; a ``"module."`` prefix is taken off.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is empty, truncated, contains code, or is no checkpoint.
    """
    check_there(path)
    safe = path.suffix == ".safetensors"
    tensors = _unwrap(read_safetensors(path)[1] if safe else read_torch(path))
    if not tensors:
        raise WeightsMismatchError(
            f"{path} holds no tensors; expected a checkpoint of named tensors (.pth, .safetensors)"
        )
    return tensors


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a checkpoint's tensors by name; empty of what is not there or none."""
    try:
        return {name: tuple(tensor.shape) for name, tensor in read_tensors(path).items()}
    except (WeightsNotFoundError, WeightsMismatchError):
        return {}


def read_safetensors(path: Path, remedy: str = _FETCH) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a safetensors file.

    Parameters
    ----------
    path
        The file.
    remedy
        What the message says to do if it cannot be read.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is empty, truncated or no safetensors file.
    """
    check_there(path, remedy)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (SafetensorError, OSError) as error:
        raise WeightsMismatchError(_broken(path, "safetensors", error, remedy)) from None


def check_there(path: Path, remedy: str = _FETCH) -> None:
    """Make sure that a weights file exists and is not empty.

    Parameters
    ----------
    path
        The file.
    remedy
        What the message says to do if it does not.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is empty.
    """
    if not path.is_file():
        raise WeightsNotFoundError(f"no weights file at {path}; {remedy}")
    if not path.stat().st_size:
        raise WeightsMismatchError(f"{path} is empty; expected a checkpoint; {remedy}")


def check_tensors(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Compare the names and shapes of a checkpoint's tensors with a model's.

    Raises
    ------
    WeightsMismatchError
        Naming the first missing, unexpected or differently shaped tensors.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    shapes = [
        f"{name} {found[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{len(names)} {what} (first: {', '.join(names[:3])})"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise WeightsMismatchError(
            f"{source} does not fit the model: of {len(expected)} tensors {'; '.join(problems)}"
        )


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file; remembered by size and modification time.

    A file of gigabytes is read once; the digest is kept in ``hashes.json`` in sammed's folder.
    """
    path = path.resolve()
    stat = path.stat()
    return _remembered_sha256(path, stat.st_size, stat.st_mtime_ns)


def digest(path: Path, algorithm: str) -> str:
    """Hex digest of a whole file, read anew."""
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


@lru_cache(maxsize=32)
def _remembered_sha256(path: Path, size: int, mtime_ns: int) -> str:
    record = folders.home() / "hashes.json"
    known = _read_record(record)
    entry = known.get(str(path))
    if isinstance(entry, dict) and (entry.get("size"), entry.get("mtime_ns")) == (size, mtime_ns):
        return str(entry["sha256"])
    value = digest(path, "sha256")
    known[str(path)] = {"size": size, "mtime_ns": mtime_ns, "sha256": value}
    _write_record(record, known)
    return value


def _read_record(record: Path) -> dict[str, Any]:
    try:
        known = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_record(record: Path, known: dict[str, Any]) -> None:
    """Keep the digests for the next run; a folder that cannot be written only costs time."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=record.parent, prefix=".hashes-")
        with os.fdopen(handle, "w") as stream:
            json.dump(known, stream, indent=1)
        os.replace(temporary, record)
    except OSError as error:
        log.debug("cannot keep digests in %s: %s", record, error)


class _Dropped:
    """Stands for a value of a checkpoint that nobody needs; nothing of its own kind is called."""

    def __init__(self, *args: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_torch(path: Path, dropped: Sequence[str] = ()) -> object:
    """What a PyTorch file holds, unpickled with ``weights_only``: tensors, plain containers.

    Parameters
    ----------
    path
        The file, which is there.
    dropped
        Full names of classes and functions whose values are left out, empty objects in their
        place: what training loops keep beside the tensors (numpy's numbers, say). They are
        neither imported nor called.

    Raises
    ------
    WeightsMismatchError
        If it is truncated, contains code, or is no checkpoint.
    """
    import torch

    try:
        with _dropping(dropped):
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap" not in str(error):
                    raise
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsMismatchError(_refused(path, error)) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsMismatchError(_broken(path, "PyTorch", error)) from None


def _dropping(names: Sequence[str]) -> AbstractContextManager[None]:
    """While it lasts, PyTorch takes stand-ins for some names that checkpoints refer to."""
    from torch import serialization

    if not names or not hasattr(serialization, "safe_globals"):  # PyTorch 2.4 refuses them
        return nullcontext()
    stand_ins: list[Any] = []
    for name in names:
        module, _, own = name.rpartition(".")
        stand_ins.append(type(own, (_Dropped,), {"__module__": module}))
    return serialization.safe_globals(stand_ins)


def _refused(path: Path, error: Exception) -> str:
    head = path.open("rb").read(2)
    if head not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04"):
        return _broken(path, "PyTorch", ValueError("it does not start like one"))
    text = " ".join(str(error).split())
    what = text[text.find("Unsupported") :] if "Unsupported" in text else text
    return (
        f"{path} holds Python objects beside tensors, which could run code, and was not loaded "
        f"({what[:120]}); expected tensors only: save its state_dict alone"
    )


def _broken(path: Path, kind: str, error: Exception, remedy: str = _FETCH) -> str:
    text = " ".join(str(error).split())[:120]
    return (
        f"{path} is truncated or no {kind} checkpoint ({path.stat().st_size} bytes; {text}); "
        f"{remedy}"
    )


def _unwrap(loaded: object) -> dict[str, Tensor]:
    """The named tensors in what a checkpoint holds."""
    from torch import Tensor

    if not isinstance(loaded, Mapping):
        return {}
    wrapped = [loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
    return {
        str(name).removeprefix("module."): value
        for name, value in (wrapped[0] if wrapped else loaded).items()
        if isinstance(value, Tensor)
    }
