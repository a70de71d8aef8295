"""From an image to things: candidates, the model's two looks, what stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.errors import Cancelled, InputError, SegmentationError, WindowError
from sammed.everything.alike import best_likeness, look_of
from sammed.everything.asking import Answer, Asker
from sammed.everything.candidates import LARGEST, Candidate, Sizes, find_candidates
from sammed.everything.coarse import coarsened
from sammed.everything.keeping import LEAST_STEP, is_kept, is_noise, parents, score_of, step_across
from sammed.everything.learned import learned_borders
from sammed.everything.regions import Region
from sammed.everything.slices import FindsEverything, chains
from sammed.everything.within import search_area
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models.protocols import Model
from sammed.prompts import BoxPrompt, ObjectPrompts

ASKED = 300
"""Candidates that the model is asked about by their boxes."""

ASKED_FLAT = 200
"""Of a picture, where each costs a view."""

TOGETHER = 4
"""Boxes that are asked about in one batch: a fifth of a second."""

SPARE, SPARE_FLAT = 1.25, 1.6
"""Candidates that are looked at again, in numbers of things that are wanted: some are the same."""

LEAST_COARSE = 27
"""Smallest thing in coarse voxels (of a picture: pixels), if nothing else is said, ..."""

LEAST_SHARE, LEAST_SHARE_FLAT = 1 / 5000, 1 / 400
"""... and smallest share of where it is looked for, in a volume and in a picture."""

Told = Callable[[str, int, int], None]
"""Takes what is done, and how much of how much."""


@dataclass(frozen=True)
class Wishes:
    """What is looked for.

    Attributes
    ----------
    within
        See `sammed.everything.within.search_area`.
    min_ml
        Smallest volume; ``None``: `LEAST_COARSE` and `LEAST_SHARE`.
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
        How likely the candidate is a thing by what the dense network sees; of pictures, which it
        does not see, 1.
    likeness
        To the example, 1 if there is none.
    known
        Whether known labels cover half of it or more.
    parent
        Name of the smallest thing that it is a part of, or empty.
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


