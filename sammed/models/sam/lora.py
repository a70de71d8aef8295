"""Low-rank branches in segment-anything's image encoder: few weights that change what it sees.

Beside the matrix ``W`` that makes queries, and beside the one that makes values, in each block's
attention, stands a branch of two thin matrices: ``W x + scale * B (A x)``, where ``A`` has a few
rows, the rank, and ``B`` as many columns (Hu et al. 2021, LoRA, arXiv:2106.09685). That queries and
values of each block are enough for medical images is SAMed's finding (Zhang and Liu 2023,
arXiv:2304.13785); SAM-Adapter (Chen et al. 2023, arXiv:2304.09148) does the like with layers that
cannot be merged.

``W`` itself never learns. Afterwards the branches vanish into it: ``W + scale * B A`` is the same
map, so that the encoder in use is as quick as before.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sammed.errors import InputError, WeightsMismatchError
from sammed.models.checkpoints import check_tensors

CHANGED = ("q", "v")
"""What branches change in a block, in the order of the rows of its matrix; keys stay."""


class Branch(nn.Module):
    """A change of a matrix by few numbers.

    Parameters
    ----------
    dim
        Rows and columns of the matrix.
    rank
        Of the change.
    generator
        Source of randomness of ``A``; ``B`` begins as 0, so that nothing is changed at first.
    """

    def __init__(self, dim: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = math.sqrt(3 / dim)
        self.a = nn.Parameter((2 * torch.rand(rank, dim, generator=generator) - 1) * bound)
        self.b = nn.Parameter(torch.zeros(dim, rank))

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the matrix' product with ``x`` (..., dim), before it is scaled."""
        return functional.linear(functional.linear(x, self.a), self.b)

    @property
    def change(self) -> Tensor:
        """The matrix that it stands for, (dim, dim)."""
        return self.b @ self.a


class Lora(nn.Module):
    """Branches for all blocks of an encoder.

    Parameters
    ----------
    encoder
        segment-anything's; stays as it is.
    rank
        Of each change, from 1 to the encoder's width.
    scale
        What branches are multiplied by.
    seed
        Of their beginning.

    Raises
    ------
    InputError
        If there is no such rank.

    Examples
    --------
    >>> from sammed.models.sam.network import Architecture, build_network
    >>> encoder = build_network(Architecture(32, 2, 2, (1,)), 64).image_encoder
    >>> lora = Lora(encoder, rank=4)
    >>> sum(p.numel() for p in lora.parameters()), sum(p.numel() for p in encoder.parameters())
    (1024, 650656)
    """

    def __init__(
        self, encoder: ImageEncoderViT, rank: int, scale: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        dim = check_rank(encoder, rank)
        self.scale = scale
        generator = torch.Generator().manual_seed(seed)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: Branch(dim, rank, generator) for name in CHANGED})
            for _ in encoder.blocks
        )

    def beside(self, encoder: ImageEncoderViT) -> ImageEncoderViT:
        """A twin of an encoder that shares its weights, and does what the branches say as well.

        Gradients pass to the branches. What a block computes on the way is computed again for
        them and not kept: a block of ViT-B at 1024 px takes gigabytes.

        Parameters
        ----------
        encoder
            Of the same width and depth; stays as it is.
        """
        twin = _twin(encoder, tuple(encoder.state_dict(keep_vars=True).values()))
        for block, branches in zip(twin.blocks, self.blocks, strict=True):
            block.attn.qkv.register_forward_hook(partial(self._added, branches))
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        return twin

    def _added(self, branches: Any, module: nn.Module, given: tuple[Tensor], out: Tensor) -> Tensor:
        (x,), (q, k, v) = given, out.chunk(3, -1)
        return torch.cat((q + self.scale * branches.q(x), k, v + self.scale * branches.v(x)), -1)

    @torch.no_grad()
    def merged(self, encoder: ImageEncoderViT) -> ImageEncoderViT:
        """An encoder that has the branches in its weights; shares all others with the given one.

        Parameters
        ----------
        encoder
            Of the same width and depth; stays as it is.
        """
        tensors = encoder.state_dict(keep_vars=True).items()
        twin = _twin(encoder, [t for name, t in tensors if not name.endswith(".qkv.weight")])
        for block, branches in zip(twin.blocks, self.blocks, strict=True):
            q, _, v = block.attn.qkv.weight.chunk(3)
            for rows, name in zip((q, v), CHANGED, strict=True):
                change = cast(Branch, cast(Any, branches)[name]).change
                rows += self.scale * change.to(rows.device)
        return twin


def lora_of(
    encoder: ImageEncoderViT, stored: Mapping[str, Tensor], scale: float, what: str
) -> Lora:
    """Branches that were stored.

    Parameters
    ----------
    encoder
        That they are for.
    stored
        Their state.
    scale
        Theirs.
    what
        They are called so in messages.

    Raises
    ------
    WeightsMismatchError
        If they are for another encoder.
    """
    first = stored.get("blocks.0.q.a")
    rank = 0 if first is None else len(first)
    try:
        lora = Lora(encoder, rank, scale)
    except InputError as error:
        raise WeightsMismatchError(f"{what} cannot be used: {error}") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in lora.state_dict().items()}
    check_tensors(shapes, wanted, what)
    lora.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    return lora.requires_grad_(False)


def check_rank(encoder: ImageEncoderViT, rank: int) -> int:
    """The width of an encoder, if branches of a rank fit into it.

    Raises
    ------
    InputError
        If they do not.
    """
    dim = int(encoder.patch_embed.proj.out_channels)
    if not 1 <= rank <= dim:
        raise InputError(f"no branches of rank {rank}; expected 1 to {dim}, say 4")
    return dim


def _twin(encoder: ImageEncoderViT, shared: Any) -> ImageEncoderViT:
    """A copy with tensors of its own, but for those that are named."""
    return copy.deepcopy(encoder, {id(tensor): tensor for tensor in shared})
