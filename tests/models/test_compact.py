from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sammed.errors import WeightsMismatchError, WeightsNotFoundError
from sammed.models.compact.model import CompactModel, load_net
from sammed.models.compact.net import PLANES, Architecture, CompactNet, Prompts, input_planes
from sammed.models.compact.quantization import four_bit, from_four_bit
from sammed.models.compact.weight_files import load_difference
from sammed.models.protocols import ImageModel, ViewBatch, ViewPrompt
from sammed.training.checkpoint import export_difference, export_weights

TINY = Architecture((8, 8, 16, 16), (1, 1, 1, 1), (1, 1, 1), 4, 3, 128)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    export_weights(path, CompactNet(TINY).state_dict(), TINY.tag, "random")
    return path


@pytest.fixture(scope="module")
def model(weights):
    return CompactModel(weights)


def views(n=1, channels=1, h=128, w=128):
    rng = np.random.default_rng(0)
    grey = rng.random((n, 2, h, w), np.float32)
    return ViewBatch(rng.random((n, channels, h, w), np.float32), grey)


def box(*values):
    return np.array(values, np.float32)


PROMPTS = [
    ViewPrompt(box=box(20, 30, 100, 90)),
    ViewPrompt(points=np.array([[60.5, 70.5]], np.float32), positive=np.array([True])),
    ViewPrompt(mask=np.full((64, 64), -5, np.float32)),
    ViewPrompt(
        box=box(10, 10, 50, 90),
        points=np.array([[30, 40], [5, 5]], np.float32),
        positive=np.array([True, False]),
        mask=np.full((128, 128), 3, np.float32),
    ),
]


PROMPTS_96 = [*PROMPTS[:3], replace(PROMPTS[3], mask=np.full((96, 96), 3, np.float32))]


def test_it_follows_the_protocol(model):
    assert isinstance(model, ImageModel)
    spec = model.spec
    assert (spec.name, spec.view_size, spec.mask_size) == ("compact", 128, 128)
    assert spec.zoom == 1.5
    assert spec.context == 1
    assert spec.has_object_score
    assert len(spec.weights_hash) == 64


def test_answers_have_the_promised_form(model):
    (embedding,) = model.encode(views())
    for answer in model.decode(embedding, PROMPTS):
        assert answer.low_res_logits.shape == (3, 128, 128)
        assert answer.low_res_logits.dtype == np.float32
        assert answer.predicted_iou.shape == (3,)
        assert ((answer.predicted_iou >= 0) & (answer.predicted_iou <= 1)).all()
        assert 0 <= answer.present <= 1
        assert np.isfinite(answer.low_res_logits).all()


def test_prompts_in_a_batch_are_answered_as_if_alone(model):
    (embedding,) = model.encode(views())
    together = model.decode(embedding, PROMPTS)
    for prompt, answer in zip(PROMPTS, together, strict=True):
        (alone,) = model.decode(embedding, [prompt])
        assert np.allclose(alone.low_res_logits, answer.low_res_logits, atol=1e-4)
        assert np.allclose(alone.predicted_iou, answer.predicted_iou, atol=1e-5)


def test_views_in_a_batch_are_encoded_as_if_alone(model):
    batch = views(3)
    for i, embedding in enumerate(model.encode(batch)):
        one = ViewBatch(batch.pixels[i : i + 1], batch.neighbours[i : i + 1])
        assert np.array_equal(model.encode(one)[0].arrays["image"], embedding.arrays["image"])


@pytest.mark.parametrize(("channels", "h", "w"), [(1, 128, 128), (3, 128, 128), (1, 90, 128)])
def test_grey_colour_and_oblong_views_are_taken(model, channels, h, w):
    (embedding,) = model.encode(views(1, channels, h, w))
    assert embedding.extent == (h, w)
    (answer,) = model.decode(embedding, PROMPTS[:1])
    assert answer.low_res_logits.shape == (3, 128, 128)


def test_views_without_neighbours_are_taken(model):
    (embedding,) = model.encode(ViewBatch(views().pixels))
    assert len(model.decode(embedding, PROMPTS)) == 4
    assert model.decode(embedding, []) == []


