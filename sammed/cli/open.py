"""``sammed open``: a scan in the browser, on this computer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import say, set_verbosity
from sammed.cli.explained import Align, Channels, Days, Examples, ExamplesFolder, Prior
from sammed.cli.options import IMAGES, AllowGaps, Frame, Quiet, Series, Verbose
from sammed.errors import BackendUnavailableError


def open_(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help=f"{IMAGES}; the folder of a project; without one: a page to drop it on.",
        ),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option("--labels", help="Label map to correct: each label is an object. Repeatable."),
    ] = None,
    prompts: Annotated[
        list[Path] | None,
        typer.Option("--prompts", help="Prompt file, or Slicer's markups. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The label map to be; the journal lies beside it. Default: "
            "IMAGE.labels.nii.gz beside the image.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A model of `sammed models list`, a checkpoint file, or a .sammed file of "
            "'sammed learn'.",
        ),
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", help="What is shown and what the model sees.")
    ] = None,
    plane: Annotated[
        str | None, typer.Option("--plane", help="auto, axial, coronal, sagittal, or all (fused).")
    ] = None,
    example: Examples = None,
    examples: ExamplesFolder = None,
    prior: Prior = None,
    days: Days = 0.0,
    channel: Channels = None,
    align: Align = "auto",
    frame: Frame = None,
    series: Series = None,
    allow_gaps: AllowGaps = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    host: Annotated[
        str, typer.Option("--host", help="This computer alone; others are refused.")
    ] = "127.0.0.1",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Look at a scan, segment and correct it in the browser; nothing leaves this computer.

    It prints the address of the page, opens it, and ends when the page is closed and everything is
    saved. What is done is kept beside the label map: start again, and it is there. Of a project
    that case comes which is next.

    For example:

      sammed open ct.nii.gz

      sammed open scans/ --series 2

      sammed open study/

      sammed open ct.nii.gz --labels before.nii.gz

      sammed open new.nii.gz --example a.nii.gz,a_labels.nii.gz

      sammed open now.nii.gz --prior then.nii.gz,then_labels.nii.gz --days 90

      sammed open --channel art=arterial.nii.gz --channel ven=venous.nii.gz
    """
    set_verbosity(quiet, verbose)
    try:
        from sammed.workbench.server import check_host, serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        raise BackendUnavailableError(
            f"the page needs the package {error.name}: pip install 'sammed[workbench]'"
        ) from error
    from sammed.workbench.wishes import Wishes, check_wishes

    check_host(host)
    name, listed = "", list(channel or ())
    if listed and not paths:
        from sammed.examples.channels import parse_channel

        name, first, own = parse_channel(listed.pop(0))
        paths, series = [Path(first)], own or series
    wishes = Wishes(
        paths=tuple(paths or ()),
        labels=tuple(labels or ()),
        prompts=tuple(prompts or ()),
        model=model,
        window=window,
        plane=plane,
        frame=frame,
        series=series,
        allow_gaps=allow_gaps,
        output=output,
        examples=tuple(example or ()),
        library=examples,
        prior=prior or "",
        days=days,
        channels=tuple(listed),
        align=align,
        channel=name,
    )
    check_wishes(wishes)
    rest = serve(wishes, host=host, port=port, browser=browser, say=typer.echo)
    if rest and not quiet:
        say(rest)
    _leave()
    return 0


_PACKAGES = ("starlette", "uvicorn", "websockets", "anyio")


def _leave() -> None:
    """At once: a library that still loads must not hold the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.environ.get("SAMMED_STAY") is None:
        os._exit(0)
