"""One box on one slice in, a 3D label volume out.

``sammed.segment("ct.nii.gz", box=(99, 56, 131, 97), slice=44)`` does it in one call, `Session`
holds a volume for interactive work, and ``dir(sammed)`` is all there is. Every name is imported
when it is first used, so that ``import sammed`` costs nothing.

Examples
--------
>>> import sammed
>>> volume = sammed.read("sample_data/phantom_ct.nii.gz")
>>> volume
<Volume: 152 × 128 × 64 voxels (i, j, k) of 2.5 × 2.5 × 4 mm, LPS, int16>
>>> labels = sammed.segment(volume, box=(99, 56, 131, 97), slice=44, model="two_class")
>>> labels.shape == volume.shape
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sammed.version import __version__

__all__ = [
    "Box",
    "LabelVolume",
    "Point",
    "SammedError",
    "Session",
    "Settings",
    "Volume",
    "__version__",
    "as_volume",
    "batch",
    "labels_like",
    "list_models",
    "load_model",
    "propose",
    "read",
    "read_labels",
    "segment",
    "show",
    "write",
]

_HOMES = {
    "Box": "sammed.prompts.numeric",
    "LabelVolume": "sammed.imaging.volume",
    "Point": "sammed.prompts.numeric",
    "SammedError": "sammed.errors",
    "Session": "sammed.session",
    "Settings": "sammed.engine.settings",
    "Volume": "sammed.imaging.volume",
    "as_volume": "sammed.api",
    "batch": "sammed.many.segmenting",
    "labels_like": "sammed.io.memory",
    "list_models": "sammed.api",
    "load_model": "sammed.api",
    "propose": "sammed.api",
    "read": "sammed.io",
    "read_labels": "sammed.io",
    "segment": "sammed.api",
    "show": "sammed.notebook",
    "write": "sammed.api",
}

if TYPE_CHECKING:
    from sammed.api import as_volume, list_models, load_model, propose, segment, write
    from sammed.engine.settings import Settings
    from sammed.errors import SammedError
    from sammed.imaging.volume import LabelVolume, Volume
    from sammed.io import read, read_labels
    from sammed.io.memory import labels_like
    from sammed.many.segmenting import batch
    from sammed.notebook import show
    from sammed.prompts.numeric import Box, Point
    from sammed.session import Session


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    basics = ("__all__", "__doc__", "__file__", "__name__", "__package__", "__path__", "__spec__")
    return sorted({*__all__, *basics})