def prompt_planes(**given):
    size = 128
    tensors = {
        "image": torch.full((1, 3, size, size), 0.5),
        "colour": torch.tensor([False]),
        "box": torch.full((1, 4), float("nan")),
        "points": torch.full((1, 2, 2), float("nan")),
        "positive": torch.zeros((1, 2), dtype=torch.bool),
        "mask": torch.zeros((1, size, size)),
        "has_mask": torch.tensor([False]),
        "depth": torch.zeros(1),
    }
    return input_planes(Prompts(**(tensors | given)))[0]


def test_boxes_and_points_are_edge_coordinates():
    planes = prompt_planes(box=torch.tensor([[16.0, 32.0, 48.0, 112.0]]))
    inside = planes[6] > 0.99
    assert inside.nonzero().min(0).values.tolist() == [16, 32]
    assert inside.nonzero().max(0).values.tolist() == [47, 111]
    points = torch.tensor([[[20.5, 90.5], [70.5, 10.5]]])
    planes = prompt_planes(points=points, positive=torch.tensor([[True, False]]))
    assert divmod(int(planes[10].argmax()), 128) == (20, 90)
    assert divmod(int(planes[11].argmax()), 128) == (70, 10)


def test_absent_prompts_leave_their_planes_empty():
    planes = prompt_planes()
    assert planes.shape == (PLANES, 128, 128)
    assert planes[6:14].abs().max() == 0
    assert torch.isfinite(planes).all()


def test_an_exported_file_gives_back_the_weights(weights):
    net, digest = load_net(weights)
    assert net.architecture == TINY
    assert not net.training
    assert len(digest) == 64


def test_missing_truncated_and_foreign_weights_are_clear_errors(tmp_path, weights):
    with pytest.raises(WeightsNotFoundError, match="sammed train"):
        CompactModel(tmp_path / "none.safetensors")
    (tmp_path / "short.safetensors").write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsMismatchError, match="safetensors"):
        CompactModel(tmp_path / "short.safetensors")
    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsMismatchError, match="another model"):
        CompactModel(tmp_path / "foreign.safetensors")
    save_file({"a": torch.zeros(3)}, tmp_path / "odd.safetensors", {"architecture": TINY.tag})
    with pytest.raises(WeightsMismatchError, match="does not fit"):
        CompactModel(tmp_path / "odd.safetensors")


def test_four_bits_are_near_and_keep_their_shape():
    kernel = torch.randn(6, 5, 3, 3)
    kernel[2] = 0
    pairs, scales = four_bit(kernel)
    assert pairs.shape == (6, 23)
    assert pairs.dtype == torch.uint8
    back = from_four_bit(pairs, scales, kernel.shape)
    assert not back[2].any()
    off = (back - kernel).square().flatten(1).mean(1).sqrt()
    most = kernel.abs().flatten(1).amax(1)
    assert (off <= most / 14).all()
    again = from_four_bit(*four_bit(back), kernel.shape)
    torch.testing.assert_close(again, back)


@pytest.fixture(scope="module")
def pair(weights, tmp_path_factory):
    """A network and one for boxes that is read from its difference."""
    net, digest = load_net(weights)
    torch.manual_seed(7)
    other = {
        name: value if "running" in name else value + 0.1 * torch.randn_like(value)
        for name, value in net.state_dict().items()
        if value.is_floating_point()
    }
    path = tmp_path_factory.mktemp("pair") / "boxes.safetensors"
    export_difference(path, other, net, digest)
    return net, load_difference(net, path, "compact", digest)[0]


