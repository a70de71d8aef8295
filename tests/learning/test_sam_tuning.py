"""segment-anything tuned: against a plain fine-tune, cached, stopped, kept, used, refused."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from sammed.errors import Cancelled
from sammed.learning import sam_slices
from sammed.learning.sam_prompts import clicked, question, shares
from sammed.learning.sam_recipe import SamRecipe
from sammed.learning.sam_slices import ShownSlice, make_slices
from sammed.learning.sam_tuning import SamTuner, sam_loss
from sammed.learning.stepping import WARM_UP, Budget, Rates
from sammed.models.protocols import ViewBatch, ViewPrompt
from sammed.models.sam.lean_decoder import replaced
from sammed.models.sam.model import MedSamModel, SamModel
from sammed.models.sam.tuned import changes, tuned_model
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import View
from tests.learning.tiny_cases import STRUCTURES, cases
from tests.models.networks import random_sam
from tests.models.tiny_sam import SIDE

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = Rates(1e-3, 0.0, 0.9, loudest=1.0)
PLAIN = SamRecipe(RATES, slices=2, prompts=3, clicks=0.0)
STEPS = 4


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> SamModel:
    return SamModel(random_sam(image_size=SIDE), name="vit_b", weights_hash="ab" * 32)


@pytest.fixture(scope="module")
def slices(model: SamModel) -> list[ShownSlice]:
    """With embeddings that are not rounded."""
    return make_slices(cases(2), STRUCTURES, model, EmbeddingStore())


def tuned(model, slices, recipe=PLAIN, steps=STEPS, seed=0) -> SamTuner:
    tuner = SamTuner(model, slices, seed, recipe)
    tuner.run(Budget(0, steps))
    return tuner


def parts(tuner: SamTuner) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What was learned of the mask decoder, and of branches."""
    decoder, lora = (
        {name.removeprefix(of): w for name, w in tuner.weights.items() if name.startswith(of)}
        for of in ("decoder.", "lora.")
    )
    return decoder, lora


def same(one: SamTuner, two: SamTuner) -> bool:
    return all(torch.equal(value, two.weights[name]) for name, value in one.weights.items())


# -- what is shown ---------------------------------------------------------------------------------


def test_slices_show_what_is_drawn_on_them_and_are_embedded_as_the_engine_does(model, slices):
    assert {name for one in slices for name in one.masks} == {"ball", "box"}
    told = []
    bare = make_slices(cases(2), STRUCTURES, model, None, lambda *said: told.append(said))
    assert told == [(n + 1, len(slices)) for n in range(len(slices))]
    assert all(one.embedding is None for one in bare)
    for one in slices[:3]:
        assert one.levels.shape == (1, *cases(1)[0].volume.shape[1:])
        encoded = model.network.image_encoder(model.images(one.pixels()[None]))[0]
        np.testing.assert_allclose(one.embedding.arrays["image"], encoded, atol=1e-4)


def test_many_slices_are_thinned_evenly(model, monkeypatch):
    every = make_slices(cases(2), STRUCTURES, model, None)
    monkeypatch.setattr(sam_slices, "MOST", 5)
    few = make_slices(cases(2), STRUCTURES, model, None)
    assert len(few) == 5
    assert len(every) > 8
    places = [next(n for n, one in enumerate(every) if np.array_equal(one.levels, it.levels))
              for it in few]  # fmt: skip
    assert places == sorted(places)
    assert max(np.diff(places)) - min(np.diff(places)) <= 1


def test_prompts_lie_where_the_structure_is(model, slices):
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(60):
        asked = question(rng, slices, model.spec, 2)
        view = asked.shown.view
        for prompt, target in zip(asked.prompts, asked.targets, strict=True):
            kinds.add(prompt.kinds)
            inside = np.argwhere(target > 0.5) * (view.size / len(target))
            if prompt.box is not None:
                centre = (prompt.box[:2] + prompt.box[2:]) / 2
                assert np.abs(inside.mean(0) - centre).max() < 0.3 * view.size
                assert (prompt.box >= 0).all()
                assert (prompt.box.reshape(2, 2) <= view.extent).all()
            for point in prompt.points:
                assert np.abs(inside - point).max(1).min() <= 2 * view.size / len(target)
            if prompt.mask is not None:
                assert prompt.mask.shape == target.shape
                assert prompt.mask[target > 0.9].max(initial=-9) > 0 or target.max() < 0.9
    assert kinds == {frozenset({"box"}), frozenset({"points"}), frozenset({"box", "mask"})}
    boxes_alone = replace(model.spec, prompts=MedSamModel.prompts)
    only = [question(rng, slices, boxes_alone, 1).prompts[0].kinds for _ in range(30)]
    assert set(only) == {frozenset({"box"})}


