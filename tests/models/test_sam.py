"""SamModel against segment-anything's own SamPredictor, on seeded random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch.nn import functional

from sammed.errors import InputError, ModelError, WeightsMismatchError
from sammed.models import registry
from sammed.models.protocols import Embedding, ViewBatch, ViewPrompt
from sammed.models.sam.fast_encoder import FastEncoder
from sammed.models.sam.model import MedSamModel, SamModel
from sammed.models.sam.network import ARCHITECTURES, load_network
from sammed.views.slices import View
from tests.models.networks import TINY, random_sam, slice_image

SHAPE = (90, 130)
BOX_XYXY = np.array([70.0, 20.0, 110.0, 50.0])
POINTS_XY = np.array([[90.0, 35.0], [10.0, 12.0]])


class Pair:
    """One slice, seen by SamPredictor and by SamModel over the same network."""

    def __init__(self, network: Sam, shape: tuple[int, int] = SHAPE, channels: int = 1) -> None:
        image = slice_image(shape, channels)
        levels = np.rint(image * 255).astype(np.uint8)
        self.shape = shape
        self.predictor = SamPredictor(network)
        self.predictor.set_image(
            np.ascontiguousarray(np.moveaxis(levels, 0, -1).repeat(3 // channels, -1))
        )
        self.model = SamModel(network, name="vit_b")
        self.view = View.whole(0, shape, self.model.spec.view_size)
        pixels = self.view.render(image, self.model.spec.eight_bit)
        self.embedding = self.model.encode(ViewBatch(pixels[None]))[0]

    def prompt(
        self,
        box: np.ndarray | None = None,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> ViewPrompt:
        """SamPredictor's (x, y) prompt as ours; its points are pixel indices."""
        given: dict[str, np.ndarray] = {}
        if box is not None:
            given["box"] = self.view.points(box.reshape(2, 2)[:, ::-1]).reshape(4)
        if points is not None and labels is not None:
            given["points"] = self.view.points(points[:, ::-1]) + np.float32(0.5)
            given["positive"] = labels == 1
        return ViewPrompt(**given, mask=mask)

    def compare(self, tolerance: float = 1e-4, **prompt: np.ndarray | None) -> None:
        """Same logits and scores, single mask and three candidates, also at full resolution."""
        ours = self.model.decode(self.embedding, [self.prompt(**prompt)])[0]
        for multimask, candidates in ((False, slice(0, 1)), (True, slice(1, 4))):
            full, scores, low_res = self.predictor.predict(
                point_coords=prompt.get("points"),
                point_labels=prompt.get("labels"),
                box=prompt.get("box"),
                mask_input=None if prompt.get("mask") is None else prompt["mask"][None],
                multimask_output=multimask,
                return_logits=True,
            )
            np.testing.assert_allclose(ours.low_res_logits[candidates], low_res, atol=tolerance)
            np.testing.assert_allclose(ours.predicted_iou[candidates], scores, atol=tolerance)
            region = self.view.slice_region(self.shape)
            for logits, expected in zip(ours.low_res_logits[candidates], full, strict=True):
                np.testing.assert_allclose(
                    self.view.to_slice(logits, region), expected, atol=tolerance
                )
                assert 0 < np.count_nonzero(expected > 0) < expected.size


@pytest.fixture(scope="module")
def network() -> Sam:
    return random_sam()


@pytest.fixture(scope="module")
def pair(network: Sam) -> Pair:
    return Pair(network)


@pytest.fixture
def a_mask(pair: Pair) -> np.ndarray:
    rng = np.random.default_rng(8)
    return rng.normal(0, 4, (pair.model.spec.mask_size,) * 2).astype(np.float32)


def test_the_embedding_is_sampredictors(pair: Pair) -> None:
    expected = pair.predictor.get_image_embedding()[0].numpy()
    np.testing.assert_allclose(pair.embedding.arrays["image"], expected, atol=1e-4)


def test_a_box(pair: Pair) -> None:
    pair.compare(box=BOX_XYXY)


def test_points_of_both_signs(pair: Pair) -> None:
    pair.compare(points=POINTS_XY, labels=np.array([1, 0]))
    pair.compare(points=POINTS_XY[:1], labels=np.array([1]))


def test_box_points_and_mask_together(pair: Pair, a_mask: np.ndarray) -> None:
    pair.compare(box=BOX_XYXY, points=POINTS_XY, labels=np.array([1, 0]), mask=a_mask)
    pair.compare(box=BOX_XYXY, mask=a_mask)