@pytest.mark.thorough
def test_final_boxes_are_answered_by_their_own_network(shipped, monkeypatch):
    """Box, points and mask prompts of one call: only the final box alone goes elsewhere."""
    usual, apart = shipped._net, shipped._boxes
    size = shipped.spec.view_size
    (embedding,) = shipped.encode(views(1, 1, size, size))
    final = [replace(prompt, final=True) for prompt in PROMPTS_96]
    prompts = [PROMPTS_96[0], *final, final[0]]
    answers = shipped.decode(embedding, prompts)
    monkeypatch.setattr(shipped, "_boxes", usual)
    by_usual = shipped.decode(embedding, prompts)
    monkeypatch.setattr(shipped, "_net", apart)
    monkeypatch.setattr(shipped, "_boxes", apart)
    by_apart = shipped.decode(embedding, prompts)
    for number, answer in enumerate(answers):
        wanted, other = by_usual[number], by_apart[number]
        if number in (1, len(answers) - 1):
            wanted, other = other, wanted
        np.testing.assert_allclose(answer.low_res_logits, wanted.low_res_logits, atol=1e-4)
        np.testing.assert_allclose(answer.predicted_iou, wanted.predicted_iou, atol=1e-4)
        assert np.abs(answer.low_res_logits - other.low_res_logits).max() > 0.01


def test_a_difference_fits_its_own_network_alone(tmp_path, weights, pair):
    net, _ = pair
    path = tmp_path / "boxes.safetensors"
    export_difference(path, net.state_dict(), net, "ab" * 32)
    same, digest = load_difference(net, path, "compact", "ab" * 32)
    torch.testing.assert_close(same.state_dict(), net.state_dict())
    assert len(digest) == 64
    with pytest.raises(WeightsMismatchError, match="reinstall sammed"):
        load_difference(net, path, "compact", load_net(weights)[1])
    with pytest.raises(WeightsMismatchError, match="does not name"):
        load_difference(net, weights, "compact", load_net(weights)[1])
    with pytest.raises(WeightsNotFoundError, match="none"):
        load_difference(net, tmp_path / "none.safetensors", "compact", "ab" * 32)
    export_difference(path, {"masks.bias": net.state_dict()["masks.bias"]}, net, "ab" * 32)
    with pytest.raises(WeightsMismatchError, match=r"does not fit the model: .* missing"):
        load_difference(net, path, "compact", "ab" * 32)


def test_a_weights_file_answers_all_prompts_itself(model):
    (embedding,) = model.encode(views())
    usual, final = model.decode(embedding, [PROMPTS[0], replace(PROMPTS[0], final=True)])
    np.testing.assert_allclose(usual.low_res_logits, final.low_res_logits, atol=1e-5)


@pytest.fixture(scope="module")
def shipped():
    return CompactModel()


def test_the_shipped_weights_find_a_disc(shipped):
    size = shipped.spec.view_size
    half = size / 2
    radius = half / 1.5 * 0.75
    axis = np.arange(size) + 0.5 - half
    reference = axis[:, None] ** 2 + axis[None] ** 2 <= radius**2
    noise = np.random.default_rng(1).normal(0, 0.02, (size, size))
    image = np.clip(0.4 + 0.25 * reference + noise, 0, 1).astype(np.float32)
    batch = ViewBatch(image[None, None], np.repeat(image[None, None], 2, 1))
    (embedding,) = shipped.encode(batch)
    edges = box(half - radius, half - radius, half + radius, half + radius)
    (answer,) = shipped.decode(embedding, [ViewPrompt(box=edges)])
    mask = answer.low_res_logits[answer.best] > 0
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.9
    assert answer.present > 0.5


def test_the_shipped_weights_are_small(shipped):
    parameters = sum(p.numel() for p in load_net()[0].parameters())
    assert 1_000_000 < parameters < 5_000_000
    assert shipped.spec.license == "Apache-2.0"


@pytest.mark.slow
def test_one_view_is_answered_in_time(shipped):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        side = shipped.spec.view_size
        batch = views(1, 1, side, side)
        best = 1.0
        for _ in range(12):
            start = time.perf_counter()
            shipped.decode(shipped.encode(batch)[0], PROMPTS[:1])
            best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    assert best < 0.1


def test_compact_runs_on_one_thread_and_leaves_the_others_to_the_rest(monkeypatch):
    model, seen = CompactModel(), []
    monkeypatch.setattr(model, "_decode", lambda *_: [seen.append(torch.get_num_threads())])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        embedding = model.encode(ViewBatch(np.zeros((1, 1, 96, 96), np.float32)))[0]
        model.decode(embedding, [ViewPrompt(np.array([10.0, 10, 50, 50], np.float32))])
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
