"""Sam2Model against SAM 2's own predictor for videos: random weights, the same frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sam2", reason="the package sam2 is not installed (extra 'sam2')")

from sammed.models.contract import CHECKS, Check, check_memory
from sammed.models.protocols import Embedding, ViewBatch, ViewMask, ViewPrompt
from sammed.models.sam.packed_linear import quicken
from sammed.models.sam2 import attention as sam2_attention
from sammed.models.sam2 import encoder as sam2_encoder
from sammed.models.sam2.attention import SAFE_LOGIT
from sammed.models.sam2.model import Sam2Model
from tests.models.sam2_networks import SIZE, frames, predictor_of, random_sam2

TOLERANCE = 1e-4
BOX_XYXY = np.array([90.0, 55.0, 166.0, 150.0], np.float32)
CLICKS_XY = np.array([[128.0, 100.0], [20.0, 30.0]], np.float32)
ELLIPSE = ((np.mgrid[:SIZE, :SIZE] / SIZE - [[[0.4]], [[0.5]]]) ** 2).sum(0) < 0.03

PROMPTS: dict[str, dict[str, Any]] = {
    "box": {"box": BOX_XYXY},
    "click": {"points": CLICKS_XY[:1], "labels": np.array([1])},
    "two clicks": {"points": CLICKS_XY, "labels": np.array([1, 0])},
    "box and click": {"box": BOX_XYXY, "points": CLICKS_XY[1:], "labels": np.array([0])},
    "mask": {"mask": ELLIPSE},
}


class Video:
    """The same frames for both, with the same weights."""

    def __init__(self, folder: Path, count: int, architecture: str = "sam2.1_tiny") -> None:
        self.count, self.folder = count, folder
        pixels = frames(folder, count)
        network = random_sam2(architecture)
        self.predictor = predictor_of(network, architecture)
        self.model = Sam2Model(network, name=architecture)
        self.embeddings = [self.model.encode(ViewBatch(p[None]))[0] for p in pixels]

    def theirs(
        self, prompted: dict[int, dict[str, Any]], *, reverse: bool = False
    ) -> dict[int, np.ndarray]:
        """Logits in the frames' pixels, as the predictor gives them."""
        state = self.predictor.init_state(str(self.folder))
        for index, prompt in prompted.items():
            if "mask" in prompt:
                self.predictor.add_new_mask(state, index, 1, prompt["mask"])
            else:
                self.predictor.add_new_points_or_box(state, index, 1, **prompt)
        start = max(prompted) if reverse else min(prompted)
        found = self.predictor.propagate_in_video(state, start, reverse=reverse)
        return {index: logits[0, 0].numpy() for index, _, logits in found}

    def ours(
        self, prompted: dict[int, dict[str, Any]], *, reverse: bool = False
    ) -> dict[int, ViewMask]:
        """The same by the adapter, in the same order of frames."""
        memory, answers = self.model.begin(self.count), {}
        for index, prompt in prompted.items():
            (answer,) = self.model.decode(self.embeddings[index], [as_ours(prompt)])
            answers[index] = answer.only(answer.best)
            memory = self.model.remember(
                memory, index, self.embeddings[index], answers[index], prompted=True
            )
        direction = -1 if reverse else 1
        start = max(prompted) if reverse else min(prompted)
        for index in range(start, -1 if reverse else self.count, direction):
            if index in prompted:
                continue
            embedding = self.embeddings[index]
            answer = self.model.track(memory, index, embedding, direction=direction)
            answers[index] = answer.only(answer.best)
            memory = self.model.remember(memory, index, embedding, answers[index], prompted=False)
        return answers

    def compare(self, prompted: dict[int, dict[str, Any]], *, reverse: bool = False) -> None:
        theirs = self.theirs(prompted, reverse=reverse)
        ours = self.ours(prompted, reverse=reverse)
        assert theirs.keys() <= ours.keys()
        varied = 0
        for index, logits in theirs.items():
            shown = upsampled(ours[index].low_res_logits)
            np.testing.assert_allclose(shown, logits, atol=TOLERANCE, err_msg=f"slice {index}")
            varied += 0 < np.count_nonzero(logits > 0) < logits.size
        assert varied == len(theirs), "masks that are empty or full compare nothing"


