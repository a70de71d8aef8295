"""segment-anything as what is tuned for prompts: on embeddings, or with branches in its encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sammed.errors import InputError
from sammed.evaluation.trial import Target
from sammed.imaging.volume import Volume
from sammed.learning.opinion import second_opinion
from sammed.learning.outcome import Progress
from sammed.learning.promptable import Promptable, Read, Stored, Weights
from sammed.learning.sam_recipe import SamRecipe
from sammed.learning.sam_slices import ShownSlice, make_slices
from sammed.learning.sam_tuning import SamTuner
from sammed.learning.stepping import Stepper
from sammed.learning.tuning import Part
from sammed.models.protocols import ImageModel
from sammed.models.sam.lora import check_rank
from sammed.models.sam.model import SamModel
from sammed.models.sam.parent import Parent
from sammed.models.sam.tuned import changes, tuned_model
from sammed.views.embeddings import EmbeddingStore, store_for

JUDGED_SLICES = 3
"""Slices of a structure on which it is judged by boxes: each is seconds of encoding, where a 3D box
would be minutes."""


class PromptableSam(Promptable[list[ShownSlice]]):
    """A segment-anything model.

    Parameters
    ----------
    structures, read, seed
        See `Promptable`.
    parent, model
        What is tuned, see `sammed.models.sam.tuned.tuned_from`.
    recipe
        How.
    told
        Told how far embedding is; raises to stop.
    """

    asked = f"boxes on {JUDGED_SLICES} slices"

    def __init__(
        self,
        structures: Mapping[int, str],
        read: Read,
        seed: int,
        parent: Parent,
        model: SamModel,
        recipe: SamRecipe,
        told: Callable[[Progress], None],
    ) -> None:
        super().__init__(structures, read, seed)
        if recipe.rank:
            check_rank(model.network.image_encoder, recipe.rank)
        self.parent = f"{parent.of} as it is"
        self._of, self._model, self._recipe, self._told = parent, model, recipe, told
        self._stores: dict[int, EmbeddingStore] = {}
        self.reached = self._on_slices

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `Promptable`."""
        return ("sam",)

    @property
    def about(self) -> dict[str, Any]:
        """See `Promptable`."""
        return {
            **self._of.as_dict(), "rank": self._recipe.rank, "scale": self._recipe.scale,
        }  # fmt: skip

    def _make(self, run: str) -> list[ShownSlice]:
        store = None if self._recipe.rank else store_for(self._model.spec)
        began = time.monotonic()

        def told(done: int, total: int) -> None:
            left = (time.monotonic() - began) / max(1, done) * (total - done)
            doing = "reading slices" if store is None else "embedding slices"
            self._told(Progress(f"{doing}, {done} of {total}", 0.0, left))

        slices = make_slices(self._read(run), self._structures, self._model, store, told)
        if not slices:
            raise InputError(
                f"no case that the {run} run learns from shows a structure, so nothing can be "
                "prompted there; accept another case"
            )
        return slices

    def stepper(self, part: Part, run: str, seed: int) -> Stepper:
        """See `Promptable`."""
        return SamTuner(self._model, self.lessons(run), seed, self._recipe)

    def stored(self, learned: Mapping[Part, Weights]) -> Stored:
        """See `Promptable`."""
        if not learned:
            return {}
        weights = learned["sam"]
        decoder, lora = (
            {n.removeprefix(of): w for n, w in weights.items() if n.startswith(of)}
            for of in ("decoder.", "lora.")
        )
        return changes(self._model, decoder, lora)

    def both(self, tuned: Stored) -> tuple[ImageModel, ImageModel]:
        """See `Promptable`."""
        after = tuned_model(self._model, tuned, self._recipe.scale, weights_hash="")
        return self._model, after

    def _on_slices(self, volume: Volume, target: Target, model: ImageModel) -> float:
        """Dice from a box on each of some slices, on these."""
        store = self._stores.setdefault(id(model), self._store(model))
        return second_opinion(
            volume, np.asarray(target.reference), target.name, lambda _: model, JUDGED_SLICES, store
        )

    def _store(self, model: ImageModel) -> EmbeddingStore:
        """Kept on disk, but what an encoder embeds that was tuned and is perhaps not used."""
        return store_for(model.spec, keep=model is self._model or not self._recipe.rank)
