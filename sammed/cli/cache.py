"""``sammed cache``: the embeddings that are kept between runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sammed.cli.options import Json

if TYPE_CHECKING:
    from sammed.views.embedding_files import EmbeddingFolder

app = typer.Typer(
    no_args_is_help=True,
    help="Show or remove embeddings that are kept between runs.",
)


@app.command()
def path() -> None:
    """Print the folder in which embeddings are kept; SAMMED_HOME moves it.

    Example: sammed cache path
    """
    from sammed import folders

    typer.echo(folders.embeddings_folder())


@app.command()
def ls(json: Json = False) -> None:
    """List what is kept, by model, volume and plane.

    A volume is named by the first 16 digits of the hash of its voxels, as in the run report.

    Example: sammed cache ls
    """
    from datetime import datetime

    groups = _folder().groups()
    if json:
        import json as json_module
        from dataclasses import asdict

        typer.echo(json_module.dumps([asdict(group) for group in groups], indent=2))
        return
    for group in groups:
        used = datetime.fromtimestamp(group.used).strftime("%Y-%m-%d %H:%M")
        size = f"{group.nbytes / 1e6:.1f} MB"
        typer.echo(f"{size:>12} {group.views:>6} views  last used {used}  {group.name}")
    total = sum(group.nbytes for group in groups)
    typer.echo(f"{total / 1e6:.1f} MB in {len(groups)} groups.", err=True)


@app.command()
def rm(
    group: Annotated[
        str | None, typer.Argument(help="A group of 'ls', or the model before its slash.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all embeddings.")] = False,
) -> None:
    """Remove kept embeddings; they are computed again when they are needed.

    Example: sammed cache rm --all
    """
    from sammed.errors import InputError

    if (group is None) != everything:
        raise InputError("say what to remove: a group that 'sammed cache ls' shows, or --all")
    folder = _folder()
    names = [g.name for g in folder.groups()]
    if group is not None and not any(n == group or n.startswith(group + "/") for n in names):
        raise InputError(f"nothing is kept as {group!r}; see 'sammed cache ls'")
    freed = folder.remove(group)
    typer.echo(f"{freed / 1e6:.1f} MB freed.", err=True)


def _folder() -> EmbeddingFolder:
    from sammed import folders
    from sammed.views.embedding_files import EmbeddingFolder

    return EmbeddingFolder(folders.embeddings_folder(), max_bytes=0)
