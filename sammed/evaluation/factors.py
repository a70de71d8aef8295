"""What made each object of a run easy or hard, beside its Dice: as values, to CSV and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sammed.errors import UnreadableFileError
from sammed.evaluation.results import csv_text
from sammed.io.tables import read_table
from sammed.reporting.factors import NAMES, Factors

FOUND = "found_"
"""Before the names of the factors of a result's mask; those of the reference have no such sign."""


@dataclass(frozen=True)
class Judged:
    """A result with what may explain it.

    Attributes
    ----------
    case, subject, area, modality, truth, object, model, protocol, variant, seed, step
        Of which result, see `sammed.evaluation.results.Row`.
    headline
        1 of the condition, seed and step that stand for the protocol, whose masks are kept; else 0.
    dice
        Its score, in [0, 1].
    predicted_iou
        Mean of what the engine reports of its slices, in [0, 1]; NaN if the model predicts none.
    looseness, found_looseness
        See `sammed.reporting.factors.looseness`, with the reference and with the result.
    reference
        Factors of the reference.
    found
        Factors of the result, where its mask was kept and is not empty.
    """

    case: str
    subject: str
    area: str
    modality: str
    truth: str
    object: str
    model: str
    protocol: str
    variant: str
    seed: int
    step: int
    headline: int
    dice: float
    reference: Factors
    predicted_iou: float = math.nan
    looseness: float = math.nan
    found_looseness: float = math.nan
    found: Factors | None = None

    def as_dict(self) -> dict[str, Any]:
        """By column, in the order of `COLUMNS`; what is undefined is ``None``."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _OWN}
        values |= asdict(self.reference)
        values |= _found(self.found)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Judged:
        """From what `as_dict` gave, or a line of CSV.

        Raises
        ------
        ValueError
            If a number is none.
        """
        found = {name: number(values.get(FOUND + name)) for name in NAMES}
        own: dict[str, Any] = {name: values[name] for name in _OWN}
        own |= {name: int(own[name]) for name in ("seed", "step", "headline")}
        own |= {name: number(own[name]) for name in _NUMBERS}
        return cls(
            **own,
            reference=Factors(**{name: number(values[name]) for name in NAMES}),
            found=None if math.isnan(found["voxels"]) else Factors(**found),
        )


_NUMBERS = ("dice", "predicted_iou", "looseness", "found_looseness")
_OWN = tuple(f.name for f in fields(Judged) if f.name not in ("reference", "found"))
COLUMNS = (*_OWN, *NAMES, *(FOUND + name for name in NAMES))


def _found(factors: Factors | None) -> dict[str, float]:
    given = {} if factors is None else asdict(factors)
    return {FOUND + name: given.get(name, math.nan) for name in NAMES}


def number(value: Any) -> float:
    """A number as JSON or CSV has it; NaN for what is left blank."""
    return math.nan if value in (None, "") else float(value)


@dataclass(frozen=True)
class JudgedSlice:
    """One slice of a reference, what may explain how it was found, and how it was.

    Attributes
    ----------
    case, subject, modality, object, model, protocol, variant
        Of which result.
    slice
        Canonical index across the plane of the case's slices.
    to_end
        Slices between it and the nearer end of the object, from 0.
    dice
        Of the result's section with that of the reference; 0 where nothing was found.
    factors
        Of the reference's section, as of a picture of one slice.
    """

    case: str
    subject: str
    modality: str
    object: str
    model: str
    protocol: str
    variant: str
    slice: int
    to_end: int
    dice: float
    factors: Factors

    def as_dict(self) -> dict[str, Any]:
        """By column, in the order of `SLICE_COLUMNS`; what is undefined is ``None``."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "factors"}
        values = own | {name: getattr(self.factors, name) for name in SLICE_NAMES}
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> JudgedSlice:
        """From what `as_dict` gave."""
        own = {f.name: values[f.name] for f in fields(cls) if f.name != "factors"}
        shape = {name: number(values.get(name)) for name in NAMES}
        return cls(**own, factors=Factors(**shape))


SLICE_NAMES = tuple(n for n in NAMES if n not in ("slices", "volume_ml", "anisotropy", "pixel_mm"))
"""Factors that say something of a single slice."""

SLICE_COLUMNS = (*(f.name for f in fields(JudgedSlice) if f.name != "factors"), *SLICE_NAMES)


def to_csv(judged: Iterable[Judged]) -> str:
    """Results with their factors as CSV text with a header; what is undefined is blank."""
    return csv_text(COLUMNS, (one.as_dict().values() for one in judged))


def slices_to_csv(judged: Iterable[JudgedSlice]) -> str:
    """Slices with their factors as CSV text with a header; what is undefined is blank."""
    return csv_text(SLICE_COLUMNS, (one.as_dict().values() for one in judged))


def read_csv(path: Path) -> list[Judged]:
    """Results of a ``factors.csv``.

    Raises
    ------
    UnreadableFileError
        If it is missing, or no such table.
    """
    columns, lines = read_table(path)
    missing = [name for name in COLUMNS if name not in columns]
    try:
        if missing:
            raise ValueError(f"it has no column {', '.join(missing[:3])}")
        return [Judged.from_dict(line) for line in lines]
    except ValueError as error:
        raise UnreadableFileError(
            f"{path} is no table of factors: {error}; expected the factors.csv of "
            "`sammed evaluate --factors`"
        ) from None


def of_headline(judged: Iterable[Judged], model: str, protocol: str) -> list[Judged]:
    """What stands for a model under a protocol, one for each object."""
    return [j for j in judged if j.headline and (j.model, j.protocol) == (model, protocol)]
