"""The built-in network's recipe: measured on real cases, with the weights beside it.

Whoever trains other weights measures these again. The evidence for each is in the notebook,
``research/``, under the name that stands behind it.
"""

from __future__ import annotations

from sammed.models.recipe import (
    Across,
    Border,
    BoxFit,
    Clicks,
    Fusion,
    GrowthGuard,
    Locate,
    Mean,
    Planes,
    Quality,
    Recipe,
    Refine,
    SecondLook,
    Walk,
)

LOUDEST = 4.0

CALIBRATED = Border(bias=0.0, temperature=1.0, lowest=-6.0, highest=6.0)
"""Of logits that are as sure as they should be."""

RECIPE = Recipe(
    mean=Mean(power=4),
    planes=Planes(least_slices=3, most_stretch=3.0, finest=64),  # engine-large-blocks
    second_look=SecondLook(margin=0.15, far=1.0, closer=0.8),  # engine-boxed-slices
    across=Across(least_run=3, most_slices=64),  # engine-boxed-slices: beyond, it gains nothing
    box_fit=BoxFit(span=0.96, on_slice=0.35, in_block=0.5, lowest=-3.0, highest=2.0),
    locate=Locate(
        weight=8.0,
        agreed=0.75,
        border=CALIBRATED,  # 21-locator
        again=0.3,  # 32-second-thought
        chained=0.6,  # engine-thought-of-chains
        convinced=0.3,  # 32-second-thought
    ),
    refine=Refine(least_overlap=0.5, disputed=0.05, most=64),  # engine-chains-from-the-whole
    border=Border(bias=1.5, temperature=2.5, lowest=-3.0, highest=2.0),
    growth_guard=GrowthGuard(spike=0.15, caution=0.3, cautious_area=150),
    quality=Quality(modesty=2.0, way=0.05),  # engine-predicted-iou
    fusion=Fusion(loudest=LOUDEST, untraced=1e-5, sharpness=4),
    clicks=Clicks(push=3 * LOUDEST, fade=0.6, faded=0.05),  # engine-clicks
    walk=Walk(stiffness=3000.0, trust=0.1, doubt=4.0),  # engine-strokes
)
