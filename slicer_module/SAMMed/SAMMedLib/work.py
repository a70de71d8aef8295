"""What goes to the worker and what comes back: volumes, prompts, masks."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import os
import typing

import numpy as np
from slicer.i18n import tr as _

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class EngineError(Exception):
    """Something did not work; the message is for the user, the code for the program."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class Ask:
    """A step that needs the worker's answer."""

    do: str
    fields: dict


@dataclasses.dataclass
class Aside:
    """A step that is done in a thread."""

    function: typing.Callable


class VolumeData:
    """A volume's voxels on their way to the worker.

    Parameters
    ----------
    array : (k, j, i)
        The voxels; a view is enough, nothing is copied.
    affine : (4, 4)
        Array index (k, j, i, 1) to LPS mm.
    modality
        ``"CT"``, ``"MR"``, or empty if unknown.
    """

    def __init__(self, array, affine, modality=""):
        self.array = array
        self.affine = np.asarray(affine, float)
        self.modality = modality
        self.notes = []
        self._hash = None

    @property
    def is_hashed(self):
        """Whether the hash is known."""
        return self._hash is not None

    @property
    def hash(self):
        """SHA-256 (hex) of the voxels; computed once, which takes a moment.

        Voxels that are no number are replaced before, as the engine does with those of files.
        """
        if self._hash is None:
            self.replace_nan()
            self._hash = hashlib.sha256(np.ascontiguousarray(self.array).data).hexdigest()
        return self._hash

    def replace_nan(self):
        """Give voxels that hold no number the lowest value; says so in ``notes``."""
        if self.array.dtype.kind != "f":
            return
        finite = np.isfinite(self.array)
        count = int(self.array.size - np.count_nonzero(finite))
        if not count:
            return
        if count == self.array.size:
            words = _("no voxel of the volume holds a number (all are NaN)")
            raise EngineError("refused", words)
        lowest = float(self.array[finite].min())
        self.array = np.where(finite, self.array, self.array.dtype.type(lowest))
        words = _("{count} voxels hold no number (NaN or infinite) and were taken as {lowest}.")
        self.notes.append(words.format(count=count, lowest=f"{lowest:g}"))

    def describe(self):
        """The fields of a ``volume`` request, without the voxels."""
        return {
            "hash": self.hash,
            "shape": list(self.array.shape),
            "dtype": self.array.dtype.str,
            "affine": self.affine.tolist(),
            "modality": self.modality,
        }


@dataclasses.dataclass
class ChannelData:
    """A channel of a volume on its way to the worker: its name and its voxels."""

    name: str
    volume: VolumeData

    def write(self, folder):
        """The fields that the worker reads it from; its array is written to a folder."""
        volume = self.volume
        about = {"affine": volume.affine.tolist(), "modality": volume.modality}
        return {"name": self.name, **about, "data": write_array(folder, volume.array)}


@dataclasses.dataclass
class Work:
    """One object to segment.

    Attributes
    ----------
    volume
        The image.
    model, options, device
        As the worker's ``settings``; the device ``"auto"`` is a GPU if there is one.
    name
        Of the object; its prompts are in ``prompts``, without ``mask``.
    masks
        Painted slices: a list of (block, uint8 array).
    called
        What its segment is called: a model that was taught something of that name is told so.
    whole
        The client does not have the object's mask as it was told, and wants all of it.
    channels, own_name, align
        `ChannelData` beside the volume, what the volume is called among them, and how they are
        aligned; ``None`` leaves those that the worker has.
    """

    volume: VolumeData
    model: str
    options: dict
    name: str = ""
    prompts: dict = dataclasses.field(default_factory=dict)
    masks: list = dataclasses.field(default_factory=list)
    called: str = ""
    whole: bool = False
    device: str = "auto"
    channels: typing.Optional[list] = None
    own_name: str = ""
    align: str = "auto"

    def structure(self, taught):
        """What the object is of all that the model was taught; empty if it is none of that."""
        return structure_called(self.called, taught)


@dataclasses.dataclass
class Result:
    """What came back: voxels of a block, and how it went.

    ``run`` is as the worker tells it, and ``asked`` in it: the model, and what the object was said
    to be.
    """

    name: str
    block: typing.Optional[list]
    voxels: typing.Optional[np.ndarray]
    replace: bool
    run: dict
    window: str
    timings: dict


@dataclasses.dataclass
class SlicePart:
    """All that an object has on one slice, told before the rest is known.

    Attributes
    ----------
    name
        Of the object.
    axis, index
        Which slice.
    block, voxels
        Its voxels; ``None`` if it has none there.
    """

    name: str
    axis: int
    index: int
    block: typing.Optional[list]
    voxels: typing.Optional[np.ndarray]


_numbers = itertools.count(1)


def structure_called(name, taught):
    """Which of the structures that a model was taught a segment's name means; empty if none.

    Blanks around a name and the case of its letters do not matter, unless they are all that two
    structures differ in.
    """
    for same in (str, str.strip, lambda text: text.strip().casefold()):
        found = [one for one in taught if same(one) == same(name)]
        if len(found) == 1:
            return found[0]
    return ""


def write_array(folder, array):
    """Write an array for the worker and return the reference to it.

    Raises
    ------
    EngineError
        If it cannot be written; nothing is left of it.
    """
    path = os.path.join(folder, f"client-{next(_numbers)}.raw")
    try:
        with open(path, "xb") as file:
            file.write(np.ascontiguousarray(array).data)
    except OSError as error:
        if os.path.exists(path):
            os.remove(path)
        if error.errno in _FULL:
            needed = f"{array.nbytes / 1e6:.0f} MB"
            words = _("the disk is full: {folder} has no room for {needed}")
            raise EngineError("disk_full", words.format(folder=folder, needed=needed)) from error
        words = _("cannot write to {folder}: {why}")
        raise EngineError("exchange", words.format(folder=folder, why=error.strerror)) from error
    return {"path": path, "dtype": array.dtype.str, "shape": list(array.shape)}


def read_result(answer, name):
    """The result of an object out of the worker's answer to ``segment``."""
    entry = next((m for m in answer["masks"] if m["name"] == name), None)
    block, voxels = read_block(entry)
    return Result(
        name,
        block,
        voxels,
        bool(entry and entry["replace"]),
        answer["runs"].get(name, {}),
        answer["window"],
        answer["timings"],
    )


def read_part(message):
    """The slice that a ``partial`` line tells."""
    where = message["name"], message["axis"], message["index"]
    return SlicePart(*where, *read_block(message))


def read_block(entry):
    """Block and voxels of what the worker tells of a mask; ``None`` twice if there are none."""
    if entry is None or not entry["data"]:
        return None, None
    data = entry["data"]
    return entry["block"], np.fromfile(data["path"], data["dtype"]).reshape(data["shape"])
