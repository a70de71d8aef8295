"""``sammed segment``: one box in, a 3D label volume out."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import progress_bar, put, say, set_verbosity
from sammed.cli.explained import (
    Align,
    Channels,
    Days,
    Examples,
    ExamplesFolder,
    Explained,
    Mirror,
    PerChannel,
    Prior,
)
from sammed.cli.options import (
    IMAGES,
    AllowGaps,
    Device,
    EncodeSize,
    Engine,
    Force,
    Frame,
    OutputType,
    Plane,
    Precision,
    Quiet,
    Series,
    Threads,
    Verbose,
    Window,
)
from sammed.cli.outputs import (
    check_outputs,
    check_source,
    output_kind,
    send,
    write_side_outputs,
)
from sammed.errors import InputError
from sammed.io.formats import DICOM_TYPES

if TYPE_CHECKING:
    from sammed.engine.settings import Settings
    from sammed.imaging.volume import LabelVolume
    from sammed.session import Session


def segment(
    image: Annotated[
        str,
        typer.Argument(help=f"{IMAGES}; or a dicomweb:// URL. With --channel: its first."),
    ] = "",
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", help="Label map to write; its ending chooses the format."),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            help="[NAME=]i0,j0,i1,j1@k (half-open; @i=N, @j=N for other axes) or "
            "[NAME=]i0,j0,k0,i1,j1,k1, whose z-range is a hard limit. Repeatable.",
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", help="[NAME=]i,j,k or i,j,k,- (not the object). Repeatable."),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            "--mask",
            help="[NAME=]FILE[#LABEL]: label map of painted slices, or one label. Repeatable.",
        ),
    ] = None,
    scribble: Annotated[
        list[str] | None,
        typer.Option(
            "--scribble",
            help="[NAME=]i,j;i,j;...@k (a line's corners; - at the end: not the object), or "
            "[NAME=]FILE: 1 on strokes inside, 2 outside. Repeatable.",
        ),
    ] = None,
    prompts: Annotated[
        list[Path] | None,
        typer.Option(
            "--prompts", help="Prompt file (sammed-prompts/1), or Slicer's .mrk.json or .fcsv."
        ),
    ] = None,
    object_: Annotated[
        list[str] | None,
        typer.Option(
            "--object",
            help="What a learned model or examples show, by name, synonym or SNOMED CT code; "
            "default: all that is known. Repeatable.",
        ),
    ] = None,
    example: Examples = None,
    examples: ExamplesFolder = None,
    mirror: Mirror = False,
    prior: Prior = None,
    days: Days = 0.0,
    channel: Channels = None,
    align: Align = "auto",
    per_channel: PerChannel = False,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="NAME=VALUE in the label map.")
    ] = None,
    space: Annotated[
        str, typer.Option("--space", help="What numbers mean: voxel, or millimetres in ras or lps.")
    ] = "voxel",
    propagate: Annotated[
        str | None,
        typer.Option(
            "--propagate",
            help="auto: outward until the object ends; between: only between prompted slices; "
            "off: prompted slices alone. Default: auto.",
        ),
    ] = None,
    candidate: Annotated[
        int,
        typer.Option(
            "--candidate",
            min=0,
            max=3,
            help="Which of the model's masks is meant on prompted slices, 1 to 3 (of "
            "segment-anything: whole, part, subpart). Default 0: the engine chooses.",
        ),
    ] = 0,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="A model of `sammed models list`, a checkpoint file, or a .sammed file of 'sammed "
            "learn'.",
        ),
    ] = "compact",
    window: Window = "auto",
    plane: Plane = "auto",
    zoom: Annotated[
        str,
        typer.Option("--zoom", help="View: auto (the model's own), off (whole slice) or a factor."),
    ] = "auto",
    encode_size: EncodeSize = None,
    stride: Annotated[
        int,
        typer.Option(
            "--stride", min=1, help="Decode every N-th slice, interpolate where masks agree."
        ),
    ] = 1,
    unchecked: Annotated[
        str,
        typer.Option(
            "--unchecked",
            metavar="TESTS",
            help="Follow objects without some tests: absent, small, unsure, changed, grown, moved "
            "(joined by commas), or all.",
        ),
    ] = "",
    multimask: Annotated[
        bool,
        typer.Option(
            "--multimask",
            help="Take the best of the model's masks also where a box leaves no doubt.",
        ),
    ] = False,
    overlap: Annotated[
        str,
        typer.Option("--overlap", help="Who gets shared voxels: keep (first), overwrite or score."),
    ] = "keep",
    components: Annotated[
        str,
        typer.Option(
            "--components",
            help="3D parts to keep: prompted (those that reach a prompted slice), largest, all.",
        ),
    ] = "prompted",
    fill_holes: Annotated[
        bool, typer.Option("--fill-holes", help="Fill cavities closed in 3D. Default: off.")
    ] = False,
    smooth: Annotated[
        float, typer.Option("--smooth", min=0, help="Gaussian smoothing in mm. Default: none.")
    ] = 0.0,
    frame: Frame = None,
    series: Series = None,
    allow_gaps: AllowGaps = False,
    output_type: OutputType = None,
    fractional: Annotated[
        bool, typer.Option("--fractional", help="DICOM SEG of probabilities instead of 0 and 1.")
    ] = False,
    store: Annotated[
        bool, typer.Option("--store", help="Send the DICOM SEG back to the dicomweb:// server.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Run report; default: beside the output.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="PNG with the mask in three planes.")
    ] = None,
    cache: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Keep costly embeddings on disk between runs."),
    ] = True,
    engine: Engine = None,
    precision: Precision = None,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the run report on stdout.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Segment objects from boxes, points, strokes or painted slices, on the image's own grid.

    Numbers are the file's voxel indices, half-open, as NIfTI viewers show them; with --space ras
    or lps they are millimetres. A run report (with the reasons why it stopped) and a prompt file
    that replays the run are written beside the output.

    For example:

      sammed segment ct.nii.gz --box 120,90,210,170@88 -o liver.nii.gz

      sammed segment ct.nii.gz --box liver=20,30,40,180,160,90 --box spleen=9,80,60,140@70 -o o.nrrd

      sammed segment scans/ --series 2 --box 120,90,210,170@88 -o liver.dcm --output-type dicom-seg

      sammed segment ct.nii.gz --model study.sammed --object liver -o liver.nii.gz

      sammed segment ct.nii.gz --scribble 'liver=120,90;150,110;170,105@88' -o liver.nii.gz

      sammed segment mr.nrrd --prompts tumour.prompts.json -o tumour.nii.gz --preview tumour.png

      sammed segment new.nii.gz --example a.nii.gz,a_labels.nii.gz --object liver -o liver.nii.gz

      sammed segment now.nii.gz --prior old.nii.gz,old_labels.nii.gz --days 90 -o now_labels.nii.gz

      sammed segment --channel art=a.nii.gz --channel ven=v.nii.gz --box 12,9,21,17@8 -o l.nii.gz
    """
    set_verbosity(quiet, verbose)
    others = Explained(example, examples, mirror, prior, days, channel, align, per_channel)
    others.check(image)
    if not output and not (as_json or store):
        raise typer.BadParameter("give -o/--output FILE", param_hint="--output")
    if store and not _is_address(image):
        raise InputError("--store sends to a server; it needs an image given as dicomweb://...")
    outputs = list(output or ())
    from sammed import api, io
    from sammed.imaging.intensity import window_notes
    from sammed.io.conversion import files_written
    from sammed.models import registry
    from sammed.prompts.text import parse_label
    from sammed.reporting.run_report import algorithm
    from sammed.views.embeddings import store_for

    each = others.outputs(image, outputs)
    inputs = others.inputs(image)
    written = check_outputs(inputs, outputs, report, preview, force, each.values())
    kinds = {path: output_kind(path, output_type) for path in outputs}
    settings = _settings(plane, window, overlap, components, fill_holes, smooth, zoom, fractional)
    settings = replace(settings, stride=stride, unchecked=unchecked, multimask=multimask)
    first, chosen = others.first_channel(image, series)
    values = dict(parse_label(text) for text in label or ())
    with _source(first) as source:
        volume, read_seconds = api.timed_read(
            source, frame=frame, series=chosen, allow_gaps=allow_gaps
        )
        _say_notes(volume.notes, quiet)
        check_source(volume, [*kinds.values(), *(["dicom-seg"] if store else [])])
        volume = others.joined(volume, image, quiet)
        build = partial(
            registry.build,
            model,
            device=device,
            threads=threads,
            engine=engine,
            precision=precision,
            encode_size=encode_size,
        )
        explained = others.model(build, volume, object_, values, threads)
        known = explained.spec.structures if explained else registry.structures(model)
        objects = api.gather_prompts(
            volume,
            named=object_,
            structures=known,
            boxes=box or (),
            points=point or (),
            masks=mask or (),
            scribbles=scribble or (),
            files=prompts or (),
            labels=values,
            space=space,
            propagate=propagate,  # type: ignore[arg-type]  # checked there
            candidate=candidate,
        )
        _say_notes(objects.notes, quiet)
        built = explained or build()
        embeddings = store_for(built.spec, keep=cache)
        session = api.make_session(volume, built, objects, settings, embeddings)
        assumed = window_notes(window, volume, session.window)
        _say_notes(assumed, quiet)
        with progress_bar(quiet) as show:
            session.segment(show)
        for error in others.errors(session):
            say(f"warning: {error}")
        labels = session.result()
        started = time.perf_counter()
        for path, kind in kinds.items():
            about: dict[str, Any] = {}
            if kind in DICOM_TYPES:
                about["algorithm"] = algorithm(session)
            if fractional and kind == "dicom-seg":
                about["fractional"] = True
            io.write_labels(labels, path, force=force, output_type=kind, **about)
        others.write_each(session, labels, each, force)
        if store:
            send(labels, image, session)
        timings = {"read": read_seconds, "write": time.perf_counter() - started}
    notes = (*objects.notes, *assumed)
    document = write_side_outputs(session, labels, written, outputs, timings, force, notes)
    if as_json:
        put(document)
    elif not quiet:
        files = [file for path in outputs for file in files_written(labels, path)]
        _summary(session, labels, document, [*files, *written.values()])
        others.say(session)