def test_shares_of_cells():
    mask = np.zeros((4, 8), bool)
    mask[:, 2:4] = True
    view = View.whole(0, mask.shape, 16)
    found = shares(mask, view, 4)  # 4 x 4 cells of 2 x 2 pixels, the lower half is padding
    np.testing.assert_allclose(found, [[0, 1, 0, 0]] * 2 + [[0, 0, 0, 0]] * 2, atol=1e-6)
    mask[0, 0] = True
    half = shares(mask, view, 4)
    np.testing.assert_allclose(half[0], [0.25, 1, 0, 0], atol=1e-6)
    wide = shares(mask, view, 16)  # two cells a pixel
    np.testing.assert_array_equal(wide[:8] > 0.5, mask.repeat(2, 0).repeat(2, 1))


def test_a_click_goes_into_the_largest_error():
    target = np.zeros((1, 8, 8), np.float32)
    target[0, 2:7, 2:7] = 1
    answer = np.full((1, 8, 8), -5, np.float32)
    answer[0, 0, 0] = 5
    box = ViewPrompt(box=np.array([0, 0, 9, 9], np.float32))
    (next_,) = clicked([box], answer, target, 32)
    np.testing.assert_allclose(next_.points, [[18, 18]])
    assert next_.positive.tolist() == [True]
    np.testing.assert_array_equal(next_.mask, answer[0])
    (third,) = clicked([next_], np.where(target > 0, 5, -5) + (answer > 0) * 10, target, 32)
    assert third.positive.tolist() == [True, False]
    np.testing.assert_allclose(third.points[1], [2, 2])
    (right,) = clicked([box], np.where(target > 0, 5.0, -5.0), target, 32)
    assert right is box


# -- against a plain fine-tune ---------------------------------------------------------------------


def plain_loss(network: Sam, shown: ShownSlice, prompts, targets) -> Tensor:
    """segment-anything end to end, one prompt after the other; the loss written out."""
    h, w = shown.view.extent
    levels = torch.from_numpy(shown.pixels()).mul(255).round().expand(3, -1, -1)
    image = functional.pad((levels - network.pixel_mean) / network.pixel_std,
                           (0, SIDE - w, 0, SIDE - h))[None]  # fmt: skip
    with torch.no_grad():
        embedded = network.image_encoder(image)
    losses = []
    for prompt, wanted in zip(prompts, torch.from_numpy(targets), strict=True):
        points = boxes = masks = None
        if prompt.box is not None:
            boxes = torch.from_numpy(prompt.box)[[1, 0, 3, 2]][None]
        if len(prompt.points):
            at = torch.from_numpy(prompt.points).flip(-1)[None] - 0.5
            points = at, torch.from_numpy(prompt.positive).float()[None]
        if prompt.mask is not None:
            masks = torch.from_numpy(prompt.mask)[None, None]
        sparse, dense = network.prompt_encoder(points=points, boxes=boxes, masks=masks)
        logits, iou = network.mask_decoder.predict_masks(
            image_embeddings=embedded, image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
        )  # fmt: skip
        each, reached = [], []
        for one in logits[0]:
            chance = one.sigmoid()
            entropy = -(wanted * functional.logsigmoid(one)
                        + (1 - wanted) * functional.logsigmoid(-one))  # fmt: skip
            focal = ((0.3 + (chance - wanted).abs()) * entropy).mean()
            dice = 1 - (2 * (chance * wanted).sum() + 4) / (chance.sum() + wanted.sum() + 4)
            each.append(4 * focal + wanted.max() * dice)
            hit, true = one.detach() > 0, wanted > 0.5
            reached.append((hit & true).sum() / (hit | true).sum().clamp(min=1))
        guess = prompt.box is None and prompt.mask is None and len(prompt.points) == 1
        taken = min(each[1:]) if guess else each[0]
        quality = (iou[0] - torch.stack(reached)).square().mean()
        losses.append(taken + 0.1 * torch.stack(each).mean() + quality)
    return torch.stack(losses).mean()


