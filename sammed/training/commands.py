"""What ``sammed train`` does, without the command line."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

from sammed.errors import InputError
from sammed.models.compact.entry import WEIGHTS
from sammed.models.compact.locator import Locator, load_locator
from sammed.models.compact.locator_net import LocatorNet
from sammed.models.compact.model import load_net
from sammed.synthesis.source import Source, mapped
from sammed.training.blocks import validate_blocks
from sammed.training.stream import StreamPlan
from sammed.training.task import BlocksTask
from sammed.training.trainer import OnProgress, Recipe, Trainer
from sammed.training.validation import validate_synthetic

log = logging.getLogger(__name__)


def run_training(
    *,
    model: str = "compact",
    out: Path,
    minutes: float = 5.0,
    resume: Path | None = None,
    init: str = "random",
    steps: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    batch: int = 8,
    rate: float = 1e-3,
    cases: Path | None = None,
    validate_every: float = 5.0,
    teacher: str | None = None,
    boxes_only: bool = False,
    label_maps: Path | None = None,
    trunks: float = 0.0,
    on_progress: OnProgress | None = None,
) -> Trainer:
    """Train compact and leave checkpoint, weights, metrics and a plot in a folder.

    Parameters
    ----------
    model
        ``"compact"``, the network for views, or ``"locator"``, the one for 3D boxes.
    out
        Folder of the run.
    minutes, steps
        When to stop.
    resume
        Checkpoint to continue from.
    init
        ``"random"``, ``"shipped"`` or a weights file.
    seed, batch, rate
        As on the command line.
    threads
        Of the trainer; ``None``: all of the processor's but one, which makes the data.
    cases
        List of real cases to validate on.
    validate_every
        Minutes between validations.
    teacher
        Weights of a network for views that the run stays close to: ``"shipped"`` or a file.
    boxes_only
        Train on views with a box and no other prompt.
    label_maps
        Folder of label maps from which half of the locator's volumes are drawn.
    trunks
        Share of the locator's volumes that are drawn trunks; of the others the half, then.
    on_progress
        Called after every step.

    Returns
    -------
    trainer
        After the run; ``interrupted`` says whether Ctrl-C ended it.

    Raises
    ------
    InputError
        If the model is not one that we train, or is given what another has, or there are no label
        maps.
    """
    if model not in ("compact", "locator"):
        raise InputError(f"cannot train {model!r}; expected 'compact' or 'locator'")
    if model == "locator" and (teacher or boxes_only):
        raise InputError("--teacher and --boxes-only are for 'compact'; the locator has neither")
    if model == "compact" and (label_maps or trunks):
        raise InputError("--label-maps and --trunks are for 'locator', not for 'compact'")
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) - 1))  # one makes the data
    plan = StreamPlan(seed=seed, batch=batch, boxes_only=boxes_only)
    recipe = Recipe(
        minutes=minutes,
        steps=steps,
        seed=seed,
        stream=plan,
        rate=rate,
        validate_every=validate_every,
        teacher=_weights_file(teacher) if teacher else None,
        clicks=0.0 if boxes_only else Recipe.clicks,
    )
    source = mapped(label_maps, trunks)
    task = BlocksTask(source=source) if model == "locator" else None
    trainer = Trainer(recipe, out, task)
    if resume is not None:
        trainer.resume(resume)
    elif init != "random":
        path = None if init == "shipped" else Path(init)
        net, _ = load_locator(path) if model == "locator" else load_net(path)
        trainer.start_from(net.state_dict())

    def validate(net: Any) -> dict[str, float]:
        if model == "locator":
            return _validated_locator(net, source, cases)
        measured = validate_synthetic(net)
        if cases is not None:
            from sammed.training.real_cases import validate_real

            measured |= validate_real(net, cases)
        return measured

    trainer.run(on_progress, validate)
    if not trainer.interrupted:
        _plot(out)
    return trainer


def _weights_file(name: str) -> Path:
    return WEIGHTS if name == "shipped" else Path(name)


def _validated_locator(net: LocatorNet, source: Source, cases: Path | None) -> dict[str, float]:
    measured = validate_blocks(net, source=source)
    if cases is not None:
        from sammed.training.real_blocks import score_blocks, summarise_blocks

        found = summarise_blocks(score_blocks(Locator(net).locate, cases))
        measured |= {f"real_{name}": value for name, value in found.items()}
    return measured


def _plot(out: Path) -> None:
    try:
        from sammed.training.plots import plot_metrics
    except ImportError:
        log.info("no loss plot: matplotlib is not installed (pip install 'sammed[plots]')")
        return
    if (out / "metrics.csv").is_file():  # else the run was too short for a line
        plot_metrics(out / "metrics.csv", out / "metrics.png")
