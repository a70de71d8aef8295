"""Tables as people keep them: CSV with commas, or as spreadsheets save it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sammed.errors import UnreadableFileError


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    r"""Columns of a table, and its lines by column: CSV with commas, or as spreadsheets save it.

    Those separate by semicolons where the comma is the decimal sign, or by tabs, and may write
    UTF-16. The separator is the one that the header has most of.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    columns, lines
        Names as they are written; values by column, empty where a line is short.

    Raises
    ------
    UnreadableFileError
        If it is missing, or no table.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scans.csv"
    >>> _ = path.write_text("id;image\na;a.nii.gz\n")
    >>> read_table(path)
    (['id', 'image'], [{'id': 'a', 'image': 'a.nii.gz'}])
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        header = text.split("\n", 1)[0]
        separator = max(",;\t", key=header.count)
        lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        columns = [str(name).strip() for name in lines.fieldnames or ()]
        return columns, [
            {k.strip(): v or "" for k, v in line.items() if k is not None} for line in lines
        ]
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, csv.Error) as error:
        raise UnreadableFileError(f"{path} is no table: {error}") from None
