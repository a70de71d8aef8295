"""One line of results: an object, a model, a condition, a step; to CSV and back."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from sammed.errors import UnreadableFileError
from sammed.evaluation.metrics import FAILURE_DICE
from sammed.io.tables import read_table

SCORES = ("dice", "iou", "nsd", "hd95_mm", "msd_mm", "sensitivity", "precision")
"""Columns that are averaged; the distances in mm may be undefined (NaN, blank in CSV)."""


@dataclass(frozen=True)
class Row:
    """Scores and costs of one object under one condition.

    Attributes
    ----------
    case, subject, area, modality, truth
        See `sammed.evaluation.manifest.Case`.
    object, label
        Name, and value or region (``1+2``) in the reference.
    model
        Registry name.
    protocol, variant, seed
        See `sammed.evaluation.protocols.Condition`.
    step
        Corrective clicks so far (C), else 0.
    boxes, blocks, points
        Prompts given so far: 2D boxes, 3D boxes, points.
    dice .. reference_ml, outcome
        See `sammed.evaluation.metrics.Scores`.
    seconds, encode_s, decode_s
        Time of this step in the engine, and the model's two shares of it; reading and scoring are
        not in it.
    stops
        Where propagation ended and why.
    error
        Why there is no score, or what the engine said of an object that it did not find.
    """

    case: str
    subject: str
    area: str
    modality: str
    truth: str
    object: str
    label: str
    model: str
    protocol: str
    variant: str = ""
    seed: int = 0
    step: int = 0
    boxes: int = 0
    blocks: int = 0
    points: int = 0
    dice: float = math.nan
    iou: float = math.nan
    nsd: float = math.nan
    hd95_mm: float = math.nan
    msd_mm: float = math.nan
    sensitivity: float = math.nan
    precision: float = math.nan
    volume_ml: float = math.nan
    reference_ml: float = math.nan
    difference_ml: float = math.nan
    outcome: str = ""
    seconds: float = math.nan
    encode_s: float = math.nan
    decode_s: float = math.nan
    stops: str = ""
    error: str = ""

    @property
    def scored(self) -> bool:
        """Whether there are scores."""
        return not math.isnan(self.dice)

    @property
    def jitter(self) -> float:
        """Of protocol A; 0 for the others."""
        return float(self.variant.split()[1]) if self.variant.startswith("jitter ") else 0.0

    @property
    def failed(self) -> bool:
        """Whether Dice lies below `sammed.evaluation.metrics.FAILURE_DICE`."""
        return self.scored and self.dice < FAILURE_DICE

    def as_dict(self) -> dict[str, Any]:
        """By column, NaN as ``None``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """From what `as_dict` gave, or a line of CSV; unknown columns are left out."""
        return cls(
            **{name: _parse(kind, values[name]) for name, kind in _KINDS.items() if name in values}
        )


_KINDS: dict[str, type] = get_type_hints(Row)
COLUMNS = tuple(_KINDS)


def _parse(kind: type, value: Any) -> Any:
    if kind is float:
        return math.nan if value in (None, "") else float(value)
    return kind(value) if value is not None else kind()


def to_csv(rows: Iterable[Row]) -> str:
    """Rows as CSV text with a header; numbers to six digits, undefined ones blank."""
    return csv_text(COLUMNS, (row.as_dict().values() for row in rows))


def csv_text(columns: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    """A table as CSV text; numbers to six digits, ``None`` blank."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow(map(_text, line))
    return out.getvalue()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read_csv(path: Path) -> list[Row]:
    """Rows of a ``results.csv``.

    Raises
    ------
    UnreadableFileError
        If it is missing, or no such table.
    """
    columns, lines = read_table(path)
    missing = {"case", "object", "model", "protocol", "dice"} - set(columns)
    if missing:
        raise UnreadableFileError(
            f"{path} is no results table: it has no column {', '.join(sorted(missing))}; "
            "expected the results.csv of `sammed evaluate`"
        )
    try:
        return [Row.from_dict(line) for line in lines]
    except ValueError as error:
        raise UnreadableFileError(f"{path} is no results table: {error}") from None
