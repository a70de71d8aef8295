"""Synthetic images with everything in them that a user could ask for. No real image is used."""

from sammed.synthesis.slab import Slab, make_slab
from sammed.synthesis.views import Sample, draw_samples

__all__ = ["Sample", "Slab", "draw_samples", "make_slab"]
