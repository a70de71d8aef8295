"""Two label maps, label by label."""

from __future__ import annotations

import csv
import io as text_io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sammed.evaluation.metrics import TOLERANCE_MM, Scores, score_labels
from sammed.evaluation.objects import Key, Wanted, key_text, values_of
from sammed.evaluation.reading import on_one_grid, read_map
from sammed.evaluation.results import SCORES
from sammed.evaluation.tables import Table, number
from sammed.imaging.volume import LabelVolume

COLUMNS = (
    "Label", "Dice", "IoU", "NSD", "HD95 mm", "MSD mm", "Sens.", "Prec.", "Volume ml",
    "Reference ml", "Difference ml", "Outcome",
)  # fmt: skip


@dataclass(frozen=True)
class LabelScores:
    """Scores of every label of a prediction.

    Attributes
    ----------
    scores
        By label value or region.
    names
        By label value or region.
    tolerance_mm
        Of NSD.
    notes
        What the readers or resampling decided, and what may not be meant.
    prediction, reference
        The files.
    """

    scores: dict[Key, Scores]
    names: dict[Key, str]
    tolerance_mm: float
    notes: tuple[str, ...] = ()
    prediction: str = ""
    reference: str = ""

    def overall(self) -> dict[str, float]:
        """Mean over labels of each score, undefined ones left out."""
        means = {}
        for name in SCORES:
            defined = [v for s in self.scores.values() if not math.isnan(v := getattr(s, name))]
            means[name] = sum(defined) / len(defined) if defined else math.nan
        return means

    @property
    def outcomes(self) -> Counter[str]:
        """How many labels were found, missed, invented, or empty in both."""
        return Counter(s.outcome for s in self.scores.values())

    def table(self) -> Table:
        """As texts, one line a label and one for their mean."""
        lines = [(self.names[v], *_cells(s.as_dict()), s.outcome) for v, s in self.scores.items()]
        counts = ", ".join(f"{n} {what}" for what, n in self.outcomes.items())
        lines.append((f"mean of {len(lines)}", *_cells(self.overall()), counts))
        return Table(COLUMNS, tuple(lines), caption=f"NSD at {self.tolerance_mm:g} mm.")

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; undefined scores are ``null``."""
        return {
            "prediction": self.prediction,
            "reference": self.reference,
            "tolerance_mm": self.tolerance_mm,
            "labels": [
                {"label": v, "name": self.names[v], **_finite(s.as_dict())}
                for v, s in self.scores.items()
            ],
            "mean": _finite(self.overall()),
            "outcomes": dict(self.outcomes),
            "notes": list(self.notes),
        }

    def csv(self) -> str:
        """One line a label, undefined scores blank."""
        out = text_io.StringIO()
        lines = [
            {**line, "label": key_text(key)}
            for key, line in zip(self.scores, self.as_json()["labels"], strict=True)
        ]
        writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return out.getvalue()


def score_files(
    prediction: Path,
    reference: Path,
    names: Mapping[Key, str] | Wanted | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    resample: bool = False,
) -> LabelScores:
    """Score a label map file against another.

    Parameters
    ----------
    prediction, reference
        Files of any known format.
    names
        Values or regions to score, with their names; by default every value that occurs in either.
        Voxels whose label in the reference is `Wanted.ignored` are left out.
    tolerance_mm
        Of NSD, in mm.
    resample
        Put the prediction on the grid of the reference if they differ, extended as far as it goes
        beyond; never the other way round.

    Raises
    ------
    GridMismatchError
        If the grids differ and ``resample`` is off.
    EvaluationError
        If there is no label.
    InputError
        If a file cannot be read.
    """
    wanted = names if isinstance(names, Wanted) else Wanted(names or {})
    scored, true = on_one_grid(read_map(prediction), read_map(reference), resample)
    notes = [*scored.notes, *true.notes]
    if wanted.ignored is not None:
        scored, true = _without_ignored(scored, true, wanted.ignored, notes)
    scores = score_labels(scored, true, list(wanted.names) or None, tolerance_mm)
    notes += _doubts(scored, true, wanted)
    known: dict[Key, str] = dict(wanted.names)
    for value, name in {**scored.names, **true.names}.items():
        known.setdefault(value, name)
    return LabelScores(
        scores,
        {key: known.get(key, f"label_{key_text(key)}") for key in scores},
        tolerance_mm,
        tuple(notes),
        str(prediction),
        str(reference),
    )


def _without_ignored(
    scored: LabelVolume, true: LabelVolume, value: int, notes: list[str]
) -> tuple[LabelVolume, LabelVolume]:
    """Both without the voxels that nobody judged."""
    ignored = true.voxels == value
    count = int(np.count_nonzero(ignored))
    notes.append(f"{count:,} voxels have label {value}, 'ignore', in the reference: left out")
    cleared = (replace(one, voxels=np.where(ignored, 0, one.voxels)) for one in (scored, true))
    first, second = cleared
    return first, second


def _doubts(scored: LabelVolume, true: LabelVolume, wanted: Wanted) -> Iterator[str]:
    """What is scored as it stands, though it may not be meant so."""
    there = [{int(v) for v in np.unique(one.voxels) if v} for one in (scored, true)]
    if all(there) and not wanted.names and not there[0] & there[1]:
        first, second = (", ".join(map(str, sorted(values)[:5])) for values in there)
        hint = ""
        if len(there[0]) == len(there[1]) == 1:
            hint = f'; if both mean one object, give --labels a file {{"{first}+{second}": "NAME"}}'
        yield (
            f"the prediction has the labels {first}, the reference {second}, and none in common: "
            f"each is scored as an object of its own{hint}"
        )
    if absent := [key for key in wanted.names if not (there[0] | there[1]) & values_of(key)]:
        told = ", ".join(f"{key_text(key)} ({wanted.names[key]})" for key in absent[:5])
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        yield (
            f"{len(absent)} of {len(wanted.names)} objects are in neither file, which counts as a "
            f"Dice of 1 in the mean: {told}{more}"
        )
    for value in sorted(there[0] & there[1]):
        said = [one.names.get(value, "") for one in (scored, true)]
        unnamed = {"", f"label_{value}"} & set(said)
        if not unnamed and said[0].casefold() != said[1].casefold():
            yield (
                f"label {value} is {said[0]!r} in the prediction and {said[1]!r} in the "
                "reference: labels are compared by their values, not by their names"
            )


def _cells(values: Mapping[str, Any]) -> tuple[str, ...]:
    digits = {"hd95_mm": 2, "msd_mm": 2, "volume_ml": 2, "reference_ml": 2, "difference_ml": 2}
    wanted = (*SCORES, "volume_ml", "reference_ml", "difference_ml")
    return tuple(number(values.get(name, math.nan), digits.get(name, 3)) for name in wanted)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
