"""The workbench: a session behind a page in the browser, on this computer alone.

``sammed open`` starts it. The messages are the worker's, on a WebSocket instead of pipes; what
stands between them and everybody else is `sammed.workbench.guard`. `serve` runs it from Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sammed.workbench.server import serve
    from sammed.workbench.wishes import Wishes

__all__ = ["Wishes", "serve"]

_HOMES = {"Wishes": "sammed.workbench.wishes", "serve": "sammed.workbench.server"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
