"""segment-anything's image encoder, the same numbers in a fraction of the time.

What differs from ``segment_anything.modeling.ImageEncoderViT.forward``: weights are packed once and
GELU and residuals are fused into the matrix products (`sammed.models.sam.packed_linear`); logits
of the attention stay in the cache (`sammed.models.sam.attention`); the windows' padding tokens,
which are constant, are not multiplied, and nothing is computed for them after the attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Block
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.sam.attention import RelativePositions, attend
from sammed.models.sam.packed_linear import PackedLinear

Grid = tuple[int, int]


class FastEncoder:
    """Computes what an image encoder computes.

    Parameters
    ----------
    encoder
        segment-anything's encoder with its weights, in evaluation mode; not changed.
    dtype
        What to compute in. ``torch.float32`` gives the encoder's own numbers to 1e-4 relative;
        ``torch.bfloat16`` and ``torch.float16`` are for processors that gain by them.
    pack
        Pack the weights; not for ``torch.compile``, which does that itself.
    """

    def __init__(
        self,
        encoder: ImageEncoderViT,
        dtype: torch.dtype = torch.float32,
        pack: bool = True,
    ) -> None:
        self.dtype = dtype
        self.size = int(encoder.img_size)
        patches = encoder.patch_embed.proj
        self._patch = int(patches.kernel_size[0])
        self._grid = (self.size // self._patch, self.size // self._patch)
        tokens = self._grid[0] * self._grid[1]
        make = _Maker(tokens, dtype, pack)
        self._embed = make.linear(patches.weight.flatten(1), patches.bias)
        self._positions = encoder.pos_embed.detach().to(dtype).reshape(tokens, -1)
        self._blocks = [FastBlock(block, self._grid, dtype, pack) for block in encoder.blocks]
        self._neck = _Neck(encoder, make)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Embed images.

        Parameters
        ----------
        images : (n, 3, size, size) float32
            Prepared as the network wants them.

        Returns
        -------
        (n, 256, g, g) float32
            ``g`` is the size over 16.
        """
        if images.device.type != "cpu":
            return self._embed_batch(images)
        return torch.cat([self._embed_batch(image[None]) for image in images])

    def _embed_batch(self, images: Tensor) -> Tensor:
        (n, c, _, _), (h, w), p = images.shape, self._grid, self._patch
        patches = images.to(self.dtype).reshape(n, c, h, p, w, p).permute(0, 2, 4, 1, 3, 5)
        positions = self._positions.repeat(n, 1)
        x = self._embed(patches.reshape(n * h * w, c * p * p), add=positions)
        for number, block in enumerate(self._blocks):
            x = block(x, n)
            self._after(number, x)
        return self._neck(x, n, self._grid).float()

    def _after(self, number: int, x: Tensor) -> None:
        """What is done with the tokens, (n * h * w, dim), after each block: nothing."""


