"""Where ``sammed segment`` writes to, checked before any work is done."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from sammed.errors import OutputError


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
