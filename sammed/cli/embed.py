"""``sammed embed``: encode a volume's slices ahead, so that segmenting it is quick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammed.cli.console import meter, set_verbosity
from sammed.cli.crew import say_outcomes, sayer, scans_meter
from sammed.cli.options import (
    Device,
    EncodeSize,
    Engine,
    Frame,
    Precision,
    Quiet,
    Scheduler,
    Series,
    Threads,
    Verbose,
    Window,
    Workers,
)
from sammed.errors import InputError

if TYPE_CHECKING:
    from sammed.many.embedding import Encoding


def embed(
    image: Annotated[
        Path,
        typer.Argument(
            help="NIfTI, NRRD, MHA, image or DICOM folder; or many: a folder of them, a quoted "
            "glob, a table with a column image, a project's folder."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", help="A segment-anything model, or a checkpoint file.")
    ] = "vit_b",
    window: Window = "auto",
    plane: Annotated[
        str, typer.Option("--plane", help="auto, axial, coronal, sagittal, or all.")
    ] = "auto",
    slices: Annotated[
        str | None,
        typer.Option("--slices", metavar="A:B", help="Only slices A to B - 1 of the plane."),
    ] = None,
    frame: Frame = None,
    series: Series = None,
    encode_size: EncodeSize = None,
    engine: Engine = None,
    precision: Precision = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = 1,
    scheduler: Scheduler = "",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Encode the slices of a volume, or of many, and keep the embeddings, say over night.

    What is kept already is not encoded again, so that an interrupted run goes on where it was.
    ``sammed segment`` with the same model, window, plane and size then encodes nothing. Only models
    that see whole slices (segment-anything's) have anything to prepare.

    For example:

      sammed embed ct.nii.gz --model vit_b --window soft-tissue

      sammed embed 'scans/*.nii.gz' --model vit_b --workers 4

      sammed embed study/ --model vit_b
    """
    set_verbosity(quiet, verbose)
    from sammed.many.embedding import Encoding, is_many

    options = {
        "device": device, "threads": threads, "engine": engine, "precision": precision,
        "encode_size": encode_size,
    }  # fmt: skip
    how = Encoding(model, window, plane, slices, options)
    if is_many(image):
        if frame is not None or series is not None:
            raise InputError(
                "--frame and --series choose of one image; in a table of scans they are columns"
            )
        _embed_many(image, how, workers, scheduler, quiet)
        return
    if workers > 1 or scheduler:
        raise InputError(
            f"{image} is one scan, which is encoded by one program; leave --workers and "
            "--scheduler out, or give a folder, a glob, a table of scans or a project"
        )
    _embed_one(image, how, frame, series, quiet)


def _embed_one(
    image: Path, how: Encoding, frame: int | None, series: str | None, quiet: bool
) -> None:
    from sammed.many.embedding import encode
    from sammed.many.manifest import Scan

    told = sayer(quiet)
    with meter(quiet) as draw:
        found = encode(
            Scan("", image, series=series, frame=frame),
            how,
            how.build(),
            say_window=lambda window: told(f"window {window}: segment with the same one"),
            told=lambda plane, done, total: draw(plane, "", done, total),
        )
    for one in found:
        told(f"{one.plane}: {one.now} slices encoded, {one.kept} were kept already")


def _embed_many(scans: Path, how: Encoding, workers: int, scheduler: str, quiet: bool) -> None:
    from sammed.many.crew import Crew
    from sammed.many.embedding import embed_many
    from sammed.many.runner import check_all_done

    with scans_meter(quiet) as show:
        outcomes = embed_many(scans, how, Crew(workers, scheduler), told=show, say=sayer(quiet))
    say_outcomes(outcomes, quiet)
    planes = [plane for one in outcomes for plane in one.result.get("planes", ())]
    now, kept = (sum(plane[which] for plane in planes) for which in ("now", "kept"))
    sayer(quiet)(f"{now} slices encoded, {kept} were kept already")
    check_all_done(outcomes)