def find_things(
    volume: Volume,
    model: Model,
    wishes: Wishes | None = None,
    told: Told | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Things:
    """Find things that nobody prompted.

    Parameters
    ----------
    volume
        A volume, a single slice or a colour picture.
    model
        Judges candidates and draws what stays; see `Asker`.
    wishes
        What is looked for.
    told
        Told of each step.
    cancel
        Asked often; ``True`` stops the work.

    Raises
    ------
    SegmentationError
        If nothing was found: an image of air, of one value, of noise.
    InputError
        If a wish makes no sense.
    BackendUnavailableError
        If scikit-image is not installed.
    Cancelled
        If ``cancel`` said so.
    """
    wishes = wishes or Wishes()
    wishes.check()

    def check() -> None:
        if cancel and cancel():
            raise Cancelled("stopped; nothing was changed")

    try:
        window = resolve_window(wishes.window, volume)
    except WindowError as error:
        if float(np.ptp(volume.voxels)) == 0:
            raise SegmentationError(f"no thing was found: {error}") from error
        raise
    search = _Search(volume, window, model, wishes, told or _untold, check)
    if isinstance(model, FindsEverything) and "points" in model.spec.prompts:
        return search.run_own(model)
    return search.run()


def _untold(doing: str, done: int, total: int) -> None:
    return None


class _Search:
    """One search, step by step."""

    def __init__(
        self,
        volume: Volume,
        window: Window,
        model: Model,
        wishes: Wishes,
        told: Told,
        check: Callable[[], None],
    ) -> None:
        self._volume, self._window, self._wishes = volume, window, wishes
        self._told, self._check = told, check
        told("looking at the image", 0, 1)
        self._coarse = coarsened(volume, window, check)
        self._model = model
        self._known = _labelled(wishes.known, volume)
        self._examples = [look_of(self._coarse, r) for r in self._like()]
        self._steps: dict[int, float] = {}

    def _area(self) -> NDArray[np.bool_]:
        """Where things are looked for; there is something to be seen."""
        area = search_area(self._wishes.within, self._volume, self._coarse)
        if is_noise(self._coarse.image, area):
            raise SegmentationError(
                "no thing was found: the image shows nothing but noise where it was looked at"
            )
        return area

    def run_own(self, model: FindsEverything) -> Things:
        """By the everything mode of the model itself, slice by slice."""
        area = self._area()
        sizes, per_coarse = self._sizes(area), float(np.prod(self._coarse.steps))
        found = chains(self._volume, self._window, model, self._told, self._check)
        things = []
        for chain in found:
            region = chain.region()
            coarse = self._coarse.from_fine(region.mask_in(self._volume.shape))
            fits = sizes.least * per_coarse <= region.size <= sizes.most * per_coarse
            if not fits or 2 * np.count_nonzero(coarse & area) < np.count_nonzero(coarse):
                continue
            alike = self._likeness(Region.of(coarse)) if coarse.any() else 0.0
            predicted, stable = float(np.mean(chain.predicted)), float(np.mean(chain.stability))
            score = score_of(predicted, stable) * (alike if self._examples else 1.0)
            things.append(
                Thing("", region, score, stable, 1.0, predicted, 0.0, "grid", 1.0, 1.0, alike)
            )
        if not things:
            raise SegmentationError(
                "no thing was found: no mask of the model's grid is large and sure enough"
            )
        kept = self._kept(things)
        return Things(tuple(_named(kept)), self._volume, self._window, len(found), len(things))

    def run(self) -> Things:
        """By regions of the image itself, which the model is asked about."""
        coarse = self._coarse
        area = self._area()
        self._asker = Asker(self._model, self._volume, self._window, coarse, self._check)
        sizes = self._sizes(area)
        self._told("candidates", 0, 1)
        most = ASKED_FLAT if coarse.is_flat else ASKED
        borders = learned_borders(coarse, self._check)
        found = find_candidates(coarse, area, sizes, most, self._check, borders)
        clear = [c for c in found.candidates if self._is_clear(c)]
        if not clear:
            raise SegmentationError(
                f"no thing was found: none of {found.seen} regions of the image has a border that "
                "stands out of its noise"
            )
        things = self._looked_at(self._asked(clear), sizes)
        if not things:
            raise SegmentationError(
                f"no thing was found: the model sees none in {len(clear)} candidates"
            )
        return Things(tuple(_named(things)), self._volume, self._window, found.seen, len(clear))

    def _like(self) -> list[Region]:
        regions = []
        for obj in self._wishes.like:
            mask = np.zeros(self._volume.shape, bool)
            if obj.mask is not None:
                mask[obj.mask.block.slices] |= obj.mask.painted
            for block in (*obj.blocks, *(b.block for b in obj.boxes)):
                mask[block.slices] |= _ellipsoid(block)
            coarse = self._coarse.from_fine(mask)
            if coarse.any():
                regions.append(Region.of(coarse))
        if self._wishes.like and not regions:
            raise InputError(
                "the example shows nothing that can be compared: expected boxes or painted slices"
            )
        return regions

    def _sizes(self, area: NDArray[np.bool_]) -> Sizes:
        voxel_ml = float(np.prod(self._coarse.spacing)) / 1000
        least = self._wishes.min_ml
        inside = float(np.count_nonzero(area))
        share = LEAST_SHARE_FLAT if self._coarse.is_flat else LEAST_SHARE
        usual = max(LEAST_COARSE, share * inside)
        return Sizes(usual if least is None else max(least / voxel_ml, 4), LARGEST * inside)

    def _is_clear(self, candidate: Candidate) -> bool:
        self._check()
        step = step_across(self._coarse.image, candidate.region)
        self._steps[id(candidate)] = step
        return step >= LEAST_STEP

    def _asked(self, candidates: list[Candidate]) -> list[tuple[float, Candidate, Answer, float]]:
        """Candidates with the model's first look, best first."""
        ranked = []
        for start in range(0, len(candidates), TOGETHER):
            self._told("asking", start, len(candidates))
            some = candidates[start : start + TOGETHER]
            answers = self._asker.first([candidate.region for candidate in some])
            for candidate, answer in zip(some, answers, strict=True):
                alike = self._likeness(candidate.region)
                said = self._of_the_image(candidate)
                rank = score_of(answer.agreement, answer.predicted, *said) * alike
                ranked.append((rank, candidate, answer, alike))
        return sorted(ranked, key=lambda one: -one[0])

    def _of_the_image(self, candidate: Candidate) -> tuple[float, ...]:
        """What is said for a candidate before the model is asked.

        Its chance; of pictures its stability, and how clear its border is.
        """
        if not self._coarse.is_flat:
            return (candidate.chance,)
        step = self._steps[id(candidate)]
        return candidate.stability, step / (1 + step)

    def _likeness(self, region: Region) -> float:
        if not self._examples:
            return 1.0
        return best_likeness(self._examples, look_of(self._coarse, region))

    def _looked_at(
        self, ranked: list[tuple[float, Candidate, Answer, float]], sizes: Sizes
    ) -> list[Thing]:
        """Those that stay after a second look, best first."""
        wanted = self._wishes.most
        least = sizes.least * float(np.prod(self._coarse.steps))
        things: list[Thing] = []
        spare = SPARE_FLAT if self._coarse.is_flat else SPARE
        tries = ranked[: int(np.ceil(spare * wanted)) + 5]
        for n, (_, candidate, first, alike) in enumerate(tries):
            self._told("looking again", n, len(tries))
            second = self._asker.second(candidate.region)
            region = second.region
            if region is None or region.size < least / 2:
                continue
            said = self._of_the_image(candidate)
            looks = first.agreement, second.agreement, second.predicted
            score = score_of(*looks, *said) * alike
            things.append(
                Thing(
                    "", region, score, first.agreement, second.agreement, second.predicted,
                    self._steps[id(candidate)], candidate.source, candidate.stability,
                    candidate.chance, alike,
                )
            )  # fmt: skip
        return self._kept(things)

    def _is_known(self, region: Region) -> bool:
        if self._known is None:
            return False
        here = self._known[region.block.slices][region.mask]
        return 2 * int(np.count_nonzero(here)) >= region.size

    def _kept(self, things: list[Thing]) -> list[Thing]:
        """As many as are wanted, best first, none twice."""
        if self._known is not None:
            things = [replace(thing, known=self._is_known(thing.region)) for thing in things]
        kept: list[Thing] = []
        for thing in sorted(things, key=lambda thing: (thing.known, -thing.score)):
            if len(kept) < self._wishes.most and is_kept(thing.region, [k.region for k in kept]):
                kept.append(thing)
        return kept


def _labelled(known: Any, volume: Volume) -> NDArray[np.bool_] | None:
    if known is None:
        return None
    labels = known if isinstance(known, LabelVolume) else io.read_labels(known, like=volume)
    return np.asarray(labels.on_grid_of(volume).voxels > 0)


def _named(things: list[Thing]) -> list[Thing]:
    names = [f"thing {n + 1}" for n in range(len(things))]
    above = parents([thing.region for thing in things])
    return [
        replace(thing, name=name, parent=names[parent] if parent >= 0 else "")
        for thing, name, parent in zip(things, names, above, strict=True)
    ]


def _ellipsoid(block: Box3D) -> NDArray[np.bool_]:
    """What fills a box like a ball; the middle of a single voxel lies in it."""
    z, y, x = np.ix_(*(((np.arange(n) + 0.5) / n * 2 - 1) ** 2 for n in block.shape))
    return np.asarray(z + y + x <= 1)
