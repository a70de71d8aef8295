"""What the engine relies on, for every registered model; and that the checks see what is amiss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sammed.errors import PromptError
from sammed.imaging.boxes import Box2D
from sammed.models import catalogue, contract, registry
from sammed.models.baselines import BoxBaseline
from sammed.models.contract import CHECKS, ContractError, check_model
from sammed.models.protocols import Embedding, ImageModel, ViewBatch, ViewMask, ViewPrompt
from sammed.views.slices import View
from tests.models.networks import ellipse, random_sam, slice_image

SHAPE = (90, 130)
BOX = Box2D(20, 70, 50, 110)
SEE_VOLUMES = ("random_walker", "stroke_classes")
SAMS = {"vit_b": 1, "vit_l": 2, "vit_h": 3, "medsam": 4}


@pytest.fixture(scope="module", params=[n for n in catalogue.BUILT_IN if n not in SEE_VOLUMES])
def model(request: pytest.FixtureRequest) -> ImageModel:
    name = request.param
    if name in SAMS:
        from sammed.models.sam.model import MedSamModel, SamModel

        kind = MedSamModel if name == "medsam" else SamModel
        return kind(random_sam(seed=SAMS[name]), name=name, weights_hash=f"{SAMS[name]:064}")
    if not registry.info(name).available:
        pytest.skip(f"the weights of {name} are not part of this checkout")
    return registry.build(name)


def test_it_follows_the_protocol_under_its_registry_name(model: ImageModel) -> None:
    assert contract.check_protocol(model) is model
    contract.check_spec(model.spec)
    entry = catalogue.resolve(model.spec.name)
    contract.check_name(model, entry.name)
    assert bool(model.spec.weights_hash) == entry.takes_weights


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(model: ImageModel, check: contract.Check) -> None:
    check(model)


def a_view(model: ImageModel, whole: bool = False) -> View:
    if model.spec.zoom is None or whole:
        return View.whole(0, SHAPE, model.spec.view_size)
    return View.zoomed(0, BOX, model.spec.zoom, (0.8, 0.7), model.spec.view_size)


def encoded(model: ImageModel, image: np.ndarray, view: View) -> Embedding:
    pixels = view.render(image, model.spec.eight_bit)[None]
    if not model.spec.context:
        return model.encode(ViewBatch(pixels))[0]
    grey = pixels.mean(axis=1, keepdims=True)
    return model.encode(ViewBatch(pixels, np.repeat(grey, 2 * model.spec.context, axis=1)))[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_view_of_a_whole_slice_comes_back_to_the_slice(
    model: ImageModel, channels: int
) -> None:
    view = a_view(model, whole=True)
    assert view.extent[0] < view.extent[1] == model.spec.view_size
    embedding = encoded(model, slice_image(SHAPE, channels), view)
    answer = model.decode(embedding, [ViewPrompt(box=view.box(BOX))])[0]
    region = view.slice_region(SHAPE)
    assert view.to_slice(answer.low_res_logits[answer.best], region).shape == SHAPE


def test_prompts_that_it_cannot_use_are_refused_in_plain_words(model: ImageModel) -> None:
    view = a_view(model)
    embedding = encoded(model, slice_image(SHAPE), view)
    with pytest.raises(PromptError, match="an empty prompt"):
        model.decode(embedding, [ViewPrompt()])
    points = ViewPrompt(points=view.points(np.array([[35.5, 90.5]])), positive=np.ones(1, bool))
    if "points" not in model.spec.prompts:
        with pytest.raises(PromptError, match="prompted by box; found points: add a box"):
            model.decode(embedding, [points])


def test_a_plain_object_is_found_in_its_place(model: ImageModel) -> None:
    if model.spec.name in SAMS:
        pytest.skip("random weights find nothing; test_sam.py compares with segment-anything")
    view = a_view(model)
    embedding = encoded(model, slice_image(SHAPE), view)
    answer = model.decode(embedding, [ViewPrompt(box=view.box(BOX))])[0]
    region = view.slice_region(SHAPE)
    found = np.zeros(SHAPE, bool)
    found[region.slices] = view.to_slice(answer.low_res_logits[answer.best], region) > 0
    truth = ellipse(SHAPE)
    dice = 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum())
    assert dice > (0.85 if model.spec.name == "box" else 0.93)


class Amiss(BoxBaseline):
    """A baseline of which a test changes something."""

    def __init__(self, spec: dict[str, Any] | None = None, **answer: Any) -> None:
        self._changes, self._answer_changes = spec or {}, answer

    @property
    def spec(self) -> Any:
        return replace(super().spec, **self._changes)

    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        return [replace(a, **self._answer_changes) for a in super().decode(embedding, prompts)]


class NoSpec(BoxBaseline):
    spec = "box"  # type: ignore[assignment]


class LosesViews(BoxBaseline):
    def encode(self, views: ViewBatch) -> list[Embedding]:
        return super().encode(views)[:1]


class SeesTheBatch(BoxBaseline):
    def encode(self, views: ViewBatch) -> list[Embedding]:
        mean = views.pixels.mean(keepdims=True)
        return [Embedding({"mean": mean}, e.extent) for e in super().encode(views)]


class Scribbles(BoxBaseline):
    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        answers = super().decode(embedding, prompts)
        for prompt in prompts:
            if prompt.box is not None:
                np.add(prompt.box, 1, out=prompt.box)
        return answers


class Remembers(BoxBaseline):
    count = 0.0

    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        self.count += 1
        answers = super().decode(embedding, prompts)
        return [replace(a, low_res_logits=a.low_res_logits + self.count) for a in answers]


class AnswersNothing(BoxBaseline):
    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        corner = ViewPrompt(box=np.array([1, 1, 2, 2], np.float32))
        given = [corner if prompt.box is None else prompt for prompt in prompts]
        return super().decode(embedding, given)


HALF = np.zeros((1, 256, 256), np.float32)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (object(), "object is no model: it lacks spec and encode and decode; expected spec, enc"),
        (NoSpec(), r"spec is str; expected sammed\.models\.protocols\.ModelSpec"),
        (Amiss({"name": ""}), r"spec\.name is empty"),
        (Amiss({"prompts": frozenset({"text"})}), r"prompts are \['text'\]; expected box"),
        (Amiss({"mask_size": 600}), "mask_size is 600; expected at most view_size, 512"),
        (Amiss({"zoom": 0.5}), r"zoom is 0\.5; expected None or >= 1"),
        (Amiss({"weights_hash": "ab"}), "weights_hash is 'ab'; expected SHA-256"),
        (LosesViews(), "encode gives 1 embeddings of 3 views; expected 3"),
        (SeesTheBatch(), "array 'mean' of a view's embedding changes with the views beside it"),
        (Amiss(low_res_logits=HALF), r"of shape \(1, 256, 256\); expected \(k, 512, 512\)"),
        (Amiss(low_res_logits=np.zeros((1, 512, 512))), "are float64; expected float32"),
        (Amiss(predicted_iou=np.ones(2, np.float32)), r"shape \(2,\); expected \(1,\), one a can"),
        (Amiss(present=0.5), r"present is 0\.5; expected 1, as spec\.has_object_score is False"),
        (Amiss(preferred=1), "preferred is 1; expected the index of one of 1 candidates"),
        (Remembers(), "an answer changes with the order of the prompts"),
        (Scribbles(), "decode changes the embedding or the prompts that it is given"),
        (AnswersNothing(), "decode answers a prompt of nothing; expected PromptError"),
    ],
)
def test_what_is_amiss_is_said(model: object, message: str) -> None:
    with pytest.raises(ContractError, match=message) as raised:
        check_model(model)
    assert "\n" not in str(raised.value)
