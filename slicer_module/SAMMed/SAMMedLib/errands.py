"""What the engine is asked for besides segmenting: what other scans show or a model has learned.

An `Errand` is told to the worker step by step, as everything is; what comes back are `Findings`,
which nothing of the scene depends on until they are written.
"""

from __future__ import annotations

import dataclasses
import typing

import numpy as np
from slicer.i18n import tr as _

from .work import Aside, Ask, EngineError, VolumeData, read_block, write_array

TAKE, FOLLOW, PROPOSE = "take", "follow_up", "propose"
"""Requests of the worker, as docs/worker.md of sammed has them."""

LEARNED = "learned"
"""All that the model was taught by name: the request `TAKE` without an example."""


@dataclasses.dataclass
class Labelled:
    """A labelled scan of the scene, on its way to the worker.

    Attributes
    ----------
    name
        For people.
    volume
        The image.
    labels : (k, j, i) of whole numbers
        On the image's grid; 0 is background.
    names
        Value → name.
    """

    name: str
    volume: VolumeData
    labels: np.ndarray
    names: dict

    def write(self, folder):
        """The fields that the worker reads it from; its arrays are written to a folder."""
        self.volume.replace_nan()
        return {
            "name": self.name,
            "affine": self.volume.affine.tolist(),
            "modality": self.volume.modality,
            "data": write_array(folder, self.volume.array),
            "labels": {
                "data": write_array(folder, self.labels),
                "names": {str(value): name for value, name in self.names.items()},
            },
        }


@dataclasses.dataclass
class Found:
    """One object that was found, or why it was not.

    Attributes
    ----------
    name
        Of the object.
    block, voxels
        Where it is; ``None`` if it was not found.
    value
        In the label map of the other scan; 0 if there is none.
    account
        What else the worker says: ``missing``, ``agreement``, ``score``, ``parent``, ...
    """

    name: str
    block: typing.Optional[list]
    voxels: typing.Optional[np.ndarray]
    value: int
    account: dict


@dataclasses.dataclass
class Findings:
    """What came back.

    Attributes
    ----------
    do
        `TAKE`, `FOLLOW`, `PROPOSE` or `LEARNED`.
    found
        `Found` objects in the worker's order.
    notes
        For the user.
    table
        Of a follow-up: lesions then and now.
    """

    do: str
    found: list
    notes: list
    table: typing.Optional[dict] = None


class Errand:
    """Something to ask of the worker on the volume in hand.

    Parameters
    ----------
    do
        `TAKE`, `FOLLOW`, `PROPOSE` or `LEARNED`.
    fields
        Of the request.
    examples
        Of `TAKE` and `FOLLOW`: `Labelled` scans, or texts that name files.
    """

    def __init__(self, do, fields, examples=()):
        self.do, self._fields, self._examples = do, fields, list(examples)

    def steps(self, hello):
        """A task of `engine.Engine`: yields what it needs, returns `Findings`."""
        request = TAKE if self.do == LEARNED else self.do
        if request not in hello["requests"]:
            words = _("this engine (sammed {version}) cannot do that yet: install a newer one")
            raise EngineError("old", words.format(version=hello["sammed"]))
        told = yield Aside(
            lambda: [self._written(one, hello["exchange"]) for one in self._examples]
        )
        fields = {**self._fields, "aside": True}
        if self.do == TAKE:
            fields["examples"] = told
        elif self.do == FOLLOW:
            fields["earlier"] = told[0]
        answer = yield Ask(request, fields)
        return self._read(answer)

    @staticmethod
    def _written(example, folder):
        return example if isinstance(example, str) else example.write(folder)

    def _read(self, answer):
        lines = answer["things"] if self.do == PROPOSE else answer["found"]
        found = []
        for line in lines:
            block, voxels = read_block(line if "data" in line else None)
            voxels = None if voxels is None else voxels != 0
            found.append(Found(line["name"], block, voxels, line.get("label", 0), line))
        return Findings(self.do, found, answer.get("notes", []), answer.get("table"))
