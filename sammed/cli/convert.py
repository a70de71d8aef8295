"""``sammed convert``: any readable volume or label map to any writable format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import put, say, set_verbosity
from sammed.cli.options import AllowGaps, Force, Frame, OutputType, Quiet, Series, Verbose
from sammed.errors import InputError
from sammed.io.formats import OUTPUT_TYPES, VOLUME_TYPES, endings

if TYPE_CHECKING:
    from sammed.imaging.volume import LabelVolume, Volume

BOTH = endings(VOLUME_TYPES)
LABELS_ALONE = endings(kind for kind in OUTPUT_TYPES if kind not in VOLUME_TYPES)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="Image or label map: file, or DICOM file, folder or archive; COCO .json; boxes to "
            "refine.",
        ),
    ],
    output: Annotated[
        list[Path],
        typer.Option(
            "-o",
            "--output",
            help=f"File to write; its ending chooses the format: {' '.join(BOTH)}; for label maps "
            f"also {' '.join(LABELS_ALONE)}; their boxes: .json (COCO), .mrk.json (ROIs), .csv.",
        ),
    ],
    labels: Annotated[
        bool, typer.Option("--labels", help="IN is a label map, though its format does not say so.")
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option("--like", help="The image that the label map belongs to (RTSTRUCT, DICOM)."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Name of a structure to convert; without it all. Repeatable."),
    ] = None,
    refine_boxes: Annotated[
        bool,
        typer.Option(
            "--refine-boxes",
            help="IN holds boxes (a prompt file or ROIs) on the image --like: each is replaced by "
            "the box of what is segmented in it.",
        ),
    ] = False,
    output_type: OutputType = None,
    frame: Frame = None,
    series: Series = None,
    allow_gaps: AllowGaps = False,
    force: Force = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was converted on stdout.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Convert an image or a label map, on its own grid; -o may be repeated.

    For example:

      sammed convert scans/ --series 2 -o ct.nii.gz

      sammed convert organs.nii.gz -o organs.seg.nrrd -o organs.obj

      sammed convert organs.nii.gz --like scans/ -o organs.dcm --output-type rtstruct

      sammed convert organs.nii.gz -o boxes.json -o boxes.mrk.json -o boxes.csv

      sammed convert sloppy.mrk.json --like ct.nii.gz --refine-boxes -o tight.mrk.json
    """
    set_verbosity(quiet, verbose)
    from sammed.io.conversion import convert as convert_file

    convert_it = _refined if refine_boxes else convert_file
    read = convert_it(
        source,
        output,
        as_labels=labels,
        like=like,
        only=only or None,
        output_type=output_type,
        frame=frame,
        series=series,
        allow_gaps=allow_gaps,
        force=force,
    )
    for note in () if quiet else read.notes:
        say(f"note: {note}")
    found = _described(read, source, output)
    if as_json:
        put(found)
    elif not quiet:
        sizes = "x".join(str(n) for n in found["shape_ijk"])
        written = ", ".join(found["outputs"])
        say(f"{found['kind']} of {sizes} voxels ({found['dtype']}) written to {written}")


def _refined(
    source: Path,
    outputs: list[Path],
    *,
    like: Path | None,
    output_type: str | None,
    frame: int | None,
    series: str | None,
    force: bool,
    **others: Any,
) -> LabelVolume:
    """What is segmented in boxes, written as label maps and boxes are.

    Raises
    ------
    InputError
        If there is no image.
    """
    from sammed import api, io
    from sammed.io.conversion import write_all

    if like is None:
        raise InputError(f"{source} holds boxes of an image; name it: --like IMAGE")
    for output in outputs:
        io.check_output(output, force)
    found: LabelVolume = api.segment(like, prompts=source, device="cpu", frame=frame, series=series)
    write_all(found, outputs, output_type=output_type, force=force)
    return found


def _described(read: Volume | LabelVolume, source: Path, output: list[Path]) -> dict[str, Any]:
    from sammed.imaging import geometry
    from sammed.imaging.volume import LabelVolume
    from sammed.io.conversion import files_written

    names, files = None, output
    if isinstance(read, LabelVolume):
        names, files = read.names, [file for path in output for file in files_written(read, path)]
    return {
        "input": str(source),
        "kind": "image" if names is None else "label map",
        "shape_ijk": list(read.grid.shape[::-1]),
        "spacing_ijk_mm": list(geometry.spacing(read.grid.affine))[::-1],
        "dtype": str(read.voxels.dtype),
        "labels": names,
        "notes": list(read.notes),
        "outputs": [str(path) for path in files],
    }
