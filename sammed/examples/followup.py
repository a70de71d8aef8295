"""The same person later: each lesion keeps its name, and it is said what became of it.

The earlier scan is laid onto the new one, rigid and then bent; each lesion is looked for where it
was. Its border lies at the same height between its own values and those round it as where the
earlier drawing had it (a level set by the drawing itself), so that a volume then and one now mean
the same. The drawn border, bent onto the new scan's, tells the volume a second time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed import io
from sammed.errors import InputError
from sammed.examples.carrying import Target, part_of_grid, same_units
from sammed.examples.lesions import REACH_MM, Scan, Seen, again
from sammed.examples.library import Example, in_units
from sammed.examples.look import logit
from sammed.examples.model import Steps, check_fit, missing
from sammed.examples.shown import Shown
from sammed.imaging import geometry
from sammed.imaging import registration as reg
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.protocols import Model, ModelSpec, VolumeImage, VolumeMask, Watch
from sammed.models.recipe import PLAIN

REGISTERED = 4
"""Steps in which the earlier scan is laid on the new one."""

ROUND_MM = 12.0
"""Round a lesion; what lies within is bent once more."""

LEAST_NEW_ML = 0.02
"""Smaller spots that look new are not told: they are as often noise."""

Bool3 = NDArray[np.bool_]
Float3 = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """What became of one lesion.

    Attributes
    ----------
    name
        As in the earlier label map.
    before_ml, now_ml
        Its volume.
    doubling_days
        Days in which it doubles at this pace (Schwartz 1961), negative while it shrinks; ``None``
        if the time between the scans is not known, or it is gone.
    state
        ``"there"``, ``"gone"``, ``"outside"`` (of the new scan).
    how
        How its border was found.
    """

    name: str
    before_ml: float
    now_ml: float
    doubling_days: float | None
    state: str
    how: str

    @property
    def change_ml(self) -> float:
        """Volume now less volume then."""
        return self.now_ml - self.before_ml

    @property
    def percent(self) -> float:
        """Change as a percentage of the volume then."""
        return 100 * self.change_ml / self.before_ml if self.before_ml else math.nan


@dataclass(eq=False)
class FollowUp:
    """All lesions then and now, for the report.

    Attributes
    ----------
    days
        Between the scans; 0: unknown.
    moved
        What was done to bring the scans together.
    changes
        Of each lesion.
    new
        Spots that look as lesions do and were not there: centre (LPS mm) and ml.
    seconds
        It took.
    """

    days: float = 0.0
    moved: str = ""
    changes: list[Change] = field(default_factory=list)
    new: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain data, with changes worked out."""
        rows = [
            {**asdict(c), "change_ml": round(c.change_ml, 4), "percent": round(c.percent, 1)}
            for c in self.changes
        ]
        return {**asdict(self), "changes": rows}

    def table(self) -> list[tuple[str, ...]]:
        """Lines for people, the first is the head."""
        lines: list[tuple[str, ...]] = [
            ("lesion", "then ml", "now ml", "change ml", "change %", "doubling days", "state")
        ]
        for c in self.changes:
            doubling = "–" if c.doubling_days is None else f"{c.doubling_days:.0f}"
            lines.append(
                (
                    c.name, f"{c.before_ml:.3g}", f"{c.now_ml:.3g}", f"{c.change_ml:+.3g}",
                    f"{c.percent:+.0f}", doubling, c.state,
                )
            )  # fmt: skip
        for one in self.new:
            at = ", ".join(f"{v:.0f}" for v in one["centre_lps_mm"])
            lines.append(("new-looking", "0", f"{one['ml']:.3g}", "", "", "", f"at LPS {at} mm"))
        return lines


def doubling_days(before_ml: float, now_ml: float, days: float) -> float | None:
    """Days in which a volume doubles if it goes on as it did; ``None`` where that means nothing.

    Examples
    --------
    >>> doubling_days(1.0, 4.0, 60)
    30.0
    >>> doubling_days(1.0, 0.0, 60) is None
    True
    """
    if days <= 0 or before_ml <= 0 or now_ml <= 0 or before_ml == now_ml:
        return None
    return days * math.log(2) / math.log(now_ml / before_ml)


