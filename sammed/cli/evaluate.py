"""``sammed evaluate``: score label maps, run protocols over a cohort, compare two runs."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammed.cli.console import meter, put, say, set_verbosity
from sammed.cli.crew import sayer, scans_meter
from sammed.cli.groups import RunByDefault
from sammed.cli.options import (
    Device,
    Json,
    Plane,
    Quiet,
    Scheduler,
    Threads,
    Verbose,
    Window,
    Workers,
)
from sammed.errors import InputError, PartlyFailedError

if TYPE_CHECKING:
    from sammed.evaluation.cohort import Build, Plan
    from sammed.evaluation.factor_run import FactorsOfRun
    from sammed.evaluation.parts import Part
    from sammed.evaluation.results import Row
    from sammed.many.crew import Crew


app = typer.Typer(cls=RunByDefault, rich_markup_mode=None, help="Score, run protocols, compare.")


@app.command()
def run(
    maps: Annotated[
        list[Path] | None, typer.Argument(help="PREDICTION REFERENCE: two label maps to compare.")
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases",
            help="Manifest of a cohort: .json (sammed-cases/1) or .csv; or a project's folder: its "
            "accepted cases.",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of images, with --references.")
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option("--references", help="Folder of label maps with the images' names."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help='JSON {"1": "liver", "1+2": "both", ...}, or nnU-Net\'s dataset.json: only these '
            "values and regions, so named.",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option("--protocol", help="Some of A,B,B2,C,D,P,N,X; L; E. See docs/evaluation.md."),
    ] = "A,B,B2",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="A model's name, weights or .sammed file. Repeatable; default: compact."
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines/--no-baselines",
            "--floors/--no-floors",
            help="Run the baselines beside the models.",
        ),
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the results; a run resumes in it.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds of what is random.")] = "0",
    jitter: Annotated[
        str, typer.Option("--jitter", help="Ladder of protocol A, shares of the box's extent.")
    ] = "0,0.01,0.05,0.1,0.25,0.5",
    case: Annotated[
        list[str] | None, typer.Option("--case", help="Only this case. Repeatable.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="At most so many objects of a case; 0: all.")
    ] = 0,
    same_subject: Annotated[
        list[str] | None,
        typer.Option("--same-subject", help="ID,ID,...: cases of one person. Repeatable."),
    ] = None,
    most: Annotated[int, typer.Option("--max", min=1, help="Protocol E: things, at most.")] = 200,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Tolerance of NSD in mm.")
    ] = 2.0,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample", help="Put the prediction on the reference's grid, extended to hold it."
        ),
    ] = False,
    factors: Annotated[
        bool,
        typer.Option("--factors", help="Where and why it fails: what Dice depends on, by object."),
    ] = False,
    study: Annotated[
        str,
        typer.Option(
            "--study", help="Instead of protocols: Dice by number of `prompts`, or by `resolution`."
        ),
    ] = "",
    rounds: Annotated[
        str, typer.Option("--rounds", help="Protocol L: cases that are labelled in each round.")
    ] = "3,5,12",
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="Protocol L: of learning after each round.")
    ] = 1.0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Protocol L: steps instead of minutes.")
    ] = None,
    target: Annotated[
        float, typer.Option("--target", min=0, max=1, help="Protocol L: Dice that is good enough.")
    ] = 0.85,
    untouched: Annotated[
        int, typer.Option("--untouched", min=1, help="Protocol L: cases that stay unlabelled.")
    ] = 10,
    order: Annotated[
        str, typer.Option("--order", help="Protocol L: cheapest, random or doubt come next.")
    ] = "random",
    what: Annotated[
        str, typer.Option("--what", help="Protocol L: what is learned, as of `sammed learn`.")
    ] = "both",
    chance: Annotated[
        bool, typer.Option("--chance/--no-chance", help="Protocol L: cases by chance beside it.")
    ] = True,
    window: Window = "auto",
    plane: Plane = "auto",
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = 1,
    scheduler: Scheduler = "",
    title: Annotated[str, typer.Option("--title", help="Head of the report.")] = "Evaluation",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score two label maps, or run models over a cohort with simulated prompts.

    Two label maps: Dice, IoU, NSD, HD95, mean surface distance and volumes of each label. A cohort:
    results.csv, slices.csv, summary.json and report.html in the folder --out; a stopped run goes on
    where it was. `sammed evaluate compare A.csv B.csv` compares two runs.

    For example:

      sammed evaluate prediction.nii.gz reference.nii.gz --labels names.json

      sammed evaluate --cases cases.json --protocol A,B,B2 --model compact --out results

      sammed evaluate --images imagesTs --references labelsTs --model compact --out results

      sammed evaluate --cases cases.json --model compact --out results --workers 8

      sammed evaluate --cases cases.json --protocol A,B,B2 --factors --out results

      sammed evaluate --cases cases.json --study prompts --limit 2 --out study

      sammed evaluate compare results/results.csv other/results.csv

      sammed evaluate --cases study/ --protocol N --model other.sammed --out results

      sammed evaluate --cases cases.json --protocol L --rounds 3,5,12 --out results
    """
    set_verbosity(quiet, verbose)
    _check_shared(workers, scheduler, maps, protocol, study)
    if maps:
        from sammed.cli.evaluate_maps import check_maps, score_maps, show_scores

        check_maps(maps, cases, images)
        scores = score_maps(maps, labels, tolerance, resample, out, title, _command())
        show_scores(scores, out, quiet, as_json)
        return
    from sammed.cli.evaluate_cases import Asked, cases_asked

    asked_cases = Asked(cases, images, references, labels, case, same_subject, model)
    chosen = partial(cases_asked, asked_cases, sayer(quiet))
    if protocol.strip().upper() == "L":
        from sammed.cli.evaluate_loop import loop_plan, loop_wishes, run_loop_protocol
        from sammed.models.devices import set_threads

        set_threads(threads)
        first = int(_numbers(seeds, "--seeds")[0])
        wishes = loop_wishes(minutes, steps, what)
        loop = loop_plan(rounds, wishes, target, untouched, order, chance, first)
        labelled = chosen()
        run_loop_protocol(labelled, loop, out, title, _command(), quiet, as_json)
        return
    if protocol.strip().upper() == "E":
        from sammed.cli.evaluate_things import run_things_protocol

        labelled = chosen()
        named = _models(model or ["compact"], baselines=False)
        how = (out, device, threads, title, _command(), quiet, as_json)
        run_things_protocol(labelled, named, baselines, most, *how)
        return
    from sammed.engine.settings import Settings
    from sammed.evaluation.cohort import Plan, build_models, idle_baselines
    from sammed.evaluation.protocols import parse_protocols
    from sammed.many.crew import Crew

    crew = Crew(workers, scheduler)
    protocols = tuple(parse_protocols(protocol))
    wanted = _models(model or ["compact"], baselines)
    built = build_models(wanted, device, threads)
    for name in idle_baselines(built, model or (), protocols):
        del wanted[name], built[name]
    build = partial(build_models, wanted, device, _same_threads(threads, crew, quiet))
    settings = Settings(plane=plane, window=window)
    labelled = chosen()
    if study:
        from sammed.cli.evaluate_study import run_study_command
        from sammed.evaluation.studies import Study, check_study

        asked = Study(check_study(study), tuple(labelled), built, settings, limit)
        run_study_command(asked, out, title, _command(), quiet, as_json)
        return
    plan = Plan(
        cases=tuple(labelled),
        models=built,
        protocols=protocols,
        seeds=tuple(int(s) for s in _numbers(seeds, "--seeds")),
        jitters=tuple(_numbers(jitter, "--jitter")),
        tolerance_mm=tolerance,
        settings=settings,
        limit=limit,
    )
    if out is None:
        raise InputError("say where the results go: --out FOLDER")
    parts = _run_plan(plan, out, crew, build, quiet)
    found = _measure(plan, parts, out, quiet) if factors else None
    _tell(plan, parts, out, quiet, as_json, title, found)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="results.csv of the first run.")],
    second: Annotated[Path, typer.Argument(help="results.csv of the second run.")],
    score: Annotated[
        str, typer.Option("--score", help="dice, iou, nsd, hd95_mm, msd_mm, ...")
    ] = "dice",
    model_a: Annotated[
        str | None, typer.Option("--model-a", help="Model of the first, if it has several.")
    ] = None,
    model_b: Annotated[
        str | None, typer.Option("--model-b", help="Model of the second, if it has several.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Paired difference of two runs, second minus first, with its interval and a Wilcoxon test.

    For example:

      sammed evaluate compare before/results.csv after/results.csv

      sammed evaluate compare results.csv results.csv --model-a two_class --model-b compact
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed.evaluation.comparison import compare_runs, comparison_json, comparison_table
    from sammed.evaluation.results import SCORES, read_csv

    if score not in SCORES:
        raise InputError(f"unknown score {score!r}; expected one of {', '.join(SCORES)}")
    pair = [_one_model(read_csv(p), m, p) for p, m in ((first, model_a), (second, model_b))]
    found = compare_runs(pair[0], pair[1], score)
    if as_json:
        put(comparison_json(found))
        return
    names = f"{pair[1][0].model} – {pair[0][0].model}"
    typer.echo(comparison_table(found, score, names).markdown())


def _check_shared(
    workers: int, scheduler: str, maps: list[Path] | None, protocol: str, study: str
) -> None:
    """Make sure that there is something to share where workers are asked for."""
    letter = protocol.strip().upper()
    alone = "two label maps are" if maps else f"protocol {letter} is" if letter in "LE" else ""
    alone = alone or ("a study is" if study else "")
    if alone and (workers > 1 or scheduler):
        raise InputError(
            f"{alone} done by one program; --workers and --scheduler share the cases of a cohort"
        )


def _models(wanted: list[str], baselines: bool) -> dict[str, str]:
    """Names that tables show, and what they are built from."""
    from sammed.models.catalogue import BASELINES

    names = list(dict.fromkeys([*wanted, *(BASELINES if baselines else ())]))
    files = [Path(name).absolute() if Path(name).is_file() else None for name in names]
    return {
        file.stem if file else name: str(file or name)
        for name, file in zip(names, files, strict=True)
    }


def _same_threads(threads: int | None, crew: Crew, quiet: bool) -> int | None:
    """Threads of each worker: as this program's own, on which the last bits of scores depend."""
    if threads is not None or crew.alone:
        return threads
    from sammed.models.devices import threads_now

    own = threads_now()
    if own > 1 and not quiet:
        say(
            f"note: each worker may use {own} threads, as one program here would, so that scores "
            "are the same to the last bit; --threads 1 is quicker where a model uses several"
        )
    return own


def _run_plan(plan: Plan, out: Path, crew: Crew, build: Build, quiet: bool) -> list[Part]:
    from sammed.evaluation.cohort import run_cohort
    from sammed.evaluation.figures import require_matplotlib
    from sammed.evaluation.parts import PartStore
    from sammed.evaluation.report import make_folder

    require_matplotlib()
    make_folder(out)
    with scans_meter(quiet) as show:
        return run_cohort(plan, PartStore(out), show, crew=crew, build=build, say=sayer(quiet))


def _measure(plan: Plan, parts: list[Part], out: Path, quiet: bool) -> FactorsOfRun:
    """Factors of all objects of a run."""
    from sammed.evaluation.factor_run import measure_run

    with meter(quiet, every=30) as show:
        found = measure_run(
            plan, parts, out, lambda case, n, of: show(f"factors of {case}", "", n, of)
        )
    if not found.objects:
        say("note: no model has a result of which to measure factors; baselines alone have none")
    return found


def _tell(
    plan: Plan,
    parts: list[Part],
    out: Path,
    quiet: bool,
    as_json: bool,
    title: str,
    found: FactorsOfRun | None,
) -> None:
    """Write and print what came of a plan.

    Raises
    ------
    PartlyFailedError
        If some of the cases could not be run.
    """
    from sammed.evaluation.choice import choice_table
    from sammed.evaluation.failures import factor_tables
    from sammed.evaluation.reliability import reliability_table
    from sammed.evaluation.report import FACTOR_OUTPUTS, OUTPUTS, write_outputs
    from sammed.evaluation.tables import as_json as summary
    from sammed.evaluation.tables import cost_table, overview

    results = write_outputs(plan, parts, out, _command(), title, found)
    written = OUTPUTS if found is None else (*OUTPUTS, *FACTOR_OUTPUTS)
    say(f"wrote {', '.join(str(out / name) for name in written)}")
    broken = sorted({(p.case, p.error) for p in parts if p.error})
    for case, error in broken:
        say(f"case {case} could not be run: {error}")
    noted = len({p.case for p in parts if p.notes})
    if noted and not quiet:
        say(f"note: what the readers noted of {noted} cases is in {out / 'summary.json'}")
    if as_json:
        put(summary(results))
    else:
        shown = [overview(results), choice_table(results), cost_table(results)]
        shown += [reliability_table(results)]
        shown += [] if found is None else factor_tables(found)
        typer.echo("\n\n".join(table.markdown() for table in shown if table is not None))
    if broken:
        raise PartlyFailedError(
            f"{len({case for case, _ in broken})} of {len(plan.cases)} cases could not be run, "
            "see above; the results are those of the others"
        )


def _one_model(rows: list[Row], wanted: str | None, path: Path) -> list[Row]:
    from sammed.models.catalogue import BASELINES

    names = list(dict.fromkeys(row.model for row in rows))
    if wanted is None:
        own = [name for name in names if name not in BASELINES] or names
        if len(own) != 1:
            raise InputError(
                f"{path} holds the models {', '.join(own)}; choose with --model-a or --model-b"
            )
        wanted = own[0]
    if wanted not in names:
        raise InputError(f"{path} holds no model {wanted!r}; it has {', '.join(names)}")
    return [row for row in rows if row.model == wanted]


def _numbers(text: str, option: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise InputError(f"{option} {text!r} is no list of numbers from 0; expected e.g. 0,0.05")
    return numbers


def _command() -> str:
    """The command line, for the record, without the program's folder."""
    return shlex.join(["sammed", *sys.argv[1:]])