def as_ours(prompt: dict[str, Any]) -> ViewPrompt:
    """The predictor's (x, y) prompt as ours; its points are pixel indices."""
    given: dict[str, Any] = {}
    if "box" in prompt:
        given["box"] = prompt["box"][[1, 0, 3, 2]]
    if "points" in prompt:
        given["points"] = prompt["points"][:, ::-1] + np.float32(0.5)
        given["positive"] = prompt["labels"] == 1
    if "mask" in prompt:
        given["mask"] = np.where(prompt["mask"], 8, -8).astype(np.float32)
    return ViewPrompt(**given)


def upsampled(low_res: np.ndarray) -> np.ndarray:
    from torch.nn import functional

    return functional.interpolate(
        torch.from_numpy(low_res)[None], (SIZE, SIZE), mode="bilinear", align_corners=False
    )[0, 0].numpy()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Video:
    """Fewer frames than SAM 2 keeps pointers of."""
    return Video(tmp_path_factory.mktemp("short"), 11)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_it_tracks_as_sam_2_does(short: Video, prompt: str, reverse: bool) -> None:
    short.compare({5: PROMPTS[prompt]}, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_several_prompted_slices_are_conditioning_frames(short: Video, reverse: bool) -> None:
    said = {2: PROMPTS["box"], 6: PROMPTS["mask"], 9: PROMPTS["click"]}
    short.compare(said, reverse=reverse)


def test_it_forgets_what_sam_2_no_longer_looks_at(tmp_path: Path) -> None:
    Video(tmp_path, 26).compare({1: PROMPTS["box"]})


def test_sam_2_0_tracks_the_same(tmp_path: Path) -> None:
    Video(tmp_path, 10, "sam2_tiny").compare({0: PROMPTS["box"]})


@pytest.fixture(scope="module")
def model() -> Sam2Model:
    return Sam2Model(random_sam2(), name="sam2.1_tiny", weights_hash="1" * 64)


@pytest.mark.parametrize("check", [*CHECKS, check_memory], ids=lambda check: check.__name__)
def test_it_keeps_the_contract(model: Sam2Model, check: Check) -> None:
    check(model)


def test_an_object_that_is_not_there_is_absent_as_sam_2_says() -> None:
    model = Sam2Model(random_sam2(presence=-50), name="sam2.1_tiny")
    (embedding,) = model.encode(ViewBatch(np.full((1, 1, SIZE, SIZE), 0.5, np.float32)))
    (answer,) = model.decode(embedding, [as_ours(PROMPTS["box"])])
    assert answer.present < 0.5
    assert (answer.low_res_logits == -1024).all()


def test_a_slice_that_is_not_square_is_stretched_and_its_masks_come_back(model: Sam2Model) -> None:
    tall = np.random.default_rng(2).random((1, 1, SIZE, SIZE // 2), np.float32)
    (embedding,) = model.encode(ViewBatch(tall))
    shown: list[np.ndarray] = []
    for (h, w), box in (((SIZE, SIZE // 2), [50, 30, 150, 90]), ((SIZE, SIZE), [50, 60, 150, 180])):
        seen = Embedding(embedding.arrays, (h, w))
        (answer,) = model.decode(seen, [ViewPrompt(box=np.array(box, np.float32))])
        shown.append(answer.low_res_logits[0])
    m = shown[0].shape[-1]
    halved = shown[1].reshape(m, m // 2, 2).mean(2)
    np.testing.assert_allclose(shown[0][:, : m // 2], halved, atol=1e-3)


def test_a_memory_of_stretched_slices_is_made_of_the_network_s_own_logits(
    model: Sam2Model,
) -> None:
    views = np.random.default_rng(2).random((2, 1, SIZE, SIZE // 2), np.float32)
    first, second = model.encode(ViewBatch(views))
    (answer,) = model.decode(first, [ViewPrompt(box=np.array([50, 30, 150, 90], np.float32))])
    own = answer.only(answer.best)
    square = Embedding(first.arrays, (SIZE, SIZE))
    (same,) = model.decode(square, [ViewPrompt(box=np.array([50, 60, 150, 180], np.float32))])
    memories = [
        model.remember(model.begin(2), 0, first, own, prompted=True),
        model.remember(model.begin(2), 0, square, same.only(same.best), prompted=True),
    ]
    square_second = Embedding(second.arrays, (SIZE, SIZE))
    one, other = (model.track(m, 1, square_second, direction=1) for m in memories)
    np.testing.assert_allclose(one.low_res_logits, other.low_res_logits, atol=TOLERANCE)


@pytest.mark.parametrize("loudness", [0.3, 8.0])
@pytest.mark.parametrize("kind", ["cross_attn_image", "self_attn"])
def test_the_lean_looks_are_sam_2_s(
    model: Sam2Model, kind: str, loudness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam2_attention, "KEYS", 100)
    monkeypatch.setattr(sam2_attention, "QUERIES", 90)
    torch.manual_seed(4)
    attention = getattr(model._network.memory_attention.layers[0], kind)
    across = kind == "cross_attn_image"
    wide, many, apart = (64, 3 * 256 + 8, 8) if across else (256, 256, 0)
    q, k, v = (torch.randn(1, n, c) for n, c in ((256, 256), (many, wide), (many, wide)))
    with torch.inference_mode():
        queries, keys = attention.forward._rotated(loudness * q[0], k[0], apart)
        longest = queries.norm(dim=1).max() * keys.norm(dim=1).max()
        assert (longest < SAFE_LOGIT) == (loudness < 1)
        own = type(attention).forward(attention, loudness * q, k, v, num_k_exclude_rope=apart)
        ours = attention(loudness * q, k, v, num_k_exclude_rope=apart)
    torch.testing.assert_close(ours, own, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["sam2.1_tiny", "sam2_tiny"])
def test_the_lean_encoder_is_sam_2_s(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam2_encoder, "WHOLE", 0)
    network = random_sam2(architecture)
    theirs = predictor_of(network, architecture)
    Sam2Model(network, name=architecture)
    torch.manual_seed(6)
    image = torch.randn(1, 3, SIZE, SIZE)
    with torch.inference_mode():
        ours = sam2_encoder.levels(network, image)
        expected = theirs.forward_image(image)["backbone_fpn"]
        for mine, own in zip(ours, expected, strict=True):
            torch.testing.assert_close(mine, own, atol=1e-5, rtol=1e-4)
        network.image_encoder.neck.fuse_type = theirs.image_encoder.neck.fuse_type = "avg"
        for mine, own in zip(
            sam2_encoder.levels(network, image),
            theirs.forward_image(image)["backbone_fpn"],
            strict=True,
        ):
            torch.testing.assert_close(mine, own, atol=1e-5, rtol=1e-4)


def test_linear_layers_are_quicker_and_the_same() -> None:
    torch.manual_seed(5)
    network = torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.GELU(), torch.nn.Linear(40, 8))
    x = torch.randn(3, 70, 24)
    expected = network(x).detach()
    quicken(network)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(network(x[0, :2]), expected[0, :2], atol=1e-6, rtol=1e-5)
        few = network(x.transpose(0, 1))
        torch.testing.assert_close(few, expected.transpose(0, 1), atol=1e-6, rtol=1e-5)
    network(x).sum().backward()
    assert float(network[0].weight.grad.abs().max()) > 0
    with torch.no_grad():
        network[0].weight.mul_(2)
    with torch.inference_mode():
        assert float((network(x) - expected).abs().max()) > 0.01
