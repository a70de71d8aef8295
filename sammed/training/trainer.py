"""The training loop: what both of compact's networks have in common."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sammed.errors import UnreadableFileError, WeightsMismatchError
from sammed.models.compact.net import Architecture
from sammed.models.compact.quantization import eight_bit
from sammed.training.checkpoint import export_weights, load_checkpoint, save_checkpoint
from sammed.training.interrupts import Interrupts
from sammed.training.pace import Pace, Progress
from sammed.training.schedule import learning_rate
from sammed.training.stream import Stream, StreamPlan, WorkerError
from sammed.training.task import Task, ViewsTask

State = dict[str, Tensor]
OnProgress = Callable[[Progress], None]
AVERAGE_EVERY = 4
"""Steps between updates of the averaged weights."""

REPORT_EVERY = 200
"""Steps between reports."""

DICE = ("val_dice", "val_block")
"""What a validation calls the Dice that is told while a run goes on."""

Validate = Callable[[Any], dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """Everything that a run is told.

    Attributes
    ----------
    minutes
        How long to train; the learning rate falls to 0 towards the end.
    steps
        Stop after so many steps in all, if given.
    seed
        Seed of weights, data and clicks.
    stream
        How batches are drawn.
    architecture
        Shape of the network for views.
    rate
        Peak learning rate.
    decay
        Weight decay.
    average
        Decay of the moving average of the weights.
    clicks
        Share of the batches with one to three rounds of corrective clicks.
    bfloat16
        Compute in bfloat16; ``None``: where the processor has instructions for it.
    validate_every
        Minutes between validations.
    teacher
        Weights file of a network for views that the run stays close to.
    """

    minutes: float = 5.0
    steps: int | None = None
    seed: int = 0
    stream: StreamPlan = field(default_factory=StreamPlan)
    architecture: Architecture = field(default_factory=Architecture)
    rate: float = 1e-3
    decay: float = 0.02
    average: float = 0.9995
    clicks: float = 0.2
    bfloat16: bool | None = None
    validate_every: float = 5.0
    teacher: Path | None = None


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    probe = getattr(torch.backends.mkldnn, "is_available", None)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe() and supported and supported())


class Trainer:
    """A run: network, optimiser, averaged weights, step."""

    def __init__(self, recipe: Recipe, out: Path, task: Task | None = None) -> None:
        """Start from random weights; ``out`` is the folder of the run.

        Parameters
        ----------
        recipe
            How to train.
        out
            Folder of the run.
        task
            What to train; by default the network for views.
        """
        self.recipe = recipe
        self.out = out
        self.task: Task = task or ViewsTask(recipe.architecture, recipe.clicks, recipe.teacher)
        torch.manual_seed(recipe.seed)
        self.net: nn.Module = self.task.network()
        self.optimiser = self._optimiser()
        self.average: State = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.step = 0
        self.minutes_before = 0.0
        self.views = 0
        self.half = has_bfloat16() if recipe.bfloat16 is None else recipe.bfloat16
        self.history: list[dict[str, float]] = []
        self.columns = COLUMNS
        self.report_every = REPORT_EVERY
        self.kernels = eight_bit
        self.interrupted = False
        self._interrupts = Interrupts()
        self._dice: float | None = None

    def _optimiser(self) -> torch.optim.AdamW:
        groups = [
            {
                "params": [p for p in self.net.parameters() if p.ndim >= 2],
                "weight_decay": self.recipe.decay,
            },
            {"params": [p for p in self.net.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.recipe.rate, betas=(0.9, 0.99), fused=True)

    def start_from(self, weights: State) -> None:
        """Take over weights, with a fresh optimiser.

        Raises
        ------
        WeightsMismatchError
            If they are of a network of another size.
        """
        for name, own in self.net.state_dict().items():
            if name in weights and weights[name].shape != own.shape:
                raise WeightsMismatchError(
                    f"the weights to start from are of a network of another size: {name} has "
                    f"{list(weights[name].shape)}, expected {list(own.shape)}; start from weights "
                    "of the present network, or from none"
                )
        self.net.load_state_dict(weights, strict=False)
        self.average = {k: v.clone() for k, v in self.net.state_dict().items()}

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint: weights, optimiser, averages, step.

        Raises
        ------
        UnreadableFileError
            If it is none, or one of another network.
        """
        state = load_checkpoint(path)
        if state["architecture"] != self.task.tag:
            raise UnreadableFileError(
                f"{path} is a checkpoint of {state['architecture']!r}; expected {self.task.tag!r}"
            )
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = {k: v.to(self.average[k].device) for k, v in state["average"].items()}
        self.step, self.views = int(state["step"]), int(state["views"])
        self.minutes_before = float(state["minutes"])

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return self.out / "last.pt"

    def save(self, minutes: float) -> None:
        """Write the state, and the averaged weights in shipping form."""
        save_checkpoint(
            self.checkpoint,
            {
                "architecture": self.task.tag,
                "net": self.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average,
                "step": self.step,
                "views": self.views,
                "minutes": self.minutes_before + minutes,
                "stream": asdict(self.recipe.stream),
            },
        )
        note = f"{self.views} synthetic samples, {self.minutes_before + minutes:.0f} minutes"
        self.export(self.out / self.task.weights_name, note)

    def export(self, path: Path, note: str) -> None:
        """Write the averaged weights as they are shipped."""
        export_weights(path, self.average, self.task.tag, note, kernels=self.kernels)

    def run(
        self, on_progress: OnProgress | None = None, validate: Validate | None = None
    ) -> list[dict[str, float]]:
        """Train until the time or the steps are over, or Ctrl-C; always saves.

        After Ctrl-C (or SIGTERM) ``interrupted`` is true, and what was saved is the state after the
        last whole step.

        Parameters
        ----------
        on_progress
            Called after every step.
        validate
            Called with the averaged network; what it returns joins the metrics.

        Returns
        -------
        losses
            The parts of the loss at every step of this call.

        Raises
        ------
        WorkerError
            If what makes training data has died; the state is saved.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        pace = Pace(self.recipe.minutes, self.step, self.recipe.steps, self.recipe.stream.batch)
        self.interrupted = False
        with Interrupts() as interrupts:
            self._interrupts = interrupts
            try:
                with self._stream() as stream:
                    self._loop(stream, pace, on_progress or _untold, validate)
                with interrupts.shield():
                    self.save(pace.minutes)
                if validate and self.history:
                    self._record(self._where(pace.minutes) | self._validated(validate))
            except KeyboardInterrupt:
                self.interrupted = True
                self.save(pace.minutes)
            except WorkerError as error:
                self.save(pace.minutes)
                raise WorkerError(
                    f"{error}; {self.checkpoint} keeps all {self.step} steps, --resume goes on"
                ) from error
        return self.history

    def _stream(self) -> Stream:
        """Where batches come from."""
        return Stream(self.recipe.stream, self.step, self.task.batches)

    def _loop(
        self, stream: Stream, pace: Pace, on_progress: OnProgress, validate: Validate | None
    ) -> None:
        reported, validated, since = len(self.history), 0.0, time.monotonic()
        while not pace.over(self.step):
            parts = self.train_step(stream.next(), pace.share_of_time)
            self.history.append(parts)
            progress = replace(pace.after(self.step, parts["loss"]), dice=self._dice)
            on_progress(progress)
            if len(self.history) - reported < self.report_every:
                continue
            recent = self.history[reported:]
            report = {k: float(np.mean([r[k] for r in recent])) for k in recent[0]}
            report["views_per_second"] = (
                len(recent) * self.recipe.stream.batch / (time.monotonic() - since)
            )
            minutes = pace.minutes
            report |= self._where(minutes)
            if validate and minutes - validated >= self.recipe.validate_every:
                on_progress(replace(progress, validating=True))
                report |= self._validated(validate)
                with self._interrupts.shield():
                    self.save(minutes)
                validated = minutes
                pace.paused()
            self._record(report)
            reported, since = len(self.history), time.monotonic()

    def _where(self, minutes: float) -> dict[str, float]:
        return {
            "step": self.step,
            "views": self.views,
            "minutes": self.minutes_before + minutes,
            "rate": self.optimiser.param_groups[0]["lr"],
        }

    def _validated(self, validate: Validate) -> dict[str, float]:
        measured = {f"val_{k}": v for k, v in validate(self.averaged()).items()}
        self._dice = next((measured[name] for name in DICE if name in measured), None)
        return measured

    def train_step(self, arrays: dict[str, Any], progress: float) -> dict[str, float]:
        """One step of the optimiser; ``progress`` in [0, 1] sets the learning rate."""
        rng = np.random.default_rng((self.recipe.seed, 11, self.step))
        parts, count = self._gradients(arrays, rng)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe.rate, self.step, progress)
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        with self._interrupts.shield():
            self.optimiser.step()
            self.step += 1
            self.views += count
            if self.step % AVERAGE_EVERY == 0:
                self._update_average()
        return parts

    def _gradients(
        self, arrays: dict[str, Any], rng: np.random.Generator
    ) -> tuple[dict[str, float], int]:
        """Set the gradients of a batch's loss; its parts, and the number of samples."""
        loss, parts, count = self.task.loss(self.net, arrays, rng, self.half)
        self.net.zero_grad(set_to_none=True)
        loss.backward()
        return parts, count

    @torch.no_grad()
    def _update_average(self) -> None:
        updates = self.step / AVERAGE_EVERY
        decay = min(self.recipe.average**AVERAGE_EVERY, (1 + updates) / (10 + updates))
        values = self.net.state_dict()
        floating = [name for name, value in values.items() if value.is_floating_point()]
        means, news = [self.average[n] for n in floating], [values[n] for n in floating]
        torch._foreach_lerp_(means, news, 1 - decay)

    def averaged(self) -> nn.Module:
        """A network with the averaged weights."""
        net = self.task.network()
        net.load_state_dict(self.average)
        return net.eval()

    def _record(self, report: dict[str, float]) -> None:
        path = self.out / "metrics.csv"
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" for k, v in report.items()})


def _untold(progress: Progress) -> None:
    del progress


COLUMNS = [
    "step",
    "views",
    "minutes",
    "rate",
    "views_per_second",
    "loss",
    "mask",
    "quality",
    "presence",
    "taught",
    "iou_chosen",
    "iou_best",
    "val_dice",
    "val_dice_single",
    "val_dice_ellipse",
    "val_own",
    "val_whole",
    "val_next",
    "val_free",
    "val_absence_auc",
    "val_iou_r",
    "val_real_a",
    "val_real_a_floor",
    "val_block",
    "val_block_ellipsoid",
    "val_block_clicked",
    "val_real_block",
]
"""Columns of a run's metrics.csv."""
