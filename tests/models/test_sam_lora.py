"""Branches in segment-anything's encoder against plain fine-tuning of its matrices."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor

from sammed.errors import InputError, WeightsMismatchError
from sammed.models.sam.fast_encoder import FastEncoder
from sammed.models.sam.lora import Lora, check_rank, lora_of
from tests.models.networks import random_sam

SCALE = 0.7


@pytest.fixture(scope="module")
def encoder() -> ImageEncoderViT:
    return random_sam(image_size=256).image_encoder  # windows of 14 in 16 x 16 tokens: padded ones


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def branches(encoder: ImageEncoderViT) -> Lora:
    lora = Lora(encoder, 3, SCALE, seed=2)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, value in lora.named_parameters():
            if name.endswith(".b"):
                value.normal_(0, 0.3, generator=generator)
    return lora


def loss_of(embedded: Tensor) -> Tensor:
    """Any that depends on all of it."""
    wanted = torch.randn(embedded.shape, generator=torch.Generator().manual_seed(7))
    return (embedded - wanted).square().mean()


def plain(encoder: ImageEncoderViT, lora: Lora | None = None) -> ImageEncoderViT:
    """segment-anything's own encoder, of which queries' and values' matrices learn; merged here."""
    twin = copy.deepcopy(encoder)
    for number, block in enumerate(twin.blocks):
        weight = block.attn.qkv.weight.detach().clone()
        dim = weight.shape[1]
        if lora is not None:
            own = lora.state_dict()
            for first, name in ((0, "q"), (2 * dim, "v")):
                a, b = (own[f"blocks.{number}.{name}.{which}"] for which in "ab")
                weight[first : first + dim] += SCALE * (b @ a)
        block.attn.qkv.weight = torch.nn.Parameter(weight)
    return twin


def test_at_first_nothing_changes(encoder: ImageEncoderViT, images: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(Lora(encoder, 4).beside(encoder)(images), encoder(images))


def test_branches_answer_as_the_merged_weights_do_through_the_fast_encoder(
    encoder: ImageEncoderViT, branches: Lora, images: Tensor
) -> None:
    before = copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        beside, untouched = branches.beside(encoder)(images), encoder(images)
        merged = branches.merged(encoder)
        torch.testing.assert_close(merged(images), beside, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(plain(encoder, branches)(images), beside, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(FastEncoder(merged)(images), beside, rtol=1e-4, atol=1e-4)
    assert float((beside - untouched).abs().max()) > 0.1
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
    shared = dict(merged.named_parameters())
    for name, value in encoder.named_parameters():
        assert (shared[name] is value) == (not name.endswith("qkv.weight"))


def test_gradients_are_the_chain_rule_of_a_plain_fine_tunes(
    encoder: ImageEncoderViT, branches: Lora, images: Tensor
) -> None:
    loss_of(branches.beside(encoder)(images)).backward()
    whole = plain(encoder, branches)
    loss_of(whole(images)).backward()
    for block, pairs in zip(whole.blocks, branches.blocks, strict=True):
        gradient = block.attn.qkv.weight.grad
        of_q, _, of_v = gradient.chunk(3)
        for rows, branch in ((of_q, pairs["q"]), (of_v, pairs["v"])):
            assert float(rows.abs().max()) > 1e-6
            torch.testing.assert_close(
                branch.a.grad, SCALE * branch.b.detach().T @ rows, rtol=1e-3, atol=1e-7
            )
            torch.testing.assert_close(
                branch.b.grad, SCALE * rows @ branch.a.detach().T, rtol=1e-3, atol=1e-7
            )
    assert all(p.grad is None for p in encoder.parameters())


def test_of_full_rank_it_takes_the_step_that_plain_fine_tuning_takes(
    encoder: ImageEncoderViT, images: Tensor
) -> None:
    rate, dim = 0.5, check_rank(encoder, 32)
    lora = Lora(encoder, dim)
    turned = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(8)))[0]
    with torch.no_grad():
        for name, value in lora.named_parameters():
            if name.endswith(".a"):
                value.copy_(turned)  # orthonormal: B A can be any matrix, and is as long as B
    loss_of(lora.beside(encoder)(images)).backward()
    torch.optim.SGD(lora.parameters(), rate).step()
    whole = plain(encoder)
    loss_of(whole(images)).backward()
    merged = lora.merged(encoder)
    for block, other, at_first in zip(whole.blocks, merged.blocks, encoder.blocks, strict=True):
        weight = block.attn.qkv.weight
        q, k, v = (weight - rate * weight.grad).detach().chunk(3)
        ours, kept = other.attn.qkv.weight.chunk(3), at_first.attn.qkv.weight.chunk(3)
        for stepped, own, first in ((q, ours[0], kept[0]), (v, ours[2], kept[2])):
            assert float((stepped - first).abs().max()) > 1e-5
            torch.testing.assert_close(own, stepped, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(ours[1], kept[1], rtol=0, atol=0)  # keys have no branch
        assert float((k - kept[1]).abs().max()) > 0


def test_branches_are_stored_and_found_again(encoder: ImageEncoderViT, branches: Lora) -> None:
    stored = {name: value.half() for name, value in branches.state_dict().items()}
    again = lora_of(encoder, stored, SCALE, "it")
    for name, value in again.state_dict().items():
        assert torch.equal(value, stored[name].float())
    other = random_sam().image_encoder
    del other.blocks[1]
    with pytest.raises(WeightsMismatchError, match=r"it does not fit the model: .*unexpected"):
        lora_of(other, stored, SCALE, "it")
    with pytest.raises(WeightsMismatchError, match="it cannot be used: no branches of rank 0"):
        lora_of(encoder, {}, SCALE, "it")


@pytest.mark.parametrize("rank", [0, -1, 33])
def test_ranks_that_there_are_none_of(encoder: ImageEncoderViT, rank: int) -> None:
    with pytest.raises(InputError, match=f"no branches of rank {rank}; expected 1 to 32, say 4"):
        Lora(encoder, rank)
