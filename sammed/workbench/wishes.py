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

    projects = [path for path in wishes.paths if is_project(path)]
    if projects and len(wishes.paths) > 1:
        raise InputError(f"{projects[0]} is a project; open it alone, its cases come by themselves")
    of_one_image = (wishes.labels, wishes.prompts, wishes.output, wishes.series, wishes.frame)
    if projects and any(given not in ((), None) for given in of_one_image):
        raise InputError(
            f"--labels, --prompts, -o, --series and --frame belong to one image, and {projects[0]} "
            "is a project; 'sammed project import' brings label maps in"
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