@pytest.mark.parametrize("shape", [(130, 90), (77, 77), (400, 311)])
def test_slices_of_other_shapes(network: Sam, shape: tuple[int, int]) -> None:
    Pair(network, shape).compare(box=np.array([8.0, 20.0, 61.0, 70.0]))


def test_colour(network: Sam) -> None:
    Pair(network, channels=3).compare(box=BOX_XYXY)


@pytest.mark.thorough
def test_the_full_vit_b_encoder() -> None:
    Pair(random_sam(ARCHITECTURES["vit_b"], image_size=128)).compare(box=BOX_XYXY)


@pytest.mark.slow
def test_a_vit_b_checkpoint_gives_sampredictors_masks(tmp_path: Path) -> None:
    network = random_sam(ARCHITECTURES["vit_b"], image_size=1024)
    torch.save(network.state_dict(), tmp_path / "random_vit_b.pth")
    pair = Pair(network, (180, 211))
    built = registry.build(str(tmp_path / "random_vit_b.pth"))
    assert isinstance(built, SamModel)
    pair.model = built
    pixels = pair.view.render(slice_image((180, 211)), eight_bit=True)
    pair.embedding = built.encode(ViewBatch(pixels[None]))[0]
    pair.compare(box=BOX_XYXY)
    pair.compare(points=POINTS_XY[:1], labels=np.array([1]))


def test_which_candidate_sam_recommends(pair: Pair, a_mask: np.ndarray) -> None:
    one = {"points": POINTS_XY[:1], "labels": np.array([1])}
    prompts = [
        pair.prompt(box=BOX_XYXY),
        pair.prompt(points=POINTS_XY, labels=np.array([1, 0])),
        pair.prompt(**one, mask=a_mask),
        pair.prompt(**one),
    ]
    answers = pair.model.decode(pair.embedding, prompts)
    assert [a.best for a in answers[:3]] == [0, 0, 0]
    assert answers[3].best == 1 + np.argmax(answers[3].predicted_iou[1:])


