"""Factors as numbers that a regression can take, and as words that a reader can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.factors import Judged, JudgedSlice
from sammed.reporting.factors import on_scale

EXTREME = 0.8
"""Share of the objects of a run that must be less hard in some way for it to be said of one."""

MOST_WORDS = 3
"""So many ways in which an object is hard are said of it."""

Float = NDArray[np.float64]
_One = TypeVar("_One", Judged, JudgedSlice)


@dataclass(frozen=True)
class Feature(Generic[_One]):
    """A factor on a scale on which its effect may be linear.

    Attributes
    ----------
    name, title
        In tables of numbers, and for readers.
    value
        The factor of an object, in its own unit.
    hard
        1 if more of it should make an object harder, -1 if less of it.
    words
        What is said of an object that has hard values of it.
    log
        Whether figures show it on a logarithmic axis.
    """

    name: str
    title: str
    value: Callable[[_One], float]
    hard: int
    words: Callable[[float], str]
    log: bool = False

    def scale(self, value: float) -> float:
        """From the factor's own unit to the scale of the regression."""
        return on_scale("margin" if self.name == "to_end" else self.name, value)


def _share(text: str) -> Callable[[float], str]:
    return lambda value: f"{text} ({value:.2f} of the window)"


def _contrast(value: float) -> str:
    return f"of {'hardly any' if value < 0.05 else 'little'} contrast ({value:.2f} of the window)"


def _margin(value: float) -> str:
    return "at the edge of the image" if value < 1 else f"{value:.0f} voxels from the image's edge"


def _of(name: str) -> Callable[[Judged], float]:
    return lambda judged: float(getattr(judged.reference, name))


def _of_slice(name: str) -> Callable[[JudgedSlice], float]:
    return lambda judged: float(getattr(judged.factors, name))


_SHAPE: tuple[tuple[str, str, int, Callable[[float], str], bool], ...] = (
    ("voxels", "size (voxels)", -1, lambda v: f"small ({v:.0f} voxels)", True),
    ("thickness", "thickness (voxels)", -1, lambda v: f"thin ({v:.1f} voxels)", True),
    ("thinness", "thinness for its size", 1, lambda v: f"thin for its size ({v:.2f})", False),
    ("solidity", "solidity", -1, lambda v: f"filling {100 * v:.0f} % of its hull", False),
    ("components", "parts", 1, lambda v: f"in {v:.0f} parts", True),
    ("contrast", "contrast (of the window)", -1, _contrast, True),
    ("edge_width", "width of the edge (voxels)", 1,
     lambda v: f"blurred at the border ({v:.1f} voxels)", True),
    ("texture", "texture inside (of the window)", 1, _share("mottled inside"), True),
    ("texture_around", "texture round it (of the window)", 1, _share("in mottled surroundings"),
     True),
    ("margin", "voxels to the image's edge", -1, _margin, False),
)  # fmt: skip

OBJECT_FEATURES: tuple[Feature[Judged], ...] = (
    *(Feature(n, title, _of(n), hard, words, log) for n, title, hard, words, log in _SHAPE),
    Feature("slices", "slices", _of("slices"), -1, lambda v: f"on {v:.0f} slices", True),
    Feature("anisotropy", "voxel shape (coarsest / finest)", _of("anisotropy"), 1,
            lambda v: f"of slices {v:.1f} times as thick as pixels", True),
    Feature("looseness", "looseness of the prompt", lambda j: j.looseness, 1,
            lambda v: f"in a loose prompt ({100 * v:.0f} % of it is something else)"),
)  # fmt: skip
"""Of an object."""

SLICE_FEATURES: tuple[Feature[JudgedSlice], ...] = (
    *(Feature(n, title, _of_slice(n), hard, words, log) for n, title, hard, words, log in _SHAPE),
    Feature("to_end", "slices to the object's end", lambda j: float(j.to_end), -1,
            lambda v: f"{v:.0f} slices from the object's end"),
)  # fmt: skip
"""Of a slice of an object."""


@dataclass(frozen=True, eq=False)
class Observations:
    """What a regression is made from.

    Attributes
    ----------
    names, titles
        Of the columns.
    x : (objects, columns) float64
        Features on the scale of the regression; what cannot be told is the mean of the others.
    dice : (objects,) float64
        In [0, 1].
    groups : (objects,) str
        Subjects: objects of one are not independent.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    x: Float
    dice: Float
    groups: NDArray[np.str_]


def observe(judged: Sequence[_One], features: Sequence[Feature[_One]]) -> Observations:
    """Features of objects or slices, with their modality; columns that do not vary are left out."""
    columns = {f.name: (f.title, _column(judged, f)) for f in features}
    modalities = [j.modality or "unknown" for j in judged]
    usual = max(sorted(set(modalities)), key=modalities.count, default="unknown")
    for modality in sorted(set(modalities) - {usual}):
        there = np.array([float(m == modality) for m in modalities])
        columns[f"modality {modality}"] = f"{modality} (against {usual})", there
    kept = {name: c for name, c in columns.items() if len(c[1]) and np.ptp(c[1]) > 1e-9}
    return Observations(
        tuple(kept),
        tuple(title for title, _ in kept.values()),
        np.stack([values for _, values in kept.values()], 1)
        if kept
        else np.zeros((len(judged), 0)),
        np.array([j.dice for j in judged]),
        np.array([j.subject for j in judged]),
    )


def _column(judged: Sequence[_One], feature: Feature[_One]) -> Float:
    values = np.array([feature.scale(feature.value(j)) for j in judged], np.float64)
    known = np.isfinite(values)
    return np.where(known, values, values[known].mean() if known.any() else 0.0)


def hardness(judged: Sequence[Judged]) -> dict[str, Float]:
    """By feature, which share of the others each object is harder than, in [0, 1]."""
    found = {}
    for feature in OBJECT_FEATURES:
        column = feature.hard * _column(judged, feature)
        found[feature.name] = (column[None, :] < column[:, None]).sum(axis=1) / max(
            len(judged) - 1, 1
        )
    return found


def sentence(judged: Sequence[Judged], index: int) -> str:
    """In which ways an object is among the hardest of a run, in words.

    Parameters
    ----------
    judged
        All objects of the run.
    index
        Which is meant.

    Returns
    -------
    str
        ``"Thin (2.1 voxels) and of hardly any contrast (0.02 of the window)."``, say.
    """
    found = hardness(judged)
    ranked = sorted(OBJECT_FEATURES, key=lambda f: -found[f.name][index])
    hard = [f for f in ranked if found[f.name][index] >= EXTREME][:MOST_WORDS]
    if {"thickness", "thinness"} <= {f.name for f in hard}:
        hard = [f for f in hard if f.name != "thinness"]
    if not hard:
        return "Nothing that was measured stands out."
    said = [f.words(f.value(judged[index])) for f in hard]
    text = " and ".join(filter(None, [", ".join(said[:-1]), said[-1]]))
    return f"{text[0].upper()}{text[1:]}."
