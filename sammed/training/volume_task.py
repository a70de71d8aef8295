"""How the network for volumes learns: prompts, rounds of corrections, its loss."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.compact.field import FIELD_SIZE
from sammed.models.compact.volume_net import Fields, VolumeArchitecture, VolumeNet, field_planes
from sammed.synthesis.source import Source
from sammed.training import stream
from sammed.training.volume_batches import FieldBatch, batches, unpack
from sammed.training.volume_prompts import corrected, first_prompts, shown

ROUNDS = (0.5, 0.25, 0.15, 0.1)
"""Share of the batches with no, one, two, three rounds of a corrective click before the last."""

ENTROPY, QUALITY, FACES = 2.0, 0.5, 0.2
"""Weights of the mask's cross-entropy, the IoU's error and the faces, beside the Dice loss's 1."""

Answer = tuple[Tensor, Tensor, Tensor]


class VolumeTask:
    """compact's network for volumes, as `sammed.training.task.Task` wants it.

    Parameters
    ----------
    source
        Where the volumes come from.
    architecture
        Its shape.
    size
        Samples along each side of a field.
    piece
        Samples that are learned from at once: of a batch the gradients of its pieces are summed,
        so that no step is longer than a piece.
    device
        Where it is trained.
    compiled
        Whether to compile the network (`torch.compile`).
    """

    weights_name = "volume.safetensors"

    def __init__(
        self,
        source: Source,
        architecture: VolumeArchitecture | None = None,
        size: int = FIELD_SIZE,
        piece: int = 1,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        self._architecture = architecture or VolumeArchitecture()
        self.source, self.size, self.piece, self.device = source, size, piece, device
        self.tag = self._architecture.tag
        self._run = torch.compile(_run) if compiled else _run

    @property
    def batches(self) -> stream.Batches:
        """Fields, without prompts yet."""
        return partial(batches, size=self.size, source=self.source)

    def network(self) -> VolumeNet:
        """A network with random weights."""
        net = VolumeNet(self._architecture).to(self.device)
        return net.to(memory_format=torch.channels_last_3d)

    def loss(
        self, net: nn.Module, arrays: Any, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """Mask, IoU and faces, after the corrections of the batch."""
        batch, rounds = self.prepared(arrays, rng)
        loss, parts = self.piece_loss(net, batch, rounds, rng, half)
        return loss, {k: float(v) for k, v in parts.items()}, len(batch)

    def prepared(self, arrays: Any, rng: np.random.Generator) -> tuple[FieldBatch, int]:
        """A batch, turned at random, and its number of rounds of corrections."""
        batch = unpack(arrays, self.device)
        order, mirrored = rng.permutation(3).tolist(), (rng.random(3) < 0.5).tolist()
        return batch.turned(order, mirrored), int(rng.choice(len(ROUNDS), p=ROUNDS))

    def piece_loss(
        self, net: nn.Module, batch: FieldBatch, rounds: int, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a piece, and its parts as numbers on the device."""
        prompts = first_prompts(rng, batch)
        with torch.no_grad():
            for _ in range(rounds):
                logits = self.answer(net, shown(batch, prompts), half)[0]
                prompts = corrected(rng, batch, prompts, logits)
        return volume_loss(self.answer(net, shown(batch, prompts), half), batch)

    def answer(self, net: nn.Module, seen: Fields, half: bool) -> Answer:
        """What the network answers to fields, in float32."""
        with torch.no_grad():
            planes = field_planes(seen).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=half):
            logits, iou, faces = self._run(net, planes)
        return logits.float(), iou.float(), faces.float()


def _run(net: nn.Module, planes: Tensor) -> Answer:
    answer: Answer = net(planes)
    return answer


def volume_loss(answer: Answer, batch: FieldBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Dice and cross-entropy of masks, error of predicted IoU, entropy of faces; and the parts.

    Parameters
    ----------
    answer
        Logits (n, s, s, s), of the IoU (n,), of the faces (n, 6).
    batch
        What was asked for.
    """
    logits, iou, faces = answer
    target = batch.target.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target)
    chance = torch.sigmoid(logits)
    overlap = (chance * target).sum((1, 2, 3))
    total = chance.sum((1, 2, 3)) + target.sum((1, 2, 3))
    dice = (1 - (2 * overlap + 4) / (total + 4)).mean()
    reached = reached_iou(logits.detach(), batch.target)
    quality = (torch.sigmoid(iou) - reached).square().mean()
    ends = functional.binary_cross_entropy_with_logits(faces, batch.beyond)
    loss = dice + ENTROPY * entropy + QUALITY * quality + FACES * ends
    parts = {"loss": loss, "mask": dice, "quality": quality, "presence": ends}
    return loss, {k: v.detach() for k, v in parts.items()} | {"iou_chosen": reached.mean()}


def reached_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of each mask with its target, (n,)."""
    found = logits > 0
    both = (found & target).flatten(1).sum(1).float()
    return both / (found | target).flatten(1).sum(1).clamp_min(1)
