"""``sammed train volume``: train the network for volumes, on a CPU or a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import set_verbosity
from sammed.cli.options import Force, Quiet
from sammed.cli.training import (
    Init,
    LabelMaps,
    Minutes,
    Rate,
    Resume,
    Seed,
    Steps,
    progress,
    say_end,
)


def volume(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of the run, or the weights file to write in it."),
    ] = Path("runs/volume"),
    minutes: Minutes = 60.0,
    resume: Resume = False,
    init: Init = None,
    label_maps: LabelMaps = None,
    device: Annotated[str, typer.Option(help="'cpu' or 'cuda'.")] = "cpu",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that make data; default: 1, of a GPU all cores but 1."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Samples in a batch; default: 8, of a GPU 48.")
    ] = None,
    rate: Rate = 1e-3,
    steps: Steps = None,
    seed: Seed = 0,
    field: Annotated[int, typer.Option(help="Samples along each side of a field.")] = 64,
    validate_every: Annotated[
        float | None, typer.Option(help="Minutes between validations; default: 30, of a GPU 2.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network first (torch.compile): minutes.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train the network for volumes on synthetic images, and on shapes of real label maps.

    One worker on the CPU: the same seed gives the same weights. Ctrl-C keeps what was learned.

    For example:

      sammed train volume --minutes 60 --label-maps maps --out runs/volume

      sammed train volume --minutes 60 --label-maps maps --out runs/volume --resume

      sammed train volume --device cuda --minutes 9 --label-maps maps --out volume.safetensors
    """
    set_verbosity(quiet, verbose=False)
    from sammed.training.volume_trainer import VolumeOptions, train_volumes

    options = VolumeOptions(
        out=out,
        minutes=minutes,
        steps=steps,
        resume=resume,
        init=init,
        label_maps=label_maps,
        device=device,
        workers=workers,
        batch=batch,
        rate=rate,
        seed=seed,
        size=field,
        validate_every=validate_every,
        compiled=compiled,
    )
    with progress(quiet) as show:
        trainer = train_volumes(options, show)
    say_end(trainer, f"volume --resume --out {out}", quiet)


def label_maps(
    folder: Annotated[Path, typer.Argument(help="Folder of label maps, of any depth.")],
    out: Annotated[Path, typer.Argument(help="Folder of the prepared ones.")],
    force: Force = False,
) -> None:
    """Prepare label maps for training: small files that need no other package to be read.

    'train volume' does that by itself, and keeps them; this is for other machines.

    Example: sammed train label-maps maps prepared
    """
    from sammed.synthesis.label_maps import prepare_folder

    if force:
        for former in out.glob("*.labels.npz"):
            former.unlink()
    typer.echo(f"{len(prepare_folder(folder, out))} label maps in {out}")