def days_between(earlier: Example, volume: Volume) -> float:
    """Days between two scans by their DICOM study dates; 0 where these do not say."""
    dates = [io.identity(one).get("StudyDate", "") for one in (earlier.read[0], volume)]
    try:
        then, now = (datetime.strptime(text, "%Y%m%d") for text in dates)
    except ValueError:
        return 0.0
    return float(max((now - then).days, 0))


class PriorModel(Shown):
    """Finds again what was labelled in an earlier scan of the same person.

    Parameters
    ----------
    earlier
        The scan and its labels.
    companion
        Answers prompts.
    days
        Between the scans; 0: unknown.

    Attributes
    ----------
    earlier, account
        What it was made from, and what became of it.
    places
        The middle (z, y, x) of where each lesion is looked for in the new scan.
    laid
        From the new scan to the earlier one, once it was looked at.
    """

    def __init__(self, earlier: Example, companion: Model, days: float = 0.0) -> None:
        self.earlier = earlier
        self.account = FollowUp(days)
        self.places: dict[str, NDArray[np.float64]] = {}
        self.laid: reg.Alignment | None = None
        volume, labels = earlier.read
        values = earlier.values({})
        if not values:
            raise InputError(f"the label map of {earlier.id} is empty: there is nothing to follow")
        self._volume, self._labels = volume, labels
        spec = ModelSpec(
            name="prior",
            prompts=frozenset({"box", "points", "mask", "box3d"}),
            license="as the earlier labels",
            recipe=PLAIN,
            structures=values,
        )
        super().__init__(spec, companion)

    def _found(self, image: VolumeImage, reporter: Watch) -> dict[str, VolumeMask]:
        started, volume = time.perf_counter(), in_units(image.volume)
        check_fit(volume, self.earlier)
        self.account = account = FollowUp(self.account.days)
        target = Target.of(volume)
        steps = Steps(reporter, REGISTERED + len(self._spec.structures))
        self.laid = whole = self._laid(target, reporter.check, steps)
        units = same_units(volume, self._volume)
        then, now = Scan.of(self._volume, units), Scan.of(volume, units)
        carried = {
            name: _carry(whole, self._labels.voxels == value, self._volume, volume)
            for name, value in self._spec.structures.items()
        }
        others = np.zeros(volume.shape, bool)
        for mask in carried.values():
            others |= mask
        found: dict[str, VolumeMask] = {}
        levels: list[float] = []
        for name, value in self._spec.structures.items():
            reporter.check()
            drawn = self._labels.voxels == value
            mask = carried[name]
            if mask.any():
                self.places[name] = np.argwhere(mask).mean(axis=0)
            bent = partial(self._bent, target, whole, drawn, mask, reporter.check)
            seen = again(then, now, drawn, mask, others & ~mask, bent)
            before = np.count_nonzero(drawn) * geometry.voxel_volume_ml(self._volume.affine)
            voxels = np.count_nonzero(seen.mask) if seen.voxels is None else seen.voxels
            ml = voxels * geometry.voxel_volume_ml(volume.affine)
            state = "outside" if not mask.any() else "there" if seen.mask.any() else "gone"
            pace = doubling_days(before, ml, account.days)
            account.changes.append(
                Change(name, round(before, 5), round(ml, 5), pace, state, seen.how)
            )
            found[name] = _answer(seen, state, name)
            steps.done()
            if seen.level is not None:
                levels.append(seen.level)
        account.new = _new(volume, now, then, whole, self._volume, others, levels)
        account.seconds = round(time.perf_counter() - started, 2)
        return found

    @cached_property
    def _grey(self) -> reg.Grey:
        return reg.grey(self._volume)

    def _laid(self, target: Target, check: Callable[[], None], steps: Steps) -> reg.Alignment:
        """The earlier scan on the new one: rigid, then bent by what breathing and growth do."""
        moving = self._grey
        begin = reg.coarse(target.grey, moving)
        steps.done()
        rigid = reg.affine(target.grey, moving, begin, rigid=True, check=check)
        steps.done()
        flipped = reg.flipped_axes(target.grey, moving)
        if flipped:
            raise InputError(
                f"{self.earlier.id}: {flipped} seem exchanged against "
                f"{reg.name_of(target.volume)}; check its orientation"
            )
        close = reg.affine(target.grey, moving, rigid, check=check)
        steps.done()
        even = not same_units(target.volume, self._volume)
        bent = reg.deformed(target.grey, moving, close, check=check, contrast=even)
        steps.done()
        better = bent if bent.similarity > close.similarity else close
        self.account.moved = (
            f"correlation {begin.similarity:.2f} → {rigid.similarity:.2f} rigid → "
            f"{better.similarity:.2f} {'bent' if better.deforms else 'affine'}"
        )
        return better

    def _bent(
        self,
        target: Target,
        whole: reg.Alignment,
        drawn: Bool3,
        mask: Bool3,
        check: Callable[[], None],
    ) -> float:
        """Voxels of the new scan that a lesion fills, its neighbourhood bent once more."""
        box = Box3D.from_mask(mask)
        wide = [int(np.ceil(ROUND_MM / s)) for s in target.volume.spacing]
        low = [max(0, a - w) for a, w in zip(box.low, wide, strict=True)]
        high = [min(n, b + w) for n, b, w in zip(mask.shape, box.high, wide, strict=True)]
        block = Box3D(*low, *high)
        region = reg.region_of(target.grey, block)
        even = not same_units(target.volume, self._volume)
        near = reg.followed(target.grey, self._grey, whole, region, check=check, contrast=even)
        onto = part_of_grid(target.volume.affine, block)
        there = near.carry(drawn.astype(np.float32), self._volume.affine, onto, block.shape)
        return float(there.sum())


