"""Whether an object is there at all: a warped mask always exists, an organ does not."""

from __future__ import annotations

from collections.abc import Sequence

from sammed.examples.carrying import Carried

LEAST_CONTRAST_CT = 0.45
"""Step of values from the rim to the object, as a share of the example's, in CT, where values mean
the same; times the share of its volume that is left, up to `FULL`. Of 60 organs of synthetic
abdomens none had less than 0.52, of 12 that had been taken out none more than 0.22 (by the step
alone 0.60 and 0.41)."""

FULL = 0.5
"""An object of half the example's size is as good as a whole one: people differ by that much."""

LEAST_CONTRAST = 0.2
"""The same of other images, whose values differ from scan to scan."""

LEAST_LIKENESS = 0.35
"""Correlation of both scans in the object and its rim. In the same abdomens 0.70 and more; of
organs taken out -0.2 to 0.6, and 0.8 for an aorta, which contrast tells."""

LEAST_KEPT = 0.1
"""Share of its volume that must be left of an object after it was bent."""

LEAST_AGREEMENT = 0.35
"""Mean Dice of the examples' masks, if there are three and more, below which they contradict each
other; of hippocampi, which have no clear edge, five agree by 0.7 to 0.9."""


def why_missing(carried: Carried, same_units: bool) -> str:
    """Why an object that an example has is not in the new scan; ``""`` if it is.

    Parameters
    ----------
    carried
        The object, bent onto the new scan.
    same_units
        Whether values mean the same in both scans, as in CT.
    """
    if not carried.mask.any():
        return "it would lie outside this scan"
    if carried.kept < LEAST_KEPT:
        return f"only {carried.kept:.0%} of its volume is left where it should be"
    least = LEAST_CONTRAST_CT if same_units else LEAST_CONTRAST
    stands_out = carried.contrast * min(1.0, carried.kept / FULL)
    if stands_out < least:
        return (
            "where it should be, too little stands out as in the example "
            f"(contrast {carried.contrast:.2f} and volume {carried.kept:.2f} of it)"
        )
    if carried.likeness < LEAST_LIKENESS:
        return (
            "where it should be, the scans do not look alike "
            f"(correlation {carried.likeness:.2f}, expected {LEAST_LIKENESS:g})"
        )
    return ""


def verdict(reasons: Sequence[str], agreement: float | None) -> str:
    """Why an object is not there, by all examples together; ``""`` if it is.

    Parameters
    ----------
    reasons
        Of each example, see `why_missing`.
    agreement
        Mean Dice of their masks; ``None`` of a single one.
    """
    missing = [reason for reason in reasons if reason]
    if 2 * len(missing) > len(reasons):
        many = len(reasons) > 1
        said = f"{len(missing)} of {len(reasons)} examples say" if many else "the example says"
        return f"{said} so: {missing[0]}"
    if agreement is not None and len(reasons) >= 3 and agreement < LEAST_AGREEMENT:
        return (
            f"the examples contradict each other (mean Dice {agreement:.2f}, expected "
            f"{LEAST_AGREEMENT:g})"
        )
    return ""
