"""How a session segments, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

from sammed.engine.cleanup import COMPONENTS, Cleanup
from sammed.engine.label_map import OVERLAPS, Overlap
from sammed.engine.propagation import Rules
from sammed.errors import InputError
from sammed.views.slices import PLANES

ACCEPT_TESTS: dict[str, dict[str, float]] = {
    "absent": {"min_present": 0.0},
    "small": {"min_area": 0.0},
    "unsure": {"min_predicted_iou": -inf},
    "changed": {"max_drift": inf},
    "grown": {"max_growth": inf},
    "moved": {"min_overlap": 0.0, "max_jump": inf},
}
"""The accept tests by the reason that they give, and what switches them off. A chain ends in any
case where nothing is found."""


@dataclass(frozen=True)
class Settings:
    """How a session segments.

    Attributes
    ----------
    plane
        ``"axial"``, ``"coronal"``, ``"sagittal"``; ``"auto"``: that of the object's box, else
        that of the thick slices; with a quick model a 3D box is traced in all planes and boxed
        slices side by side are looked at from all (`sammed.engine.plane_choice`). ``"all"``: as
        auto, then refined in all three planes and fused.
    window
        See `sammed.imaging.intensity.resolve_window`.
    overlap
        Which object gets voxels that several claim, see `sammed.engine.label_map.paint`.
    cleanup
        What is done to each object once stacked.
    rules
        Thresholds of propagation.
    zoom
        ``"auto"`` (the model's own), a factor, or ``None`` for whole slices.
    stride
        Decode every N-th slice and interpolate between them, see `sammed.engine.stride`.
    probabilities
        Keep each object's probabilities in the result.
    unchecked
        Accept tests of propagation that are left out of ``rules``: names of
        `ACCEPT_TESTS`, joined by commas, or ``"all"``.
    multimask
        Take the best of the model's masks also where a prompt leaves no doubt, as segment-anything
        does with ``multimask_output``; a chosen candidate counts more.
    """

    plane: str = "auto"
    window: str = "auto"
    overlap: Overlap = "keep"
    cleanup: Cleanup = field(default_factory=Cleanup)
    rules: Rules = field(default_factory=Rules)
    zoom: float | str | None = "auto"
    stride: int = 1
    probabilities: bool = False
    unchecked: str = ""
    multimask: bool = False

    def __post_init__(self) -> None:
        if self.plane not in (*PLANES, "auto", "all"):
            raise InputError(
                f"unknown plane {self.plane!r}; expected auto, all, {', '.join(PLANES)}"
            )
        if self.overlap not in OVERLAPS:
            raise InputError(f"unknown overlap {self.overlap!r}; expected {', '.join(OVERLAPS)}")
        if self.cleanup.components not in COMPONENTS:
            raise InputError(
                f"unknown components {self.cleanup.components!r}; expected {', '.join(COMPONENTS)}"
            )
        if not isinstance(self.stride, int) or self.stride < 1:
            raise InputError(f"unknown stride {self.stride!r}; expected a whole number from 1")
        if not 0 <= self.cleanup.smooth_mm < inf:
            raise InputError(
                f"smoothing of {self.cleanup.smooth_mm:g} mm makes no sense; expected 0 or more"
            )
        _tests(self.unchecked)

    @property
    def accept_rules(self) -> Rules:
        """The rules without the tests that are left out."""
        off = {k: v for name in _tests(self.unchecked) for k, v in ACCEPT_TESTS[name].items()}
        return replace(self.rules, **off)


def _tests(unchecked: str) -> list[str]:
    """Accept tests by their names, joined by commas."""
    if unchecked == "all":
        return list(ACCEPT_TESTS)
    names = [name.strip() for name in unchecked.split(",")] if unchecked else []
    for name in names:
        if name not in ACCEPT_TESTS:
            raise InputError(
                f"unknown accept test {name!r}; expected all, or some of {', '.join(ACCEPT_TESTS)}"
            )
    return names
