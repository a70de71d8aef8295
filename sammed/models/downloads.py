"""Official weights: fetched, copied in, verified."""

from __future__ import annotations

import logging
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import IO

from sammed import folders
from sammed.errors import (
    InputError,
    OutputError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from sammed.models import catalogue
from sammed.models.checkpoints import check_there, digest, sha256
from sammed.models.entry import ModelEntry, WeightsFile

log = logging.getLogger(__name__)

OFFLINE_VARIABLE = "SAMMED_OFFLINE"
"""Environment variable that forbids every download."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

TIMEOUT_S = 60.0
_BLOCK = 1 << 20


def is_offline() -> bool:
    """Whether ``SAMMED_OFFLINE`` forbids downloads."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "false", "no")


def kept_path(entry: ModelEntry) -> Path | None:
    """Where an official file is kept; ``None`` for models without one."""
    return folders.weights_folder() / entry.weights.file_name if entry.weights else None


def is_genuine(path: Path, weights: WeightsFile) -> bool:
    """Whether a file is the official one, by size and digest; of those without, any that is."""
    if weights.size not in (0, path.stat().st_size):
        return False
    if not weights.sha256:
        return path.stat().st_size > 0
    if sha256(path) == weights.sha256:
        return True
    return bool(weights.md5) and digest(path, "md5") == weights.md5


def verify(entry: ModelEntry) -> Path:
    """Read a kept official file anew and compare it with its digest.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the model has no official file.
    WeightsNotFoundError
        If it is not here.
    WeightsMismatchError
        If it is truncated or altered.
    """
    weights, path = _official(entry)
    if not path.is_file():
        raise WeightsNotFoundError(_how_to_get(entry))
    check_there(path)
    if not _matches(path, weights):
        raise WeightsMismatchError(_altered(path, entry))
    return path


def download(
    entry: ModelEntry,
    *,
    offline: bool = False,
    on_bytes: Progress | None = None,
) -> Path:
    """Fetch an official file into the weights folder, resuming an interrupted download.

    The file appears under its name only when it is whole and its digest is right.

    Parameters
    ----------
    entry
        The model.
    offline
        Refuse; so does ``SAMMED_OFFLINE``.
    on_bytes
        Called with (bytes done, bytes in all) as they arrive.

    Returns
    -------
    Path
        The file; at once if it is here already.

    Raises
    ------
    WeightsNotFoundError
        If downloads are forbidden or the server does not give the file.
    WeightsMismatchError
        If what arrived is not the official file.
    OutputError
        If the disk has no room or the folder cannot be written.
    """
    weights, path = _official(entry)
    if path.is_file() and is_genuine(path, weights):
        return path
    if entry.make is not None:
        raise WeightsNotFoundError(_how_to_get(entry))
    if offline or is_offline():
        raise WeightsNotFoundError(
            f"offline: the weights of {entry.name!r} are not here and downloads are forbidden; "
            f"fetch {weights.url} elsewhere, then 'sammed models import FILE'"
        )
    part = path.with_name(path.name + ".part")
    try:
        _make_room(path.parent, weights.size - _arrived(part))
        _fetch(weights, part, on_bytes)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise WeightsNotFoundError(
            f"cannot download {weights.url}: {getattr(error, 'reason', error)}; what arrived is "
            "kept: run the command again to go on, or fetch the file elsewhere and use "
            "'sammed models import FILE'"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write {part}: {error.strerror or error}") from None
    if not _matches(part, weights):
        size = part.stat().st_size
        part.unlink()
        raise WeightsMismatchError(
            f"what {weights.url} gave is not {weights.file_name}: {size} bytes, expected "
            f"{weights.size} with SHA-256 {weights.sha256}; nothing was kept: try again"
        )
    os.replace(part, path)
    return path


def take_from(entry: ModelEntry, folder: Path) -> Path:
    """Copy a model's official file from a folder, as a hospital keeps them; checked the same.

    Parameters
    ----------
    entry
        The model.
    folder
        Where the official files lie, under their own names or, if a digest tells them apart,
        under any. Of a model that is published as a folder (`ModelEntry.make`): that folder, which
        is read anew each time.

    Returns
    -------
    Path
        The file in the weights folder; at once if it is there already.

    Raises
    ------
    WeightsNotFoundError
        If the folder does not have it.
    WeightsMismatchError
        If a file of its name is truncated or altered.
    OutputError
        If it cannot be copied.
    """
    weights, path = _official(entry)
    if entry.make is None and path.is_file() and is_genuine(path, weights):
        return path
    if not folder.is_dir():
        raise WeightsNotFoundError(
            f"no folder {folder}; expected one with {weights.file_name} in it, from {weights.url}"
        )
    if entry.make is not None:
        return _whole(path, _size_of(folder), partial(entry.make, folder))
    named = folder / weights.file_name
    if named.is_file():
        check_there(named)
        if not is_genuine(named, weights):
            raise WeightsMismatchError(
                f"{named} is truncated or altered: {named.stat().st_size} bytes, expected "
                f"{weights.size} with SHA-256 {weights.sha256}; copy or fetch it again"
            )
        return _keep(named, path)
    alike = (f for f in sorted(folder.iterdir()) if f.is_file() and f.stat().st_size)
    same_size = (f for f in alike if weights.sha256 and f.stat().st_size == weights.size)
    found = next((f for f in same_size if is_genuine(f, weights)), None)
    if found is None:
        raise WeightsNotFoundError(
            f"{folder} has no {weights.file_name}, nor its content under another name; "
            f"put the file of {weights.url} there"
        )
    return _keep(found, path)


def import_file(source: Path) -> tuple[ModelEntry, Path]:
    """Copy an official file from anywhere into the weights folder.

    Returns
    -------
    (ModelEntry, Path)
        Which model it is, recognised by its content, and where its weights are now.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsMismatchError
        If it is none of the official files.
    OutputError
        If it cannot be copied.
    """
    check_there(source)
    entry = _recognise(source)
    _, path = _official(entry)
    if path.is_file() and is_genuine(path, _official(entry)[0]):
        return entry, path
    return entry, _keep(source, path)


def _keep(source: Path, path: Path) -> Path:
    """Copy a file to its place in the weights folder."""
    return _whole(path, source.stat().st_size, partial(shutil.copyfile, source))


def _whole(path: Path, size: int, write: Callable[[Path], object]) -> Path:
    """Write a file of about a size to its place in the weights folder, whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _make_room(path.parent, size)
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return path


def _size_of(folder: Path) -> int:
    """Bytes of the largest file of a folder: of a model's, that of its weights."""
    sizes = (file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return max(sizes, default=0)


def _arrived(part: Path) -> int:
    """Bytes of a download that was interrupted."""
    return part.stat().st_size if part.exists() else 0


def find(entry: ModelEntry) -> Path:
    """The kept official file of a model, checked.

    Raises
    ------
    WeightsNotFoundError
        If it is not here; the message says how to get it.
    WeightsMismatchError
        If it is truncated or altered.
    """
    weights, path = _official(entry)
    if not path.is_file():
        raise WeightsNotFoundError(_how_to_get(entry))
    check_there(path)
    if not is_genuine(path, weights):
        raise WeightsMismatchError(_altered(path, entry))
    return path


def _official(entry: ModelEntry) -> tuple[WeightsFile, Path]:
    path = kept_path(entry)
    if entry.weights is None or path is None:
        raise InputError(f"model {entry.name!r} needs no weights file: there is nothing to fetch")
    return entry.weights, path


def _matches(path: Path, weights: WeightsFile) -> bool:
    """Like `is_genuine`, but reads the file whatever is remembered of it."""
    if weights.size not in (0, path.stat().st_size):
        return False
    if not weights.sha256:
        return path.stat().st_size > 0
    if digest(path, "sha256") == weights.sha256:
        return True
    return bool(weights.md5) and digest(path, "md5") == weights.md5


def _how_to_get(entry: ModelEntry) -> str:
    if entry.make is not None and entry.weights is not None:
        return (
            f"no weights for {entry.name!r} in {folders.weights_folder()}; they are a folder of "
            f"files that you fetch yourself, under their licence ({entry.license}), from "
            f"{entry.weights.url}; then 'sammed models download {entry.name} --from FOLDER'"
        )
    return (
        f"no weights for {entry.name!r} in {folders.weights_folder()}; get them with "
        f"'sammed models download {entry.name}' or 'sammed models import FILE'"
    )


def _altered(path: Path, entry: ModelEntry) -> str:
    weights = entry.weights
    expected = f"{weights.size} bytes, SHA-256 {weights.sha256}" if weights else "nothing"
    return (
        f"{path} is truncated or altered: {path.stat().st_size} bytes, expected {expected}; "
        f"remove it and run 'sammed models download {entry.name}'"
    )


def _recognise(source: Path) -> ModelEntry:
    found = sha256(source)
    entries = catalogue.entries().values()
    for entry in entries:
        weights = entry.weights
        if weights and weights.sha256 and is_genuine(source, weights):
            return entry
        if weights and not weights.sha256 and weights.file_name == source.name:
            return entry
    same_name = [e for e in entries if e.weights and e.weights.file_name == source.name]
    size = source.stat().st_size
    if same_name and same_name[0].weights and same_name[0].weights.size != size:
        raise WeightsMismatchError(
            f"{source} is truncated or altered: {size} bytes, expected "
            f"{same_name[0].weights.size}; copy or fetch it again"
        )
    raise WeightsMismatchError(
        f"{source} is none of the official files (SHA-256 {found}); weights of your own need no "
        f"import: name the file, as in '--model {source}'"
    )


def _make_room(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder} has {free / 1e6:.0f} MB free, expected {needed / 1e6:.0f} MB; make room or "
            f"point {folders.HOME_VARIABLE} elsewhere"
        )


def _fetch(weights: WeightsFile, part: Path, on_bytes: Progress | None) -> None:
    """Append to the partial file until it has its full size or the server stops."""
    if urllib.parse.urlsplit(weights.url).scheme not in ("http", "https"):
        raise InputError(f"cannot download {weights.url}: expected an http or https address")
    start = _arrived(part)
    if start >= weights.size > 0:
        part.unlink()
        start = 0
    request = urllib.request.Request(weights.url, headers={"User-Agent": "sammed"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener()  # with the proxies that the environment names now
    with opener.open(request, timeout=TIMEOUT_S) as response:
        resumed = start > 0 and response.status == HTTPStatus.PARTIAL_CONTENT
        with part.open("ab" if resumed else "wb") as stream:
            done = start if resumed else 0
            log.info("downloading %s from byte %d", weights.url, done)
            left = int(response.headers.get("Content-Length") or 0)
            _copy(response, stream, done, weights.size or done + left, on_bytes)


def _copy(
    source: IO[bytes], to: IO[bytes], done: int, total: int, on_bytes: Progress | None
) -> None:
    while block := source.read(_BLOCK):
        to.write(block)
        done += len(block)
        if on_bytes:
            on_bytes(done, total)
    if done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")
