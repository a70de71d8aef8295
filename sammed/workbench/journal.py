"""What was done, line by line, beside what it is done for, so that nothing of it is lost.

The first line says of which volume it is; each other one is a request that changed the session,
with its arrays in it. A line is on the disk before its request is answered. Lines that a killed
process left half-written are dropped.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sammed.errors import InputError, OutputError
from sammed.io.output import atomic_text, output_error

VERSION = 1
ENDING = ".sammed-journal.jsonl"

MOST_LINES, MOST_BYTES = 500, 32 * 2**20
"""A journal that is longer is written anew, as what it leads to, when it is opened again."""

FAR = 2**40
"""Where the byte lies that is locked on Windows, which keeps others from reading what is locked."""

_KEY = "sammed-journal"
_NO_EDITS = ("saved", "window", "base", "changed", "told", "phase", "no_phase")
Entry = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """What a journal holds.

    Attributes
    ----------
    volume
        Hash of the volume that it is of.
    entries
        What was done, in order.
    torn
        Whether something at its end could not be read.
    nbytes
        Its size.
    """

    volume: str
    entries: tuple[Entry, ...]
    torn: bool
    nbytes: int

    @property
    def is_long(self) -> bool:
        """Whether it is time to write it anew."""
        return len(self.entries) > MOST_LINES or self.nbytes > MOST_BYTES

    @property
    def restored(self) -> dict[str, Any]:
        """What the page is told of it."""
        last = self.entries[-1] if self.entries else {}
        edits = sum(entry["do"] not in _NO_EDITS for entry in self.entries)
        return {"objects": len(last.get("then", [])), "when": last.get("at"), "edits": edits}

    @property
    def is_saved(self) -> bool:
        """Whether nothing was changed after it was saved."""
        looks = ("window", "told", "phase", "no_phase")
        told = [entry["do"] for entry in self.entries if entry["do"] not in looks]
        return not told or told[-1] in ("saved", "base")


def read_journal(path: Path) -> Record:
    """Read a journal as far as it is whole.

    Raises
    ------
    InputError
        If it is no journal, or one of a later version.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    try:
        first = json.loads(lines[0])
        version, volume = first[_KEY], str(first["volume"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path} is no journal of sammed") from None
    if version != VERSION:
        raise InputError(f"{path} was written by another version of sammed (journal {version})")
    entries: list[Entry] = []
    rest = lines[1:]
    for line in rest:
        entry = _entry(line)
        if entry is None:
            break
        entries.append(entry)
    torn = any(line.strip() for line in rest[len(entries) :])
    return Record(volume, tuple(entries), torn, sum(map(len, lines)) + len(lines) - 1)


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("do"), str) else None


class Journal:
    """Appends to a file that other processes leave alone meanwhile.

    Parameters
    ----------
    path
        Where it lies; nothing is written before the first entry.
    volume_hash
        Tells the hash of the volume; asked when the first line is written.
    name
        Of the scan.

    Attributes
    ----------
    is_begun
        Whether there is something in it.
    """

    def __init__(self, path: Path, volume_hash: Callable[[], str], name: str) -> None:
        self.path = path
        self._hash = volume_hash
        self._name = name
        self._file: IO[bytes] | None = None
        self.is_begun = False

    def go_on(self, record: Record) -> None:
        """Take up a journal that is there; a torn end is cut off.

        Raises
        ------
        InputError
            If another process is at it.
        """
        self._file = self._locked("r+b")
        self._file.truncate(_whole_length(self._file, len(record.entries) + 1))
        self._file.seek(0, os.SEEK_END)
        self.is_begun = True

    def check_free(self) -> None:
        """Make sure that no other process is at it.

        Raises
        ------
        InputError
            If one is.
        """
        self._locked("r+b").close()

    def append(self, entry: Entry) -> None:
        """Write an entry to the disk.

        Raises
        ------
        OutputError
            If it cannot be written; the journal is then as it was, or ends in a torn line.
        InputError
            If another process is at it.
        """
        try:
            if self._file is None:
                self._open()
            self._write({**entry, "at": _now()})
        except OSError as error:
            raise output_error(self.path, error) from error

    def _open(self) -> None:
        if self.is_begun:
            self._file = self._locked("r+b")
            self._file.seek(0, os.SEEK_END)
            return
        self._file = self._locked("x+b")
        self._write(self._head())
        self.is_begun = True

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Let it hold these entries and no others; it is whole at any time.

        Raises
        ------
        OutputError
            If it cannot be written; what was there stays.
        """
        lines = [self._head(), *({"at": _now(), **entry} for entry in entries)]
        self.close()
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        atomic_text(self.path, text, force=True)
        self.is_begun = True
        self._open()

    def close(self) -> None:
        """Let other processes at it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _head(self) -> Entry:
        return {_KEY: VERSION, "volume": self._hash(), "name": self._name, "at": _now()}

    def _write(self, entry: Entry) -> None:
        file = self._file
        if file is None:
            raise OutputError(f"cannot write {self.path}: it is closed")
        began = file.tell()
        try:
            file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            self._take_back(began)
            raise

    def _take_back(self, length: int) -> None:
        """Cut off what was written of a line, if the disk lets us; a reader drops it anyway."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            os.ftruncate(file.fileno(), length)
        except OSError:
            pass
        finally:
            _close_anyway(file)

    def _locked(self, mode: str) -> IO[bytes]:
        file: IO[bytes] = open(self.path, mode)  # noqa: SIM115 - it stays open
        try:
            _lock(file)
        except OSError:
            file.close()
            raise InputError(
                f"{self.path} is in use: another sammed open works on this scan; end it first, or "
                "give another label map with -o"
            ) from None
        return file


def _close_anyway(file: IO[bytes]) -> None:
    try:
        file.close()
    except OSError:  # what is in its buffer cannot be written
        return


def _whole_length(file: IO[bytes], lines: int) -> int:
    file.seek(0)
    return sum(len(file.readline()) for _ in range(lines))


def _lock(file: IO[bytes]) -> None:
    """Keep other processes off; it ends with the process, however that ends."""
    if sys.platform == "win32":
        import msvcrt

        at = file.tell()
        file.seek(FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(at)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def inlined(values: Any, frames: Sequence[bytes | memoryview]) -> Any:
    """A request with its arrays in it, packed, instead of references to frames."""
    if isinstance(values, dict):
        if isinstance(values.get("frame"), int) and "dtype" in values:
            packed = zlib.compress(frames[values["frame"]], 1)
            kept = {key: values[key] for key in ("dtype", "shape")}
            return {"zlib": base64.b64encode(packed).decode("ascii"), **kept}
        return {key: inlined(value, frames) for key, value in values.items()}
    if isinstance(values, list):
        return [inlined(value, frames) for value in values]
    return values


def outlined(values: Any, frames: list[bytes]) -> Any:
    """The request again; its arrays are appended to the frames."""
    if isinstance(values, dict):
        if "zlib" in values:
            frames.append(zlib.decompress(base64.b64decode(values["zlib"])))
            kept = {key: values[key] for key in ("dtype", "shape")}
            return {"frame": len(frames) - 1, **kept}
        return {key: outlined(value, frames) for key, value in values.items()}
    if isinstance(values, list):
        return [outlined(value, frames) for value in values]
    return values
