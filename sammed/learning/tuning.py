"""compact tuned to a project's structures: what its networks are shown, and how they learn.

Prompts are simulated as in the network's own training (`sammed.training.prompts`), on views and 3D
boxes of the accepted cases. A part of every batch is synthetic, as the network has always seen it,
and there the shipped one teaches it what it knew (Li and Hoiem 2016,
doi:10.1007/978-3-319-46493-0_37). In the end its weights are averaged with the shipped ones
(Wortsman et al. 2022, arXiv:2109.01903).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sammed.learning.exercises import Exercise, slab_of
from sammed.learning.stepping import Rates, Stepper
from sammed.models.compact.weight_files import fold_norms
from sammed.models.learned.net import has_bfloat16
from sammed.synthesis.blocks import BlockSample, blocks_of
from sammed.synthesis.views import BOXED, MODES, Sample, samples_of
from sammed.training import blocks, stream
from sammed.training.losses import block_loss, compact_loss, taught_loss, true_iou
from sammed.training.prompts import add_clicks
from sammed.training.task import own_answer, views_forward, views_planes

Arrays = dict[str, NDArray[Any]]
Part = Literal["views", "boxes", "locator", "sam"]
"""Networks that are tuned: three of compact's, or what learns of segment-anything."""
Trained = Literal["all", "decoder", "norms"]

PER_SLAB = 6
"""Samples drawn from an exercise before it is changed anew."""

DECODER = ("decoder", "lateral", "up", "merge", "masks", "judge", "fine")
"""Beginnings of the names of what ``"decoder"`` trains."""


@dataclass(frozen=True)
class TuningRecipe:
    """How networks are tuned.

    Attributes
    ----------
    rates, solid_rates
        How fast: networks of views, and the locator.
    real, replayed
        Samples of accepted cases and synthetic ones in a step.
    clicks
        Share of the steps with one to three rounds of corrective clicks, where there are clicks.
    share
        Of the tuned weights in their mean with the shipped ones.
    trained
        Which weights learn.
    chunk, window
        Samples that are drawn at once, and how many times as many a step is drawn from.
    """

    rates: Rates = field(default_factory=lambda: Rates(3e-4, 0.0, 0.99, loudest=1.0))
    solid_rates: Rates = field(default_factory=lambda: Rates(1e-3, 0.0, 0.99, loudest=1.0))
    real: int = 6
    replayed: int = 2
    clicks: float = 0.2
    share: float = 0.75
    trained: Trained = "all"
    chunk: int = 48
    window: int = 6


