"""Painted slices from a label map: one object a label, and never two labels as one."""

from __future__ import annotations

import numpy as np

from sammed.errors import PromptError
from sammed.imaging.volume import LabelVolume
from sammed.prompts.interactions import MaskPrompt
from sammed.prompts.objects import ObjectPrompts
from sammed.prompts.text import DEFAULT_NAME


def painted_objects(
    labels: LabelVolume, name: str = "", source: str = "", value: int | None = None
) -> list[ObjectPrompts]:
    """One object a label; a single one if there is a name, or a label is chosen.

    Parameters
    ----------
    labels
        On the grid of the volume that is prompted.
    name
        Of the object, if there can be only one.
    source
        The file, for prompt files and messages.
    value
        The label that is chosen.

    Raises
    ------
    PromptError
        As `only_label`.

    Examples
    --------
    >>> from sammed.io import read_labels
    >>> labels = read_labels("sample_data/phantom_labels.nii.gz")
    >>> [(obj.name, obj.label) for obj in painted_objects(labels)][:2]
    [('label_1', 1), ('label_2', 2)]
    >>> painted_objects(labels, "spleen", value=2)
    [ObjectPrompts('spleen', 1 painted mask)]
    """
    values = _values(labels)
    if name or value is not None or len(values) <= 1:
        what = " ".join(filter(None, ["the mask", source or name]))
        values = [only_label(labels, value, what, source)]
    chosen = value is not None or len(values) > 1
    return [
        ObjectPrompts(
            name or (labels.names.get(v, f"label_{v}") if chosen else DEFAULT_NAME),
            label=v if chosen and not name else 0,
            mask=MaskPrompt(labels.voxels == v, f"{source}#{v}" if source and chosen else source),
        )
        for v in values
    ]


def only_label(labels: LabelVolume, value: int | None, what: str, source: str = "") -> int:
    """The label that is one object: the one that is chosen, or else the only one.

    Parameters
    ----------
    labels
        Any label map.
    value
        The label that is chosen; ``None`` if none is.
    what, source
        How messages call it, and the file by which they say how to choose.

    Raises
    ------
    PromptError
        If there is none, or several and none is chosen, or the chosen one is not there.
    """
    values = _values(labels)
    unnamed = {v: f"label_{v}" for v in values}
    named = {v: f"{v} {name}" for v, name in labels.names.items() if name != unnamed.get(v)}
    there = ", ".join(named.get(v, str(v)) for v in values)
    if not values:
        raise PromptError(f"{what} is empty: nothing is painted in it")
    if value is not None and value not in values:
        which = "the background" if value == 0 else "not in it"
        raise PromptError(f"{what}: label {value} is {which}; it holds the labels {there}")
    if value is None and len(values) > 1:
        choice = " or ".join(f"{source}#{v}" if source else f"mask == {v}" for v in values[:2])
        raise PromptError(
            f"{what} holds {len(values)} labels, {there}, and one object is made of one; choose "
            f"with {choice}, or leave out the name for one object a label"
        )
    return values[0] if value is None else value


def _values(labels: LabelVolume) -> list[int]:
    return [int(v) for v in np.unique(labels.voxels) if v]
