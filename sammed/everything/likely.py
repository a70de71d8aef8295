"""How likely a region of a volume is a thing, by what is measured of it.

A small network weighs the measures. It has learned from regions of synthetic scenes, of which every
thing is known (`sammed.training.likely`), so that no rule made by hand says which counts how much.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import WeightsMismatchError
from sammed.everything.coarse import Float
from sammed.everything.regions import Region
from sammed.everything.traits import Traits, traits_of
from sammed.models.dense.borders import Borders
from sammed.models.dense.net import NO_THING

MEASURES = (
    "size", "contrast", "log contrast", "stability", "log stability", "kind", "log kind",
    "thing inside", "thing around", "border inside", "no thing", "surface", "fullness", "support",
    "length", "kinds of all",
)  # fmt: skip
"""What is measured of a region, in the order of the network's input."""

SHIPPED = Path(__file__).parent / "likely.json"

FORMAT = "sammed-likely/1"

MUCH_THE_SAME = 0.7
"""IoU from which on another region supports one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Likely:
    """The network: one hidden layer.

    Attributes
    ----------
    mean, deviation : (n,)
        Of each measure over what was learned from.
    hidden : (h, n + 1)
        Weights of the hidden units, the last column their offsets.
    out : (h + 1,)
        Weights of these, and the offset.
    """

    mean: Floats
    deviation: Floats
    hidden: Floats
    out: Floats

    def __call__(self, measures: Floats) -> Floats:
        """Chance of each region to be a thing.

        Parameters
        ----------
        measures : (regions, n)
            From `measured`.

        Returns
        -------
        (regions,) in [0, 1]

        Examples
        --------
        >>> judge = Likely(np.zeros(1), np.ones(1), np.array([[1.0, 0.0]]), np.array([2.0, 0.0]))
        >>> judge(np.array([[-9.0], [0.0], [9.0]])).round(2).tolist()
        [0.12, 0.5, 0.88]
        """
        scaled = (measures - self.mean) / self.deviation
        units = np.tanh(scaled @ self.hidden[:, :-1].T + self.hidden[:, -1])
        return np.asarray(1 / (1 + np.exp(-(units @ self.out[:-1] + self.out[-1]))))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `read_likely` reads it."""
        arrays = {
            name: np.round(getattr(self, name), 5).tolist()
            for name in ("mean", "deviation", "hidden", "out")
        }
        return {"format": FORMAT, "measures": list(MEASURES), **arrays}


def read_likely(path: Path) -> Likely:
    """The network of a file.

    Parameters
    ----------
    path
        As ``sammed train likely`` writes it.

    Raises
    ------
    WeightsMismatchError
        If it is none, or was made for other measures.
    """
    try:
        said = json.loads(path.read_text("utf-8"))
        fits = said["format"] == FORMAT and tuple(said["measures"]) == MEASURES
        arrays = [np.array(said[name], float) for name in ("mean", "deviation", "hidden", "out")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsMismatchError(
            f"{path} cannot be read ({error}): install sammed anew"
        ) from None
    if not fits or arrays[2].shape[1] != len(MEASURES) + 1:
        raise WeightsMismatchError(
            f"{path} was made for other measures of regions than this sammed takes; make it with "
            "'sammed train likely'"
        )
    return Likely(*arrays)


@lru_cache(maxsize=1)
def shipped() -> Likely:
    """The network that is in the package."""
    return read_likely(SHIPPED)


def measured(
    regions: Sequence[Region],
    shared: Float,
    stability: Floats,
    kind: Floats,
    borders: Borders,
    check: Callable[[], None],
) -> Floats:
    """What is measured of regions, each in the company of the others.

    Parameters
    ----------
    regions
        On the coarse grid.
    shared : (n, n)
        IoU of all with all.
    stability, kind : (n,)
        See `sammed.everything.candidates.Candidate`.
    borders
        What the dense network sees, kinds included.
    check
        Called for each; may raise to stop.

    Returns
    -------
    (n, len(MEASURES))
    """
    if borders.kinds is None:
        raise ValueError("the dense network says no kinds")
    none = borders.kinds[:NO_THING].sum(0)
    seen = 1 - float(none.mean())
    support = (shared > MUCH_THE_SAME).sum(1)
    rows = []
    for n, region in enumerate(regions):
        check()
        told = traits_of(region, borders, none)
        rows.append([*_row(region, told, borders.border.size), support[n]])
    size, contrast, inside, around, core, nothing, surface, full, length, near = np.array(rows).T
    stable = np.asarray(stability, float)
    return np.column_stack((
        np.log(size), contrast, np.log(contrast.clip(0.01)), stable, np.log(stable.clip(0.02)),
        kind, np.log(0.1 + kind), inside, around, core, nothing, np.log(surface), np.log(full),
        np.log(near.clip(1)), np.log(length), np.full(len(rows), seen),
    ))  # fmt: skip


def _row(region: Region, told: Traits, whole: int) -> list[float]:
    sides = region.block.shape
    return [
        region.size / whole, told.contrast, told.thing, told.thing_around, told.border_inside,
        told.nothing, max(told.surface, 1) / region.size ** (2 / 3),
        region.size / float(np.prod(sides)), max(sides) / min(sides),
    ]  # fmt: skip
