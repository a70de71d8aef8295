"""Options that several commands share: each is defined once, as a type of the parameter."""

from __future__ import annotations

from typing import Annotated

import typer

from sammed.io.formats import CHOSEN_TYPES, IMAGE_TITLES

IMAGES = ", ".join(IMAGE_TITLES)
"""What an image may come from, for help texts."""

Window = Annotated[
    str,
    typer.Option(
        "--window",
        help="auto, dicom, W/L such as 400/40, p0.5-99.5, soft-tissue, lung, bone, brain, ...",
    ),
]
Plane = Annotated[
    str, typer.Option("--plane", help="auto, axial, coronal, sagittal, or all (fused).")
]

Frame = Annotated[
    int | None, typer.Option("--frame", min=0, help="Which volume of a 4D file, from 0.")
]
Series = Annotated[
    str | None,
    typer.Option(
        "--series", help="DICOM series: number:3 (SeriesNumber), index:2, uid:1.2.3 or description."
    ),
]
AllowGaps = Annotated[
    bool, typer.Option("--allow-gaps", help="Resample unevenly spaced DICOM slices.")
]

Engine = Annotated[
    str | None,
    typer.Option("--engine", help="segment-anything: torch, compile, openvino, onnxruntime."),
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="segment-anything: float32, bfloat16 or float16."),
]
EncodeSize = Annotated[
    int | None,
    typer.Option(
        "--encode-size",
        help="segment-anything: px at which views are encoded; 512 is quicker than 1024.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads that PyTorch may use. Default: its own choice."),
]

Workers = Annotated[
    int,
    typer.Option(
        "--workers", min=1,
        help="Processes on this computer that share the scans, each with a model of its own.",
    ),
]  # fmt: skip
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler", metavar="ADDRESS",
        help="A Dask cluster instead: its scheduler, tcp://host:port or tls://host:port.",
    ),
]  # fmt: skip

OutputType = Annotated[
    str | None,
    typer.Option(
        "--output-type", help=f"Where the ending leaves a choice: {' or '.join(CHOSEN_TYPES)}."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing outputs.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
