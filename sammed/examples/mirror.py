"""An example in a mirror: what it shows of one side stands for the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sammed.examples.library import Example
from sammed.imaging.volume import LabelVolume
from sammed.io.terminology import other_side

X = 2
"""The canonical axis from right to left, by the affine: the patient's own sides."""


def mirrored(example: Example) -> Example:
    """The example with left and right exchanged, in its voxels and in its names.

    Parameters
    ----------
    example
        Is read.
    """
    volume, labels = example.read
    turned = replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, X)))
    names = {value: other_side(name) for value, name in labels.names.items()}
    drawn = LabelVolume(
        np.ascontiguousarray(np.flip(labels.voxels, X)), labels.grid, names, notes=labels.notes
    )
    return Example(
        f"{example.id} (mirrored)", turned, replace(drawn, grid=turned.grid), example.subject,
        only=example.only, modality=example.modality, turned=True,
    )  # fmt: skip
