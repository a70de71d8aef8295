"""One box on one slice in, a 3D label volume out.

``sammed.segment("ct.nii.gz", box="120,90,210,170@88")`` does it in one call; `sammed.Session`
holds a volume for interactive work. Both are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sammed.version import __version__

__all__ = ["LabelVolume", "Session", "Settings", "Volume", "__version__", "read", "segment"]

_HOMES = {
    "LabelVolume": "sammed.imaging.volume",
    "Session": "sammed.session",
    "Settings": "sammed.engine.settings",
    "Volume": "sammed.imaging.volume",
    "read": "sammed.io",
    "segment": "sammed.api",
}

if TYPE_CHECKING:
    from sammed.api import segment
    from sammed.engine.settings import Settings
    from sammed.imaging.volume import LabelVolume, Volume
    from sammed.io import read
    from sammed.session import Session


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
