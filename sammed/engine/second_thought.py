"""An object shown to the model that sees it as a whole: what it thinks of what was found.

Chains and planes find an object slice by slice. Shown all of it, with the image round it, a model
sees what no slice shows: a cavity that was filled, a half that is missing, a neighbour that was
taken in. So its second thought is weighed in. What chains found without a 3D box has one, too, and
of that it is told which slices were prompted. When the object is clicked it is asked again: where
its two answers differ, the clicks say something of the object, on slices that nobody clicked as
well, and there the answer to them counts. Elsewhere what was found stays: it was drawn at full
resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.engine.object_volume import ObjectVolume
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Shape3
from sammed.models.protocols import VolumeMask
from sammed.prompts import Interaction, PointPrompt
from sammed.views.slices import OUTSIDE_LOGIT

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Seen:
    """An object, and what a model that sees it as a whole thinks of it.

    Attributes
    ----------
    volume
        The object.
    thought
        ``None`` if there is no such model, or it was not asked.
    shown, told
        What it was shown of the object when it thought so, and what else it was told of it.
    first
        What it found before it was shown anything; ``None`` if it was not asked, or has since been
        told more.
    """

    volume: ObjectVolume
    thought: VolumeMask | None = None
    shown: ObjectVolume | None = None
    told: tuple[Interaction, ...] = ()
    first: ObjectVolume | None = None

    @property
    def opinions(self) -> tuple[ObjectVolume, ObjectVolume] | None:
        """Its thought, and what it found first; the thought again if that is not known."""
        if self.thought is None:
            return None
        thought = ObjectVolume(self.thought.block, self.thought.logits)
        return thought, self.first or thought


def weighed_in(
    volume: ObjectVolume, thought: VolumeMask, share: float, loudest: float
) -> ObjectVolume:
    """What was found, and what a model that was shown it thinks, averaged.

    Parameters
    ----------
    volume
        What was found.
    thought
        What the model thinks of it, within the 3D box.
    share
        Of the model's logits in the mean.
    loudest
        Logits count up to this.

    Returns
    -------
    ObjectVolume
        What is known to be outside stays outside, and what lies beyond the box as it is.

    Examples
    --------
    >>> from sammed.imaging.boxes import Box3D
    >>> block = Box3D(0, 0, 0, 1, 1, 3)
    >>> found, thought = np.array([[[[2, 1, -10]]], [[[2, -4, 4]]]], np.float16)
    >>> shown = VolumeMask(block, thought, 1.0)
    >>> weighed_in(ObjectVolume(block, found), shown, share=0.5, loudest=4.0).logits.tolist()
    [[[2.0, -1.5, -10.0]]]
    """
    known = volume.on(thought.block) > OUTSIDE_LOGIT
    shares = np.where(known, np.float32(share), np.float32(0))
    return _moved(volume, thought.block, thought.logits.astype(np.float32), shares, loudest)


def heard(
    volume: ObjectVolume, before: VolumeMask, after: VolumeMask, convinced: float, loudest: float
) -> ObjectVolume:
    """What was found, changed where clicks have changed a model's mind of it.

    Parameters
    ----------
    volume
        What was found.
    before, after
        What the model thinks of it without and with the clicks, each within a block; beyond it the
        object is absent.
    convinced
        Where its probability has changed by this much or more, its answer counts alone; by less, in
        proportion.
    loudest
        Logits count up to this.

    Returns
    -------
    ObjectVolume
        On the blocks of all three.

    Examples
    --------
    >>> from sammed.imaging.boxes import Box3D
    >>> block = Box3D(0, 0, 0, 1, 1, 3)
    >>> found, without, told = np.array([[[[2, 2, -2]]], [[[-3, 1, -3]]], [[[-3, -3, -3]]]])
    >>> masks = [VolumeMask(block, x.astype(np.float16), 1.0) for x in (without, told)]
    >>> volume = ObjectVolume(block, found.astype(np.float16))
    >>> heard(volume, *masks, convinced=0.3, loudest=4.0).logits.tolist()
    [[[2.0, -3.0, -2.0]]]
    """
    block = before.block.union(after.block)
    was, now = (ObjectVolume(a.block, a.logits).on(block) for a in (before, after))
    share = np.clip(np.abs(_chance(now) - _chance(was)) / convinced, 0, 1)
    return _moved(volume, block, now, share, loudest)


def within_reach(block: Box3D, clicks: Sequence[PointPrompt], shape: Shape3) -> Box3D:
    """The block of an object, with room for what clicks say is missing beyond it.

    Whoever corrects clicks into the middle of what is wrong: as far as a click lies beyond the
    block, the object may go on behind it.

    Parameters
    ----------
    block
        Holds what was found.
    clicks
        Those that lie in the object count.
    shape
        Of the volume, (z, y, x).

    Examples
    --------
    >>> found, clicks = Box3D(10, 10, 10, 20, 20, 20), [PointPrompt((15, 23, 15))]
    >>> within_reach(found, clicks, (64, 64, 64))
    Box3D(z0=10, y0=10, x0=10, z1=20, y1=28, x1=20)
    """
    low, high = list(block.low), list(block.high)
    for click in clicks:
        for axis, at in enumerate(click.at if click.positive else ()):
            low[axis] = min(low[axis], 2 * at - block.low[axis])
            high[axis] = max(high[axis], 2 * (at + 1) - block.high[axis])
    return Box3D(*low, *high).clip(shape)


def _moved(
    volume: ObjectVolume, block: Box3D, answer: Float, share: Float, loudest: float
) -> ObjectVolume:
    """What was found, moved a share of the way to an answer on a block, where there is a share."""
    whole = volume.block.union(block)
    logits = volume.on(whole)
    found = logits[block.slices_in(whole)]
    moved, way = (np.clip(values, -loudest, loudest) for values in (found, answer))
    way -= moved
    way *= share
    moved += way
    np.copyto(found, moved, where=share > 0)
    return ObjectVolume(whole, logits.astype(np.float16))


def _chance(logits: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
