"""SAM 2, SAM 2.1 and MedSAM2 behind the protocol: slices are the frames of a video.

The same numbers as SAM 2's own ``SAM2VideoPredictor`` (Ravi et al. 2024, SAM 2: Segment Anything
in Images and Videos, arXiv:2408.00714): a slice is stretched to the network's square, normalised by
ImageNet's colour statistics and encoded once for any number of objects; a prompted slice is
answered as a first frame is, without a memory; each next slice looks at the prompted ones and at
those found before it. MedSAM2 (Ma et al. 2025, arXiv:2504.03600) is a SAM 2.1 tiny at 512 px.

A mask comes with four candidates, as segment-anything's: the single-mask output (where that is not
stable the best of the others, as SAM 2's predictor does) and three guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sammed.errors import ModelError
from sammed.models.protocols import (
    ALL_PROMPTS,
    Embedding,
    ModelSpec,
    ViewBatch,
    ViewMask,
    ViewPrompt,
    check_prompts,
)
from sammed.models.sam2.attention import make_lean
from sammed.models.sam2.encoder import levels, make_lean_encoder
from sammed.models.sam2.frames import Float, Frame, from_network, prepare, to_network
from sammed.models.sam2.memory import Memory, Remembered

ABSENT = -1024.0
"""Logits of an object that is not on the slice, as SAM 2 gives them."""

LOUDEST = 32.0
"""A mask prompt's logits are cut off beyond this, as SAM 2's predictor does."""


class Sam2Model:
    """A network of SAM 2's.

    Parameters
    ----------
    network
        A ``sam2.modeling.sam2_base.SAM2Base`` with its weights; put into evaluation mode and moved
        to the device.
    name
        Name under which it is reported.
    weights_hash
        SHA-256 (hex) of the weights file.
    license
        Licence of the weights.
    device
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """

    def __init__(
        self,
        network: Any,
        *,
        name: str,
        weights_hash: str = "",
        license: str = "Apache-2.0",
        device: str = "cpu",
    ) -> None:
        self._device = torch.device(device)
        self._network = network.eval().requires_grad_(False).to(self._device)
        self._decoder = network.sam_mask_decoder
        make_lean(network)
        make_lean_encoder(network)
        side = network.sam_image_embedding_size
        with torch.inference_mode():
            self._dense = network.sam_prompt_encoder.get_dense_pe()
            blank = torch.zeros(1, network.hidden_dim, side, side, device=self._device)
            self._positions = network.image_encoder.neck.position_encoding(blank)
            self._memory_positions = network.memory_encoder.position_encoding(blank)
        self._spec = ModelSpec(
            name=name,
            view_size=network.image_size,
            mask_size=4 * side,
            eight_bit=True,
            prompts=ALL_PROMPTS,
            has_object_score=network.pred_obj_scores,
            expensive_encode=True,
            weights_hash=weights_hash,
            variant="" if network.image_size == 1024 else f"{network.image_size}px",
            engine="torch",
            license=license,
        )

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        return self._spec

    @torch.inference_mode()
    def encode(self, views: ViewBatch) -> list[Embedding]:
        """Embed views once: float32 arrays ``"image"``, ``"fine"`` and ``"finest"`` each.

        (256, g, g), (64, 2 * g, 2 * g) and (32, 4 * g, 4 * g), without a batch axis.

        Raises
        ------
        ModelError
            If the longer side of the views is not the network's size.
        """
        size, (h, w) = self.spec.view_size, views.pixels.shape[2:]
        if max(h, w) != size:
            raise ModelError(f"views are {h} x {w} px; expected {size} px on the longer side")
        embeddings = []
        for view in views.pixels:
            image = prepare(torch.from_numpy(view).to(self._device)[None], size)
            finest, fine, coarse = levels(self._network, image)
            seen = {"image": coarse[0], "fine": fine[0], "finest": finest[0]}
            arrays = {n: level.float().contiguous().cpu().numpy() for n, level in seen.items()}
            embeddings.append(Embedding(arrays, (h, w)))
        return embeddings

    @torch.inference_mode()
    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        """Masks of any number of objects on one view, from no memory; one a prompt, in order.

        A mask prompt by itself is the answer, as in SAM 2's predictor; beside a box or points it
        is a hint.

        Raises
        ------
        PromptError
            If a prompt holds nothing that the model makes use of.
        """
        check_prompts(self.spec, prompts)
        frame = self._frame(embedding)
        return [self._answer(frame, prompt) for prompt in prompts]

    def begin(self, length: int) -> Memory:
        """A memory of nothing."""
        return Memory(length)

    @torch.inference_mode()
    def remember(
        self, memory: Memory, index: int, embedding: Embedding, mask: ViewMask, *, prompted: bool
    ) -> Memory:
        """The memory with one more slice and the object's mask on it.

        A mask without tokens is taken for the truth, as SAM 2 takes a mask that is given to it.
        """
        frame = self._frame(embedding)
        if mask.tokens is None:
            shown = self._tensor(mask.low_res_logits)[None]
            low_res, pointer, score = self._as_given(frame, shown)
        else:
            low_res, pointer = self._as_answered(mask.tokens[:1], mask.low_res_logits[:1])
            score = self._tensor(np.array([[mask.present - 0.5]]))
        size = self.spec.view_size
        features, _ = self._network._encode_new_memory(
            current_vision_feats=[frame.sequence],
            feat_sizes=[frame.grid],
            pred_masks_high_res=functional.interpolate(
                low_res, (size, size), mode="bilinear", align_corners=False
            ),
            object_score_logits=score,
            is_mask_from_pts=prompted,
        )
        kept = Remembered(features.to(torch.bfloat16), pointer)
        reach = max(self._network.num_maskmem, self._network.max_obj_ptrs_in_encoder)
        return memory.including(index, kept, prompted=prompted, reach=reach)

    @torch.inference_mode()
    def track(
        self, memory: Memory, index: int, embedding: Embedding, *, direction: int
    ) -> ViewMask:
        """The object on a slice, from what is remembered of it: at least one prompted slice."""
        frame = self._frame(embedding)
        seen = self._network._prepare_memory_conditioned_features(
            frame_idx=index,
            is_init_cond_frame=False,
            current_vision_feats=[frame.sequence],
            current_vision_pos_embeds=[self._positions.flatten(2).permute(2, 0, 1)],
            feat_sizes=[frame.grid],
            output_dict=memory.as_outputs(self._memory_positions),
            num_frames=memory.length,
            track_in_reverse=direction < 0,
        )
        nothing = torch.zeros(1, 0, 2), torch.zeros(1, 0)
        ambiguous = self._network._use_multimask(False, None)
        return self._predict(seen, frame, nothing, None, ambiguous)

    def _answer(self, frame: Frame, prompt: ViewPrompt) -> ViewMask:
        if prompt.kinds == {"mask"}:
            low_res, pointer, score = self._as_given(frame, self._tensor([[prompt.mask]]))
            return self._as_view_mask(frame, low_res, torch.ones(1), pointer, score, 0)
        points = self._points(prompt, frame.extent)
        mask = None
        if prompt.mask is not None:
            square = to_network(self._resized(prompt.mask)[None], frame.extent)
            mask = self._tensor(square)[None].clamp(-LOUDEST, LOUDEST)
        told = {"point_labels": points[1]}
        ambiguous = self._network._use_multimask(True, told)
        without_memory = frame.coarse + self._network.no_mem_embed.reshape(1, -1, 1, 1)
        return self._predict(without_memory, frame, points, mask, ambiguous)

    def _points(self, prompt: ViewPrompt, extent: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Positions (1, n, (x, y)) in the network's square, and SAM 2's labels (1, n)."""
        stretch = np.array([self.spec.view_size / side for side in extent])
        corners = np.empty((0, 2)) if prompt.box is None else prompt.box.reshape(2, 2) * stretch
        clicks = prompt.points * stretch - 0.5  # SAM 2 adds half a pixel to the index of a pixel
        positions = np.concatenate([corners, clicks])[:, ::-1]
        labels = np.concatenate([[2, 3][: len(corners)], prompt.positive])
        return self._tensor(positions)[None], self._tensor(labels)[None]

    def _predict(
        self,
        seen: Tensor,
        frame: Frame,
        points: tuple[Tensor, Tensor],
        mask: Tensor | None,
        ambiguous: bool,
    ) -> ViewMask:
        """The mask decoder's answer on features that have, or have not, seen a memory."""
        positions, labels = (values.to(self._device) for values in points)
        if not positions.shape[1]:  # SAM 2 asks without a prompt by a point that is none
            positions, labels = positions.new_zeros(1, 1, 2), labels.new_full((1, 1), -1)
        sparse, dense = self._network.sam_prompt_encoder(
            points=(positions, labels), boxes=None, masks=mask
        )
        logits, iou, tokens, score = self._decoder.predict_masks(
            image_embeddings=seen,
            image_pe=self._dense,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=frame.fine,
        )
        single, single_iou = self._decoder._dynamic_multimask_via_stability(logits, iou)
        logits = torch.cat([single, logits[:, 1:]], 1)
        iou = torch.cat([single_iou, iou[:, 1:]], 1)
        pointers = self._network.obj_ptr_proj(tokens[0])
        present = (score > 0).float()
        if self._network.pred_obj_scores:
            logits = torch.where(score[..., None, None] > 0, logits, ABSENT)
            pointers = self._blend_absent(pointers, present)
        preferred = 1 + int(iou[0, 1:].argmax()) if ambiguous else 0
        return self._as_view_mask(frame, logits, iou[0], pointers, score, preferred)

    def _as_given(self, frame: Frame, shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A mask that is taken for the truth: low-res logits, pointer, object score.

        Parameters
        ----------
        frame
            The slice.
        shown : (1, 1, n, n)
            Logits on the padded view square.
        """
        size = self.spec.view_size
        square = self._tensor(to_network(shown[0].cpu().numpy(), frame.extent))[None]
        if square.shape[-1] != size:
            square = functional.interpolate(
                square, (size, size), mode="bilinear", align_corners=False
            )
        truth = (square > 0).float()
        low_res, _, _, _, _, pointer, score = self._network._use_mask_as_output(
            frame.coarse, frame.fine, truth
        )
        return low_res, pointer, score

    def _blend_absent(self, pointers: Tensor, present: Tensor) -> Tensor:
        """Object pointers, or SAM 2's pointer of an object that is not there."""
        if self._network.fixed_no_obj_ptr:
            pointers = present * pointers
        blended: Tensor = pointers + (1 - present) * self._network.no_obj_ptr
        return blended

    def _as_view_mask(
        self,
        frame: Frame,
        logits: Tensor,
        iou: Tensor,
        pointers: Tensor,
        score: Tensor,
        preferred: int,
    ) -> ViewMask:
        present = float(score.sigmoid()) if self._network.pred_obj_scores else 1.0
        masks, tokens = (values.float().cpu().numpy() for values in (logits[0], pointers))
        shown = from_network(masks, frame.extent)
        if shown is not masks:  # the way back would not lead to the same logits
            tokens = np.concatenate([tokens, masks.reshape(len(masks), -1)], axis=1)
        return ViewMask(shown, iou.float().cpu().numpy(), present, preferred, tokens)

    def _as_answered(self, tokens: Float, shown: Float) -> tuple[Tensor, Tensor]:
        """Low-res logits (1, 1, m, m) in the network's square, and pointer (1, 256), of an answer.

        Parameters
        ----------
        tokens : (1, n)
            The pointer, and if the view was stretched the logits as the network gave them.
        shown : (1, m, m)
            The logits on the padded view square.
        """
        width = self._network.hidden_dim
        own = tokens[:, width:].reshape(shown.shape) if tokens.shape[1] > width else shown
        return self._tensor(own)[None], self._tensor(tokens[:, :width])

    def _frame(self, embedding: Embedding) -> Frame:
        coarse, fine, finest = (
            self._tensor(np.asarray(embedding.arrays[n]))[None] for n in ("image", "fine", "finest")
        )
        return Frame(coarse, [finest, fine], embedding.extent)

    def _resized(self, mask: Float) -> Float:
        size = self.spec.mask_size
        if mask.shape[-1] == size:
            return mask
        resized = functional.interpolate(
            torch.from_numpy(np.asarray(mask, np.float32))[None, None],
            (size, size),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        return resized[0, 0].numpy()

    def _tensor(self, values: Any) -> Tensor:
        array = np.require(np.asarray(values), np.float32, ["C", "W"])
        return torch.from_numpy(array).to(self._device)