def test_a_mask_prompt_of_another_size_is_resized(pair: Pair, a_mask: np.ndarray) -> None:
    coarse = a_mask[::2, ::2].copy()
    fitted = functional.interpolate(
        torch.from_numpy(coarse)[None, None], a_mask.shape, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    given, expected = pair.model.decode(
        pair.embedding,
        [pair.prompt(box=BOX_XYXY, mask=coarse), pair.prompt(box=BOX_XYXY, mask=fitted)],
    )
    np.testing.assert_allclose(given.low_res_logits, expected.low_res_logits, atol=1e-5)


def test_views_of_another_size_are_refused(pair: Pair) -> None:
    with pytest.raises(ModelError, match="views are 100 x 200 px; expected 256 px"):
        pair.model.encode(ViewBatch(np.zeros((1, 1, 100, 200), np.float32)))


def medsam_script(network: Sam, image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Logits of MedSAM's inference on a square of network size, (x0, y0, x1, y1) in it."""
    levels = np.rint(image * 255)
    scaled = (levels - levels.min()) / np.clip(levels.max() - levels.min(), 1e-8, None)
    with torch.no_grad():
        tensor = torch.from_numpy(scaled.astype(np.float32)).repeat(3, 1, 1)[None]
        sparse, dense = network.prompt_encoder(
            points=None, boxes=torch.from_numpy(box.astype(np.float32))[None, None], masks=None
        )
        logits, _ = network.mask_decoder(
            image_embeddings=network.image_encoder(tensor),
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
    return logits[0, 0].numpy()


def test_medsam_is_fed_as_its_own_script_does(network: Sam) -> None:
    model = MedSamModel(network, name="medsam")
    image = np.rint(slice_image((256, 256)) * 255) / np.float32(255)
    embedding = model.encode(ViewBatch(image[None]))[0]
    box = np.array([30, 101, 90, 166], np.float32)  # rows 30..90, columns 101..166
    mask = np.ones((64, 64), np.float32)
    answer = model.decode(embedding, [ViewPrompt(box=box, mask=mask)])[0]
    expected = medsam_script(network, image, np.array([101, 30, 166, 90]))
    np.testing.assert_allclose(answer.low_res_logits[0], expected, atol=1e-4)
    assert len(answer.predicted_iou) == 1
    assert model.spec.prompts == {"box"}


def test_medsam_stretches_other_shapes_and_brings_the_mask_back(network: Sam) -> None:
    model = MedSamModel(network, name="medsam")
    wide = slice_image((128, 256))
    square = functional.interpolate(
        torch.from_numpy(wide)[None], (256, 256), mode="bilinear", align_corners=False
    )[0]
    embedding = model.encode(ViewBatch(wide[None]))[0]
    reference = model.encode(ViewBatch(square[None].numpy()))[0]
    np.testing.assert_allclose(embedding.arrays["image"], reference.arrays["image"], atol=1e-5)
    flat = model.decode(embedding, [ViewPrompt(box=np.array([15, 100, 45, 166], np.float32))])
    stretched = model.decode(reference, [ViewPrompt(box=np.array([30, 100, 90, 166], np.float32))])
    m = model.spec.mask_size
    both = stretched[0].low_res_logits[0].reshape(m // 2, 2, m).mean(axis=1)
    np.testing.assert_allclose(flat[0].low_res_logits[0][: m // 2], both, atol=1e-4)


def test_encoding_at_a_smaller_size_interpolates_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)
    torch.save(random_sam(TINY, 1024).state_dict(), tmp_path / "tiny.pth")
    model = registry.build(str(tmp_path / "tiny.pth"), encode_size=512, zoom=2.0)
    assert (model.spec.view_size, model.spec.mask_size, model.spec.zoom) == (512, 128, 2.0)
    network, _ = load_network(tmp_path / "tiny.pth", image_size=512)
    assert network.image_encoder.pos_embed.shape == (1, 32, 32, TINY.dim)
    assert network.image_encoder.blocks[1].attn.rel_pos_h.shape[0] == 63
    full, _ = load_network(tmp_path / "tiny.pth")
    np.testing.assert_allclose(
        network.image_encoder.pos_embed.mean(), full.image_encoder.pos_embed.mean(), atol=1e-3
    )
    np.testing.assert_array_equal(
        network.image_encoder.blocks[0].attn.rel_pos_h, full.image_encoder.blocks[0].attn.rel_pos_h
    )
    embedding = model.encode(ViewBatch(slice_image((512, 512))[None]))[0]
    assert embedding.arrays["image"].shape == (256, 32, 32)
    prompt = ViewPrompt(box=np.array([100, 200, 300, 400], np.float32))
    assert model.decode(embedding, [prompt])[0].low_res_logits.shape == (4, 128, 128)
    with pytest.raises(InputError, match="cannot encode at 500 px; expected a multiple of 16"):
        registry.build(str(tmp_path / "tiny.pth"), encode_size=500)


def test_a_checkpoint_of_another_width_is_refused(tmp_path: Path) -> None:
    torch.save(random_sam(TINY, 64).state_dict(), tmp_path / "odd.pth")
    with pytest.raises(WeightsMismatchError, match="its encoder is 32 wide"):
        load_network(tmp_path / "odd.pth")


def test_embeddings_of_half_precision_are_taken(pair: Pair) -> None:
    prompt = pair.prompt(box=BOX_XYXY)
    half = Embedding({"image": pair.embedding.arrays["image"].astype(np.float16)}, (177, 256))
    exact = pair.model.decode(pair.embedding, [prompt])[0].low_res_logits
    close = pair.model.decode(half, [prompt])[0].low_res_logits
    assert 0 < np.abs(close - exact).max() < 0.02 * np.abs(exact).max()


def test_views_are_encoded_in_batches_where_the_device_gains(network: Sam) -> None:
    batches: list[int] = []
    fast = FastEncoder(network.image_encoder)

    def encoder(images: torch.Tensor) -> torch.Tensor:
        batches.append(len(images))
        return fast(images)

    model = SamModel(network, name="tiny", encoder=encoder)
    assert model.spec.batch == 1
    pixels = np.random.default_rng(4).random((5, 1, 177, 256), np.float32)
    one_by_one = model.encode(ViewBatch(pixels))
    model._spec = replace(model.spec, batch=3)
    together = model.encode(ViewBatch(pixels))
    assert batches == [1, 1, 1, 1, 1, 3, 2]
    for a, b in zip(one_by_one, together, strict=True):
        np.testing.assert_allclose(a.arrays["image"], b.arrays["image"], atol=1e-5)
