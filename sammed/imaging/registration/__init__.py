"""Where two scans show the same place: rigid, affine and deformable registration.

The one place where images are aligned, with SimpleITK's own filters. It is a dependency already,
under Apache-2.0, and brings two small scans together in a second on one thread. elastix
(Apache-2.0) took ten times as long for the same overlap, ANTs (Apache-2.0) weighs half a gigabyte,
greedy is under the GPL.

An alignment takes points of a *fixed* image to those of a *moving* one, in LPS mm; what is known in
the moving image is thereby brought onto the fixed one's grid. Images of one slice each are aligned
in their plane. Nothing is random: the same images and number of threads give the same result to
the last bit.
"""

from sammed.imaging.registration.alignment import (
    FINE,
    FLATTEST,
    Alignment,
    affine,
    deformed,
    followed,
    local_likeness,
)
from sammed.imaging.registration.checks import check_not_itself, flipped_axes
from sammed.imaging.registration.pictures import (
    Grey,
    check_pair,
    flat_axis,
    grey,
    name_of,
    region_of,
)
from sammed.imaging.registration.rigid import Moved, guarded_rigid, header, information
from sammed.imaging.registration.search import coarse, middles, part_of
from sammed.imaging.registration.sections import sized

__all__ = [
    "FINE",
    "FLATTEST",
    "Alignment",
    "Grey",
    "Moved",
    "affine",
    "check_not_itself",
    "check_pair",
    "coarse",
    "deformed",
    "flat_axis",
    "flipped_axes",
    "followed",
    "grey",
    "guarded_rigid",
    "header",
    "information",
    "local_likeness",
    "middles",
    "name_of",
    "part_of",
    "region_of",
    "sized",
]
