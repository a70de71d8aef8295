"""Two label maps, label by label."""

from __future__ import annotations

import csv
import io as text_io
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed import io
from sammed.evaluation.metrics import TOLERANCE_MM, Scores, require_same_grid, score_labels
from sammed.evaluation.results import SCORES
from sammed.evaluation.tables import Table, number

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
        By label value.
    names
        By label value.
    tolerance_mm
        Of NSD.
    notes
        What the readers or resampling decided.
    """

    scores: dict[int, Scores]
    names: dict[int, str]
    tolerance_mm: float
    notes: tuple[str, ...] = ()

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
        lines = self.as_json()["labels"]
        writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return out.getvalue()


def score_files(
    prediction: Path,
    reference: Path,
    names: Mapping[int, str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    resample: bool = False,
) -> LabelScores:
    """Score a label map file against another.

    Parameters
    ----------
    prediction, reference
        Files of any known format.
    names
        Values to score, with their names; by default every value that occurs in either.
    tolerance_mm
        Of NSD, in mm.
    resample
        Put the prediction on the grid of the reference if they differ; never the other way round.

    Raises
    ------
    GridMismatchError
        If the grids differ and ``resample`` is off.
    EvaluationError
        If there is no label.
    InputError
        If a file cannot be read.
    """
    scored, true = io.read_labels(prediction), io.read_labels(reference)
    if resample:
        from sammed.imaging.geometry import same_grid
        from sammed.io.resample import resample_labels

        if not same_grid(scored.affine, scored.shape, true.affine, true.shape):
            scored = resample_labels(scored, true)
    require_same_grid(scored, true)
    scores = score_labels(scored, true, names, tolerance_mm)
    known = {**scored.names, **true.names, **(names or {})}
    return LabelScores(
        scores,
        {value: known.get(value, f"label_{value}") for value in scores},
        tolerance_mm,
        (*scored.notes, *true.notes),
    )


def _cells(values: Mapping[str, Any]) -> tuple[str, ...]:
    digits = {"hd95_mm": 2, "msd_mm": 2, "volume_ml": 2, "reference_ml": 2, "difference_ml": 2}
    wanted = (*SCORES, "volume_ml", "reference_ml", "difference_ml")
    return tuple(number(values.get(name, math.nan), digits.get(name, 3)) for name in wanted)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