def plain_tune(network: Sam, batches, steps: int, rates: Rates) -> tuple[Sam, dict[str, Tensor]]:
    """A fine-tune of the mask decoder, and the moving average of its weights."""
    network = copy.deepcopy(network)
    decoder = network.mask_decoder.requires_grad_(True)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=rates.rate, weight_decay=rates.decay)
    average = {name: value.detach().clone() for name, value in decoder.state_dict().items()}
    for step, batch in enumerate(islice(batches, steps)):
        rate = (
            rates.rate
            * min(1, (step + 1) / WARM_UP)
            * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        loss = sum(plain_loss(network, q.shown, q.prompts, q.targets) for q in batch) / len(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), rates.loudest)
        optimiser.step()
        share = 1 - min(rates.average, (step + 1) / (step + 10))
        for name, value in decoder.state_dict().items():
            average[name] += share * (value - average[name])
    return network, average


def far(ours: Tensor, theirs: Tensor, first: Tensor) -> float:
    """How far apart two ends of a way are, over the length of the way."""
    return float((ours - theirs).norm() / (theirs - first).norm())


@pytest.mark.thorough
def test_on_embeddings_the_decoder_becomes_what_a_plain_fine_tune_makes_of_it(model, slices):
    tuner = tuned(model, slices)
    network, average = plain_tune(model.network, tuner._batches(0), STEPS, RATES)
    before = model.network.mask_decoder.state_dict()
    for ours, theirs in ((tuner.net.state_dict(), network.mask_decoder.state_dict()),
                         (tuner.weights, average)):  # fmt: skip
        for name, first in before.items():
            if name.endswith("k_proj.bias"):  # adds the same to all logits of a softmax: no slope
                assert float((ours[f"decoder.{name}"] - first).abs().max()) < 1e-5
            else:
                assert far(ours[f"decoder.{name}"], theirs[name], first) < 3e-3, name
    assert all(not p.requires_grad for p in model.network.parameters())
    assert model.network.image_encoder is not None


@pytest.mark.thorough
def test_another_order_or_another_rate_is_noticed(model, slices):
    """What the test before would say if tuning did something else."""
    one = tuned(model, slices)
    first = model.network.mask_decoder.state_dict()["iou_token.weight"]
    faster = replace(PLAIN, rates=replace(RATES, rate=1.1e-3))
    for other in (tuned(model, slices, seed=1), tuned(model, slices, faster)):
        name = "decoder.iou_token.weight"
        assert far(other.weights[name], one.weights[name], first) > 3e-2


# -- cached, stopped -------------------------------------------------------------------------------


@pytest.mark.thorough
def test_embeddings_on_disk_and_in_memory_give_the_same_weights(model, tmp_path):
    memory = EmbeddingStore(dtype="float16")
    in_memory = tuned(model, make_slices(cases(2), STRUCTURES, model, memory), steps=2)
    for _ in range(2):  # written, then read
        disk = EmbeddingStore(folder=tmp_path)
        assert same(
            tuned(model, make_slices(cases(2), STRUCTURES, model, disk), steps=2), in_memory
        )
    assert disk.stats.misses == 0
    assert disk.stats.disk_hits == memory.stats.misses > 8


@pytest.mark.thorough
@pytest.mark.parametrize("rank", [0, 2])
def test_what_was_stopped_goes_on_to_the_same_weights(model, slices, rank):
    recipe = replace(PLAIN, clicks=0.6, rank=rank, slices=1)
    whole = tuned(model, slices, recipe)
    halves = [SamTuner(model, slices, 0, recipe) for _ in range(2)]

    def stop(pace):
        if pace.step == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        halves[0].run(Budget(0, STEPS), stop)
    halves[1].resume(halves[0].state())
    halves[1].run(Budget(0, STEPS))
    assert same(halves[1], whole)
    assert not same(whole, tuned(model, slices, recipe, STEPS - 1))
    assert len(str(list(whole.state()["net"]))) < 20_000  # the encoder is not kept on the way
    assert not any("image_encoder" in name for name in whole.weights)


