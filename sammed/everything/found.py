"""What is looked for, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sammed.errors import InputError
from sammed.everything.regions import Region
from sammed.imaging.intensity import Window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts import BoxPrompt, ObjectPrompts


@dataclass(frozen=True)
class Wishes:
    """What is looked for.

    Attributes
    ----------
    within
        See `sammed.everything.within.search_area`.
    min_ml
        Smallest volume; ``None``: see `sammed.everything.things.LEAST_COARSE`.
    most
        At most so many things.
    like
        Objects of this image that others should be like.
    window
        As `sammed.imaging.intensity.resolve_window` takes it.
    known
        Label map, or its file, of what is known: what it does not cover comes first.
    """

    within: Any = "body"
    min_ml: float | None = None
    most: int = 50
    like: tuple[ObjectPrompts, ...] = ()
    window: str = "auto"
    known: Any = None

    def check(self) -> None:
        """Make sure that they can be fulfilled.

        Raises
        ------
        InputError
            If one makes no sense.
        """
        if self.most < 1:
            raise InputError(f"at most {self.most} things make no sense; expected 1 or more")
        if self.min_ml is not None and not 0 <= self.min_ml < float("inf"):
            raise InputError(f"a smallest volume of {self.min_ml} ml makes no sense")


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing that was found.

    Attributes
    ----------
    name
        ``"thing 1"`` has the highest score.
    region
        On the volume's grid.
    score
        Geometric mean of what speaks for it, in [0, 1]: good for an order, no probability.
    agreement, planes, predicted
        IoU of the candidate with what its box alone shows the model; mean IoU of the planes (of a
        picture: of both looks); IoU that the model promises.
    step
        Across its border, see `sammed.everything.keeping.step_across`.
    source
        Where the candidate came from.
    stability
        Mean IoU with what other ways of making regions have most like it.
    chance
        How likely the candidate is a thing by what the dense network sees.
    likeness
        To the example, 1 if there is none.
    known
        Whether known labels cover half of it or more.
    parent
        Name of the smallest thing that it is a part of, or empty.
    salience
        Of pictures, how well the mask is all that a person would outline, see
        `sammed.everything.traits.salience_of`; else 1.
    """

    name: str
    region: Region
    score: float
    agreement: float
    planes: float
    predicted: float
    step: float
    source: str
    stability: float = 1.0
    chance: float = 1.0
    likeness: float = 1.0
    known: bool = False
    parent: str = ""
    salience: float = 1.0

    def prompts(self, volume: Volume, label: int = 0) -> ObjectPrompts:
        """The thing as an object that can be edited: its box."""
        block = self.region.block
        if min(volume.shape) > 1:
            return ObjectPrompts(self.name, label, blocks=(block,))
        axis = volume.shape.index(1)
        box = BoxPrompt(axis, block.low[axis], block.across(axis))
        return ObjectPrompts(self.name, label, boxes=(box,), propagate="off")


@dataclass(frozen=True, eq=False)
class Things:
    """All that was found in an image.

    Attributes
    ----------
    things
        By falling score; with known labels what they do not cover first.
    volume, window
        The image.
    regions, candidates
        How many regions of the image itself were seen, and how many of them the model was asked
        about.
    notes
        What should be known.
    """

    things: tuple[Thing, ...]
    volume: Volume
    window: Window
    regions: int
    candidates: int
    notes: tuple[str, ...] = field(default=())

    @property
    def labels(self) -> LabelVolume:
        """The label map, see `sammed.everything.table.painted`."""
        from sammed.everything.table import painted

        return painted(self).labels
