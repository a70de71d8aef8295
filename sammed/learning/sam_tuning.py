"""segment-anything tuned to a project's structures: its mask decoder, and branches in its encoder.

The mask decoder learns on embeddings that are made once (what is cheap to tune, as in MedSAM,
Ma et al. 2024, doi:10.1038/s41467-024-44824-z, whose encoder learns too). With LoRA
(`sammed.models.sam.lora`) the encoder learns as well, at the price of a pass through it and back
at every step. The prompt encoder stays as it is. Both learn through the model's own door, so that
views, prompts and masks lie where they lie in use.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sammed.learning.sam_prompts import Question, clicked, question
from sammed.learning.sam_recipe import SamRecipe
from sammed.learning.sam_slices import ShownSlice
from sammed.learning.stepping import Stepper
from sammed.models.protocols import ViewPrompt
from sammed.models.sam.lean_decoder import replaced
from sammed.models.sam.lora import Lora
from sammed.models.sam.model import SamModel, is_ambiguous
from sammed.training.losses import ALL_CANDIDATES, mask_loss, true_iou


class _Learner(nn.Module):
    """What learns, and nothing else: so what is kept on the way is small."""

    def __init__(self, decoder: nn.Module, lora: Lora | None) -> None:
        super().__init__()
        self.decoder = decoder
        if lora is not None:
            self.lora = lora


class SamTuner(Stepper):
    """Tunes a segment-anything model.

    Parameters
    ----------
    parent
        As it is; stays so.
    slices
        Of the accepted cases; with embeddings, unless there are branches.
    seed
        Of all that is drawn.
    recipe
        How.
    """

    def __init__(
        self,
        parent: SamModel,
        slices: Sequence[ShownSlice],
        seed: int,
        recipe: SamRecipe | None = None,
    ) -> None:
        self.recipe = recipe or SamRecipe()
        self._slices, self._seed = slices, seed
        network = parent.network
        decoder = copy.deepcopy(network.mask_decoder)
        self._model = parent.changed(replaced(network, mask_decoder=decoder), weights_hash="")
        self._encoder: nn.Module | None = None
        lora = None
        if self.recipe.rank:
            encoder = network.image_encoder
            lora = Lora(encoder, self.recipe.rank, self.recipe.scale, seed)
            lora.to(next(encoder.parameters()).device)
            self._encoder = lora.beside(encoder)
        super().__init__(_Learner(decoder.requires_grad_(True), lora), self.recipe.rates)

    def _batches(self, first: int) -> Iterator[list[Question]]:
        for step in count(first):
            rng = np.random.default_rng([self._seed, 23, step])
            yield [
                question(rng, self._slices, self._model.spec, self.recipe.prompts)
                for _ in range(self.recipe.slices)
            ]

    def _loss(self, batch: list[Question]) -> Tensor:
        rng = np.random.default_rng([self._seed, 29, self.step])
        rounds = 0
        if "points" in self._model.spec.prompts and rng.random() < self.recipe.clicks:
            rounds = int(rng.integers(1, 4))
        return torch.stack([self._of_slice(one, rounds) for one in batch]).mean()

    def _of_slice(self, asked: Question, rounds: int) -> Tensor:
        features, extent = self._features(asked.shown), asked.shown.view.extent
        prompts, model = asked.prompts, self._model
        for _ in range(rounds):
            with torch.no_grad():
                answers = self._answers(features, prompts, extent)
            prompts = clicked(prompts, answers, asked.targets, model.spec.view_size)
        targets = torch.from_numpy(asked.targets).to(next(iter(features.values())).device)
        losses = []
        for chunk in model.alike(prompts):
            some = [prompts[i] for i in chunk]
            logits, iou = model.logits(features, some, extent)
            logits.register_hook(_heard)
            loss = sam_loss(logits, iou, targets[chunk], is_ambiguous(some[0]))
            losses.append(loss * (len(chunk) / len(prompts)))
        return torch.stack(losses).sum()

    def _features(self, shown: ShownSlice) -> dict[str, Tensor]:
        if self._encoder is None and shown.embedding is not None:
            return self._model.features(shown.embedding)
        encoder = self._encoder or self._model.network.image_encoder
        return {"image": encoder(self._model.images(shown.pixels()[None]))}

    def _answers(
        self, features: dict[str, Tensor], prompts: Sequence[ViewPrompt], extent: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Logits (n, m, m) of the candidate that would be taken."""
        found: dict[int, NDArray[np.float32]] = {}
        for chunk in self._model.alike(prompts):
            logits, iou = self._model.logits(features, [prompts[i] for i in chunk], extent)
            one = is_ambiguous(prompts[chunk[0]])
            best = 1 + iou[:, 1:].argmax(1) if one else torch.zeros(len(chunk), dtype=torch.long)
            for i, masks, which in zip(chunk, logits.cpu().numpy(), best.tolist(), strict=True):
                found[i] = masks[which]
        return np.stack([found[i] for i in range(len(prompts))])


def _heard(gradient: Tensor) -> None:
    """Nothing, but Python runs here on the way back, so that Ctrl-C need not wait for its end."""


def sam_loss(logits: Tensor, iou: Tensor, target: Tensor, ambiguous: bool) -> Tensor:
    """Focal + Dice loss of the candidate that is taken, and squared error of the predicted IoU.

    Of one click alone that is the best of the three guesses, of anything else the single mask, as
    segment-anything itself learned; the mean of all counts a little.

    Parameters
    ----------
    logits : (n, k, m, m)
        Candidates.
    iou : (n, k)
        As predicted.
    target : (n, m, m)
        Shares of cells that are to be in the mask, [0, 1].
    ambiguous
        Whether the prompts are one click each.
    """
    each = mask_loss(logits, target)
    taken = each[:, 1:].amin(1) if ambiguous else each[:, 0]
    reached = true_iou(logits.detach(), (target > 0.5).to(target.dtype))
    return taken.mean() + ALL_CANDIDATES * each.mean() + functional.mse_loss(iou, reached)
