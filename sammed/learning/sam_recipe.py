"""How segment-anything is tuned, as plain data: nothing of the network is imported for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sammed.learning.stepping import Rates


@dataclass(frozen=True)
class SamRecipe:
    """How segment-anything is tuned. None of it was measured on real checkpoints yet.

    Attributes
    ----------
    rates
        How fast.
    slices, prompts
        Slices in a step, and prompts on each.
    clicks
        Share of the steps with one to three rounds of corrective clicks, where there are clicks.
    rank, scale
        Of the branches in the encoder; rank 0: it stays as it is.
    """

    rates: Rates = field(default_factory=lambda: Rates(1e-4, 0.0, 0.99, loudest=1.0))
    slices: int = 2
    prompts: int = 2
    clicks: float = 0.2
    rank: int = 0
    scale: float = 1.0

    def with_branches(self, rank: int) -> SamRecipe:
        """The same with branches of a rank in the encoder, or as it is if that is 0.

        One pass through the encoder then serves all prompts of a slice.

        Examples
        --------
        >>> recipe = SamRecipe().with_branches(4)
        >>> recipe.rank, recipe.slices, recipe.prompts
        (4, 1, 4)
        """
        if not rank:
            return self
        return replace(self, rank=rank, slices=1, prompts=self.slices * self.prompts)
