"""What a course is asked for, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sammed.errors import InputError
from sammed.learning.phases import What, check_what
from sammed.learning.sam_recipe import SamRecipe
from sammed.learning.training import Recipe
from sammed.learning.tuning import TuningRecipe


@dataclass(frozen=True)
class Wishes:
    """What is asked for.

    Attributes
    ----------
    minutes
        In all, without reading, embedding and judging.
    steps
        Instead of minutes: of each network in the run that counts.
    seed
        ``None``: the project's.
    what
        ``"segmenter"`` (finds without a prompt), ``"promptable"`` (prompts go further), ``"both"``.
    recipe, tuning, sam
        How the segmenter learns, and how compact or segment-anything are tuned.
    device
        Where the segmenter and segment-anything learn; compact is tuned on the processor.
    of
        What is tuned for prompts: a segment-anything model's name, or a checkpoint's path; empty:
        compact.
    lora
        Rank of the branches that learn in its encoder; 0: its mask decoder alone learns.
    """

    minutes: float = 5.0
    steps: int | None = None
    seed: int | None = None
    what: What = "both"
    recipe: Recipe = field(default_factory=Recipe)
    tuning: TuningRecipe = field(default_factory=TuningRecipe)
    sam: SamRecipe = field(default_factory=SamRecipe)
    device: str = "cpu"
    of: str = ""
    lora: int = 0

    def check(self) -> None:
        """Make sure that they go together.

        Raises
        ------
        InputError
            If they do not.

        Examples
        --------
        >>> Wishes(lora=4).check()
        Traceback (most recent call last):
        ...
        sammed.errors.InputError: LoRA learns in segment-anything's encoder; say which with --of...
        """
        check_what(self.what)
        if self.lora < 0:
            raise InputError(f"no branches of rank {self.lora}; expected 1 or more, say 4")
        if self.lora and not self.of:
            raise InputError(
                "LoRA learns in segment-anything's encoder; say which with --of, such as --of vit_b"
            )
        if self.of and self.what == "segmenter":
            raise InputError(
                f"{self.of} would be tuned to prompts, but the segmenter alone is to be learned; "
                "leave --of out, or say --what promptable"
            )

    def told(self) -> dict[str, Any]:
        """What a run that is resumed keeps, as plain data."""
        return {
            "minutes": self.minutes,
            "steps": self.steps,
            "what": self.what,
            "of": self.of,
            "lora": self.lora,
            "pretrained": self.recipe.pretrained,
        }

    def resumed(self, former: Mapping[str, Any]) -> Wishes:
        """The same with what a run was begun with, see `told`."""
        return replace(
            self,
            minutes=float(former["minutes"]),
            steps=former["steps"],
            seed=int(former["seed"]),
            what=check_what(former["what"]),
            of=str(former.get("of", "")),
            lora=int(former.get("lora", 0)),
            recipe=replace(self.recipe, pretrained=bool(former.get("pretrained", False))),
        )