def test_with_branches_the_encoder_learns_and_is_answered_as_it_learned(model, slices):
    recipe = replace(PLAIN, rates=replace(RATES, rate=0.1), rank=2, scale=0.5, slices=1)
    tuner = tuned(model, slices, recipe)
    for name, value in tuner.weights.items():
        if name.startswith("lora") and name.endswith(".b"):
            assert float(value.abs().max()) > 0
    after = tuned_model(model, changes(model, *parts(tuner)), 0.5, "cd" * 32)
    one = slices[0]
    pixels = model.images(one.pixels()[None])
    with torch.no_grad():
        tuner.net.load_state_dict(tuner.weights)
        beside = tuner._encoder(pixels)
    merged = torch.from_numpy(after.encode(batch_of(one))[0].arrays["image"])[None]
    torch.testing.assert_close(merged, beside, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(merged, model.network.image_encoder(pixels), atol=1e-2)
    assert after.spec.embeds_as == ""
    assert after.spec.weights_hash == "cd" * 32


def batch_of(shown: ShownSlice) -> ViewBatch:
    return ViewBatch(shown.pixels()[None])


def test_what_is_kept_is_small_and_shares_embeddings_with_the_parent(model, slices):
    tuner = tuned(model, slices)
    decoder, none = parts(tuner)
    stored = changes(model, decoder, none)
    kept = sum(t.numel() * t.element_size() for t in stored["decoder"].values())
    whole = sum(t.numel() * t.element_size() for t in decoder.values())
    assert kept < whole / 7
    after = tuned_model(model, stored, 1.0, "cd" * 32)
    assert (after.spec.embeds_as, model.spec.embeds_as) == (model.spec.weights_hash, "")
    asked = question(np.random.default_rng(1), slices, model.spec, 3)
    exact = copy.deepcopy(model.network.mask_decoder)
    exact.load_state_dict(decoder)
    before, exactly = model, model.changed(replaced(model.network, mask_decoder=exact),
                                           weights_hash="")  # fmt: skip
    answers = [one.decode(asked.shown.embedding, list(asked.prompts))
               for one in (before, exactly, after)]  # fmt: skip
    for first, wanted, found in zip(*answers, strict=True):
        change = np.abs(wanted.low_res_logits - first.low_res_logits).mean()
        error = np.abs(found.low_res_logits - wanted.low_res_logits).mean()
        assert error < 0.3 * change


# -- does it learn? --------------------------------------------------------------------------------


def reached(model: SamModel, slices: list[ShownSlice]) -> float:
    """Mean Dice from exact boxes on slices."""
    found = []
    for shown in slices:
        for mask in shown.masks.values():
            rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            corners = np.array([[rows[0], cols[0]], [rows[-1] + 1, cols[-1] + 1]])
            prompt = ViewPrompt(box=shown.view.points(corners).reshape(4))
            (answer,) = model.decode(model.encode(batch_of(shown))[0], [prompt])
            wanted = shares(mask, shown.view, model.spec.mask_size) > 0.5
            said = answer.low_res_logits[answer.best] > 0
            found.append(2 * (said & wanted).sum() / (said.sum() + wanted.sum()))
    return float(np.mean(found))


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "rank"), [(SamModel, 0), (MedSamModel, 0), (SamModel, 2)])
def test_the_loss_falls_and_the_structures_are_found_better(kind, rank):
    model = kind(random_sam(image_size=SIDE), name="vit_b", weights_hash="ef" * 32)
    slices = make_slices(cases(2), STRUCTURES, model, EmbeddingStore())
    held = make_slices(cases(1, first=5), STRUCTURES, model, EmbeddingStore())
    tuner = SamTuner(model, slices, 0, replace(PLAIN, clicks=0.2, slices=1, rank=rank))
    losses = []
    tuner.run(Budget(0, 60), lambda pace: losses.append(pace.loss))
    assert losses[-1] < 0.8 * losses[5]
    after = tuned_model(model, changes(model, *parts(tuner)), 1.0, "")
    assert type(after) is kind
    before, now = reached(model, held), reached(after, held)
    assert now > before + 0.25


def test_the_loss_by_hand():
    logits = torch.zeros(1, 4, 2, 2)
    logits[0, 2] = torch.tensor([[20.0, 20.0], [-20.0, -20.0]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    iou = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    flat = 4 * 0.8 * math.log(2) + 1 - (2 * 1 + 4) / (2 + 2 + 4)
    few = 0.1 * 3 / 4 * flat
    torch.testing.assert_close(sam_loss(logits, iou, target, ambiguous=True),
                               torch.tensor(few), atol=1e-4, rtol=0)  # fmt: skip
    torch.testing.assert_close(sam_loss(logits, iou, target, ambiguous=False),
                               torch.tensor(flat + few), atol=1e-4, rtol=0)  # fmt: skip
