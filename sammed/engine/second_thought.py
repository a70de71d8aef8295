"""An object shown to the model that sees it as a whole: what it thinks of what was found.

Chains and planes find an object slice by slice. Shown all of it, with the image round it, a model
sees what no slice shows: a cavity that was filled, a half that is missing, a neighbour that was
taken in. So its second thought is weighed in. What chains found without a 3D box has one, too, and
of that it is told the clicks and which slices were prompted. When a 3D box's object is clicked it
is asked again: where its two answers differ, the clicks say something of the object, on slices that
nobody clicked as well, and there the answer to them counts. Elsewhere what was found stays: it was
drawn at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.engine.object_volume import ObjectVolume
from sammed.models.protocols import VolumeMask
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
        ``None`` if there is no such model.
    first
        What it found before it was shown anything; ``None`` if it was not asked, or has since been
        told more.
    """

    volume: ObjectVolume
    thought: VolumeMask | None = None
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
    return _moved(volume, thought, np.float32(share), loudest)


def heard(
    volume: ObjectVolume, before: VolumeMask, after: VolumeMask, convinced: float, loudest: float
) -> ObjectVolume:
    """What was found, changed where clicks have changed a model's mind of it.

    Parameters
    ----------
    volume
        What was found.
    before, after
        What the model thinks of it without and with the clicks, within the 3D box.
    convinced
        Where its probability has changed by this much or more, its answer counts alone; by less, in
        proportion.
    loudest
        Logits count up to this.

    Returns
    -------
    ObjectVolume
        As of `weighed_in`.

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
    changed = np.abs(_chance(after.logits) - _chance(before.logits))
    return _moved(volume, after, np.clip(changed / convinced, 0, 1), loudest)


def _moved(
    volume: ObjectVolume, answer: VolumeMask, share: np.float32 | Float, loudest: float
) -> ObjectVolume:
    """What was found, moved a share of the way to an answer where that says something."""
    block = volume.block.union(answer.block)
    logits = volume.on(block)
    part = answer.block.slices_in(block)
    found, wanted = logits[part], answer.logits.astype(np.float32)
    for values in (clipped := found.copy(), wanted):
        np.clip(values, -loudest, loudest, out=values)
    clipped += share * (wanted - clipped)
    np.copyto(found, clipped, where=found > OUTSIDE_LOGIT)
    return ObjectVolume(block, logits.astype(np.float16))


def _chance(logits: NDArray[np.floating]) -> Float:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float32))), np.float32)
