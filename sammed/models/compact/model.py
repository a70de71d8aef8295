"""compact, the built-in network, behind the model protocol."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sammed.errors import BackendUnavailableError
from sammed.imaging.boxes import Box3D
from sammed.models.compact.cube_said import former_on_cube, said_on_cube
from sammed.models.compact.cubes import BlockView, cube_view, from_cube
from sammed.models.compact.entry import BOXES, STROKES, WEIGHTS
from sammed.models.compact.locator import Locator, load_locator
from sammed.models.compact.locator_net import BLOCK_SIZE
from sammed.models.compact.net import Architecture, CompactNet, Prompts, input_planes
from sammed.models.compact.recipe import RECIPE
from sammed.models.compact.stroke_net import StrokeArchitecture, StrokeNet, with_strokes
from sammed.models.compact.weight_files import (
    fold_norms,
    load_branch,
    load_difference,
    load_network,
    sha256_of,
)
from sammed.models.protocols import (
    ALL_PROMPTS,
    VIEW_PROMPTS,
    Embedding,
    ModelSpec,
    ViewBatch,
    ViewMask,
    ViewPrompt,
    VolumeImage,
    VolumeMask,
    VolumeState,
    Watch,
    check_prompts,
)
from sammed.prompts import Interaction

if TYPE_CHECKING:
    from sammed.models.compact.tuned import Nets

_Net = TypeVar("_Net", bound=nn.Module)

ZOOM = 1.5
CHUNK = 16
"""Prompts that go through the network at once."""

CORRECTED_WAYS = 4
"""In so many mirrors the locator looks at what was corrected."""


def load_net(path: Path | None = None) -> tuple[CompactNet, str]:
    """Read weights and build the network that they fit.

    Parameters
    ----------
    path
        A ``.safetensors`` file; ``None``: the shipped one.

    Returns
    -------
    net
        In evaluation mode, float32.
    weights_hash
        SHA-256 of the file, hex.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        As `load_network` does.
    """
    return load_network(Path(path or WEIGHTS), "compact", CompactNet, Architecture())


def load_boxes(net: CompactNet, digest: str) -> tuple[CompactNet, str]:
    """The network for final boxes, see `ViewPrompt`.

    It was trained on boxes and no other prompt and answers them better, but chains that start from
    its answers go astray sooner.

    Parameters
    ----------
    net, digest
        What `load_net` returned for the shipped weights.

    Returns
    -------
    net
        In evaluation mode, float32.
    weights_hash
        SHA-256 of its file, hex.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        As `load_difference` does.
    """
    return load_difference(net, BOXES, "compact", digest)


def load_strokes(digest: str, path: Path | None = None) -> tuple[StrokeNet, str]:
    """The branch for strokes, see `sammed.models.compact.stroke_net`.

    Parameters
    ----------
    digest
        What `load_net` returned for the shipped weights.
    path
        A ``.safetensors`` file; ``None``: the shipped one.

    Returns
    -------
    branch
        In evaluation mode, float32.
    weights_hash
        SHA-256 of its file, hex.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        As `load_branch` does.
    """
    return load_branch(
        Path(path or STROKES), "strokes", StrokeNet, StrokeArchitecture(), base=digest
    )


class CompactModel:
    """The built-in promptable network.

    It fuses image and prompts at its first layer, so ``encode`` keeps the view and ``decode`` runs
    the network, on all prompts at once. Of 3D boxes its locator sees all slices at once.

    Parameters
    ----------
    weights
        A ``.safetensors`` file, whose network answers all prompts; ``None``: the shipped ones,
        with a network of its own for final boxes and a branch for strokes. The locator's weights
        are the shipped ones in any case.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``.
    nets
        Instead of any file, networks that were tuned; they stay as they are.
    digest
        Hash of what tuned them.
    strokes
        Other weights than the shipped ones for the branch for strokes. Networks that were tuned,
        and weights from a file, have no such branch: strokes are points to them.
    """

    def __init__(
        self,
        weights: Path | None = None,
        device: str = "cpu",
        nets: Nets | None = None,
        digest: str = "",
        strokes: Path | None = None,
    ) -> None:
        branch: StrokeNet | None = None
        if nets is not None:
            net, boxes = copy.deepcopy(nets.views), copy.deepcopy(nets.boxes)
            locator = copy.deepcopy(nets.locator)
            hashes: tuple[str, ...] = (*nets.hashes.values(), digest)
        else:
            net, first = load_net(weights)
            boxes, second = (net, "") if weights else load_boxes(net, first)
            locator, third = load_locator()
            hashes = first, second, third
            if weights is None:
                branch, fourth = load_strokes(first, strokes)
                hashes = *hashes, fourth
        try:
            self._size = net.architecture.view
            self._device = torch.device(device)
            self._net, self._boxes = (self._placed(part) for part in (net, boxes))
            self._branch = self._placed(branch) if branch else None
            self._locator = Locator(locator, device)
        except (RuntimeError, AssertionError) as error:
            raise BackendUnavailableError(
                f"device {device!r} cannot be used ({error}); try --device cpu"
            ) from error
        self._spec = ModelSpec(
            name="compact",
            view_size=self._size,
            mask_size=self._size,
            zoom=ZOOM,
            context=1,
            prompts=VIEW_PROMPTS if branch else ALL_PROMPTS,
            has_object_score=True,
            candidates="same object",
            concurrent=device == "cpu",
            weights_hash=sha256_of(*hashes),
            recipe=RECIPE,
            engine="torch",
            license="Apache-2.0",
        )

    def open(self, image: VolumeImage) -> VolumeState:
        """The volume as the locator sees it: what fills a 3D box of it."""
        return _Located(self._locator, image)

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        return self._spec

    def encode(self, views: ViewBatch) -> list[Embedding]:
        """Keep the views, padded to squares: the network runs in `decode`."""
        h, w = views.pixels.shape[2:]
        bottom, right = self._size - h, self._size - w
        if min(bottom, right) < 0:
            raise ValueError(f"views are {h} x {w} px; expected at most {self._size}")
        pad = ((0, 0), (0, 0), (0, bottom), (0, right))
        pixels = np.pad(np.asarray(views.pixels, np.float32), pad)
        colour = pixels.shape[1] == 3
        if not colour:
            around = views.neighbours
            beside = pixels.repeat(2, 1) if around is None else np.pad(around, pad)
            pixels = np.stack((beside[:, 0], pixels[:, 0], beside[:, 1]), 1)
        flag = np.array([colour])
        return [
            Embedding({"image": image.astype(np.float32), "colour": flag}, (h, w))
            for image in pixels
        ]

    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        """Candidate masks of each prompt on one view.

        Raises
        ------
        PromptError
            If a prompt is empty.
        """
        check_prompts(self._spec, prompts)
        answers: dict[int, ViewMask] = {}
        with _one_thread():
            for part in ("views", "strokes", "boxes"):
                own = [n for n, prompt in enumerate(prompts) if self._part(prompt) == part]
                for start in range(0, len(own), CHUNK):
                    some = own[start : start + CHUNK]
                    found = self._decode(part, embedding, [prompts[n] for n in some])
                    answers.update(zip(some, found, strict=True))
        return [answers[n] for n in range(len(prompts))]

    def _part(self, prompt: ViewPrompt) -> str:
        """Which of the networks answers a prompt.

        A stroke alone does not tell how large its object is: views of several sizes are tried, and
        the network alone chooses better among them (engine-strokes). Where a box or a former answer
        says it, the branch is asked.
        """
        told = prompt.box is not None or prompt.mask is not None
        if told and prompt.strokes is not None and self._branch is not None:
            return "strokes"
        return "boxes" if _is_final_box(prompt) else "views"

    def _placed(self, net: _Net) -> _Net:
        fold_norms(net)
        return net.to(self._device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def _decode(
        self, part: str, embedding: Embedding, prompts: Sequence[ViewPrompt]
    ) -> list[ViewMask]:
        batch = _collate(embedding, prompts, self._device)
        planes = input_planes(batch).contiguous(memory_format=torch.channels_last)
        net = self._boxes if part == "boxes" else self._net
        if part == "strokes" and self._branch is not None:
            strokes = self._drawn(prompts)
            shown = with_strokes(planes, strokes).contiguous(memory_format=torch.channels_last)
            logits, iou, present = net.answer(self._branch(shown, net.look(planes)))
        else:
            logits, iou, present = net(planes)
        masks = logits.float().cpu().numpy()
        judged = torch.sigmoid(iou).float().cpu().numpy()
        chance = torch.sigmoid(present).float().cpu().numpy()
        return [ViewMask(masks[i], judged[i], float(chance[i])) for i in range(len(prompts))]

    def _drawn(self, prompts: Sequence[ViewPrompt]) -> Tensor:
        """Their strokes, (n, 2, s, s)."""
        drawn = np.stack([p.strokes for p in prompts if p.strokes is not None])
        return torch.from_numpy(np.asarray(drawn, np.float32)).to(self._device)


class _Located:
    """A volume of which the locator is asked what a 3D box holds."""

    def __init__(self, locator: Locator, image: VolumeImage) -> None:
        self._locator, self._image = locator, image
        self._seen: tuple[Box3D, BlockView] | None = None
        self._shown: tuple[Box3D, VolumeMask, Tensor] | None = None

    def answer(
        self,
        interactions: Sequence[Interaction],
        previous: VolumeMask | None,
        *,
        reporter: Watch,
    ) -> VolumeMask:
        """What it finds in the one 3D box that it is asked about, within the box.

        With points, painted slices or a former answer it looks fewer ways: somebody waits.
        """
        (block,) = (said for said in interactions if isinstance(said, Box3D))
        reporter.check()
        view = self._view(block)
        more = [said for said in interactions if not isinstance(said, Box3D)]
        if previous is None and not more:
            return from_cube(self._locator.locate(view), block)
        former = None if previous is None else self._former(block, previous)
        said = said_on_cube(block, more, former, self._image.volume.shape)
        return from_cube(self._locator.locate(view, said, CORRECTED_WAYS), block)

    def _view(self, block: Box3D) -> BlockView:
        """What a 3D box shows; the last one is kept, as clicks follow each other on one object."""
        if self._seen is None or self._seen[0] != block:
            view = cube_view(self._image.volume, self._image.window, block, BLOCK_SIZE)
            self._seen = block, view
            return view
        return self._seen[1]

    def _former(self, block: Box3D, previous: VolumeMask) -> Tensor:
        """A former answer as it is shown; the last one is kept, too."""
        known = self._shown
        if known is None or known[0] != block or known[1].logits is not previous.logits:
            drawn = former_on_cube(block, previous, self._image.volume.shape)
            known = self._shown = block, previous, drawn
        return known[2]

    def glance(self, blocks: Sequence[Box3D]) -> list[VolumeMask]:
        """What it finds in each of several 3D boxes, seen one way only; see `Locator.glance`."""
        volume, window = self._image.volume, self._image.window
        views = [cube_view(volume, window, block, BLOCK_SIZE) for block in blocks]
        with _one_thread():
            found = self._locator.glance(views)
        return [from_cube(logits, block) for logits, block in zip(found, blocks, strict=True)]


def _is_final_box(prompt: ViewPrompt) -> bool:
    return prompt.final and prompt.kinds == {"box"}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread, and on as many as before afterwards.

    The network's operations are so short that more threads wait for each other, and go to sleep
    between views.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _collate(embedding: Embedding, prompts: Sequence[ViewPrompt], device: torch.device) -> Prompts:
    n = len(prompts)
    most = max(len(p.points) for p in prompts)
    box = np.full((n, 4), np.nan, np.float32)
    depth = np.zeros(n, np.float32)
    points = np.full((n, most, 2), np.nan, np.float32)
    positive = np.zeros((n, most), bool)
    image = np.require(embedding.arrays["image"], np.float32, "W")
    size = image.shape[-1]
    mask = np.zeros((n, size, size), np.float32)
    for i, prompt in enumerate(prompts):
        if prompt.box is not None:
            box[i] = prompt.box
            depth[i] = prompt.depth
        points[i, : len(prompt.points)] = prompt.points
        positive[i, : len(prompt.points)] = prompt.positive
        if prompt.mask is not None:
            mask[i] = _resized(prompt.mask, size)
    colour = bool(np.asarray(embedding.arrays["colour"])[0])
    return Prompts(
        image=torch.from_numpy(image).to(device)[None].expand(n, -1, -1, -1),
        colour=torch.full((n,), colour, device=device),
        box=torch.from_numpy(box).to(device),
        points=torch.from_numpy(points).to(device),
        positive=torch.from_numpy(positive).to(device),
        mask=torch.from_numpy(mask).to(device),
        has_mask=torch.tensor([p.mask is not None for p in prompts], device=device),
        depth=torch.from_numpy(depth).to(device),
    )


def _resized(mask: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    if mask.shape == (size, size):
        return mask
    tensor = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
    resized = functional.interpolate(tensor, (size, size), mode="bilinear", align_corners=False)
    return np.asarray(resized[0, 0].numpy(), np.float32)
