"""Training of compact's branch for strokes, and its validation on cases that it never sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammed.errors import InputError
from sammed.imaging.masks import dice
from sammed.models.checkpoints import digest
from sammed.models.compact.entry import WEIGHTS
from sammed.models.compact.model import load_strokes
from sammed.models.compact.stroke_net import StrokeArchitecture, StrokeNet
from sammed.models.compact.weight_files import load_network
from sammed.training import stream
from sammed.training.checkpoint import export_weights
from sammed.training.losses import compact_loss
from sammed.training.stroke_batches import (
    KINDS_OF_CASE,
    batches,
    frozen_net,
    make_cases,
    pack,
    unpack,
)
from sammed.training.trainer import OnProgress, Recipe, Trainer

Arrays = dict[str, NDArray[Any]]

NAMES_OF_CASE = ("a stroke alone", "a box and a stroke", "a stroke into what is wrong")
"""Of `KINDS_OF_CASE`, in words."""

VALIDATION_SEED = 987_654_322
"""Seed of the cases that are held back; no run uses it."""

COLUMNS = [
    "step", "views", "minutes", "rate", "views_per_second", "loss", "mask", "quality", "presence",
    "iou_chosen", "iou_best", "val_dice", "val_points",
    *(f"val_{kind}{which}" for kind in KINDS_OF_CASE for which in ("", "_points")),
]  # fmt: skip
"""Columns of a run's metrics.csv; ``points``: by three points a stroke, without the branch."""


class StrokesTask:
    """The branch for strokes beside the shipped network for views, which does not change.

    Parameters
    ----------
    architecture
        Its shape.
    """

    weights_name = "compact_strokes.safetensors"

    def __init__(self, architecture: StrokeArchitecture | None = None) -> None:
        self._architecture = architecture or StrokeArchitecture()
        self.tag = self._architecture.tag

    @property
    def batches(self) -> stream.Batches:
        """Views with strokes."""
        return batches

    def network(self) -> StrokeNet:
        """A branch that adds nothing yet."""
        return StrokeNet(self._architecture).to(memory_format=torch.channels_last)

    def loss(
        self, net: StrokeNet, arrays: Arrays, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """Focal, Dice, IoU and presence of what the network for views answers with the branch."""
        del rng
        shown, seen, target = unpack(arrays)
        net.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits, iou, present = frozen_net().answer(net(shown, seen))
        loss, parts = compact_loss(logits.float(), iou.float(), present.float(), target)
        return loss, parts, len(target)


class StrokesTrainer(Trainer):
    """A run of `StrokesTask`; its weights name those of the network that they belong to."""

    def export(self, path: Path, note: str) -> None:
        """Write the averaged weights as they are shipped."""
        base = digest(WEIGHTS, "sha256")
        export_weights(path, self.average, self.task.tag, note, base)


@dataclass(frozen=True)
class StrokesOptions:
    """What a run is told, see ``sammed train strokes --help``."""

    out: Path
    minutes: float = 60.0
    steps: int | None = None
    resume: Path | None = None
    init: Path | None = None
    seed: int = 0
    threads: int = 1
    batch: int = 8
    rate: float = 1.5e-3
    validate_every: float = 10.0
    validated: int = 192


def train_strokes(options: StrokesOptions, on_progress: OnProgress | None = None) -> Trainer:
    """Train the branch for strokes and leave checkpoint, weights and metrics in a folder.

    Parameters
    ----------
    options
        How.
    on_progress
        Called after every step.

    Returns
    -------
    trainer
        After the run; ``interrupted`` says whether Ctrl-C ended it.

    Raises
    ------
    InputError
        If a package that strokes are drawn with is missing.
    """
    _require_skimage()
    torch.set_num_threads(options.threads)
    plan = stream.StreamPlan(options.seed, options.batch, chunk=128, window=4, replay=3.0)
    recipe = Recipe(
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        stream=plan,
        rate=options.rate,
        validate_every=options.validate_every,
    )
    task = StrokesTask()
    trainer = StrokesTrainer(recipe, options.out, task)
    trainer.columns = COLUMNS
    if options.resume is not None:
        trainer.resume(options.resume)
    elif options.init is not None:
        net, _ = load_network(options.init, "strokes", StrokeNet, StrokeArchitecture())
        trainer.start_from(net.state_dict())
    trainer.run(on_progress, lambda net: validate_strokes(net, options.validated))
    return trainer


def _require_skimage() -> None:
    try:
        import skimage  # noqa: F401
    except ImportError:
        raise InputError(
            "strokes are drawn with scikit-image, which is not installed; "
            "install it: pip install 'sammed[everything]'"
        ) from None


@lru_cache(maxsize=2)
def _held_back(size: int) -> tuple[Arrays, ...]:
    cases = make_cases(VALIDATION_SEED, 0, size)
    rng = np.random.default_rng(VALIDATION_SEED)
    return tuple(pack(rng, cases[i : i + 16]) for i in range(0, size, 16))


@torch.no_grad()
def validate_strokes(net: StrokeNet, size: int = 192) -> dict[str, float]:
    """Dice of the held-back cases with the branch, and by three points a stroke without it.

    Parameters
    ----------
    net
        The branch, in evaluation mode.
    size
        Number of cases.

    Returns
    -------
    dict
        ``dice`` and ``points`` of all cases that show an object, and the same of each kind:
        ``alone``, ``alone_points``, ...
    """
    rows: list[tuple[str, float, float]] = []
    frozen = frozen_net()
    for arrays in _held_back(size):
        shown, seen, target = unpack(arrays)
        wanted = target.numpy() > 0
        with_branch = _chosen(*frozen.answer(net(shown, seen)))
        without = _chosen(*frozen.answer(seen))
        for i in np.flatnonzero(wanted.any((1, 2))):
            kind = KINDS_OF_CASE[int(arrays["kind"][i])]
            rows.append((kind, dice(with_branch[i], wanted[i]), dice(without[i], wanted[i])))
    result = {"dice": _mean([r[1] for r in rows]), "points": _mean([r[2] for r in rows])}
    for kind in KINDS_OF_CASE:
        result[kind] = _mean([r[1] for r in rows if r[0] == kind])
        result[f"{kind}_points"] = _mean([r[2] for r in rows if r[0] == kind])
    return result


def score_strokes(weights: Path | None = None, size: int = 192) -> str:
    """Dice of the held-back cases, as a table.

    Parameters
    ----------
    weights
        A file that ``sammed train strokes`` wrote; ``None``: the shipped one.
    size
        Number of cases.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        As `sammed.models.compact.model.load_strokes` does.
    InputError
        If a package that strokes are drawn with is missing.
    """
    _require_skimage()
    branch, _ = load_strokes(digest(WEIGHTS, "sha256"), weights)
    found = validate_strokes(branch, size)
    lines = ["| held back | three points a stroke | the stroke |", "|---|---|---|"]
    for kind, name in (*zip(KINDS_OF_CASE, NAMES_OF_CASE, strict=True), ("dice", "all")):
        points = found["points" if kind == "dice" else f"{kind}_points"]
        lines.append(f"| {name} | {points:.3f} | {found[kind]:.3f} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _chosen(logits: Tensor, iou: Tensor, present: Tensor) -> NDArray[np.bool_]:
    """The mask of the candidate that the network thinks best, (n, s, s)."""
    del present
    best: NDArray[np.bool_] = (logits[torch.arange(len(logits)), iou.argmax(1)] > 0).numpy()
    return best
