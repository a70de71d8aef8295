"""``sammed models``: what there is, and how its weights get here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import put, set_verbosity
from sammed.cli.options import Json, Quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sammed.models.entry import ModelEntry
    from sammed.models.registry import ModelInfo

app = typer.Typer(
    no_args_is_help=True,
    help="List the models and their licences; download, verify or import weights.",
)


@app.command("list")
def list_models(
    time: Annotated[
        bool,
        typer.Option("--time", help="Measure seconds a slice on this computer, of those ready."),
    ] = False,
    json: Json = False,
) -> None:
    """List all models: ready or not, size, licence, and whether it allows a clinic, a product.

    Example: sammed models list --time
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed.models import registry

    infos = [registry.info(name) for name in registry.names()]
    seconds = {info.name: _seconds(info) for info in infos} if time else {}
    if json:
        import json as json_module

        rows = [_facts(info, seconds.get(info.name)) for info in infos]
        typer.echo(json_module.dumps(rows, indent=2))
        return
    width = max(10, *(len(info.name) for info in infos))
    timed = f" {'s a slice':>9}" if time else ""
    head = f"{'name':<{width}} {'state':<11} {'size':>8}{timed}  {'clinic':<7} {'product':<7}"
    typer.echo(f"{head} {'licence':<12} what it is")
    for info in infos:
        typer.echo(_row(info, width, seconds.get(info.name), timed))
    typer.echo(
        "clinic, product: whether the licence of the weights allows it; none is approved as a "
        "medical device. 'sammed models show NAME' says all.",
        err=True,
    )
    if any(info.lacks == "weights" for info in infos):
        typer.echo("Weights come by 'sammed models download NAME' or 'import FILE'.", err=True)
    extras = sorted({info.lacks for info in infos} - {"weights", ""})
    if extras:
        typer.echo(f"Packages come by pip install 'sammed[{','.join(extras)}]'.", err=True)


def _row(info: ModelInfo, width: int, seconds: float | None, timed: str) -> str:
    from sammed.models.entry import OWN_PACKAGE

    size = f"{info.size / 1e6:.0f} MB" if info.size else "-"
    taken = f" {_in_words(seconds):>9}" if timed else ""
    origin = "" if info.package == OWN_PACKAGE else f" (from {info.package})"
    terms = f"{info.terms.clinic:<7} {info.terms.product:<7}"
    licence = info.license.partition(",")[0]
    row = f"{info.name:<{width}} {_state(info):<11} {size:>8}{taken}  {terms} {licence:<12}"
    return f"{row} {info.description}{origin}"


def _state(info: ModelInfo) -> str:
    return f"no {info.lacks}" if info.lacks else "ready"


def _in_words(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3g}"


def _seconds(info: ModelInfo) -> float | None:
    """Seconds a slice here; ``None`` of models that are not ready, or see no slices."""
    from sammed.models import registry
    from sammed.models.timing import seconds_a_slice

    return seconds_a_slice(registry.build(info.name)) if info.available else None


def _facts(info: ModelInfo, seconds: float | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(info), "seconds_a_slice": seconds}


def _unchecked(entry: ModelEntry) -> str:
    """What is said of weights without a digest."""
    if entry.make is not None:
        return "of a folder that you fetch; its checkpoint is compared with the official one"
    return "none is known: taken as it comes" if entry.weights else ""


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="A model's name, e.g. medsam2, or a learned model's file.")
    ],
    time: Annotated[
        bool, typer.Option("--time", help="Measure seconds a slice on this computer.")
    ] = False,
    json: Json = False,
) -> None:
    """Say all that is known of a model: licence, source, checksum, size, memory, options.

    Of what 'sammed learn' made, such as study/study.sammed, its model card.

    Example: sammed models show medsam2
    """
    set_verbosity(quiet=False, verbose=False)
    if _is_learned(name):
        _show_learned(Path(name), json)
        return
    from sammed.models import catalogue, registry

    info, entry = registry.info(name), catalogue.resolve(name)
    seconds = _seconds(info) if time else None
    if json:
        import json as json_module

        typer.echo(json_module.dumps(_facts(info, seconds), indent=2))
        return
    terms = info.terms
    facts = {
        "name": ", ".join(entry.names),
        "what it is": info.description,
        "state": _state(info),
        "licence": f"{info.license}: {terms.because}",
        "in a clinic?": f"{terms.clinic} (by its licence; it is no medical device)",
        "in a product?": terms.product,
        "file": entry.weights.file_name if entry.weights else "",
        "size": f"{info.size / 1e6:.0f} MB" if info.size else "",
        "source": info.url,
        "SHA-256": info.sha256 or _unchecked(entry),
        "needs": f'pip install "sammed[{entry.needs}]"' if entry.needs else "",
        "memory": f"about {info.memory / 1e9:.1f} GB" if info.memory else "",
        "options": ", ".join(entry.options),
        "from": info.package,
        "s a slice": _in_words(seconds) if time else "",
    }
    for what, said in facts.items():
        if said:
            typer.echo(f"{what:<13} {said}")


