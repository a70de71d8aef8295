"""What compact's branch for strokes learns from: cases of strokes, as the engine will ask.

The network for views is frozen, so what it makes of a case is computed once, by the process that
makes the cases, and used as often as the case is drawn. A case is one of three: a stroke alone, a
box with strokes, or an answer of the network's own with a stroke into what is wrong with it.
Strokes are drawn on the pixels of the synthetic slice and seen through the view as in use
(`sammed.views.strokes`), so that they are as thin, as broken and as large as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.boxes import Box2D
from sammed.models.compact.model import load_net
from sammed.models.compact.net import CompactNet, Features, Prompts, input_planes
from sammed.models.compact.stroke_net import with_strokes
from sammed.models.compact.weight_files import fold_norms
from sammed.prompts.stroke_simulation import KINDS, drawn
from sammed.prompts.strokes import POINTS_ON_SLICE
from sammed.synthesis.views import STROKED, VIEW_SIZE, Sample, draw_samples
from sammed.training.prompts import NO_MASK_LOGIT, disturbed, inner_point
from sammed.training.stream import PER_SLAB, StreamPlan, first_samples
from sammed.training.stream import drawn as reservoir
from sammed.views.slices import View
from sammed.views.strokes import stroke_plane

Array = NDArray[np.float32]
Pixels = NDArray[np.intp]

MOST_POINTS = 12
"""Points of a case: three a stroke."""

KINDS_OF_CASE = ("alone", "boxed", "mended")
"""Strokes without a box, with one, and into what is wrong with an answer."""

FINER = (1.0, 1.0, 2.0, 3.0)
"""Pixels of the slice on which a stroke is drawn, for each of the synthetic slice."""

AT_ONCE = 16
MARGIN = 0.05
"""An answer is corrected in its box, widened by this share, as the engine does."""


@dataclass
class Case:
    """One view with all that is said of it.

    Attributes
    ----------
    sample
        The view, and what is asked for.
    kind
        One of `KINDS_OF_CASE`.
    strokes
        Pixels (n, 2) of a slice, its view, whether they lie in the object.
    points
        (row, col) in view edge coordinates, and whether in the object.
    box : (4,) float32 or None
        In view edge coordinates.
    mask : (s, s) float32 or None
        Logits of the former answer.
    """

    sample: Sample
    kind: str
    strokes: list[tuple[View, Pixels, bool]] = field(default_factory=list)
    points: list[tuple[Array, bool]] = field(default_factory=list)
    box: Array | None = None
    mask: Array | None = None

    def stroke(self, view: View, pixels: Pixels, positive: bool) -> None:
        """Say one more stroke, and its points."""
        self.strokes.append((view, pixels, positive))
        picks = np.linspace(0, len(pixels) - 1, min(POINTS_ON_SLICE, len(pixels)))
        for at in view.points(pixels[np.unique(picks.round().astype(int))] + 0.5):
            self.points.append((at, positive))

    @property
    def planes(self) -> Array:
        """The strokes as the branch sees them, (2, s, s): in the object and beside it."""
        planes = np.zeros((2, VIEW_SIZE, VIEW_SIZE), np.float32)
        for view, pixels, positive in self.strokes:
            plane = planes[0 if positive else 1]
            np.maximum(plane, stroke_plane(view, pixels, VIEW_SIZE), out=plane)
        return planes


def make_cases(seed: int, index: int, size: int) -> list[dict[str, NDArray[Any]]]:
    """The cases of one chunk with what the frozen network makes of them: `ready` ones."""
    samples = first_samples(lambda slab: draw_samples((seed, index, slab), PER_SLAB, STROKED), size)
    rng = np.random.default_rng((seed, 13, index))
    net = frozen_net()
    cases = [started(rng, sample) for sample in samples]
    for part in _parts(cases):
        wrong = [case for case in part if case.kind == "mended"]
        for case, logits in zip(wrong, _answers(net, wrong), strict=True):
            mend(rng, case, logits)
    return [one for part in _parts(cases) for one in ready(net, part)]


@lru_cache(maxsize=1)
def frozen_net() -> CompactNet:
    """The shipped network for views, which learns no more."""
    net, _ = load_net()
    fold_norms(net)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net.to(memory_format=torch.channels_last)


def started(rng: np.random.Generator, sample: Sample) -> Case:
    """What is said first of a sample: of a case to be mended, without the last stroke."""
    view = _view(sample)
    if sample.stroke is not None:
        case = Case(sample, "alone" if rng.random() < 0.72 else "mended")
        if case.kind == "alone" or rng.random() < 0.7:
            case.stroke(view, sample.stroke, True)
        else:
            _click(rng, case)
    else:
        boxed = sample.mode == "own" and rng.random() < 0.5
        case = Case(sample, "boxed" if boxed else "mended", box=sample.box)
        if boxed:
            _draw(rng, case, sample.target > 0, True)
        elif sample.mode in ("next", "absent") or (sample.previous.any() and rng.random() < 0.3):
            case.mask = disturbed(rng, sample.previous)
        elif rng.random() < 0.15:
            case.box = None
            _click(rng, case)
    if case.kind != "mended":
        if rng.random() < 0.15:
            _draw(rng, case, sample.target > 0, True)
        if rng.random() < 0.25:
            _draw_beside(rng, case)
    return case


def mend(rng: np.random.Generator, case: Case, logits: Array) -> None:
    """Take an answer for the former one, and say by a stroke what is wrong with it.

    Now and then nothing new is said: the engine looks twice at what a stroke alone shows.
    """
    target = case.sample.target > 0
    case.mask = logits
    if case.strokes and rng.random() < 0.3:
        return
    if rng.random() < 0.5:
        case.strokes, case.points = [], []  # they were said on another slice
    found = _largest_error(target, logits > 0)
    if found is not None:
        _draw(rng, case, *found)
    if rng.random() < 0.2:
        _draw_beside(rng, case)
    case.box = _mended_box(case, logits)


def _largest_error(
    target: NDArray[np.bool_], answer: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], bool] | None:
    """The largest connected part of what is wrong, and whether the object was missed there."""
    best: tuple[int, NDArray[np.bool_], bool] | None = None
    for wrong, positive in ((target & ~answer, True), (~target & answer, False)):
        labels, count = ndimage.label(wrong)
        if not count:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        which = int(np.argmax(sizes))
        if best is None or sizes[which] > best[0]:
            best = int(sizes[which]), labels == which + 1, positive
    return None if best is None else best[1:]


def _mended_box(case: Case, logits: Array) -> Array | None:
    tight = Box2D.from_mask(logits > 0)
    r0, c0, r1, c1 = (float(v) for v in (tight.r0, tight.c0, tight.r1, tight.c1))
    if tight.is_empty:
        return case.box
    dr, dc = max(1.0, MARGIN * (r1 - r0)), max(1.0, MARGIN * (c1 - c0))
    box = np.array([r0 - dr, c0 - dc, r1 + dr, c1 + dc], np.float32)
    for at, positive in case.points:
        if positive:
            box[:2], box[2:] = np.minimum(box[:2], at - 1.5), np.maximum(box[2:], at + 1.5)
    return box


def _view(sample: Sample, finer: float = 1.0) -> View:
    r0, c0, r1, c1 = (v * finer for v in sample.rect)
    return View(0, (r0, c0, r1, c1), (VIEW_SIZE, VIEW_SIZE), VIEW_SIZE)


def _draw(rng: np.random.Generator, case: Case, region: NDArray[np.bool_], positive: bool) -> None:
    """A stroke in a region of the view, drawn on the slice's own pixels."""
    if not region.any():
        return
    rect = case.sample.rect
    most = 160 / max(rect[2] - rect[0], rect[3] - rect[1])
    view = _view(case.sample, max(1.0, min(float(rng.choice(FINER)), most)))
    r0, c0, r1, c1 = (int(np.ceil(v - 0.5)) for v in view.rect)
    pixels = Box2D(r0, c0, r1, c1)
    inside = view.to_slice(region.astype(np.float32) - 0.5, pixels) > 0
    if inside.any():
        stroke = drawn(inside, str(rng.choice(list(KINDS))), rng) + np.array((r0, c0))
        case.stroke(view, stroke, positive)