def _say_notes(notes: tuple[str, ...], quiet: bool) -> None:
    for note in () if quiet else notes:
        say(f"note: {note}")


def _settings(
    plane: str,
    window: str,
    overlap: str,
    components: str,
    fill_holes: bool,
    smooth: float,
    zoom: str,
    fractional: bool,
) -> Settings:
    from sammed.engine.cleanup import Cleanup
    from sammed.engine.settings import Settings

    return Settings(
        plane=plane,
        window=window,
        overlap=overlap,  # type: ignore[arg-type]  # checked there
        cleanup=Cleanup(components, fill_holes, smooth),  # type: ignore[arg-type]
        zoom=_zoom(zoom),
        probabilities=fractional,
    )


def _zoom(text: str) -> float | str | None:
    if text == "auto":
        return "auto"
    if text == "off":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1.0 <= factor <= 20.0:
        raise InputError(f"unknown zoom {text!r}; expected auto, off, or a factor from 1 to 20")
    return factor


def _is_address(image: str) -> bool:
    from sammed.io.dicom.web import is_address

    return is_address(image)


def _source(image: str) -> Any:
    """The image's path, fetched into a temporary folder first if it is a DICOMweb address."""
    from contextlib import nullcontext

    if not _is_address(image):
        return nullcontext(Path(image))
    from sammed.io.dicom import web as dicomweb

    return dicomweb.fetch(image)


def _summary(
    session: Session, labels: LabelVolume, document: dict[str, Any], paths: list[Path]
) -> None:
    from sammed.reporting.outlook import spoken

    for obj, told in zip(session.objects, document["objects"], strict=True):
        run = session.runs[obj.name]
        say(
            f"{obj.name} (label {obj.label}): {labels.volume_ml(obj.label):.4g} ml on "
            f"{len(run.slices)} {run.plane} slices"
        )
        for stop in run.stops:
            say(f"  stopped at {stop}")
        if "expected" in told:
            say(f"  {spoken(told['expected'])}")
    counts, timings = session.counts, session.timings
    spent = sum(timings.get(stage, 0.0) for stage in ("encode", "decode"))
    say(
        f"{session.model.spec.name}, window {session.window}: {counts['encode']} views in "
        f"{spent:.2f} s"
    )
    say("wrote " + ", ".join(str(path) for path in paths))
