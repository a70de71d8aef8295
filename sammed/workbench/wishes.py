"""What is asked for when the workbench is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.errors import InputError
from sammed.project.description import is_project


@dataclass(frozen=True)
class Wishes:
    """What to open, and how; everything may be left out.

    Attributes
    ----------
    paths
        Images, or folders of DICOM, of which one is chosen on the page; or one project.
    labels
        Label maps whose labels become objects with painted slices.
    prompts
        Prompt files and markups.
    model, window, plane
        As in `sammed.engine.settings.Settings`; ``None`` for what the last session here had, or
        else the defaults.
    frame, series, allow_gaps
        As in `sammed.io.read`.
    output
        The label map to be; ``None``: beside the image.
    examples, library
        Labelled scans to take from: pairs ``IMAGE,LABELS``, and a folder of such.
    prior, days
        An earlier scan of the same person with its labels, ``IMAGE,LABELS``; days since then, 0:
        as DICOM says, or unknown.
    channels, align
        Phases or channels to be seen beside it, ``NAME=IMAGE``, and how they are aligned, see
        `sammed.examples.channels`.
    channel
        What the image itself is called among them.
    """

    paths: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    prompts: tuple[Path, ...] = ()
    model: str | None = None
    window: str | None = None
    plane: str | None = None
    frame: int | None = None
    series: str | None = None
    allow_gaps: bool = False
    output: Path | None = None
    examples: tuple[str, ...] = ()
    library: Path | None = None
    prior: str = ""
    days: float = 0.0
    channels: tuple[str, ...] = ()
    align: str = "auto"
    channel: str = ""

    @property
    def project(self) -> Path | None:
        """The folder of the project that is to be opened."""
        projects = [path for path in self.paths if is_project(path)]
        return projects[0] if projects and len(self.paths) == 1 else None

    @property
    def model_name(self) -> str:
        """The model to begin with."""
        return self.model or "compact"

    @property
    def options(self) -> dict[str, Any]:
        """The settings that were asked for."""
        asked = {"window": self.window, "plane": self.plane}
        return {name: value for name, value in asked.items() if value is not None}


def check_wishes(wishes: Wishes) -> None:
    """Make sure that what is asked for makes sense, before anything is read.

    Raises
    ------
    SammedError
        As ``sammed segment`` for the same options.
    """
    from sammed import io

    _check_beside(wishes)
    projects = [path for path in wishes.paths if is_project(path)]
    if projects and len(wishes.paths) > 1:
        raise InputError(f"{projects[0]} is a project; open it alone, its cases come by themselves")
    of_one_image = (
        wishes.labels, wishes.prompts, wishes.output, wishes.series, wishes.frame,
        wishes.channels, wishes.prior or None,
    )  # fmt: skip
    if projects and any(given not in ((), None) for given in of_one_image):
        raise InputError(
            "--labels, --prompts, -o, --series, --frame, --channel and --prior belong to one "
            f"image, and {projects[0]} is a project; 'sammed project import' brings label maps in"
        )
    if (wishes.labels or wishes.prompts or wishes.output) and len(wishes.paths) != 1:
        raise InputError("--labels, --prompts and -o belong to one image; give its path")
    if wishes.output is not None:
        io.output_format(wishes.output)
        io.check_output(wishes.output, force=True)
    if wishes.plane is not None:
        from sammed.engine.settings import Settings

        Settings(plane=wishes.plane)
    if wishes.model is not None:
        from sammed.models import registry

        registry.check(wishes.model)


def _check_beside(wishes: Wishes) -> None:
    """The scans beside it: they are there, and belong to one image."""
    from sammed import io
    from sammed.examples.channels import ALIGNMENTS, parse_channel
    from sammed.workbench.beside import asked_for

    asked_for(wishes)
    if (wishes.channels or wishes.prior) and len(wishes.paths) != 1:
        raise InputError("--channel and --prior belong to one image; give its path")
    if wishes.align not in ALIGNMENTS:
        raise InputError(f"unknown alignment {wishes.align!r}; expected {', '.join(ALIGNMENTS)}")
    names = [wishes.channel]
    for text in wishes.channels:
        name, file, _ = parse_channel(text)
        io.input_format(Path(file))
        if name in names:
            raise InputError(f"two channels are called {name!r}; give each its own name")
        names.append(name)