def _draw_beside(rng: np.random.Generator, case: Case) -> None:
    """A stroke in what surrounds the object, most often along it or in a part of it."""
    target = case.sample.target > 0
    near = ndimage.binary_dilation(target, iterations=int(rng.integers(4, 20)))
    near &= ~ndimage.binary_dilation(target, iterations=2)
    if near.any() and rng.random() < 0.7:
        row, col = np.argwhere(near)[int(rng.integers(np.count_nonzero(near)))]
        reach = int(rng.integers(8, 30))
        part = np.zeros_like(near)
        part[max(row - reach, 0) : row + reach, max(col - reach, 0) : col + reach] = True
        near &= part
    _draw(rng, case, near, False)


def _click(rng: np.random.Generator, case: Case) -> None:
    at = inner_point(rng, case.sample.target)
    if at is not None:
        case.points.append((np.array(at, np.float32), True))


def _parts(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), AT_ONCE):
        yield cases[start : start + AT_ONCE]


def prompts_of(cases: Sequence[Case]) -> Prompts:
    """What the network for views is told of cases."""
    n = len(cases)
    box = np.full((n, 4), np.nan, np.float32)
    points = np.full((n, MOST_POINTS, 2), np.nan, np.float32)
    positive = np.zeros((n, MOST_POINTS), bool)
    mask = np.full((n, VIEW_SIZE, VIEW_SIZE), NO_MASK_LOGIT, np.float32)
    for i, case in enumerate(cases):
        if case.box is not None:
            box[i] = case.box
        if case.mask is not None:
            mask[i] = case.mask
        for j, (at, inside) in enumerate(case.points[:MOST_POINTS]):
            points[i, j], positive[i, j] = at, inside
    return Prompts(
        image=torch.from_numpy(np.stack([c.sample.image for c in cases]).astype(np.float32)),
        colour=torch.tensor([c.sample.colour for c in cases]),
        box=torch.from_numpy(box),
        points=torch.from_numpy(points),
        positive=torch.from_numpy(positive),
        mask=torch.from_numpy(mask),
        has_mask=torch.tensor([c.mask is not None for c in cases]),
        depth=torch.zeros(n),
    )


