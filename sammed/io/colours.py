"""Colours for labels that have none."""

from __future__ import annotations

import colorsys

_GOLDEN_RATIO = 0.618034


def default_colour(label: int) -> tuple[int, int, int]:
    """A colour (r, g, b) in 0..255 for a label value; neighbours in value differ clearly.

    Examples
    --------
    >>> default_colour(1)
    (230, 72, 34)
    """
    hue = (0.0322 + (label - 1) * _GOLDEN_RATIO) % 1.0
    saturation, value = ((0.85, 0.9), (0.6, 0.95), (0.85, 0.65))[(label - 1) // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