def _is_learned(name: str) -> bool:
    from sammed.models.learned.file import is_learned

    return is_learned(Path(name))


def _show_learned(path: Path, as_json: bool) -> None:
    """The card of what 'sammed learn' made, whose checksum is looked at first."""
    from dataclasses import asdict

    from sammed.models.learned.file import read_learned

    found = read_learned(path)
    if not as_json:
        typer.echo(found.card.rstrip())
        return
    put({**asdict(found.teaching), "plan": found.teaching.plan.as_dict(), "sha256": found.digest})


@app.command()
def download(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="E.g. vit_b, medsam.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="A folder that has the official files, in place of the network.",
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never use the network (as SAMMED_OFFLINE=1).")
    ] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Confirm licences that ask for it.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fetch official weights, checked by their digest; an interrupted download goes on.

    Behind a proxy: set HTTPS_PROXY, as for pip and git. nnInteractive's are a folder that you
    fetch yourself: name it by --from.

    Example: sammed models download vit_b --from /mnt/share/weights
    """
    set_verbosity(quiet, verbose=False)
    from sammed.models import catalogue, checkpoints, downloads
    from sammed.models.licences import terms_of

    entries = [catalogue.resolve(name) for name in names]
    for entry in entries:
        _confirm(entry, accept_licence)
        if source is not None:
            path = downloads.take_from(entry, source)
        else:
            with _progress(entry.name, quiet) as on_bytes:
                path = downloads.download(entry, offline=offline, on_bytes=on_bytes)
        typer.echo(path)
        terms = terms_of(entry.license)
        said = f"{entry.name}: {entry.license}; clinic {terms.clinic}, product {terms.product}"
        if not quiet:
            typer.echo(said, err=True)
        if entry.weights and not (entry.weights.sha256 or entry.make or quiet):
            found = checkpoints.sha256(path)
            typer.echo(f"{entry.name}: no checksum is known; this file's is {found}", err=True)


@app.command()
def accept(
    name: Annotated[str, typer.Argument(help="A model's name, e.g. nninteractive.")],
    yes: Annotated[bool, typer.Option("--yes", help="Confirm without being asked.")] = False,
) -> None:
    """Confirm the licence of a model that asks for it, once on this computer.

    Example: sammed models accept nninteractive
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed.models import catalogue, licences

    entry = catalogue.resolve(name)
    if not licences.terms_of(entry.license).to_confirm:
        typer.echo(f"{entry.name}: {entry.license} asks for no confirmation", err=True)
        return
    _confirm(entry, yes)


def _confirm(entry: ModelEntry, yes: bool) -> None:
    """Show a licence that is to be confirmed, and ask; once."""
    from sammed.models import licences

    if licences.is_confirmed(entry.name, entry.license):
        return
    terms = licences.terms_of(entry.license)
    typer.echo(f"{entry.name}: {entry.license}: {terms.because}", err=True)
    typer.echo(f"in a clinic?  {terms.clinic} (by its licence; it is no medical device)", err=True)
    typer.echo(f"in a product? {terms.product}", err=True)
    if not yes:
        typer.confirm("Have you read this licence, and will you keep to it?", abort=True, err=True)
    licences.confirm(entry.name, entry.license)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Which; all that are here by default."),
    ] = None,
    json: Json = False,
) -> None:
    """Read weights anew and compare them with the official digest.

    What 'sammed learn' made holds its own.

    Example: sammed models verify vit_b study/study.sammed
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed.errors import ModelError, WeightsMismatchError
    from sammed.models import catalogue, downloads

    learned = [name for name in names or () if _is_learned(name)]
    if names:
        chosen = [catalogue.resolve(name) for name in names if name not in learned]
    else:
        kept = ((e, downloads.kept_path(e)) for e in catalogue.entries().values())
        chosen = [entry for entry, path in kept if path is not None and path.is_file()]
    rows: list[dict[str, str]] = []
    broken: list[ModelError] = []
    checks: list[tuple[str, Callable[[], Path]]] = [
        *((entry.name, partial(downloads.verify, entry)) for entry in chosen),
        *((Path(name).name, partial(_verified, Path(name))) for name in learned),
    ]
    for name, check in checks:
        try:
            rows.append({"name": name, "state": "ok", "path": str(check())})
        except ModelError as error:
            broken.append(error)
            rows.append({"name": name, "state": "broken", "path": "", "why": str(error)})
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


def _verified(path: Path) -> Path:
    from sammed.models.learned.file import read_learned

    read_learned(path)
    return path


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
