"""Outputs that appear whole or not at all.

Everything is written into a temporary folder beside the target, under its final name, and moved
into place once it is complete: after an error, a full disk or Ctrl-C nothing is left behind and
what was there before is untouched.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sammed.errors import OutputError

PathLike = str | os.PathLike[str]

MAX_NAME = 255
"""Bytes that the name of a file may have, on all usual file systems."""

_REASONS = {
    errno.ENOSPC: "no space is left on the disk; free some or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def check_output(path: PathLike, force: bool = False) -> Path:
    """Make sure that a file could be written there, before any work is done.

    Parameters
    ----------
    path
        The file to be written.
    force
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The path, unchanged.

    Raises
    ------
    OutputError
        If the file exists (without `force`), is a folder or a device, or cannot be called so, or
        if its folder does not exist or may not be written to.
    """
    path = Path(path)
    _check_name(path)
    try:
        real = Path(os.path.realpath(path))
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; give a file name")
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {path}: it is a device, not a file")
        if not real.parent.is_dir():
            why = "is not a folder" if real.parent.exists() else "does not exist"
            folder = path.parent if not path.is_symlink() else real.parent
            raise OutputError(f"cannot write {path}: the folder {folder} {why}")
        if path.exists() and not force:
            raise OutputError(f"{path} exists already; choose another name, or --force replaces it")
        if not os.access(real.parent, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write {path}: {_REASONS[errno.EACCES]}")
    except OSError as error:
        raise output_error(path, error) from error
    return path


def check_folder(path: PathLike) -> Path:
    """Make sure that a folder is there or could be made, before any work is done.

    Parameters
    ----------
    path
        The folder; others above it may be missing as well.

    Returns
    -------
    Path
        The path, unchanged.

    Raises
    ------
    OutputError
        If something else has its name, or it may not be written to.

    Examples
    --------
    >>> check_folder("sample_data/new/results").name
    'results'
    """
    path = Path(path)
    _check_name(path)
    try:
        there = next(p for p in (path, *path.absolute().parents) if p.exists())
        if not there.is_dir():
            raise OutputError(f"cannot write into {path}: {there} is a file; give a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write into {path}: {_REASONS[errno.EACCES]}")
    except OSError as error:
        raise output_error(path, error) from error
    return path


def _check_name(path: Path) -> None:
    """Make sure that a name could be one, which the system itself says late or not in words."""
    if "\0" in str(path):
        raise OutputError(f"cannot write {str(path)!r}: a name cannot hold a null character")
    if (length := len(os.fsencode(path.name))) > MAX_NAME:
        raise OutputError(
            f"cannot write {path.name[:40]}...: the name is too long ({length} bytes, at most "
            f"{MAX_NAME})"
        )


@contextmanager
def atomic_output(path: PathLike, *, force: bool = False) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when the block ends without an exception.

    The temporary path has the final name, in a new folder beside the target. Other files that
    the block puts into the same folder (the ``.raw`` of an ``.mhd``, the ``.mtl`` of an ``.obj``)
    are moved too, before the file itself.

    Parameters
    ----------
    path
        The file to be written; a symbolic link is followed.
    force
        Whether existing files may be replaced.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OutputError
        If something is in the way, or the system refuses (full disk, permission); one line.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_output(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "note.txt").read_text()
    'whole'
    """
    with atomic_outputs([path], force=force) as (temporary,):
        yield temporary


@contextmanager
def atomic_outputs(paths: Sequence[PathLike], *, force: bool = False) -> Iterator[list[Path]]:
    """Paths to write to, all of one folder, which appear together; see `atomic_output`.

    Parameters
    ----------
    paths
        The files to be written, at least one.
    force
        Whether existing files may be replaced.

    Yields
    ------
    list of Path
        Where to write each.

    Raises
    ------
    OutputError
        As `atomic_output`.
    """
    targets = [Path(os.path.realpath(check_output(path, force))) for path in paths]
    folder = _temporary_folder(targets[0])
    try:
        yield [folder / target.name for target in targets]
        _move_into_place(folder, targets, force)
    except OSError as error:
        raise output_error(targets[0], error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def atomic_text(path: PathLike, text: str, *, force: bool = False) -> None:
    """Write a UTF-8 text file whole or not at all.

    Parameters
    ----------
    path, force
        As `atomic_output`.
    text
        The content; lines end as they do in it.

    Raises
    ------
    OutputError
        As `atomic_output`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_text(Path(folder, "note.txt"), "whole")
    ...     Path(folder, "note.txt").read_text()
    'whole'
    """
    with atomic_output(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def output_error(path: PathLike, error: OSError) -> OutputError:
    """The system's complaint about writing as one line that says what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {path}: {reason}")


def _temporary_folder(target: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=".sammed-", dir=target.parent))
    except OSError as error:
        raise output_error(target, error) from error


def _move_into_place(folder: Path, targets: Sequence[Path], force: bool) -> None:
    """Flush all files of the folder to disk, then rename them; the targets come last."""
    names = [target.name for target in targets]
    written = sorted(file.name for file in folder.iterdir())
    if missing := next((target for target in targets if target.name not in written), None):
        raise OutputError(f"cannot write {missing}: its writer wrote nothing")
    written.sort(key=lambda name: name in names)
    for name in written:
        check_output(targets[0].parent / name, force)
        _flush(folder / name)
    for name in written:
        os.replace(folder / name, targets[0].parent / name)


def _flush(file: Path) -> None:
    with open(file, "rb+") as handle:
        os.fsync(handle.fileno())
