"""HQ-SAM and MobileSAM behind the protocol.

HQ-SAM (Ke et al. 2023, Segment Anything in High Quality, arXiv:2306.01567) gives each of
segment-anything's masks a finer one that is added to it, made of what an early layer of the encoder
saw; Light HQ-SAM does so with MobileSAM's encoder (Zhang et al. 2023, arXiv:2306.14289). The same
numbers as the package's own ``SamPredictor``, by default settings (``hq_token_only=False``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammed.models.sam.fast_encoder import FastEncoder
from sammed.models.sam.model import SamModel

Looked = tuple[Tensor, Tensor]


class EarlyEncoder(FastEncoder):
    """segment-anything's encoder, and what it saw after its first global block."""

    def __init__(self, encoder: Any) -> None:
        super().__init__(encoder)
        self._first = next(i for i, block in enumerate(encoder.blocks) if not block.window_size)
        self._early: list[Tensor] = []

    def both(self, images: Tensor) -> Looked:
        """Embeddings (n, 256, g, g), and early features (n, g, g, dim)."""
        self._early = []
        embedded = self(images)
        side = embedded.shape[-1]
        tokens = torch.cat(self._early)
        return embedded, tokens.view(len(images), side, side, -1)

    def _after(self, number: int, x: Tensor) -> None:
        if number == self._first:
            self._early.append(x.float())


class HqSamModel(SamModel):
    """A network of HQ-SAM's; parameters as `SamModel`'s.

    Beside the embedding it keeps the finer features of a view, (32, 4 * g, 4 * g) float32.
    """

    def __init__(self, network: Any, *, name: str, **about: Any) -> None:
        tiny = not hasattr(network.image_encoder, "blocks")
        early = None if tiny else EarlyEncoder(network.image_encoder)
        self._both: Callable[[Tensor], Looked] = early.both if early else _tiny(network)
        super().__init__(network, name=name, encoder=lambda images: self._both(images)[0], **about)

    def _embedded(self, images: Tensor) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        image, early = self._both(images)
        decoder = self._decoder
        fine = decoder.embedding_encoder(image)
        fine = fine + decoder.compress_vit_feat(early.permute(0, 3, 1, 2))
        for one, finer in zip(image.float(), fine.float(), strict=True):
            yield {"image": one.cpu().numpy(), "fine": finer.cpu().numpy()}

    def _predict(
        self, features: Mapping[str, Tensor], sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        masks, iou = self._decoder.predict_masks(
            image_embeddings=features["image"],
            image_pe=self._positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            hq_features=features["fine"],
        )
        return masks[:, :-1] + masks[:, -1:], iou


def mobile_sam(network: Any, *, name: str, **about: Any) -> SamModel:
    """MobileSAM: segment-anything's decoder behind a small encoder; parameters as `SamModel`'s."""
    both = _tiny(network)
    return SamModel(network, name=name, encoder=lambda images: both(images)[0], **about)


def _tiny(network: Any) -> Callable[[Tensor], Looked]:
    """TinyViT's embeddings and early features."""

    def both(images: Tensor) -> Looked:
        embedded, early = network.image_encoder(images)
        return embedded, early[0]

    return both
