"""``sammed compare``: the same prompts to several models, side by side."""

from __future__ import annotations

import csv
import io as text_io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import duration, meter, put, say, set_verbosity
from sammed.cli.options import (
    IMAGES,
    AllowGaps,
    Device,
    Force,
    Frame,
    Json,
    Plane,
    Quiet,
    Series,
    Threads,
    Window,
)

if TYPE_CHECKING:
    from sammed.engine.progress import Progress
    from sammed.reporting.comparison import Comparison


def compare(
    image: Annotated[str, typer.Argument(help=IMAGES)],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder: comparison.png, comparison.csv, a label map a model."
        ),
    ],
    models: Annotated[
        str,
        typer.Option(
            "--models", help="Names of `sammed models list`, or weights files, joined by commas."
        ),
    ] = "compact,two_class",
    box: Annotated[
        list[str] | None, typer.Option("--box", help="As in `sammed segment`. Repeatable.")
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option("--point", help="As in `sammed segment`. Repeatable.")
    ] = None,
    scribble: Annotated[
        list[str] | None, typer.Option("--scribble", help="As in `sammed segment`. Repeatable.")
    ] = None,
    prompts: Annotated[
        list[Path] | None, typer.Option("--prompts", help="Prompt file. Repeatable.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", help="Label map to score against; objects are found in it by name."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="NAME=VALUE in the reference, where it has no names."),
    ] = None,
    window: Window = "auto",
    plane: Plane = "auto",
    frame: Frame = None,
    series: Series = None,
    allow_gaps: AllowGaps = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment the same objects with several models; one table and one picture, side by side.

    A model that cannot be used, or does not take the prompts, has its reason in the table. For
    numbers over many scans: sammed evaluate --model A --model B.

    For example:

      sammed compare ct.nii.gz --box spleen=99,56,131,97@44 --models compact,vit_b,two_class -o both

      sammed compare ct.nii.gz --prompts p.json --reference l.nii.gz --label spleen=2 -o both
    """
    set_verbosity(quiet, verbose=False)
    from sammed import api, io
    from sammed.engine.settings import Settings
    from sammed.io.output import check_output
    from sammed.models import registry
    from sammed.prompts.text import parse_label
    from sammed.reporting.comparison import compare_models, table, truths

    names = list(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("expected names joined by commas", param_hint="--models")
    files = {name: out / f"{_file_name(name)}.nii.gz" for name in names}
    for path in (out / "comparison.png", out / "comparison.csv", *files.values()):
        if out.exists():  # else it is made once there is something to write
            check_output(path, force)
    settings = Settings(plane=plane, window=window)
    volume, _ = api.timed_read(image, frame=frame, series=series, allow_gaps=allow_gaps)
    for note in () if quiet else volume.notes:
        say(f"note: {note}")
    objects = api.gather_prompts(
        volume, boxes=box or (), points=point or (), scribbles=scribble or (), files=prompts or ()
    )
    true = {}
    if reference is not None:
        values = dict(parse_label(text) for text in label or ())
        true = truths(io.read_labels(reference, like=volume), objects, values)
    builds = {n: partial(registry.build, n, device=device, threads=threads) for n in names}
    with meter(quiet) as draw:

        def show(name: str, progress: Progress) -> None:
            left = progress.seconds_left
            beside = "" if left is None else f"{duration(left)} left"
            draw(f"{name}: {progress.object_name}", beside, progress.done, progress.total)

        found = compare_models(volume, objects, builds, settings, true, show)
    _write(found, out, files, force)
    if as_json:
        put({"image": image, "entries": found.rows()})
    elif not quiet:
        for line in table(found):
            say(line)
        say(f"wrote {out / 'comparison.png'}, comparison.csv and {len(found.labels)} label maps")


def _write(found: Comparison, out: Path, files: dict[str, Path], force: bool) -> None:
    from sammed import io
    from sammed.reporting.comparison import draw_comparison

    out.mkdir(parents=True, exist_ok=True)
    for name, labels in found.labels.items():
        io.write_labels(labels, files[name], force=force)
    rows = found.rows()
    text = text_io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    io.atomic_text(out / "comparison.csv", text.getvalue(), force=force)
    with io.atomic_output(out / "comparison.png", force=force) as temporary:
        draw_comparison(found).save(temporary, format="PNG")


def _file_name(model: str) -> str:
    """A model's name as a file's: of a weights file, its stem."""
    from sammed.io.recognition import stem

    name: Any = Path(model)
    return stem(name) if name.suffix else name.name
