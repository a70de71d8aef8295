"""How volumes and label maps show themselves in a notebook: one line, and three planes."""

from __future__ import annotations

import base64
import io
from html import escape

from sammed.errors import WindowError
from sammed.imaging.intensity import resolve_window
from sammed.imaging.pictures import Scene, colour_of, draw_panel, side_by_side
from sammed.imaging.volume import LabelVolume, Volume

PANEL_PX = 230
"""Longest side of a panel; all planes are drawn to one scale."""


def volume_html(volume: Volume) -> str:
    """A line about the volume and its three middle planes, as HTML with the picture inside.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume_html(read("sample_data/phantom_ct.nii.gz"))[:65]
    '<div>&lt;Volume: 152 × 128 × 64 voxels (i, j, k) of 2.5 × 2.5 × 4'
    """
    try:
        window = resolve_window("auto", volume)
    except WindowError as error:  # all voxels alike, or some no numbers: nothing to draw
        return f"<div>{escape(repr(volume))}<br>{escape(str(error))}</div>"
    about = f"{volume!r}, window {window}"
    return f"<div>{escape(about)}<br>{_picture(Scene(volume, window=window))}</div>"


def labels_html(labels: LabelVolume) -> str:
    """The planes with the most label on them, over the image if it is known, and a legend."""
    about = f"<LabelVolume: {labels.grid.describe()}, {labels.voxels.dtype}>"
    picture = _picture(_scene(labels))
    return f"<div>{escape(about)}<br>{picture}<br>{_legend(labels)}</div>"


def _scene(labels: LabelVolume) -> Scene:
    image = labels.image
    if image is None:
        return Scene(labels=labels)
    try:
        window = resolve_window("auto", image, image.voxels[labels.voxels > 0])
    except WindowError:
        return Scene(labels=labels)
    return Scene(image, labels, window)


def _picture(scene: Scene) -> str:
    axes = scene.axes()
    scale = PANEL_PX / max(max(scene.size_mm(axis)) for axis in axes)
    sheet = side_by_side([draw_panel(scene, axis, scene.busiest(axis), scale) for axis in axes])
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="slices through the volume" src="data:image/png;base64,{data}">'


def _legend(labels: LabelVolume) -> str:
    volumes = labels.volumes_ml()
    entries = []
    for value, name in labels.names.items():
        red, green, blue = colour_of(labels, value)
        chip = f'<span style="color: rgb({red}, {green}, {blue})">&#9632;</span>'
        entries.append(f"{chip} {value} {escape(name)}: {volumes[name]:.4g} ml")
    return " &emsp; ".join(entries)
