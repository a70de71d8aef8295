"""From an image to things: candidates, the model's two looks, what stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.errors import Cancelled, InputError, SegmentationError, WindowError
from sammed.everything.alike import best_likeness, look_of
from sammed.everything.asking import Answer, Asker
from sammed.everything.candidates import LARGEST, Candidate, Sizes, find_candidates
from sammed.everything.coarse import Float, coarsened
from sammed.everything.found import Thing, Things, Wishes
from sammed.everything.keeping import (
    LEAST_STEP,
    for_it,
    is_kept,
    is_noise,
    parents,
    score_of,
    step_across,
)
from sammed.everything.learned import learned_borders, picture_borders
from sammed.everything.regions import Region
from sammed.everything.slices import FindsEverything, chains
from sammed.everything.traits import salience_of
from sammed.everything.within import frame_share, search_area
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models.protocols import Model

ASKED = 300
"""Candidates that may be things: of them the model is asked about the likeliest."""

ASKED_FLAT = 200
"""Of a picture, where each costs a view."""

TOGETHER = 8
"""Candidates that the model is asked about between two words of progress, on all cores."""

SPARE, SPARE_FLAT = 1.25, 1.6
"""Candidates that are looked at again, in numbers of things that are wanted: some are the same."""

SALIENT = 0.3
"""What is as salient needs no clear border."""

LEAST_COARSE = 27
"""Smallest thing in coarse voxels (of a picture: pixels), if nothing else is said, ..."""

LEAST_SHARE, LEAST_SHARE_FLAT = 1 / 5000, 1 / 400
"""... and smallest share of where it is looked for, in a volume and in a picture."""

Told = Callable[[str, int, int], None]
"""Takes what is done, and how much of how much."""


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
        self._salient: Float | None = None
        self._notes: list[str] = []

    def _area(self) -> NDArray[np.bool_]:
        """Where things are looked for; there is something to be seen."""
        area = search_area(self._wishes.within, self._volume, self._coarse)
        framed = frame_share(self._coarse) if self._wishes.within == "body" else 0.0
        if self._volume.is_colour and framed:
            self._notes.append(
                f"{framed:.0%} of the picture is a black frame; no thing was looked for there"
            )
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
        return Things(
            tuple(_named(kept)),
            self._volume,
            self._window,
            len(found),
            len(things),
            tuple(self._notes),
        )

    def run(self) -> Things:
        """By regions of the image itself, which the model is asked about."""
        coarse = self._coarse
        area = self._area()
        self._asker = Asker(self._model, self._volume, self._window, coarse, self._check)
        sizes = self._sizes(area)
        self._told("candidates", 0, 1)
        most = ASKED_FLAT if coarse.is_flat else ASKED
        borders = (
            picture_borders(coarse, area, self._check)
            if coarse.is_flat
            else learned_borders(coarse, self._check)
        )
        self._salient = borders.salient
        found = find_candidates(coarse, area, sizes, most, self._check, borders)
        clear = [c for c in found.candidates if self._is_clear(c)]
        if not clear:
            raise SegmentationError(
                f"no thing was found: none of {found.seen} regions of the image has a border that "
                "stands out of its noise"
            )
        if borders.kinds is not None:  # it was learned which are likely things
            clear = self._likeliest(clear)
        things = self._looked_at(self._asked(clear), sizes)
        if not things:
            raise SegmentationError(
                f"no thing was found: the model sees none in {len(clear)} candidates"
            )
        return Things(
            tuple(_named(things)),
            self._volume,
            self._window,
            found.seen,
            len(clear),
            tuple(self._notes),
        )

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
        return step >= LEAST_STEP or (self._salient is not None and candidate.salience > SALIENT)

    def _likeliest(self, candidates: list[Candidate]) -> list[Candidate]:
        """As many as will be looked at again, in their order; those like the examples first."""
        if self._examples:
            alike = [c.chance * self._likeness(c.region) for c in candidates]
            candidates = [candidates[n] for n in np.argsort(-np.array(alike), kind="stable")]
        return candidates[: self._tries]

    @property
    def _tries(self) -> int:
        """Candidates that are looked at again."""
        spare = SPARE_FLAT if self._coarse.is_flat else SPARE
        return int(np.ceil(spare * self._wishes.most)) + 5

    def _asked(self, candidates: list[Candidate]) -> list[tuple[float, Candidate, Answer, float]]:
        """Candidates with the model's first look, best first."""
        ranked = []
        for start in range(0, len(candidates), TOGETHER):
            self._told("asking", start, len(candidates))
            some = candidates[start : start + TOGETHER]
            answers = self._asker.first([candidate.region for candidate in some])
            for candidate, answer in zip(some, answers, strict=True):
                alike = self._likeness(candidate.region)
                looks = answer.agreement, answer.predicted
                rank = score_of(*looks, *for_it(candidate, candidate.salience)) * alike
                ranked.append((rank, candidate, answer, alike))
        return sorted(ranked, key=lambda one: -one[0])

    def _again(self, regions: list[Region]) -> Iterator[Answer]:
        """The model's second look at each, a few at a time."""
        for start in range(0, len(regions), TOGETHER):
            self._told("looking again", start, len(regions))
            yield from self._asker.again(regions[start : start + TOGETHER])

    def _salience(self, region: Region) -> float:
        """Of a mask on the fine grid; 1 where the network of pictures does not see."""
        if self._salient is None:
            return 1.0
        coarse = self._coarse.from_fine(region.mask_in(self._volume.shape))
        return salience_of(Region.of(coarse), self._salient) if coarse.any() else 0.0

    def _likeness(self, region: Region) -> float:
        if not self._examples:
            return 1.0
        return best_likeness(self._examples, look_of(self._coarse, region))

    def _looked_at(
        self, ranked: list[tuple[float, Candidate, Answer, float]], sizes: Sizes
    ) -> list[Thing]:
        """Those that stay after a second look, best first."""
        least = sizes.least * float(np.prod(self._coarse.steps))
        things: list[Thing] = []
        tries = ranked[: self._tries]
        seconds = self._again([candidate.region for _, candidate, _, _ in tries])
        for (_, candidate, first, alike), second in zip(tries, seconds, strict=True):
            region = second.region
            if region is None or region.size < least / 2:
                continue
            salience = self._salience(region)
            looks = first.agreement, second.agreement, second.predicted
            score = score_of(*looks, *for_it(candidate, salience)) * alike
            things.append(
                Thing(
                    "", region, score, *looks, self._steps[id(candidate)], candidate.source,
                    candidate.stability, candidate.chance, alike, salience=salience,
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
