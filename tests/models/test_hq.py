"""HQ-SAM, Light HQ-SAM and MobileSAM against their package's own predictor, on random weights."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("timm", reason="the package timm is not installed (extra 'hq')")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    package = pytest.importorskip(
        "segment_anything_hq", reason="segment-anything-hq is not installed (extra 'hq')"
    )

from sammed.errors import BackendUnavailableError, ModelError, WeightsMismatchError
from sammed.models import registry
from sammed.models.contract import CHECKS
from sammed.models.hq import network as networks
from sammed.models.hq.model import HqSamModel, mobile_sam
from sammed.models.protocols import ViewBatch, ViewPrompt
from sammed.models.sam.model import SamModel
from sammed.views.slices import View
from tests.models.networks import random_sam, slice_image

SHAPE = (90, 130)
BOX = np.array([70.0, 20.0, 110.0, 50.0])
POINTS = np.array([[90.0, 35.0], [10.0, 12.0]])
PROMPTS: dict[str, dict[str, Any]] = {
    "box": {"box": BOX},
    "click": {"point_coords": POINTS[:1], "point_labels": np.array([1])},
    "box and clicks": {"box": BOX, "point_coords": POINTS, "point_labels": np.array([1, 0])},
    "box and mask": {"box": BOX, "mask_input": True},
}


def shaken(network: Any, seed: int) -> Any:
    """Seeded random weights of which every one counts."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "norm" in name or "bn" in name or "pos" in name or name.endswith("bias"):
                value.add_(0.1 * torch.randn_like(value))
            if name.startswith("mask_decoder") and "layers.2" in name and "iou" not in name:
                value.mul_(5)
    return network.requires_grad_(False).eval()


def small_hq() -> Any:
    """HQ-SAM with an encoder of two blocks at 256 px."""
    torch.manual_seed(1)
    parts = package.modeling
    encoder = parts.ImageEncoderViT(
        depth=3, embed_dim=32, img_size=256, num_heads=2, global_attn_indexes=(1, 2),
        window_size=14, use_rel_pos=True, out_chans=256,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )  # fmt: skip
    prompts = parts.PromptEncoder(
        embed_dim=256, image_embedding_size=(16, 16), input_image_size=(256, 256), mask_in_chans=16
    )
    transformer = parts.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=64, num_heads=8)
    decoder = parts.MaskDecoderHQ(transformer_dim=256, transformer=transformer, vit_dim=32)
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    return shaken(parts.Sam(encoder, prompts, decoder, mean, std), 2)


MAKERS = {
    "hq_sam_vit_b": small_hq,
    "hq_sam_tiny": lambda: shaken(networks.build_network("hq_sam_tiny"), 3),
    "mobile_sam": lambda: shaken(networks.build_network("mobile_sam"), 4),
}


class Pair:
    """One slice, seen by the package's predictor and by the adapter over the same network."""

    def __init__(self, name: str) -> None:
        network, image = MAKERS[name](), slice_image(SHAPE)
        self.predictor = package.SamPredictor(network)
        levels = np.rint(image * 255).astype(np.uint8)
        self.predictor.set_image(np.moveaxis(levels, 0, -1).repeat(3, -1))
        make = mobile_sam if name == "mobile_sam" else HqSamModel
        self.model: SamModel = make(network, name=name, weights_hash="1" * 64)
        self.view = View.whole(0, SHAPE, self.model.spec.view_size)
        pixels = self.view.render(image, self.model.spec.eight_bit)
        self.embedding = self.model.encode(ViewBatch(pixels[None]))[0]

    def ours(self, said: dict[str, Any]) -> Any:
        given: dict[str, Any] = {"mask": said.get("mask_input")}
        if "box" in said:
            given["box"] = self.view.points(said["box"].reshape(2, 2)[:, ::-1]).reshape(4)
        if "point_coords" in said:
            given["points"] = self.view.points(said["point_coords"][:, ::-1]) + np.float32(0.5)
            given["positive"] = said["point_labels"] == 1
        return self.model.decode(self.embedding, [ViewPrompt(**given)])[0]


@pytest.fixture(scope="module", params=MAKERS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


@pytest.mark.parametrize("kind", PROMPTS)
def test_masks_are_the_package_s_own(pair: Pair, kind: str) -> None:
    said = dict(PROMPTS[kind])
    if "mask_input" in said:
        size = pair.model.spec.mask_size
        said["mask_input"] = 3 * np.random.default_rng(1).standard_normal((size, size), np.float32)
    ours = pair.ours(said)
    told = {**said, "mask_input": said["mask_input"][None]} if "mask_input" in said else said
    _, single, masks = pair.predictor.predict(**told, multimask_output=False)
    np.testing.assert_allclose(ours.low_res_logits[:1], masks, atol=1e-4)
    np.testing.assert_allclose(ours.predicted_iou[:1], single, atol=1e-4)
    _, best, masks = pair.predictor.predict(**told, multimask_output=True)
    best_of_three = 1 + int(np.argmax(ours.predicted_iou[1:]))
    if len(masks) == 1:  # HQ-SAM gives the best of the three alone
        np.testing.assert_allclose(ours.low_res_logits[best_of_three][None], masks, atol=1e-4)
    else:
        np.testing.assert_allclose(ours.low_res_logits[1:], masks, atol=1e-4)
    np.testing.assert_allclose(ours.predicted_iou[1:].max(), np.max(best), atol=1e-4)
    assert 0 < np.count_nonzero(masks > 0) < masks.size


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_hq_sam_keeps_the_contract(check: Any) -> None:
    check(HqSamModel(small_hq(), name="hq_sam_vit_b", weights_hash="1" * 64))


def test_files_are_recognised_and_others_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    file = tmp_path / "mine.pth"
    state = MAKERS["mobile_sam"]().state_dict()
    torch.save(state, file)
    model = registry.build(str(file))
    assert (model.spec.name, type(model)) == ("mobile_sam", SamModel)
    with pytest.raises(WeightsMismatchError, match="holds weights of mobile_sam; expected hq_sam"):
        registry.build("hq_sam_tiny", weights=file)
    torch.save({k: v for k, v in state.items() if "neck" not in k}, file)
    with pytest.raises(WeightsMismatchError, match=r"missing \(first: image_encoder.neck"):
        registry.build(str(file))
    torch.save(random_sam(image_size=256).state_dict(), file)
    with pytest.raises(WeightsMismatchError, match="holds no weights of HQ-SAM or MobileSAM"):
        registry.build("mobile_sam", weights=file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="is truncated"):
        registry.build("mobile_sam", weights=file)


def test_without_its_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_lacking", lambda extra: ["timm"])
    with pytest.raises(BackendUnavailableError, match=r'needs the package timm.*"sammed\[hq\]"'):
        registry.build("mobile_sam")
