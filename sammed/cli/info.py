"""``sammed info``: what a file, folder or archive holds, without segmenting anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import put, set_verbosity
from sammed.cli.options import IMAGES, Frame, Json

if TYPE_CHECKING:
    from sammed.imaging.volume import Volume
    from sammed.io.dicom.images.read import Survey
    from sammed.io.dicom.images.series import SeriesInfo

MAX_FRAMES_SHOWN = 12
COLUMNS = (
    *("index", "number", "modality", "description", "size", "spacing mm", "axes", "files"),
    "verdict",
)


def info(
    image: Annotated[Path, typer.Argument(help=f"{IMAGES}; or a DICOMDIR.")],
    frame: Frame = None,
    phi: Annotated[
        bool, typer.Option("--phi", help="Show patient-level identifiers of DICOM files.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a file or folder holds: series, size, spacing, orientation, and if it is usable.

    Patient-level identifiers (name, ID, birth date, study date, ...) are shown with --phi only.

    For example:

      sammed info ct.nii.gz

      sammed info dicom_folder --json

      sammed info export.zip --phi
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed import io

    if io.input_format(image) == "dicom":
        from sammed.io.dicom.images.read import survey

        found = survey(image)
        if as_json:
            put(_survey_document(image, found, phi))
        else:
            _print_survey(found, phi)
        return
    document = _volume_document(image, io.input_format(image), io.read(image, frame=frame))
    if as_json:
        put(document)
    else:
        _print_pairs(document)


def _survey_document(path: Path, found: Survey, phi: bool) -> dict[str, Any]:
    return {
        "path": str(path),
        "format": "dicom",
        "series": [_series_document(series, phi) for series in found.series],
        "other_files": found.stray,
        "notes": list(found.notes),
    }


def _series_document(series: SeriesInfo, phi: bool) -> dict[str, Any]:
    from sammed.io.dicom.phases import phase_of

    document: dict[str, Any] = {
        "index": series.index,
        "phase": phase_of(series.description) or None,
        "uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "series_number": series.series_number,
        "images": series.images,
        "transfer_syntaxes": list(series.syntaxes),
        "size": series.size,
        "spacing_mm": series.spacing,
        "orientation": series.orientation or None,
        "frames": list(series.frames),
        "windows": [{"name": w.name, "level": w.level, "width": w.width} for w in series.windows],
        "usable": series.usable,
        "verdict": series.verdict,
        "notes": list(series.notes),
    }
    if phi:
        document["identifiers"] = dict(series.identifiers)
    return document


def _print_survey(found: Survey, phi: bool) -> None:
    rows = [_row(series) for series in found.series]
    _print_table([COLUMNS, *rows])
    for series in found.series:
        typer.echo("")
        typer.echo(f"index:{series.index}  uid:{series.uid}")
        for line in _details(series, phi):
            typer.echo(f"  {line}")
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if found.stray:
        typer.echo(f"{found.stray:,} other files are not DICOM.", err=True)


def _row(series: SeriesInfo) -> tuple[str, ...]:
    return (
        str(series.index),
        series.series_number or "-",
        series.modality or "-",
        series.description or "-",
        _times(series.size) if series.size else "-",
        _times(series.spacing) if series.spacing else "-",
        series.orientation or "-",
        str(series.images),
        "usable" if series.usable else "not usable",
    )


def _details(series: SeriesInfo, phi: bool) -> Iterable[str]:
    from sammed.io.dicom.phases import phase_of

    yield f"transfer syntax: {', '.join(series.syntaxes)}"
    if phase := phase_of(series.description):
        yield f"phase: {phase} (by its description): --channel {phase}=FOLDER#index:{series.index}"
    if series.verdict != "usable":
        yield series.verdict
    for n, label in enumerate(series.frames[:MAX_FRAMES_SHOWN]):
        yield f"--frame {n}: {label}"
    if len(series.frames) > MAX_FRAMES_SHOWN:
        yield f"... up to --frame {len(series.frames) - 1}: {series.frames[-1]}"
    for window in series.windows:
        yield f"window: {window.width:g}/{window.level:g} {window.name}".rstrip()
    for note in series.notes:
        yield f"note: {note}"
    if phi:
        for keyword, text in series.identifiers.items():
            yield f"{keyword}: {text}"


def _volume_document(path: Path, kind: str, volume: Volume) -> dict[str, Any]:
    from sammed.imaging import geometry

    k, j, i = volume.grid.shape
    spacing = geometry.spacing(volume.grid.affine)
    return {
        "path": str(path),
        "format": kind,
        "size": (i, j, k),
        "spacing_mm": spacing[::-1],
        "orientation": geometry.axis_codes(volume.grid.affine)[::-1],
        "modality": volume.modality or None,
        "colour": volume.is_colour,
        "voxel_type": str(volume.voxels.dtype),
        "lowest": volume.voxels.min().item(),
        "highest": volume.voxels.max().item(),
        "notes": list(volume.notes),
    }


def _print_pairs(document: dict[str, Any]) -> None:
    width = max(map(len, document))
    for name, found in document.items():
        if found is None or found == []:
            continue
        shown = _times(found) if isinstance(found, tuple) else found
        shown = "; ".join(found) if isinstance(found, list) else shown
        typer.echo(f"{name:<{width}}  {shown}")


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
