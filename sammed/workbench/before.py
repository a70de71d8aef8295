"""Objects that are there from the beginning: labels of a label map, prompts of a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sammed import api, io
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts import MaskPrompt, ObjectPrompts, PromptSet, merge, with_labels
from sammed.prompts.masks import painted_objects


def objects_before(volume: Volume, labels: Iterable[Path], prompts: Iterable[Path]) -> PromptSet:
    """Objects of label maps and prompt files on a volume.

    Each label is an object that is painted as it stands: nothing is added to it before it is
    asked to be followed further.

    Parameters
    ----------
    volume
        The image.
    labels
        Label maps on its grid.
    prompts
        Prompt files and markups.

    Raises
    ------
    SammedError
        As ``sammed segment`` for ``--mask`` and ``--prompts``.
    """
    parts: list[ObjectPrompts] = []
    notes: list[str] = []
    files = tuple(prompts)
    if files:
        gathered = api.gather_prompts(volume, files=files)
        parts += gathered
        notes += gathered.notes
    for path in labels:
        found = io.read_labels(path, like=volume)
        notes += [f"{path.name}: {note}" for note in found.notes]
        labelled = as_they_stand(found, path)
        if not labelled:
            painted_objects(found, "", str(path))  # refuses it, in its words
        parts += labelled
    objects = with_labels(merge(parts))
    gathered = PromptSet(objects, tuple(notes))
    gathered.check(volume.shape)
    return gathered


def as_they_stand(labels: LabelVolume, path: Path) -> list[ObjectPrompts]:
    """An object a label, painted as it is; nothing is added to it before that is asked for.

    Parameters
    ----------
    labels
        On the grid of the image.
    path
        Where they come from.
    """
    listed = []
    for value in (int(v) for v in np.unique(labels.voxels) if v):
        mask = MaskPrompt(labels.voxels == value, f"{path}#{value}")
        name = labels.names.get(value, f"label_{value}")
        listed.append(ObjectPrompts(name, value, mask=mask, propagate="off"))
    return listed
