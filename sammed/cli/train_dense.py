"""``sammed train dense``: train the network that finds things without a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import meter, say, set_verbosity
from sammed.cli.options import Force, Quiet
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


def dense(
    out: Out = Path("runs/dense"),
    minutes: Minutes = 60.0,
    resume: Resume = False,
    init: Init = None,
    label_maps: LabelMaps = None,
    batch: Annotated[int, typer.Option(min=1, help="Patches in a batch.")] = 2,
    rate: Rate = 1e-3,
    steps: Steps = None,
    seed: Seed = 0,
    validate_every: ValidateEvery = 10.0,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Train the network of pictures and single slices.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train the network by which 'sammed propose' finds borders of things.

    On scenes of which every voxel is known: drawn trunks, the generator's scenes, cells packed side
    by side, chains and tubes, and shapes of real label maps; or, with --pictures, on drawn pictures
    (endoscopy, skin, glands, ultrasound). The same seed gives the same weights. Ctrl-C keeps what
    was learned.

    For example:

      sammed train dense --minutes 50 --label-maps maps --out runs/dense

      sammed train dense --minutes 50 --label-maps maps --out runs/dense --resume

      sammed train dense --pictures --batch 16 --minutes 50 --out runs/pictures
    """
    set_verbosity(quiet, verbose=False)
    from sammed.training.dense_trainer import DenseOptions, train_dense

    options = DenseOptions(
        out=out,
        minutes=minutes,
        steps=steps,
        resume=resume,
        init=init,
        label_maps=label_maps,
        batch=batch,
        rate=rate,
        seed=seed,
        validate_every=validate_every,
        pictures=pictures,
    )
    with progress(quiet) as show:
        trainer = train_dense(options, show)
    what = "dense --pictures" if pictures else "dense"
    say_end(trainer, f"{what} --resume --out {out}", quiet)


def dense_recall(
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights file; default: the shipped one.")
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 12,
    label_maps: LabelMaps = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Of drawn pictures, by the network of pictures.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Count how many things of scenes that were not trained on are among the candidates.

    Without the dense network and with it; before any model is asked about the candidates. With
    --pictures those of drawn pictures, and how well the most salient one alone does.

    Example: sammed train dense-recall --weights runs/dense/dense.safetensors --label-maps maps
    """
    set_verbosity(quiet, verbose=False)
    from sammed.everything.recall import recall_table
    from sammed.training.dense_recall import picture_recall, scene_recall

    with meter(quiet, every=30) as draw:

        def told(done: int, total: int) -> None:
            draw("pictures" if pictures else "scenes", "", done, total)

        if not pictures:
            found = scene_recall(weights, scenes, label_maps, told)
        else:
            of_pictures = picture_recall(weights, scenes, told)
            found = of_pictures.ious
    typer.echo(recall_table(found))
    if pictures:
        typer.echo("\nDice of the most salient candidate alone: " + ", ".join(
            f"{kind} {dice:.2f}" for kind, dice in of_pictures.single.items()
        ))  # fmt: skip


def likely(
    out: Annotated[Path, typer.Argument(help="The .json file to write.")],
    scenes: Annotated[int, typer.Option(min=5, help="How many scenes.")] = 40,
    label_maps: LabelMaps = None,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Learn which regions of a volume are things: what 'sammed propose' asks the model about first.

    From the regions of synthetic scenes of which every thing is known, as the dense network sees
    them. A fifth of the scenes is held back at first, to say how well things come before what is
    none.

    Example: sammed train likely likely.json --label-maps maps
    """
    set_verbosity(quiet, verbose=False)
    from sammed.synthesis.source import mapped
    from sammed.training.likely import train_likely

    with meter(quiet, every=30) as draw:

        def told(done: int, total: int) -> None:
            draw("scenes", "", done, total)

        found = train_likely(out, scenes, mapped(label_maps), seed, force, told)
    if not quiet:
        say(
            f"{found['regions']} regions of {found['scenes']} scenes; of two, a thing comes before "
            f"what is none in {found['order']:.1%} (held-back scenes)"
        )
        say(f"wrote {out}")
