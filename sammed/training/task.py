"""What a run trains: a network, its batches, its loss. One task for views, one for 3D boxes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sammed.models.compact.locator_net import LocatorArchitecture, LocatorNet
from sammed.models.compact.model import load_net
from sammed.models.compact.net import Architecture, CompactNet, Prompts, input_planes
from sammed.models.compact.weight_files import fold_norms
from sammed.synthesis.source import GENERATOR, Source
from sammed.training import blocks, stream
from sammed.training.corrections import corrections
from sammed.training.losses import block_loss, compact_loss, taught_loss
from sammed.training.prompts import add_clicks

Arrays = dict[str, NDArray[Any]]


class Task(Protocol):
    """What a run needs to know of what it trains.

    Attributes
    ----------
    tag
        Names the architecture in files.
    weights_name
        File name of the weights in the run's folder.
    batches
        Source of packed batches, see `sammed.training.stream`; runs in another process.
    """

    tag: str
    weights_name: str

    @property
    def batches(self) -> stream.Batches:
        """Source of packed batches."""

    def network(self) -> nn.Module:
        """A network with random weights."""

    def loss(
        self, net: Any, arrays: Arrays, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """Loss of a batch, its parts, and the number of samples; ``half``: in bfloat16."""


class ViewsTask:
    """compact's network for views of slices.

    Parameters
    ----------
    architecture
        Its shape.
    clicks
        Share of the batches with one to three rounds of corrective clicks.
    teacher
        Weights file of a network that the run stays close to.
    """

    weights_name = "compact.safetensors"

    def __init__(
        self, architecture: Architecture, clicks: float, teacher: Path | None = None
    ) -> None:
        self._architecture, self._clicks = architecture, clicks
        self._teacher = fold_norms(load_net(teacher)[0]) if teacher else None
        self.tag = architecture.tag

    @property
    def batches(self) -> stream.Batches:
        """Views and their prompts."""
        return stream.batches

    def network(self) -> CompactNet:
        """A network with random weights."""
        return CompactNet(self._architecture).to(memory_format=torch.channels_last)

    def loss(
        self, net: CompactNet, arrays: Arrays, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """Focal, Dice, IoU and presence; now and then after clicks into the net's own errors."""
        batch = stream.unpack(arrays)
        prompts = batch.prompts
        if rng.random() < self._clicks:
            for _ in range(int(rng.integers(1, 4))):
                prompts = add_clicks(rng, prompts, batch.target, own_answer(net, prompts, half))
        net.train()
        target = torch.from_numpy(batch.target).float()
        planes = views_planes(prompts)
        logits, iou, present = views_forward(net, planes, half)
        loss, parts = compact_loss(logits.float(), iou.float(), present.float(), target)
        if self._teacher:
            with torch.no_grad():
                wanted = views_forward(self._teacher, planes, half)[0]
            taught = taught_loss(logits.float(), wanted.float(), target)
            loss, parts["taught"] = loss + taught, float(taught.detach())
        return loss, parts, len(target)


@torch.no_grad()
def views_planes(prompts: Prompts) -> Tensor:
    """What the network for views sees of prompts, laid out as it is quickest with."""
    return input_planes(prompts).contiguous(memory_format=torch.channels_last)


def views_forward(net: nn.Module, planes: Tensor, half: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates, predicted IoU and presence; ``half``: computed in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        answer: tuple[Tensor, Tensor, Tensor] = net(planes)
    return answer


@torch.no_grad()
def own_answer(net: CompactNet, prompts: Prompts, half: bool) -> NDArray[np.float32]:
    """Logits of the candidate that the network itself thinks best, (n, s, s)."""
    net.eval()
    logits, iou, _ = views_forward(net, views_planes(prompts), half)
    best = iou.argmax(1)
    chosen: NDArray[np.float32] = logits[torch.arange(len(best)), best].float().numpy()
    return chosen


class BlocksTask:
    """compact's locator for 3D boxes.

    Parameters
    ----------
    architecture
        Its shape.
    source
        Where the volumes come from.
    """

    weights_name = "locator.safetensors"

    def __init__(
        self, architecture: LocatorArchitecture | None = None, source: Source = GENERATOR
    ) -> None:
        self._architecture = architecture or LocatorArchitecture()
        self._source = source
        self.tag = self._architecture.tag

    @property
    def batches(self) -> stream.Batches:
        """3D boxes and what lies round them."""
        return partial(blocks.batches, source=self._source)

    def network(self) -> LocatorNet:
        """A network with random weights."""
        return LocatorNet(self._architecture).to(memory_format=torch.channels_last_3d)

    def loss(
        self, net: LocatorNet, arrays: Arrays, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """Focal and Dice; of some samples after corrections of an answer."""
        shown, target = blocks.unpack(arrays)
        net.eval()
        with torch.no_grad():
            said = corrections(rng, shown, target, lambda s: blocks.block_logits(net, s, half))
        net.train()
        loss, parts = block_loss(blocks.block_logits(net, shown, half, said), target)
        return loss, parts, len(target)
