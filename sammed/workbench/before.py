"""Objects that are there from the beginning: labels of a label map, prompts of a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sammed import api, io
from sammed.imaging.volume import Volume
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
        values = [int(v) for v in np.unique(found.voxels) if v]
        if not values:
            painted_objects(found, "", str(path))  # refuses it, in its words
        for value in values:
            mask = MaskPrompt(found.voxels == value, f"{path}#{value}")
            name = found.names.get(value, f"label_{value}")
            parts.append(ObjectPrompts(name, value, mask=mask, propagate="off"))
    objects = with_labels(merge(parts))
    gathered = PromptSet(objects, tuple(notes))
    gathered.check(volume.shape)
    return gathered
