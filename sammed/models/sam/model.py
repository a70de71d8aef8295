"""segment-anything behind the protocol: ViT-B, ViT-L, ViT-H, and MedSAM's ViT-B.

The same numbers as segment-anything's own ``SamPredictor`` (Kirillov et al. 2023, Segment
Anything, doi:10.1109/ICCV51070.2023.00371): a view comes with its long side at 1024 px and in 256
levels, is normalised by SAM's colour statistics, padded at the bottom and the right, and encoded
once; the prompts of any number of objects are decoded in batches.

A mask comes with four candidates. Candidate 0 is SAM's single-mask output, made for prompts that
leave no doubt; candidates 1 to 3 are its three guesses at an ambiguous one (whole, part, subpart).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from sammed.errors import ModelError
from sammed.models.protocols import (
    ALL_PROMPTS,
    BOX_ONLY,
    Embedding,
    ModelSpec,
    ViewBatch,
    ViewMask,
    ViewPrompt,
    check_prompts,
)
from sammed.models.sam.everything import Grid, GridMask, grid_masks
from sammed.models.sam.fast_encoder import FastEncoder
from sammed.models.sam.lean_decoder import lean_decoder, with_lean_decoder

DECODE_BATCH = 4
"""Prompts that are decoded at once on a CPU; more of them only overflow the caches."""

GPU_DECODE_BATCH = 32
"""Prompts that are decoded at once on a GPU."""

GPU_ENCODE_BATCH = 4
"""Views that are encoded at once on a GPU; a CPU gains nothing from more than one."""

Encoder = Callable[[Tensor], Tensor]
Signature = tuple[bool, int, bool]


class SamModel:
    """A segment-anything network.

    Parameters
    ----------
    network
        The network with its weights; put into evaluation mode and moved to the device.
    name
        Name under which it is reported.
    weights_hash
        SHA-256 (hex) of the weights file.
    license
        Licence of the weights.
    device
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    zoom
        Side of a view over the longer side of the prompt's box; ``None`` sees whole slices.
    encoder
        What computes (n, 256, g, g) embeddings from (n, 3, size, size) images; by default a
        `FastEncoder` with the network's weights.
    variant
        What changes the numbers that the encoder computes, e.g. ``"bfloat16"``.
    engine
        What runs the encoder, one of `sammed.models.sam.backends.ENGINES`.
    embeds_as
        See `sammed.models.protocols.ModelSpec`.
    """

    prompts = ALL_PROMPTS
    answered = 4
    """Candidates of an answer."""

    def __init__(
        self,
        network: Sam,
        *,
        name: str,
        weights_hash: str = "",
        license: str = "Apache-2.0",
        device: str = "cpu",
        zoom: float | None = None,
        encoder: Encoder | None = None,
        variant: str = "",
        engine: str = "torch",
        embeds_as: str = "",
    ) -> None:
        self._device = torch.device(device)
        network = network.eval().requires_grad_(False).to(self._device)
        self._network = network
        self._encoder: Encoder = encoder or FastEncoder(network.image_encoder)
        self._prompt_encoder = network.prompt_encoder
        self._decoder = lean_decoder(network.mask_decoder)
        self._mean, self._std = network.pixel_mean, network.pixel_std
        with torch.no_grad():
            self._positions = self._prompt_encoder.get_dense_pe()
        self._spec = ModelSpec(
            name=name,
            view_size=int(self._prompt_encoder.input_image_size[0]),
            mask_size=int(self._prompt_encoder.mask_input_size[0]),
            zoom=zoom,
            eight_bit=True,
            prompts=self.prompts,
            expensive_encode=True,
            batch=1 if self._device.type == "cpu" else GPU_ENCODE_BATCH,
            weights_hash=weights_hash,
            embeds_as=embeds_as,
            variant=variant,
            engine=engine,
            license=license,
        )

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        return self._spec

    @torch.inference_mode()
    def encode(self, views: ViewBatch) -> list[Embedding]:
        """Embed views once; one (256, g, g) float32 array ``"image"`` each.

        Raises
        ------
        ModelError
            If the longer side of the views is not the network's size.
        """
        size, (h, w) = self.spec.view_size, views.pixels.shape[2:]
        if max(h, w) != size:
            raise ModelError(f"views are {h} x {w} px; expected {size} px on the longer side")
        embeddings, step = [], self.spec.batch
        for start in range(0, len(views), step):
            images = self.images(views.pixels[start : start + step])
            embeddings += [Embedding(arrays, (h, w)) for arrays in self._embedded(images)]
        return embeddings

    @property
    def network(self) -> Sam:
        """segment-anything's network, whose weights these are; its encoder may be bypassed."""
        return self._network

    def changed(
        self, network: Sam, *, weights_hash: str, encoder: Encoder | None = None
    ) -> SamModel:
        """A model of the same kind, name and views with another network.

        Parameters
        ----------
        network
            Of the same shape; put into evaluation mode.
        weights_hash
            Of its weights, hex.
        encoder
            What embeds, if not this model's own, which lets both share embeddings.
        """
        spec = self.spec
        return type(self)(
            network,
            name=spec.name,
            weights_hash=weights_hash,
            license=spec.license,
            device=str(self._device),
            zoom=spec.zoom,
            encoder=encoder or self._encoder,
            variant=spec.variant,
            engine=spec.engine,
            embeds_as=(spec.embeds_as or spec.weights_hash) if encoder is None else "",
        )

    def images(self, pixels: NDArray[np.float32]) -> Tensor:
        """Views as the encoder's square input, (n, 3, size, size) on the device.

        Parameters
        ----------
        pixels : (n, c, h, w) float32
            See `sammed.models.protocols.ViewBatch`.
        """
        views = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
        return self._prepare(views.expand(-1, 3, -1, -1))

    def features(self, embedding: Embedding) -> dict[str, Tensor]:
        """An embedding as `logits` takes it: tensors on the device, with an axis of one view."""
        return {
            name: torch.from_numpy(np.require(array, np.float32, "W")).to(self._device)[None]
            for name, array in embedding.arrays.items()
        }

    @torch.inference_mode()
    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        """Masks of any number of objects on one view; one answer a prompt, in order.

        Prompts of the same kind (box or not, number of points, mask or not) share one forward
        pass of prompt encoder and mask decoder.

        Raises
        ------
        PromptError
            If a prompt holds nothing that the model makes use of.
        """
        check_prompts(self.spec, prompts)
        features = self.features(embedding)
        answers: dict[int, ViewMask] = {}
        for chunk in self.alike(prompts):
            logits, iou = self.logits(features, [prompts[i] for i in chunk], embedding.extent)
            for i, masks, scores in zip(
                chunk, logits.cpu().numpy(), iou.cpu().numpy(), strict=True
            ):
                answers[i] = self._answer(masks, scores, prompts[i])
        return [answers[i] for i in range(len(prompts))]

    def _embedded(self, images: Tensor) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        """What is kept of each image: named arrays, without a batch axis."""
        for image in self._encoder(images).float().cpu().numpy():
            yield {"image": image}

    def everything(
        self,
        image: NDArray[np.uint8],
        grid: Grid | None = None,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> list[GridMask]:
        """All masks that a grid of points gives, see `sammed.models.sam.everything.grid_masks`.

        Parameters
        ----------
        image : (h, w, 3) uint8
            RGB.
        grid
            How it is covered; by default as segment-anything does.
        check
            Called often; may raise to stop.
        """
        network = with_lean_decoder(self._network)
        return grid_masks(network, self._encoder, image, grid or Grid(), check)

    def _prepare(self, pixels: Tensor) -> Tensor:
        """Views in [0, 1], (n, 3, h, w), as the encoder's square input."""
        levels = (pixels * 255).round()
        images = (levels - self._mean) / self._std
        size, (h, w) = self.spec.view_size, pixels.shape[2:]
        return functional.pad(images, (0, size - w, 0, size - h))

    def _answer(
        self, masks: NDArray[np.float32], scores: NDArray[np.float32], prompt: ViewPrompt
    ) -> ViewMask:
        preferred = 1 + int(np.argmax(scores[1:])) if is_ambiguous(prompt) else 0
        return ViewMask(masks, scores, preferred=preferred)

    def _to_network(self, positions: Tensor, extent: tuple[int, int]) -> Tensor:
        """View positions (..., (row, col)) as positions (..., (x, y)) in the network's input."""
        return positions.flip(-1)

    def _from_network(self, logits: Tensor, extent: tuple[int, int]) -> Tensor:
        """Logits over the network's input as logits over the padded view square."""
        return logits

    def alike(self, prompts: Sequence[ViewPrompt]) -> Iterator[list[int]]:
        """Indices of prompts that fit in one batch: of the same kinds, with as many points."""
        groups: dict[Signature, list[int]] = defaultdict(list)
        for i, prompt in enumerate(prompts):
            kinds = prompt.kinds & self.spec.prompts
            n_points = len(prompt.points) if "points" in kinds else 0
            groups["box" in kinds, n_points, "mask" in kinds].append(i)
        step = DECODE_BATCH if self._device.type == "cpu" else GPU_DECODE_BATCH
        for indices in groups.values():
            for start in range(0, len(indices), step):
                yield indices[start : start + step]

    def logits(
        self,
        features: Mapping[str, Tensor],
        prompts: Sequence[ViewPrompt],
        extent: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """What the network answers to prompts that are `alike`; gradients may pass.

        Parameters
        ----------
        features
            As `features` gives them.
        prompts
            On this view.
        extent
            Height and width of the view in view px.

        Returns
        -------
        (b, k, m, m), (b, k)
            Logits over the padded view square, and predicted IoU; ``k`` is `answered`.
        """
        logits, iou = self._forward(features, prompts, extent)
        return self._from_network(logits[:, : self.answered], extent), iou[:, : self.answered]

    def _forward(
        self,
        features: Mapping[str, Tensor],
        prompts: Sequence[ViewPrompt],
        extent: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """Logits (b, 4, m, m) over the network's input, and predicted IoU (b, 4)."""
        kinds = prompts[0].kinds & self.spec.prompts
        points = boxes = masks = None
        if "box" in kinds:
            corners = self._tensor([p.box for p in prompts]).reshape(-1, 2, 2)
            boxes = self._to_network(corners, extent).reshape(-1, 4)
        if "points" in kinds:
            # SAM adds half a pixel to the index of a pixel; view positions have it already.
            positions = self._to_network(self._tensor([p.points for p in prompts]), extent) - 0.5
            points = (positions, self._tensor([p.positive for p in prompts]))
        if "mask" in kinds:
            masks = torch.cat([self._mask_input(p.mask) for p in prompts])
        sparse, dense = self._prompt_encoder(points=points, boxes=boxes, masks=masks)
        return self._predict(features, sparse, dense)

    def _predict(
        self, features: Mapping[str, Tensor], sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mask decoder's answer to embedded prompts."""
        logits, iou = self._decoder.predict_masks(
            image_embeddings=features["image"],
            image_pe=self._positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        return logits, iou

    def _mask_input(self, mask: NDArray[np.float32] | None) -> Tensor:
        logits = self._tensor([mask])[None]
        size = self.spec.mask_size
        if logits.shape[-1] == size:
            return logits
        return functional.interpolate(logits, (size, size), mode="bilinear", align_corners=False)

    def _tensor(self, arrays: Sequence[NDArray[np.generic] | None]) -> Tensor:
        stacked = np.stack([np.asarray(a, np.float32) for a in arrays])
        return torch.from_numpy(stacked).to(self._device)


def is_ambiguous(prompt: ViewPrompt) -> bool:
    """Whether a prompt, one click alone, may mean a whole, a part or a part of that."""
    return prompt.kinds == {"points"} and len(prompt.points) == 1


class MedSamModel(SamModel):
    """MedSAM: a ViT-B fine-tuned on medical images, prompted by boxes alone.

    As in MedSAM's own inference (Ma et al. 2024, Segment anything in medical images,
    doi:10.1038/s41467-024-44824-z): the image is stretched to the square whatever its shape,
    scaled to [0, 1] by its minimum and maximum, without SAM's colour statistics; only the
    single-mask output was fine-tuned and is given. The view is resized bilinearly where MedSAM's
    script resizes bicubically.
    """

    prompts = BOX_ONLY
    answered = 1

    def _prepare(self, pixels: Tensor) -> Tensor:
        size = self.spec.view_size
        if pixels.shape[2:] != (size, size):
            pixels = functional.interpolate(
                pixels, (size, size), mode="bilinear", align_corners=False
            )
        low, high = pixels.amin((1, 2, 3), keepdim=True), pixels.amax((1, 2, 3), keepdim=True)
        return (pixels - low) / (high - low).clamp_min(1e-8)

    def _answer(
        self, masks: NDArray[np.float32], scores: NDArray[np.float32], prompt: ViewPrompt
    ) -> ViewMask:
        return ViewMask(masks, scores, preferred=0)

    def _to_network(self, positions: Tensor, extent: tuple[int, int]) -> Tensor:
        stretch = positions.new_tensor([self.spec.view_size / n for n in extent])
        return (positions * stretch).flip(-1)

    def _from_network(self, logits: Tensor, extent: tuple[int, int]) -> Tensor:
        if extent[0] == extent[1]:
            return logits
        size, m = self.spec.view_size, self.spec.mask_size
        cells = (torch.arange(m, device=logits.device) + 0.5) * (size / m)
        rows, cols = (2 * cells / n - 1 for n in extent)
        grid = torch.stack(torch.meshgrid(cols, rows, indexing="xy"), dim=-1)
        return functional.grid_sample(
            logits,
            grid.expand(len(logits), -1, -1, -1),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
