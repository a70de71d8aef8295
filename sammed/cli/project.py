"""``sammed project``: a folder of cases with the same structures, and what became of each."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import put, say
from sammed.cli.options import Json
from sammed.errors import InputError, SammedError

if TYPE_CHECKING:
    from sammed.project.adding import Added
    from sammed.project.folder import Line, Project
    from sammed.project.importing import Imported
    from sammed.project.sources import Sources

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A folder of cases with the same structures: label three, get the rest.",
)

Folder = Annotated[Path, typer.Argument(help="Folder of the project.")]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        help="Scans: a glob such as 'scans/**/*.nii.gz', a DICOM, nnU-Net or BIDS folder, or a "
        ".csv with a column image and perhaps id, subject, series and label. Repeatable.",
    ),
]
Structures = Annotated[
    str, typer.Option("--structures", help="Names, with values if they matter: liver,spleen=2.")
]
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="Id of the case.")]


@app.command()
def new(
    folder: Folder,
    images: Images = None,
    structures: Structures = "",
    name: Annotated[str, typer.Option(help="Name; default: the folder's.")] = "",
    seed: Annotated[int, typer.Option(help="Of every choice by chance.")] = 0,
) -> None:
    """Make a project; scans stay where they are.

    Example: sammed project new study/ --images 'scans/**/*.nii.gz' --structures liver,spleen
    """
    from sammed.project.description import parse_structures
    from sammed.project.folder import Project
    from sammed.project.sources import look_for

    wanted = parse_structures(structures)
    if not wanted:
        raise InputError("a project needs a structure; name them with --structures liver,spleen")
    sources = look_for(images or [])
    project = Project.create(folder, wanted, name, seed)
    added = project.add(sources.scans)
    _say_added(folder, images or [], sources, added)
    told = ", ".join(f"{n} = {v}" for n, v in project.description.structures.items())
    say(f"{folder}: {len(added.new)} cases, structures {told}")


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """What became of every case, and what the learned model reaches.

    Example: sammed project status study/
    """
    from sammed.project.folder import Project, overview

    project = Project(folder)
    lines = overview(project)
    if as_json:
        described = project.description
        put({
            "name": described.name, "structures": dict(described.structures),
            "cases": [asdict(line) for line in lines], "model": _in_use(project),
        })  # fmt: skip
        return
    _table(project, lines)
    _say_learned(project)


@app.command()
def next(
    folder: Folder,
    order: Annotated[
        str,
        typer.Option(
            "--order",
            help="cheapest: proposals thought to be best, then by chance. random: by chance, what "
            "was found in cases taking turns. doubt: what the model is least sure of.",
        ),
    ] = "cheapest",
    as_json: Json = False,
) -> None:
    """The case to look at next: proposals that are cheapest to mend, then cases by chance.

    For example:

      sammed project next study/

      sammed project next study/ --order random
    """
    from sammed.project.folder import Project
    from sammed.project.order import check_order
    from sammed.project.working import NOTHING_WAITS

    case = Project(folder).next(check_order(order))
    if as_json:
        put(None if case is None else {"case": case.id, "image": str(case.image)})
    elif case is None:
        say(NOTHING_WAITS)
    else:
        typer.echo(case.id)


@app.command()
def accept(
    folder: Folder,
    case: CaseId,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Label map; default: the one that it has.")
    ] = None,
    names: Annotated[
        str | None,
        typer.Option("--names", help="What its values are: 1=liver;2=spleen, or a .json."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a label map that was accepted; take a case that was refused."
        ),
    ] = False,
) -> None:
    """Say that a case's label map is right; only such cases are learned from.

    Example: sammed project accept study/ patient-07 --labels patient-07.nii.gz
    """
    from sammed.project.folder import Project
    from sammed.project.importing import import_labels, why_not

    project = Project(folder)
    if labels is None:
        record = project.case(case).record
        if record.state == "refused" and not force:
            raise InputError(f"{case} is not accepted: {why_not(record)}")
        project.accept(case)
        say(f"{case}: accepted")
        return
    (done,) = import_labels(project, {case: labels}, _names(names, labels), force=force)
    if not done.done:
        raise InputError(f"{case} is not accepted: {done.note}")
    _say_imported([done], "accepted")


@app.command()
def refuse(
    folder: Folder,
    case: CaseId,
    why: Annotated[str, typer.Option("--why", help="For people.")] = "",
    undo: Annotated[
        bool, typer.Option("--undo", help="Take a case back that was refused.")
    ] = False,
) -> None:
    """Say that a case is not to be used.

    Example: sammed project refuse study/ patient-09 --why "moved"
    """
    from sammed.project.folder import Project

    project = Project(folder)
    state = project.case(case).record.state
    if undo and state != "refused":
        told = "to do" if state == "todo" else state
        raise InputError(f"{case} is {told}, not refused; --undo takes back what was refused")
    record = project.reopen(case) if undo else project.refuse(case, why)
    say(f"{case}: {record.state}")


@app.command()
def add(folder: Folder, images: Images = None, structures: Structures = "") -> None:
    """Add scans or structures; what is there does not change.

    Example: sammed project add study/ --images 'more/*.nii.gz' --structures kidney
    """
    from sammed.project.description import parse_structures
    from sammed.project.folder import Project
    from sammed.project.sources import look_for

    project = Project(folder)
    wanted = parse_structures(structures)
    if not images and not wanted:
        raise InputError("nothing to add: give --images or --structures")
    sources = look_for(images or [])
    if wanted:
        project.add_structures(wanted)
    added = project.add(sources.scans)
    _say_added(folder, images or [], sources, added)
    say(f"{folder}: {len(added.new)} new cases, {len(added.known)} were there already")


@app.command("import")
def import_(
    folder: Folder,
    source: Annotated[
        Path,
        typer.Argument(
            help="Label map, folder of them (also nnU-Net's and BIDS'), or a .csv with columns "
            "image and label."
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            "--names", "--labels",
            help="What values are: 1=liver;2=spleen, or a .json (nnU-Net's too).",
        ),
    ] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="To be looked at, instead of accepted at once.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace label maps that were accepted; take cases that were refused."
        ),
    ] = False,
) -> None:  # fmt: skip
    """Bring in label maps that exist, by the names of their structures.

    Example: sammed project import study/ labels/ --names "1=liver;2=spleen"
    """
    from sammed.project.folder import Project
    from sammed.project.importing import import_labels, pair

    project = Project(folder)
    names = _names(labels, source)
    files, left = pair(project, source)
    done = import_labels(project, files, names, accept=not propose, force=force)
    _say_imported([*done, *left], "to be looked at" if propose else "accepted")
    if not any(one.done for one in done):
        raise InputError("no label map was taken; the lines above say why")


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="New folder to write.")],
    layout: Annotated[
        str, typer.Option("--as", help="nifti, nnunet, bids or dicom-seg.")
    ] = "nifti",
    proposed: Annotated[bool, typer.Option("--proposed", help="Proposals as well.")] = False,
) -> None:
    """Write the accepted label maps for other programs.

    Example: sammed project export study/ Dataset007_Liver --as nnunet
    """
    from sammed.project.exporting import export as write
    from sammed.project.folder import Project

    states = ("accepted", "proposed") if proposed else ("accepted",)
    done = write(Project(folder), out, layout, states)
    for one in done:
        if one.error:
            say(f"{one.case}: {one.error}")
    count = sum(not one.error for one in done)
    say(f"{out}: {count} of {len(done)} cases")
    if not count:
        raise InputError("no case could be exported; the lines above say why")


def _say_added(folder: Path, images: list[str], sources: Sources, added: Added) -> None:
    """What was left out of what was to be added, a line each."""
    for line in (*sources.faults, *sources.notes, *added.notes):
        say(line)
    if added.same:
        pairs = [f"{path.parent.name}/{path.name} = {id}" for path, id in added.same]
        what = "scan is the same as one" if len(pairs) == 1 else "scans are the same as ones"
        more = ", ..." * (len(pairs) > 3)
        say(f"{len(pairs)} {what} that {'is' if len(pairs) == 1 else 'are'} there: "
            f"{', '.join(pairs[:3])}{more}")  # fmt: skip
    labelled = [one.label for one in sources.scans if one.label is not None]
    if labelled:
        raw = labelled[0].parent.name.startswith("labels") and labelled[0].parent.parent
        found = [str(raw)] if raw and (raw / "dataset.json").is_file() else images
        source = shlex.quote(found[0]) if len(found) == 1 else "SOURCE"
        say(f"{len(labelled)} scans come with a label map, which is not taken yet; 'sammed project "
            f"import {shlex.quote(str(folder))} {source}' takes it")  # fmt: skip


def _in_use(project: Project) -> dict[str, Any]:
    """The learned model that the project uses, and what it reaches; empty if there is none."""
    from sammed.models.learned.file import read_teaching

    file = project.model_file
    if not file.is_file():
        return {}
    try:
        said = read_teaching(file)
    except SammedError as error:
        return {"file": file.name, "error": str(error)}
    return {
        "file": file.name, "round": said.about.get("round"), "finds": list(said.structures),
        "cases": list(said.cases), "reached": said.judged, "calibration": said.calibration,
    }  # fmt: skip


def _say_in_use(project: Project, last: Mapping[str, Any]) -> None:
    """Which model is in use, where that is not what the last round made."""
    model = _in_use(project)
    if "error" in model:
        typer.echo(f"the model in use cannot be read: {model['error']}")
    elif model and model["finds"] and model["round"] != last["round"]:
        mean = model["reached"].get("mean", {}).get("dice")
        reached = f", Dice {mean:.3f} on the cases held back in it" if mean is not None else ""
        typer.echo(f"in use without a prompt: round {model['round']}{reached}")


def _say_learned(project: Project) -> None:
    """What the last round's model reaches, and which is in use."""
    from sammed.cli.learn import round_lines
    from sammed.learning.rounds import learner, rounds, stopped_round

    stopped, who = stopped_round(project), learner(project)
    if who is not None:
        typer.echo(f"is being learned from by {who.told}")
    elif stopped is not None:
        how = f"sammed learn {shlex.quote(str(project.folder))} --resume"
        typer.echo(f"round {stopped.number} was stopped; '{how}' goes on with it")
    reports = [report for report in (one.report() for one in rounds(project)) if report]
    for report in reports[-1:]:
        typer.echo(f"round {report['round']}: {len(report['learned'])} cases learned")
        for line in round_lines(report):
            typer.echo(line)
        _say_in_use(project, report)


