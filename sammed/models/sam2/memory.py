"""What SAM 2 remembers of one object: a value, from which each new slice picks what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Remembered:
    """One object on one slice.

    Attributes
    ----------
    features : (1, 64, g, g) bfloat16
        The slice with the object's mask, as the memory encoder gives it; rounded as SAM 2's own
        predictor rounds what it keeps.
    pointer : (1, 256) float32
        The object in short: SAM 2's object pointer.
    """

    features: Tensor
    pointer: Tensor


def _nothing() -> Mapping[int, Remembered]:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Memory:
    """One object on the slices that were remembered.

    Attributes
    ----------
    length
        Number of slices of the stack.
    prompted
        By slice index: what the user prompted, SAM 2's conditioning frames.
    tracked
        By slice index: what was found by tracking, SAM 2's other frames; those that no slice that
        follows can look at are forgotten.
    """

    length: int
    prompted: Mapping[int, Remembered] = field(default_factory=_nothing)
    tracked: Mapping[int, Remembered] = field(default_factory=_nothing)

    def including(
        self, index: int, remembered: Remembered, *, prompted: bool, reach: int
    ) -> Memory:
        """The memory with one more slice; what a slice was before is replaced.

        Parameters
        ----------
        index
            Of the slice.
        remembered
            The object on it.
        prompted
            Whether the user prompted it.
        reach
            How many slices back a slice looks for others that were tracked.
        """
        others = {i: r for i, r in self.tracked.items() if i != index}
        if prompted:
            return replace(self, prompted={**self.prompted, index: remembered}, tracked=others)
        near = {i: r for i, r in others.items() if abs(i - index) < reach}
        return replace(self, tracked={**near, index: remembered})

    def as_outputs(self, positions: Tensor) -> dict[str, dict[int, dict[str, Any]]]:
        """The same as the package keeps it.

        Parameters
        ----------
        positions : (1, 64, g, g)
            The positional encoding of ``features``, the same for all.
        """

        def outputs(kept: Mapping[int, Remembered]) -> dict[int, dict[str, Any]]:
            return {
                index: {
                    "maskmem_features": one.features,
                    "maskmem_pos_enc": [positions],
                    "obj_ptr": one.pointer,
                }
                for index, one in kept.items()
            }

        return {
            "cond_frame_outputs": outputs(self.prompted),
            "non_cond_frame_outputs": outputs(self.tracked),
        }