def _carry(whole: reg.Alignment, mask: Bool3, earlier: Volume, volume: Volume) -> Bool3:
    chance = whole.carry(mask.astype(np.float32), earlier.affine, volume.affine, volume.shape)
    return np.asarray(chance > 0.5 if (chance > 0.5).any() else chance > 0.2)


def _answer(seen: Seen, state: str, name: str) -> VolumeMask:
    if state == "outside":
        return missing("its place lies outside this scan")
    if state == "gone":
        return missing(f"{seen.how}: gone")
    box = Box3D.from_mask(seen.mask)
    chance = np.where(seen.mask[box.slices], 0.95, 0.05).astype(np.float32)
    return VolumeMask(box, np.asarray(logit(chance), np.float16))


def _new(
    volume: Volume,
    now: Scan,
    then: Scan,
    whole: reg.Alignment,
    earlier: Volume,
    known: Bool3,
    levels: list[float],
) -> list[dict[str, Any]]:
    """Spots that are as high as lesions now, were not then, and lie away from known ones."""
    if not levels:
        return []
    before = whole.carry(then.values, earlier.affine, volume.affine, volume.shape)
    shown = whole.carry(
        np.ones(earlier.shape, np.float32), earlier.affine, volume.affine, volume.shape
    )
    level = float(np.median(levels))
    inside = now.values[known] if known.any() else now.values
    bright = float(np.median(inside)) > float(np.median(now.values[shown > 0.99]))
    step = abs(float(np.median(inside)) - level)
    away = ndimage.distance_transform_edt(~known, volume.spacing) > REACH_MM
    change = now.values - before if bright else before - now.values
    high = now.values > level if bright else now.values < level
    spots = high & (change > 2 * step) & away & (shown > 0.99)
    core = ndimage.binary_opening(spots)  # what is more than a speck, with its border again
    spots = (change > step) & away & ndimage.binary_dilation(core)
    parts, count = ndimage.label(spots)
    found = []
    each = geometry.voxel_volume_ml(volume.affine)
    for number, at in enumerate(ndimage.center_of_mass(spots, parts, range(1, count + 1)), 1):
        ml = float(np.count_nonzero(parts == number)) * each
        if ml >= LEAST_NEW_ML:
            centre = geometry.apply_affine(volume.affine, np.array(at))
            found.append(
                {"centre_lps_mm": [round(float(v), 1) for v in centre], "ml": round(ml, 4)}
            )
    return sorted(found, key=lambda one: -one["ml"])
