"""``sammed train``: train the built-in network on synthetic images, and what goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import set_verbosity
from sammed.cli.groups import RunByDefault
from sammed.cli.options import Force, Quiet
from sammed.cli.train_dense import dense, dense_recall, likely
from sammed.cli.train_segmenter import segmenter
from sammed.cli.train_strokes import strokes
from sammed.cli.train_volume import label_maps, volume
from sammed.cli.training import (
    Checkpoint,
    Minutes,
    Out,
    Rate,
    Seed,
    Steps,
    ValidateEvery,
    progress,
    say_end,
)

app = typer.Typer(
    cls=RunByDefault,
    rich_markup_mode=None,
    help="Train the built-in network, and look at what came of it.",
)

app.command()(volume)
app.command()(strokes)
app.command()(segmenter)
app.command()(dense)
app.command()(dense_recall)
app.command()(likely)
app.command()(label_maps)

Cases = Annotated[Path, typer.Argument(help="cases.json: real volumes with reference labels.")]
Picture = Annotated[Path, typer.Argument(help="Picture to write (.png).")]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Weights file; default: the shipped one.")
]


@app.command()
def run(
    model: Annotated[
        str, typer.Argument(help="What to train: 'compact', or 'locator', its part for 3D boxes.")
    ] = "compact",
    out: Out = Path("runs/compact"),
    minutes: Minutes = 5.0,
    resume: Checkpoint = None,
    init: Annotated[
        str, typer.Option(help="'random', 'shipped', or a .safetensors file to start from.")
    ] = "random",
    steps: Steps = None,
    seed: Seed = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the trainer; default: all but one.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Views (or 3D boxes) in a batch.")] = 8,
    rate: Rate = 1e-3,
    cases: Annotated[
        Path | None, typer.Option(help="cases.json of real volumes, for validation only.")
    ] = None,
    validate_every: ValidateEvery = 5.0,
    teacher: Annotated[
        str | None, typer.Option(help="Stay close to these weights: 'shipped' or a file.")
    ] = None,
    boxes_only: Annotated[
        bool, typer.Option("--boxes-only", help="Views with a box and no other prompt.")
    ] = False,
    label_maps: Annotated[
        Path | None, typer.Option(help="locator: folder of label maps to draw volumes from too.")
    ] = None,
    trunks: Annotated[
        float,
        typer.Option(min=0, max=1, help="locator: share of the volumes that are drawn trunks."),
    ] = 0.0,
    quiet: Quiet = False,
) -> None:
    """Train the built-in network on synthetic images.

    It says how far it is; Ctrl-C keeps what was learned, and --resume goes on from there.

    For example:

      sammed train compact --minutes 5 --out runs/mine

      sammed train compact --minutes 60 --resume runs/mine/last.pt --out runs/mine

      sammed train locator --minutes 60 --label-maps maps --trunks 0.4 --out runs/locator

      sammed train compact --boxes-only --init shipped --teacher shipped --out runs/boxes
    """
    set_verbosity(quiet, verbose=False)
    from sammed.training.commands import run_training

    with progress(quiet) as show:
        trainer = run_training(
            model=model,
            out=out,
            minutes=minutes,
            resume=resume,
            init=init,
            steps=steps,
            seed=seed,
            threads=threads,
            batch=batch,
            rate=rate,
            cases=cases,
            validate_every=validate_every,
            teacher=teacher,
            boxes_only=boxes_only,
            label_maps=label_maps,
            trunks=trunks,
            on_progress=show,
        )
    say_end(trainer, f"{model} --resume {trainer.checkpoint} --out {trainer.out}", quiet)


@app.command()
def average(
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    shares: Annotated[
        list[str],
        typer.Argument(metavar="WEIGHTS=SHARE", help="Files and shares; a file or 'shipped'."),
    ],
    locator: Annotated[bool, typer.Option("--locator", help="Weights of the locator.")] = False,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Write the difference from the shipped weights.")
    ] = False,
    force: Force = False,
) -> None:
    """Write the mean of the weights of several runs.

    Example: sammed train average mean.safetensors shipped=0.3 runs/mine/compact.safetensors=0.7
    """
    from sammed.training.average import average_weights

    average_weights(dict(map(_share, shares)), out, force, locator, boxes)


@app.command()
def grow(
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    weights: Annotated[Path, typer.Argument(help="Weights of a smaller network.")],
    force: Force = False,
) -> None:
    """Write weights of the present architecture that answer as a smaller network's.

    Example: sammed train grow larger.safetensors runs/old/compact.safetensors
    """
    from sammed.training.grow import grow

    grow(weights, out, force=force)


@app.command()
def plot(
    metrics: Annotated[Path, typer.Argument(help="metrics.csv of a run.")],
    out: Picture,
    force: Force = False,
) -> None:
    """Draw loss and validation of a run.

    Example: sammed train plot runs/mine/metrics.csv runs/mine/metrics.png --force
    """
    from sammed.evaluation.figures import require_matplotlib
    from sammed.io.output import check_output

    check_output(out, force)
    require_matplotlib()
    from sammed.training.plots import plot_metrics

    plot_metrics(metrics, out)


@app.command()
def sheet(
    out: Picture,
    blocks: Annotated[bool, typer.Option("--blocks", help="Samples for 3D boxes.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Rows of samples.")] = 6,
    columns: Annotated[
        int | None, typer.Option(min=1, help="Samples in a row; default 12, of 3D boxes 3.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which samples.")] = 0,
    force: Force = False,
) -> None:
    """Draw samples of the synthetic images that are trained on.

    Example: sammed train sheet sheet.png
    """
    from sammed.io.output import check_output
    from sammed.synthesis.sheet import draw_block_sheet, draw_sheet

    check_output(out, force)
    if blocks:
        draw_block_sheet(out, rows=rows, columns=columns or 3, seed=seed)
    else:
        draw_sheet(out, rows=rows, columns=columns or 12, seed=seed)


@app.command()
def real_cases(
    cases: Cases,
    weights: Weights = None,
    most: Annotated[int, typer.Option(min=1, help="Slices of an object, at most.")] = 10_000,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="Also write one line an object here.")] = None,
    force: Force = False,
) -> None:
    """Score the network for views on real slices, with boxes on slices.

    Quicker than 'sammed evaluate', and of single slices only.

    Example: sammed train real-cases cases.json --weights runs/mine/compact.safetensors
    """
    from sammed.io.output import check_output
    from sammed.training.real_cases import score_table, score_weights, write_scores

    if csv:
        check_output(csv, force)
    scores, summary = score_weights(cases, weights, most, threads)
    if csv:
        write_scores(scores, csv)
    typer.echo(score_table(scores, summary))


@app.command()
def real_blocks(cases: Cases, weights: Weights = None) -> None:
    """Score the locator alone on real volumes, with 3D boxes.

    Example: sammed train real-blocks cases.json --weights runs/locator/locator.safetensors
    """
    from sammed.training.real_blocks import block_table, score_locator

    typer.echo(block_table(score_locator(cases, weights)))


@app.command()
def previews(
    cases: Cases,
    out: Picture,
    case: Annotated[
        list[str] | None, typer.Option("--case", help="Only this case. Repeatable.")
    ] = None,
    weights: Weights = None,
    force: Force = False,
) -> None:
    """Draw the best and the worst answer of each real case.

    Only show cases whose licence allows a picture.

    Example: sammed train previews cases.json previews.png --case liver_01 --case brain_02
    """
    from sammed.io.output import check_output
    from sammed.training.previews import draw_previews

    check_output(out, force)
    draw_previews(cases, out, case or (), weights)


@app.command()
def speed(
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Views in a training step.")] = 8,
) -> None:
    """Measure how fast the built-in network answers and learns on this machine.

    Example: sammed train speed --threads 2
    """
    from sammed.training.speed import measure_speed

    for name, value in measure_speed(threads, batch).items():
        typer.echo(f"| {name} | {value} |")


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.rpartition("=")
    if not name:
        raise typer.BadParameter(f"{text!r}: expected WEIGHTS=SHARE, as in shipped=0.5")
    try:
        return name, float(share)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: the share {share!r} is no number") from None