@torch.no_grad()
def _answers(net: CompactNet, cases: Sequence[Case]) -> list[Array]:
    if not cases:
        return []
    logits, iou, _ = net(
        input_planes(prompts_of(cases)).contiguous(memory_format=torch.channels_last)
    )
    best = logits[torch.arange(len(cases)), iou.argmax(1)]
    return list(best.clamp(-10, 10).numpy())


@torch.no_grad()
def ready(net: CompactNet, cases: Sequence[Case]) -> list[dict[str, NDArray[Any]]]:
    """Cases as plain arrays: what the branch sees, and what is asked for."""
    planes = input_planes(prompts_of(cases)).contiguous(memory_format=torch.channels_last)
    strokes = torch.from_numpy(np.stack([case.planes for case in cases]))
    shown = with_strokes(planes, strokes).half().numpy()
    seen = [level.half().numpy() for level in net.look(planes)]
    return [
        {
            "shown": shown[i],
            **{f"seen{level}": values[i] for level, values in enumerate(seen)},
            "target": case.sample.target,
            "kind": np.array(KINDS_OF_CASE.index(case.kind)),
        }
        for i, case in enumerate(cases)
    ]


def pack(rng: np.random.Generator, cases: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """A batch of ready cases."""
    del rng
    return {name: np.stack([case[name] for case in cases]) for name in cases[0]}


def unpack(arrays: dict[str, NDArray[Any]]) -> tuple[torch.Tensor, Features, torch.Tensor]:
    """What the branch sees, what the network for views made of it, and what is asked for."""
    shown = _tensor(arrays["shown"])
    seen = [_tensor(arrays[f"seen{level}"]) for level in range(5)]
    return shown, seen, torch.from_numpy(arrays["target"]).float()


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values).float().contiguous(memory_format=torch.channels_last)


def batches(plan: StreamPlan, start: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Packed batches of strokes from step ``start`` on, in this process."""
    return reservoir(plan, start, make_cases, pack)
