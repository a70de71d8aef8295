"""What ``sammed segment`` writes, and where to, which is checked before any work is done."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.cli.console import say
from sammed.cli.explained import follow_up_picture
from sammed.errors import InputError, OutputError
from sammed.io.formats import DICOM_TYPES, NEEDS_DICOM, SHARED_ENDINGS

if TYPE_CHECKING:
    from sammed.imaging.volume import LabelVolume, Volume
    from sammed.session import Session


def check_outputs(
    inputs: Mapping[str, str],
    outputs: list[Path],
    report: Path | None,
    preview: Path | None,
    force: bool,
    more: Collection[Path] = (),
) -> dict[str, Path]:
    """Where the report, the prompt file and the preview go; all outputs could be written.

    Parameters
    ----------
    inputs
        What is read, and what that is: no output may be one of these.
    outputs, report, preview, force
        As typed.
    more
        What else is written.
    """
    from sammed import io

    for path in filter(None, (*outputs, report, preview)):
        io.check_output(path, force=True)  # only then do names of others follow from them
    if preview is not None and preview.suffix.lower() != ".png":
        raise OutputError(f"cannot write {preview}: the preview is a PNG; let its name end in .png")
    written = _side_outputs(outputs, report, preview)
    _check_apart(inputs, [*outputs, *written.values(), *more])
    for path in (*outputs, *written.values(), *more):
        io.check_output(path, force)
    return written


def _side_outputs(
    outputs: list[Path], report: Path | None, preview: Path | None
) -> dict[str, Path]:
    """Where the report, the prompt file and the preview go."""
    from sammed.io.recognition import stem as stem_of

    side: dict[str, Path] = {}
    if report is None and outputs:
        report = outputs[0].with_name(stem_of(outputs[0]) + ".report.json")
    if report is not None:
        stem = report.name.removesuffix(".json").removesuffix(".report")
        side["report"] = report
        side["prompts"] = report.with_name(stem + ".prompts.json")
    if preview is not None:
        side["preview"] = preview
    return side


def _check_apart(inputs: Mapping[str, str], paths: list[Path]) -> None:
    """Make sure that no output is an input, nor another output."""
    taken = {os.path.realpath(path): f"it is {what}" for path, what in inputs.items()}
    for path in paths:
        real = os.path.realpath(path)
        if real in taken:
            raise OutputError(f"cannot write {path}: {taken[real]}; choose another name")
        taken[real] = "it is named twice among the outputs"


def output_kind(path: Path, output_type: str | None) -> str:
    """The format to write; ``--output-type`` counts where the ending leaves a choice."""
    from sammed import io

    leaves_choice = path.suffix.lower() in ("", *SHARED_ENDINGS)
    known = output_type in io.OUTPUT_TYPES
    return io.output_format(path, output_type if leaves_choice or not known else None)


def check_source(volume: Volume, kinds: list[str]) -> None:
    """Refuse DICOM objects of images that are no DICOM before any work is done."""
    if volume.grid.format != "dicom" and any(kind in DICOM_TYPES for kind in kinds):
        raise InputError(NEEDS_DICOM)


def send(labels: LabelVolume, image: str, session: Session) -> None:
    """Send the result as DICOM SEG to the server that the series came from."""
    import tempfile

    from sammed import io
    from sammed.io.dicom import web as dicomweb
    from sammed.reporting.run_report import algorithm

    with tempfile.TemporaryDirectory(prefix="sammed-") as folder:
        path = Path(folder) / "segmentation.dcm"
        io.write_labels(labels, path, output_type="dicom-seg", algorithm=algorithm(session))
        where = dicomweb.store(path, image)
    say(f"stored {where}")


def write_side_outputs(
    session: Session,
    labels: LabelVolume,
    written: dict[str, Path],
    outputs: list[Path],
    timings: dict[str, float],
    force: bool,
    notes: tuple[str, ...],
) -> dict[str, Any]:
    """Write the report, the prompt file and the preview; the report is returned."""
    from sammed import io
    from sammed.reporting.preview import draw_preview
    from sammed.reporting.run_report import prompt_document, run_report

    target = outputs[0] if outputs else None
    document = run_report(session, labels, output=target, timings=timings, notes=notes)
    if "report" in written:
        io.atomic_text(written["report"], json.dumps(document, indent=1) + "\n", force=force)
        prompts = prompt_document(session, written["prompts"].parent)
        io.atomic_text(written["prompts"], json.dumps(prompts, indent=1) + "\n", force=force)
    if "preview" in written:
        picture = follow_up_picture(session, labels) or draw_preview(
            session.volume, labels, session.window, session.objects
        )
        with io.atomic_output(written["preview"], force=force) as temporary:
            picture.save(temporary, format="PNG")
    return document
