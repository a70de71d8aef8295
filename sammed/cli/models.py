"""``sammed models``: what there is, and how its weights get here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammed.cli.console import set_verbosity
from sammed.cli.options import Json, Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    no_args_is_help=True,
    help="List the models; download, verify or import the weights of those that need some.",
)


@app.command("list")
def list_models(json: Json = False) -> None:
    """List all models, and whether they can be used now.

    Example: sammed models list
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed.models import registry
    from sammed.models.entry import OWN_PACKAGE

    infos = [registry.info(name) for name in registry.names()]
    if json:
        import json as json_module
        from dataclasses import asdict

        typer.echo(json_module.dumps([asdict(info) for info in infos], indent=2))
        return
    width = max(10, *(len(info.name) for info in infos))
    for info in infos:
        state = "ready" if info.available else "no weights"
        size = f"{info.size / 1e6:.0f} MB" if info.size else "-"
        origin = "" if info.package == OWN_PACKAGE else f" (from {info.package})"
        row = f"{info.name:<{width}} {state:<11} {size:>8}  {info.license:<11}"
        typer.echo(f"{row} {info.description}{origin}")
    if not all(info.available for info in infos):
        typer.echo("Weights come by 'sammed models download NAME' or 'import FILE'.", err=True)


@app.command()
def download(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="E.g. vit_b, medsam.")],
    offline: Annotated[
        bool, typer.Option("--offline", help="Never use the network (as SAMMED_OFFLINE=1).")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fetch official weights, checked by their digest; an interrupted download goes on.

    Example: sammed models download vit_b
    """
    set_verbosity(quiet, verbose=False)
    from sammed.models import catalogue, downloads

    entries = [catalogue.resolve(name) for name in names]
    for entry in entries:
        with _progress(entry.name, quiet) as on_bytes:
            path = downloads.download(entry, offline=offline, on_bytes=on_bytes)
        typer.echo(path)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Which; all that are here by default."),
    ] = None,
    json: Json = False,
) -> None:
    """Read weights anew and compare them with the official digest.

    Example: sammed models verify vit_b
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed.errors import ModelError, WeightsMismatchError
    from sammed.models import catalogue, downloads

    if names:
        chosen = [catalogue.resolve(name) for name in names]
    else:
        kept = ((e, downloads.kept_path(e)) for e in catalogue.entries().values())
        chosen = [entry for entry, path in kept if path is not None and path.is_file()]
    rows: list[dict[str, str]] = []
    broken: list[ModelError] = []
    for entry in chosen:
        try:
            rows.append({"name": entry.name, "state": "ok", "path": str(downloads.verify(entry))})
        except ModelError as error:
            broken.append(error)
            rows.append({"name": entry.name, "state": "broken", "path": "", "why": str(error)})
    if json:
        import json as json_module

        typer.echo(json_module.dumps(rows, indent=2))
    else:
        for row in rows:
            typer.echo(f"{row['name']:<10} {row['state']:<7} {row['path']}".rstrip())
    if not rows:
        typer.echo("No downloaded or imported weights here.", err=True)
    if len(broken) == 1:
        raise broken[0]
    if broken:
        raise WeightsMismatchError("; ".join(str(error) for error in broken))


@app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="An official weights file, under any name.")],
) -> None:
    """Copy an official weights file in, recognised by its content; for computers off the net.

    Example: sammed models import /media/usb/sam_vit_b_01ec64.pth
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed.models import downloads

    entry, path = downloads.import_file(file)
    typer.echo(f"{entry.name} {path}")


@contextmanager
def _progress(name: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal's stderr, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    speed = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *speed, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
