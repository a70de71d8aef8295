"""``sammed train segmenter``: train what the segmenters of 'sammed learn' begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import set_verbosity
from sammed.cli.options import Quiet
from sammed.cli.training import (
    Init,
    LabelMaps,
    Minutes,
    Out,
    Rate,
    Resume,
    Seed,
    Steps,
    ValidateEvery,
    progress,
    say_end,
)


def segmenter(
    out: Out = Path("runs/segmenter"),
    minutes: Minutes = 60.0,
    resume: Resume = False,
    init: Init = None,
    label_maps: LabelMaps = None,
    batch: Annotated[
        int, typer.Option(min=0, help="Samples in a batch; 0: two patches, or four slices.")
    ] = 0,
    rate: Rate = 2e-3,
    steps: Steps = None,
    seed: Seed = 0,
    validate_every: ValidateEvery = 10.0,
    flat: Annotated[
        bool, typer.Option("--flat", help="For slices and pictures, not for solid patches.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train what the segmenters of 'sammed learn' begin with.

    On scenes of which every voxel is known, as 'sammed train dense' does, but the network that
    'sammed learn' teaches: from these weights it learns more of a few cases in the same minutes.
    The same seed gives the same weights. Ctrl-C keeps what was learned.

    For example:

      sammed train segmenter --minutes 60 --label-maps maps --out runs/solid

      sammed train segmenter --minutes 60 --label-maps maps --out runs/solid --resume

      sammed train segmenter --flat --minutes 60 --label-maps maps --out runs/flat
    """
    set_verbosity(quiet, verbose=False)
    from sammed.training.pretraining import PretrainingOptions, train_segmenter

    options = PretrainingOptions(
        out=out,
        flat=flat,
        minutes=minutes,
        steps=steps,
        resume=resume,
        init=init,
        label_maps=label_maps,
        batch=batch,
        rate=rate,
        seed=seed,
        validate_every=validate_every,
    )
    with progress(quiet) as show:
        trainer = train_segmenter(options, show)
    what = "segmenter --flat" if flat else "segmenter"
    say_end(trainer, f"{what} --resume --out {out}", quiet)
