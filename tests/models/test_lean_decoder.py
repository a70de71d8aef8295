"""The lean mask decoder against segment-anything's own, on seeded random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from sammed.models.protocols import ViewBatch, ViewPrompt
from sammed.models.sam import lean_decoder as lean
from sammed.models.sam.model import SamModel
from sammed.models.sam.packed_linear import has_onednn
from tests.models.networks import TINY, random_sam

SHORT = pytest.mark.skipif(not has_onednn(), reason="this PyTorch has no oneDNN")


@pytest.fixture
def network() -> Sam:
    return random_sam(TINY, 256)


@pytest.fixture
def asked(network: Sam) -> dict[str, Tensor]:
    """Two boxes, each with a mask, on one embedding."""
    torch.manual_seed(4)
    with torch.inference_mode():
        boxes = torch.tensor([[20.0, 30, 200, 180], [100, 5, 140, 250]])
        sparse, dense = network.prompt_encoder(
            points=None, boxes=boxes, masks=3 * torch.randn(2, 1, 64, 64)
        )
        return {
            "image_embeddings": torch.randn(1, 256, 16, 16),
            "image_pe": network.prompt_encoder.get_dense_pe(),
            "sparse_prompt_embeddings": sparse,
            "dense_prompt_embeddings": dense,
        }


def compare(mine: Any, theirs: Any, asked: dict[str, Tensor]) -> Tensor:
    """Same masks and scores; the masks."""
    with torch.inference_mode():
        ours, expected = mine.predict_masks(**asked), theirs.predict_masks(**asked)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    masks: Tensor = ours[0]
    assert 0 < int((masks > 0).sum()) < masks.numel()
    return masks


def test_masks_and_scores_are_the_same(network: Sam, asked: dict[str, Tensor]) -> None:
    masks = compare(lean.lean_decoder(network.mask_decoder), network.mask_decoder, asked)
    assert float((masks[0] - masks[1]).abs().max()) > 1  # the prompts count


def test_logits_too_large_for_the_short_way(
    network: Sam, asked: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean, "SAFE_LOGIT", 0.0)
    compare(lean.lean_decoder(network.mask_decoder), network.mask_decoder, asked)
    monkeypatch.undo()
    with torch.no_grad():  # logits of hundreds: their exponentials would be infinite
        for layer in network.mask_decoder.transformer.layers:
            layer.cross_attn_image_to_token.q_proj.weight.mul_(500)
    mine = lean.lean_decoder(network.mask_decoder)
    with torch.inference_mode():
        assert bool(mine.predict_masks(**asked)[0].isfinite().all())


def test_changed_weights_count_at_once(network: Sam, asked: dict[str, Tensor]) -> None:
    mine = lean.lean_decoder(network.mask_decoder)
    before = compare(mine, network.mask_decoder, asked)
    with torch.no_grad():
        for name, parameter in network.mask_decoder.named_parameters():
            if "transformer" in name or "upscaling" in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    after = compare(mine, network.mask_decoder, asked)
    assert float((after - before).abs().max()) > 0.1
    other = random_sam(TINY, 256, seed=9).mask_decoder.state_dict()
    network.mask_decoder.load_state_dict(other, assign=True)
    loaded = compare(mine, network.mask_decoder, asked)
    assert float((loaded - after).abs().max()) > 0.1


class Adapted(nn.Linear):
    """A linear layer with something added to it that its weights do not show."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.tanh(x[..., : self.out_features])


def test_layers_with_an_adapter_are_asked_themselves(
    network: Sam, asked: dict[str, Tensor]
) -> None:
    mine = lean.lean_decoder(network.mask_decoder)
    before = compare(mine, network.mask_decoder, asked)
    look = network.mask_decoder.transformer.layers[1].cross_attn_token_to_image
    look.k_proj.__class__ = Adapted
    after = compare(mine, network.mask_decoder, asked)
    assert float((after - before).abs().max()) > 1e-3


def test_the_network_itself_stays_as_it_is(network: Sam) -> None:
    SamModel(network, name="tiny")
    lean.with_lean_decoder(network)
    decoder = network.mask_decoder
    assert decoder.transformer.forward.__func__ is type(decoder.transformer).forward
    assert "forward" not in vars(decoder.output_upscaling)
    assert lean.lean_decoder(decoder).iou_token is decoder.iou_token


@SHORT
def test_the_model_goes_the_short_way(network: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("segment-anything's own forward was called")

    model = SamModel(network, name="tiny")
    (embedding,) = model.encode(ViewBatch(np.full((1, 1, 256, 256), 0.5, np.float32)))
    monkeypatch.setattr(type(network.mask_decoder.transformer), "forward", refused)
    for convolution in (0, 3):
        monkeypatch.setattr(network.mask_decoder.output_upscaling[convolution], "forward", refused)
    box = ViewPrompt(box=np.array([20, 30, 100, 120], np.float32))
    assert model.decode(embedding, [box])[0].low_res_logits.shape == (4, 64, 64)
