"""Drawing with the mouse in the slice views: a box, a line, or around something.

A tool stays armed until another is chosen. While one is, the left button belongs to it; all else
(scrolling, panning, zooming) goes on as usual. No Qt here: what is needed of a view is its
interactor and its slice node.
"""

from __future__ import annotations

import numpy as np
import slicer

from . import geometry

PRIORITY = 20.0
"""Before Slicer's own, which would change the window, or move the slice."""

CLICK_PX = 4
"""A press and release this close together is a click: a box may be given by two of them."""

STEP_PX = 3
"""Points of a line are at least this far apart."""

_EVENTS = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")


class Stroke:
    """What is being drawn: points in the world, the view, and whether it is about the outside."""

    def __init__(self, slice_node, outside):
        self.slice_node, self.outside = slice_node, outside
        self.pixels, self.points = [], []

    def add(self, pixel, point):
        """Go on to a pixel and its RAS point."""
        self.pixels.append(pixel)
        self.points.append(point)

    @property
    def length(self):
        """Of the way from the first to the last pixel."""
        return float(np.hypot(*np.subtract(self.pixels[-1], self.pixels[0])))


class Strokes:
    """Follows the mouse in slice views while a tool is armed.

    Parameters
    ----------
    drawing, drawn
        Called with the `Stroke` while it grows, and when it is complete.
    """

    def __init__(self, drawing, drawn):
        self._drawing, self._drawn = drawing, drawn
        self._observed = []
        self._stroke = None
        self._by_clicks = False
        self.armed = False
        self.two_corners = False

    @property
    def watches(self):
        """Whether there is a view to draw in."""
        return bool(self._observed)

    def watch(self, views):
        """Observe views: pairs of interactor and slice node."""
        self.release()
        for interactor, slice_node in views:
            for event in _EVENTS:

                def handle(caller, name, view=interactor, node=slice_node):
                    self._handle(view, node, name)

                tag = interactor.AddObserver(event, handle, PRIORITY)
                self._observed.append((interactor, tag))

    def release(self):
        """Observe nothing any more."""
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed = []
        self.drop()

    def drop(self):
        """Forget what is half drawn."""
        self._stroke, self._by_clicks = None, False

    def arm(self, two_corners):
        """The left button draws from now on; a box may be given by two clicks as well."""
        self.armed, self.two_corners = True, two_corners
        self.drop()

    def disarm(self):
        """The left button is Slicer's again."""
        self.armed = False
        self.drop()

    def _handle(self, interactor, slice_node, event):
        if not self.armed:
            return
        if event == "LeftButtonPressEvent":
            self._press(interactor, slice_node)
        elif self._stroke is None or self._stroke.slice_node is not slice_node:
            return
        elif event == "MouseMoveEvent":
            self._move(interactor)
        else:
            self._release(interactor)
        for observed, tag in self._observed:  # Slicer's own does nothing with it
            if observed is interactor:
                interactor.GetCommand(tag).SetAbortFlag(1)

    def _press(self, interactor, slice_node):
        if self._stroke is not None and self._by_clicks and self._stroke.slice_node is slice_node:
            self._move(interactor)  # the other corner
            return
        self.drop()
        self._stroke = Stroke(slice_node, bool(interactor.GetControlKey()))
        self._stroke.add(*_position(interactor, slice_node))

    def _move(self, interactor):
        pixel, point = _position(interactor, self._stroke.slice_node)
        last = self._stroke.pixels[-1]
        if np.hypot(pixel[0] - last[0], pixel[1] - last[1]) < STEP_PX and not self.two_corners:
            return
        self._stroke.add(pixel, point)
        self._drawing(self._stroke)

    def _release(self, interactor):
        stroke = self._stroke
        stroke.add(*_position(interactor, stroke.slice_node))
        if self.two_corners and stroke.length < CLICK_PX:
            self._by_clicks = True  # the first of two clicks
            return
        self.drop()
        self._drawn(stroke)


def _position(interactor, slice_node):
    """The pixel under the mouse and its RAS point."""
    x, y = interactor.GetEventPosition()
    return (x, y), geometry.as_array(slice_node.GetXYToRAS())[:3] @ [x, y, 0.0, 1.0]


def view_axis(volume, slice_node):
    """The array axis across a view."""
    return geometry.axis_across(volume, geometry.as_array(slice_node.GetSliceToRAS())[:3, 2])


def box_block(volume, points, axis):
    """The block of voxels between two corners, one voxel thick along an axis; or ``None``."""
    corners = geometry.ijk_from_world(volume, points)[:, ::-1]
    low = np.floor(corners.min(axis=0) + 0.5 + geometry.EDGE_TOLERANCE).astype(int)
    high = np.ceil(corners.max(axis=0) + 0.5 - geometry.EDGE_TOLERANCE).astype(int)
    middle = round(float(corners[:, axis].mean()))
    shape = geometry.shape_of(volume)
    if not 0 <= middle < shape[axis]:
        return None
    low, high = np.clip(low, 0, shape), np.clip(np.maximum(high, low), 0, shape)
    low[axis], high[axis] = middle, middle + 1
    if (high <= low).any():
        return None
    return [int(v) for v in (*low, *high)]


def cube_block(volume, block, axis):
    """A box on a slice as a 3D box, as deep as its shorter side is long."""
    spacing = np.linalg.norm(geometry.ras_from_ijk(volume)[:3, :3], axis=0)[::-1]
    sides = [(block[a + 3] - block[a]) * spacing[a] for a in range(3) if a != axis]
    reach = max(1, round(min(sides) / spacing[axis] / 2))
    deep = list(block)
    deep[axis] = max(0, block[axis] - reach)
    deep[axis + 3] = min(geometry.shape_of(volume)[axis], block[axis] + reach + 1)
    return deep


def _voxels(volume, node):
    """Continuous voxel coordinates (n, 3), order k j i, of a stroke's points."""
    world = slicer.util.arrayFromMarkupsControlPoints(node, world=True)
    return geometry.ijk_from_world(volume, world.reshape(-1, 3))[:, ::-1]


def scribble(volume, node):
    """The voxels under a line, in the order in which it was drawn; ``None`` if all lie outside."""
    ends = _voxels(volume, node)
    steps = [np.abs(b - a).max() for a, b in zip(ends, ends[1:])]
    dense = [
        a + (b - a) * t
        for a, b, far in zip(ends, ends[1:], steps)
        for t in np.linspace(0, 1, max(2, int(np.ceil(far)) + 1))
    ]
    voxels = np.rint(dense or ends).astype(int)
    inside = ((voxels >= 0) & (voxels < geometry.shape_of(volume))).all(axis=1)
    unique = list(dict.fromkeys(map(tuple, voxels[inside].tolist())))
    return {"voxels": [list(v) for v in unique]} if unique else None


def lasso(volume, node, axis=None):
    """The outline on its slice: corners along the two other axes; voxel i covers i to i + 1."""
    corners = _voxels(volume, node)
    if axis is None:
        axis = int(np.argmin(np.ptp(corners, axis=0)))
    index = round(float(corners[:, axis].mean()))
    if len(corners) < 3 or not 0 <= index < geometry.shape_of(volume)[axis]:
        return None
    outline = np.delete(corners, axis, axis=1) + 0.5
    return {"axis": axis, "index": index, "outline": outline.round(3).tolist()}
