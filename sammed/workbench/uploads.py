"""Files that are dropped on the page: spooled to the disk, bounded, never outside their folder."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

from sammed.worker.messages import RequestError

MOST_BYTES = 16 * 2**30
"""Of all that is dropped before the program ends."""

MOST_FILES = 50_000
SPARE_BYTES = 512 * 2**20
"""So much of the disk is left to others."""

MOST_PARTS, MOST_NAME = 8, 200
_DROP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNFIT = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')


class Spool:
    """A private folder, with one folder in it for each drop; it goes at the end."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._used = 0
        self._files = 0

    def folder_of(self, drop: str) -> Path:
        """Where the files of a drop lie.

        Raises
        ------
        RequestError
            ``bad_request`` if it has no proper id.
        """
        if not _DROP.fullmatch(drop):
            raise RequestError("bad_request", "a drop needs an id of letters and digits")
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sammed-open-"))
        return self._folder / drop

    async def take(self, drop: str, name: str, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Write one file.

        Parameters
        ----------
        drop
            The id of the drop.
        name
            The file's name.
        path
            Its place in the folder that was dropped, URL-encoded; empty if it was a file.
        chunks
            Its content.

        Raises
        ------
        RequestError
            ``too_large`` if it is more than is taken, ``disk_full`` if there is no room.
        OSError
            If it cannot be written.
        """
        target = _free(self.folder_of(drop).joinpath(*_parts(path, name)))
        if self._files >= MOST_FILES:
            raise RequestError("too_large", f"more than {MOST_FILES:,} files were dropped")
        self._files += 1
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as file:
                async for chunk in chunks:
                    self._make_room(len(chunk), target)
                    file.write(chunk)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _make_room(self, nbytes: int, target: Path) -> None:
        self._used += nbytes
        if self._used > MOST_BYTES:
            raise RequestError(
                "too_large",
                f"more than {MOST_BYTES // 2**30} GiB were dropped; start sammed open with the "
                "path instead",
            )
        if shutil.disk_usage(target.parent).free < nbytes + SPARE_BYTES:
            raise RequestError(
                "disk_full",
                f"there is no room for it in {target.parent.parent}; start sammed open with the "
                "path instead",
            )

    def forget(self, drop: str) -> None:
        """Remove what came with a drop."""
        shutil.rmtree(self.folder_of(drop), ignore_errors=True)

    def forget_others(self, drop: str) -> None:
        """Remove what came with all drops but one."""
        kept = self.folder_of(drop)
        for folder in kept.parent.iterdir():
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _parts(path: str, name: str) -> list[str]:
    """Names of folders and of the file, none of which leads anywhere else.

    Examples
    --------
    >>> _parts("../../etc/%2e%2e/series%201/IM0001", "IM0001")
    ['etc', 'series 1', 'IM0001']
    """
    said = re.split(r"[/\\]", unquote(path, errors="replace") or name)
    parts = [_UNFIT.sub("_", part)[-MOST_NAME:].strip() for part in said]
    parts = [part for part in parts if part.strip(".")]
    return parts[-MOST_PARTS:] or ["file"]


def _free(target: Path) -> Path:
    names = (target.with_name(f"{n}-{target.name}") for n in range(1, 1000))
    return next((path for path in (target, *names) if not path.exists()), target)