def _names(text: str | None, source: Path) -> dict[int, str] | None:
    """Value → name, as given, or as files of nnU-Net or BIDS beside the label maps say it."""
    from sammed.evaluation.objects import parse_names, read_names
    from sammed.project.importing import bids_names

    if text is None:
        beside = [source / "dataset.json", source.parent / "dataset.json", source / "labels.json"]
        there = [path for path in beside if path.is_file()]
        if not there:
            return bids_names(source)
        wanted = read_names(there[0])
    elif text.endswith(".json"):
        wanted = read_names(Path(text))
    else:
        pairs = [part.split("=", 1) for part in text.replace(",", ";").split(";") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise InputError(f"cannot read {text!r}; expected VALUE=NAME;VALUE=NAME")
        try:
            wanted = parse_names({value.strip(): name.strip() for value, name in pairs})
        except ValueError as error:
            raise InputError(f"cannot read {text!r}: {error}") from None
    regions = [name for key, name in wanted.names.items() if isinstance(key, tuple)]
    if regions:
        raise InputError(f"{', '.join(regions)}: a region of several values is no structure")
    return {key: name for key, name in wanted.names.items() if isinstance(key, int)}


def _say_imported(done: list[Imported], taken: str) -> None:
    for one in done:
        how = taken if one.done else "not taken"
        say(f"{one.case}: {how}{'; ' if one.note else ''}{one.note}")


def _table(project: Project, lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("case", "subject", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("min", "prompts", "est. Dice"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for line in lines:
        table.add_row(
            line.id,
            line.subject if line.subject != line.id else "",
            "to do" if line.state == "todo" else line.state,
            f"{line.minutes:.1f}" if line.minutes else "",
            str(line.prompted or ""),
            f"{line.estimate:.2f}" if line.estimate or line.state == "proposed" else "",
            line.note,
        )
    Console().print(table)
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.state] = counts.get(line.state, 0) + 1
    named = {"todo": "to do"}
    said = ", ".join(f"{n} {named.get(state, state)}" for state, n in counts.items())
    typer.echo(f"{project.description.name}: {said or 'no case'}")