class FastBlock:
    """One transformer block, windowed or global.

    Parameters
    ----------
    block
        segment-anything's block.
    grid
        Rows and columns of tokens.
    dtype, pack
        See `FastEncoder`.
    """

    def __init__(
        self, block: Block, grid: Grid, dtype: torch.dtype = torch.float32, pack: bool = True
    ) -> None:
        attention, make = block.attn, _Maker(grid[0] * grid[1], dtype, pack)
        self._grid = grid
        self._heads = int(attention.num_heads)
        self._window = int(block.window_size)
        self._norms = [make.norm(block.norm1), make.norm(block.norm2)]
        self._qkv = make.linear(attention.qkv.weight, attention.qkv.bias)
        self._proj = make.linear(attention.proj.weight, attention.proj.bias)
        self._lin1 = make.linear(block.mlp.lin1.weight, block.mlp.lin1.bias)
        self._lin2 = make.linear(block.mlp.lin2.weight, block.mlp.lin2.bias)
        side = (self._window, self._window) if self._window else grid
        self._positions = RelativePositions(attention.rel_pos_h, attention.rel_pos_w, side)

    @torch.no_grad()
    def __call__(self, x: Tensor, n: int) -> Tensor:
        """Tokens of ``n`` images, (n * h * w, dim), through the block."""
        qkv = self._qkv(self._norms[0](x))
        mixed = self._attend_windows(qkv, n) if self._window else self._attend_all(qkv, n)
        x = self._proj(mixed, add=x)
        return self._lin2(self._lin1(self._norms[1](x), gelu=True), add=x)

    def _attend_all(self, qkv: Tensor, n: int) -> Tensor:
        tokens = len(qkv) // n
        q, k, v = (
            qkv.view(n, tokens, 3, self._heads, -1)
            .permute(2, 0, 3, 1, 4)
            .reshape(3, n * self._heads, tokens, -1)
        )
        out = attend(q, k, v, self._positions).view(n, self._heads, tokens, -1)
        return out.transpose(1, 2).reshape(n * tokens, -1)

    def _attend_windows(self, qkv: Tensor, n: int) -> Tensor:
        """One row of windows at a time, which leaves less to fetch from memory."""
        (h, w), s = self._grid, self._window
        places = qkv.view(n, h, w, -1)
        out = qkv.new_empty(n, h, w, qkv.shape[-1] // 3)
        for top in range(0, h, s):
            band = places[:, top : top + s]
            out[:, top : top + s] = self._attend_row(band)[:, : band.shape[1], :w]
        return out.view(n * h * w, -1)

    def _attend_row(self, band: Tensor) -> Tensor:
        """Attention in the windows of up to ``s`` rows of tokens, (n, <= s, w, 3 * dim)."""
        n, height, w, depth = band.shape
        s, cols = self._window, -(-w // self._window)
        # A padding token is 0 before the product with the weights, so it is their bias after it.
        padded = band.new_empty(n, s, cols * s, depth)
        padded[:, :height, :w] = band
        padded[:, :height, w:] = self._padding(band)
        padded[:, height:] = self._padding(band)
        q, k, v = (
            padded.view(n, s, cols, s, 3, self._heads, -1)
            .permute(4, 0, 2, 5, 1, 3, 6)
            .reshape(3, n * cols * self._heads, s * s, -1)
        )
        out = attend(q, k, v, self._positions).view(n, cols, self._heads, s, s, -1)
        return out.permute(0, 3, 1, 4, 2, 5).reshape(n, s, cols * s, -1)

    def _padding(self, qkv: Tensor) -> Tensor:
        bias = self._qkv.bias
        return qkv.new_zeros(qkv.shape[-1]) if bias is None else bias


class _Norm:
    """Layer normalisation of (rows, dim) tokens."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._weight = norm.weight.detach().to(dtype)
        self._bias = norm.bias.detach().to(dtype)
        self._eps = float(norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self._weight.shape, self._weight, self._bias, self._eps)


class _Neck:
    """Tokens to the embedding: 1 x 1 and 3 x 3 convolutions, each normalised over channels."""

    def __init__(self, encoder: ImageEncoderViT, make: _Maker) -> None:
        reduce, first, conv, second = encoder.neck
        self._reduce = make.linear(reduce.weight.flatten(1), reduce.bias)
        self._norms = [make.norm(first), make.norm(second)]
        kernel = conv.weight.detach().to(make.dtype)
        self._kernel = kernel.contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Tensor, n: int, grid: Grid) -> Tensor:
        x = self._norms[0](self._reduce(x)).view(n, *grid, -1)
        x = functional.conv2d(x.permute(0, 3, 1, 2), self._kernel, padding=1)
        return self._norms[1](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class _Maker:
    """Makes layers for a number of tokens in one precision."""

    tokens: int
    dtype: torch.dtype
    pack: bool

    def linear(self, weight: Tensor, bias: Tensor | None) -> PackedLinear:
        offset = None if bias is None else bias.detach().to(self.dtype)
        return PackedLinear(weight.detach().to(self.dtype), offset, self.tokens, self.pack)

    def norm(self, norm: nn.LayerNorm) -> _Norm:
        return _Norm(norm, self.dtype)
