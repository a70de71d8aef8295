"""The fast encoder against segment-anything's own forward."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from segment_anything.modeling.image_encoder import Block
from torch import Tensor, nn

from sammed.models.sam import attention, packed_linear
from sammed.models.sam.attention import RelativePositions, attend
from sammed.models.sam.fast_encoder import FastBlock, FastEncoder
from sammed.models.sam.network import ARCHITECTURES
from sammed.models.sam.packed_linear import PackedLinear
from tests.models.networks import TINY, random_sam

RELATIVE = 1e-4


def close(found: Tensor, expected: Tensor, tolerance: float = RELATIVE) -> None:
    assert found.shape == expected.shape
    assert expected.abs().max() > 0.1
    assert ((found - expected).abs().max() / expected.abs().max()).item() < tolerance


def a_block(dim: int, heads: int, window: int, table: tuple[int, int]) -> Block:
    """A block whose relative positions matter; its tables may be for another grid than is fed."""
    torch.manual_seed(dim + window)
    block = Block(
        dim,
        heads,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        input_size=table,
    ).eval()
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            if "rel_pos" in name or "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return block.requires_grad_(False)


@pytest.fixture(params=["onednn", "plain"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of matrix products, where the computer has both."""
    if request.param == "plain":
        monkeypatch.setattr(packed_linear, "has_onednn", lambda: False)
        monkeypatch.setattr(attention, "has_onednn", lambda: False)
    elif not packed_linear.has_onednn():
        pytest.skip("this PyTorch has no oneDNN")
    return str(request.param)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("grid", [(14, 14), (28, 14), (13, 17), (5, 7), (15, 29)])
def test_windowed_blocks(grid: tuple[int, int]) -> None:
    block = a_block(48, 3, 14, (14, 14))
    x = torch.randn(2, *grid, 48)
    with torch.inference_mode():
        expected = block(x)
        close(FastBlock(block, grid)(x.reshape(-1, 48), 2).view_as(expected), expected)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("grid", [(48, 48), (11, 7), (33, 37)])
@pytest.mark.parametrize("table", [(40, 40), None])
def test_global_blocks(grid: tuple[int, int], table: tuple[int, int] | None) -> None:
    block = a_block(24, 2, 0, table or grid)
    x = torch.randn(1, *grid, 24)
    with torch.inference_mode():
        expected = block(x)
        close(FastBlock(block, grid)(x.reshape(-1, 24), 1).view_as(expected), expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("window", [14, 0])
def test_a_block_of_each_vit(name: str, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BANDED_FROM", 64)
    size = ARCHITECTURES[name]
    grid = (17, 15) if window else (13, 11)
    block = a_block(size.dim, size.heads, window, (14, 14) if window else grid)
    x = torch.randn(1, *grid, size.dim)
    with torch.inference_mode():
        expected = block(x)
        close(FastBlock(block, grid)(x.reshape(-1, size.dim), 1).view_as(expected), expected)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("size", [224, 256, 512])
def test_whole_encoders_and_batches(size: int) -> None:
    encoder = random_sam(TINY, size).image_encoder
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        close(FastEncoder(encoder)(images), encoder(images))


@pytest.mark.parametrize("heads", [1, 3, 16])
def test_the_path_of_a_gpu(heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images in one batch, plain weights, SDPA for some heads at a time: here on the CPU."""
    monkeypatch.setattr(attention, "HEADS_AT_ONCE", heads)
    monkeypatch.setattr(attention, "BANDED_FROM", 16)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    encoder = random_sam(TINY, 240).image_encoder
    images = torch.randn(3, 3, 240, 240)
    with torch.inference_mode():
        close(FastEncoder(encoder, pack=False)._embed_batch(images), encoder(images))


@pytest.mark.thorough
def test_a_whole_vit_b() -> None:
    encoder = random_sam(ARCHITECTURES["vit_b"], 128).image_encoder
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        close(FastEncoder(encoder)(images), encoder(images))


@pytest.mark.parametrize("band_bytes", [1, 4096, 1 << 30])
def test_bands_of_any_height(band_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BAND_BYTES", band_bytes)
    torch.manual_seed(2)
    grid, d = (33, 35), 8
    tables = RelativePositions(torch.randn(65, d), torch.randn(69, d), grid)
    q, k, v = torch.randn(3, 2, 33 * 35, d)
    with torch.inference_mode():
        rows, cols = tables.terms(q)
        logits = q @ k.transpose(1, 2) * d**-0.5 + (rows + cols).flatten(2)
        close(attend(q, k, v, tables), logits.softmax(-1) @ v, 1e-5)


def test_large_logits_do_not_overflow() -> None:
    grid, d = (33, 33), 4
    tables = RelativePositions(torch.full((65, d), 40.0), torch.zeros(65, d), grid)
    q = torch.full((1, 33 * 33, d), 60.0)
    found = attend(q, q.clone(), torch.ones_like(q), tables)
    np.testing.assert_allclose(found.numpy(), 1, rtol=1e-5)


def test_the_encoder_is_not_changed() -> None:
    encoder = random_sam(TINY, 224).image_encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = torch.randn(1, 3, 224, 224)
    kept = images.clone()
    FastEncoder(encoder)(images)
    assert torch.equal(images, kept)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_is_close_but_not_the_same(dtype: torch.dtype) -> None:
    encoder = random_sam(TINY, 224).image_encoder
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = encoder(images)
        found = FastEncoder(encoder, dtype)(images)
    assert found.dtype == torch.float32
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    assert 1e-5 < error < 0.05


@pytest.mark.usefixtures("kernels")
def test_packed_linear_fuses_gelu_and_addition() -> None:
    torch.manual_seed(1)
    layer = nn.Linear(24, 40)
    x, add = torch.randn(7, 24), torch.randn(7, 40)
    fast = PackedLinear(layer.weight, layer.bias, 7)
    kept = add.clone()
    with torch.inference_mode():
        close(fast(x), layer(x), 1e-5)
        close(fast(x, gelu=True), nn.functional.gelu(layer(x)), 1e-5)
        close(fast(x, add=add), layer(x) + add, 1e-5)
        close(PackedLinear(layer.weight, None, 7)(x), x @ layer.weight.T, 1e-5)
    assert torch.equal(add, kept)


def test_onednn_is_not_used_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    packed_linear.has_onednn.cache_clear()
    try:
        monkeypatch.setattr(packed_linear, "fused", lambda *_, **__: torch.zeros(8, 16))
        assert packed_linear.has_onednn() is False
        packed_linear.has_onednn.cache_clear()
        monkeypatch.setattr(
            packed_linear, "fused", lambda *_, **__: torch.ops.mkldnn.no_such_operator()
        )
        assert packed_linear.has_onednn() is False
    finally:
        packed_linear.has_onednn.cache_clear()
