"""Stands in for ``slicer.i18n``: everything stays as it is written."""

from __future__ import annotations

import sys
import types


def install():
    """Put it where ``from slicer.i18n import tr`` finds it; the application has its own."""
    module = types.ModuleType("slicer.i18n")
    module.tr = lambda text: text
    module.translate = lambda context, text: text
    sys.modules.setdefault("slicer.i18n", module)
