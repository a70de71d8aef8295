"""``sammed embed``: encode a volume's slices ahead, so that segmenting it is quick."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammed.cli.console import say, set_verbosity
from sammed.cli.options import (
    Device,
    EncodeSize,
    Engine,
    Frame,
    Precision,
    Quiet,
    Series,
    Threads,
    Verbose,
    Window,
)
from sammed.errors import InputError

if TYPE_CHECKING:
    from sammed.views.slices import View

MEMORY_BYTES = 64 << 20
"""What is kept in memory meanwhile; the disk is what counts."""


def embed(
    image: Annotated[Path, typer.Argument(help="NIfTI, NRRD, MHA, image or DICOM folder.")],
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
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Encode the slices of a volume and keep the embeddings, for instance over night.

    What is kept already is not encoded again, so that an interrupted run goes on where it was.
    ``sammed segment`` with the same model, window, plane and size then encodes nothing. Only models
    that see whole slices (segment-anything's) have anything to prepare.

    Example: sammed embed ct.nii.gz --model vit_b --window soft-tissue
    """
    set_verbosity(quiet, verbose)
    from sammed import api, folders
    from sammed.engine.decoding import SliceDecoder
    from sammed.engine.settings import Settings
    from sammed.models import registry
    from sammed.models.protocols import ImageModel
    from sammed.session import Session
    from sammed.views.embeddings import EmbeddingStore
    from sammed.views.slices import PLANES, SliceStack, View, choose_plane

    built = registry.build(
        model,
        device=device,
        threads=threads,
        engine=engine,
        precision=precision,
        encode_size=encode_size,
    )
    spec = built.spec
    if not isinstance(built, ImageModel) or not spec.expensive_encode or spec.zoom is not None:
        raise InputError(
            f"model {spec.name!r} has nothing to prepare: it encodes no whole slices that could "
            "be kept; choose one that does, such as vit_b"
        )
    volume, _ = api.timed_read(image, frame=frame, series=series)
    store = EmbeddingStore(MEMORY_BYTES, folders.embeddings_folder())
    session = Session(volume, built, Settings(window=window), store)
    names = list(PLANES) if plane == "all" else [choose_plane(plane, volume)]
    if not quiet:
        say(f"window {session.window}: segment with the same one")
    for name in names:
        stack = SliceStack(volume, name, session.window)
        decoder = SliceDecoder(stack, built, store, session.volume_hash)
        views = [
            View.whole(index, stack.shape, built.spec.view_size)
            for index in _range(slices, len(stack))
        ]
        size = built.spec.batch
        batches = [views[n : n + size] for n in range(0, len(views), size)]
        with _progress(name, batches, quiet) as shown:
            for batch in shown:
                decoder.embed_batch(batch)
        if not quiet:
            done = decoder.counts["encode"]
            say(f"{name}: {done} slices encoded, {len(views) - done} were kept already")


def _range(text: str | None, n: int) -> range:
    """Slices of ``A:B``, half-open; all for ``None``."""
    if text is None:
        return range(n)
    match = re.fullmatch(r"(\d*):(\d*)", text.strip())
    chosen = range(0)
    if match:
        low, high = (int(group) if group else None for group in match.groups())
        chosen = range(n)[low:high]
    if not chosen:
        raise InputError(f"no slices in {text!r}; expected A:B with A < B within 0:{n}")
    return chosen


@contextmanager
def _progress(name: str, batches: list[list[View]], quiet: bool) -> Iterator[Iterable[list[View]]]:
    """The batches of views, with a bar on a terminal's stderr."""
    if quiet or not sys.stderr.isatty():
        yield batches
        return
    from rich.console import Console
    from rich.progress import track

    yield track(batches, description=name, console=Console(stderr=True), transient=True)
