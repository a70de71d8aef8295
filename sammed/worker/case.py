"""One volume that a client has sent, and all that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.volume import Volume
from sammed.worker.answers import Held
from sammed.worker.arrays import Arrays
from sammed.worker.exchange import digest
from sammed.worker.frames import SentFrame
from sammed.worker.messages import Fields, RequestError

if TYPE_CHECKING:
    from sammed.prompts import ObjectPrompts
    from sammed.session import Session


@dataclass
class Case:
    """One volume and its session.

    Attributes
    ----------
    volume
        As sammed has it.
    frame
        The client's indices of it.
    data
        Where the client put its array, if it sent one.
    settings
        Model and options with which the session is made, once they are chosen.
    first
        Objects that are there from the beginning.
    session
        Made when it is first needed.
    masks
        ``"objects"``: as segmented, which may overlap; ``"resolved"``: as in the label map.
    held
        What the client has of each object.
    dirty
        Whether something was changed since it was saved.
    """

    volume: Volume
    frame: SentFrame
    data: Fields | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    first: tuple[ObjectPrompts, ...] = ()
    session: Session | None = None
    masks: str = "objects"
    held: dict[str, Held] = field(default_factory=dict)
    dirty: bool = False

    @property
    def channels(self) -> list[str]:
        """Names of the channels that the volume is seen in beside itself."""
        return [channel.name for channel in self.volume.channels]


def take_volume(fields: Fields, arrays: Arrays) -> Case:
    """The volume of a request, whose array is what the client says that it is.

    Raises
    ------
    RequestError
        If it is no image, or its hash is another.
    """
    data = fields.part("data")
    array = arrays.read(data)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
        raise RequestError(
            "bad_request", f"volume: shape {list(array.shape)} is neither (k, j, i) nor RGB"
        )
    found = digest(array)
    if found != fields.text("hash"):
        raise RequestError(
            "exchange", f"volume: the array's SHA-256 is {found}, not the hash that was given"
        )
    volume = volume_of(fields, array)
    return Case(volume, SentFrame(volume.grid.reorientation), data)


def volume_of(fields: Fields, array: NDArray[np.generic], **attributes: Any) -> Volume:
    """An image: its ``affine`` and ``modality``, and its array (k, j, i)."""
    affine = np.array(fields.matrix("affine", 4, 4))
    modality = fields.text("modality", "")
    return Volume.from_array(array, affine, modality=modality, **attributes)


def copied(fields: Fields, arrays: Arrays) -> NDArray[np.generic]:
    """A copy of the array (k, j, i) that ``fields`` refer to; what the client wrote may go.

    Raises
    ------
    RequestError
        If it is no such array.
    """
    data = fields.part("data")
    array = np.array(arrays.read(data))
    if array.ndim != 3:
        raise RequestError(
            "bad_request", f"{data.where}: shape {list(array.shape)} is not (k, j, i)"
        )
    arrays.forget(data)
    return array
