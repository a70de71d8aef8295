"""The slice views of the application."""

from __future__ import annotations

import slicer


def slice_views():
    """(interactor, slice node) of each slice view; none where there is no window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return []
    found = []
    for name in manager.sliceViewNames():
        widget = manager.sliceWidget(name)
        view = widget.sliceView()
        if hasattr(view, "interactor"):
            interactor = view.interactor()
        else:
            interactor = view.interactorStyle().GetInteractor()
        found.append((interactor, widget.mrmlSliceNode()))
    return found