class Tuner(Stepper):
    """Tunes one of compact's networks.

    Parameters
    ----------
    part
        Which.
    net
        As it is shipped; stays as it is.
    exercises
        Of the accepted cases.
    seed
        Of all that is drawn.
    recipe
        How.
    """

    def __init__(
        self,
        part: Part,
        net: nn.Module,
        exercises: Sequence[Exercise],
        seed: int,
        recipe: TuningRecipe | None = None,
    ) -> None:
        self.recipe = recipe or TuningRecipe()
        self._part, self._seed = part, seed
        solid = part == "locator"
        self._exercises = [one for one in exercises if one.solid == solid]
        self._half = has_bfloat16()
        self._teacher = fold_norms(copy.deepcopy(net)).requires_grad_(False)
        layout = torch.channels_last_3d if solid else torch.channels_last
        # norms keep what they know of a whole training: a batch of a few structures says little
        learner = copy.deepcopy(net).to(memory_format=layout).eval()
        for name, value in learner.named_parameters():
            value.requires_grad_(_learns(name, value, self.recipe.trained))
        super().__init__(learner, self.recipe.solid_rates if solid else self.recipe.rates)

    def _batches(self, first: int) -> Iterator[Arrays]:
        recipe, only = self.recipe, self._part == "boxes"
        if self._part == "locator":
            pack: Callable[..., Arrays] = blocks.pack
            synthetic: Callable[..., list[Any]] = blocks.make_chunk
        else:

            def pack(rng: np.random.Generator, samples: list[Sample]) -> Arrays:
                return stream.pack(rng, samples, only)

            def synthetic(seed: int, index: int, size: int) -> list[Any]:
                return stream.make_chunk(seed, index, size, only)

        plan = stream.StreamPlan(self._seed, recipe.real, recipe.chunk, recipe.window, replay=2.0)
        real, old = plan, replace(plan, seed=self._seed + 1, batch=recipe.replayed)
        shown = stream.drawn(real, first, self._draw, pack)
        replayed = stream.drawn(old, first, synthetic, pack)
        for one, two in zip(shown, replayed, strict=True):
            yield {name: np.concatenate([array, two[name]]) for name, array in one.items()}

    def _draw(self, seed: int, index: int, size: int) -> list[Any]:
        """A chunk of samples of exercises: a function of its arguments alone."""
        rng = np.random.default_rng([seed, index, 17])
        samples: list[Any] = []
        while len(samples) < size:
            exercise = self._exercises[int(rng.integers(len(self._exercises)))]
            samples += _samples(self._part, exercise, rng)
        return samples[:size]

    def _loss(self, batch: Arrays) -> Tensor:
        rng = np.random.default_rng([self._seed, 11, self.step])
        if self._part == "locator":
            return self._solid_loss(batch)
        shown = stream.unpack(batch)
        prompts = shown.prompts
        if self._part == "views" and rng.random() < self.recipe.clicks:
            for _ in range(int(rng.integers(1, 4))):
                answer = own_answer(self.net, prompts, self._half)  # type: ignore[arg-type]
                prompts = add_clicks(rng, prompts, shown.target, answer)
        target = torch.from_numpy(shown.target).float()
        planes = views_planes(prompts)
        logits, iou, present = views_forward(self.net, planes, self._half)
        loss, _ = compact_loss(logits.float(), iou.float(), present.float(), target)
        old = slice(self.recipe.real, None)
        with torch.no_grad():
            wanted = views_forward(self._teacher, planes[old], self._half)[0]
        return loss + taught_loss(logits[old].float(), wanted.float(), target[old])

    def _solid_loss(self, batch: Arrays) -> Tensor:
        shown, target = blocks.unpack(batch)
        logits = blocks.block_logits(self.net, shown, self._half)  # type: ignore[arg-type]
        loss, _ = block_loss(logits, target)
        with torch.no_grad():
            wanted = blocks.block_logits(self._teacher, shown, self._half)  # type: ignore[arg-type]
        old = slice(self.recipe.real, None)
        right = true_iou(
            wanted[old].flatten(1)[:, None, :, None], target[old].flatten(1)[..., None]
        )
        entropy = functional.binary_cross_entropy_with_logits(
            logits[old], torch.sigmoid(wanted[old]), reduction="none"
        ).mean((1, 2, 3))
        return loss + 4 * (entropy * right[:, 0].square()).mean()


def _samples(
    part: Part, exercise: Exercise, rng: np.random.Generator
) -> list[Sample] | list[BlockSample]:
    slab = slab_of(exercise, rng)
    if part == "locator":
        return blocks_of(slab, rng, 2) if slab.targets else []
    return samples_of(slab, rng, PER_SLAB, BOXED if part == "boxes" else MODES)


def _learns(name: str, value: Tensor, trained: Trained) -> bool:
    if trained == "norms":
        return value.ndim == 1
    return trained == "all" or name.startswith(DECODER)


def parts_for(exercises: Sequence[Exercise]) -> tuple[Part, ...]:
    """The networks that these exercises teach something: nothing has a depth on pictures alone.

    Parameters
    ----------
    exercises
        Of the accepted cases.
    """
    solid = any(one.solid for one in exercises)
    return ("views", "boxes", "locator") if solid else ("views", "boxes")


def towards(net: nn.Module, weights: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The mean of tuned weights and those that they come from, so that less is forgotten.

    Parameters
    ----------
    net
        As it is shipped.
    weights
        Tuned.
    share
        Of the tuned ones, see `TuningRecipe`.
    """
    return {
        name: value.lerp(weights[name], share) if value.is_floating_point() else value
        for name, value in net.state_dict().items()
    }
