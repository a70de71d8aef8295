"""The rounds of a project: what each learned, and one that was stopped, to go on with."""

from __future__ import annotations

import io as streams
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.errors import InputError, UnreadableFileError
from sammed.io.output import atomic_output, atomic_text, output_error
from sammed.project.folder import Project
from sammed.project.lease import Holder, InWorkError, holder_of, take

ROUNDS = "rounds"
_RUN = "run.pt"
_SAID = "run.json"


@dataclass(frozen=True)
class Round:
    """A round.

    Attributes
    ----------
    folder
        Its own, ``rounds/003``.
    """

    folder: Path

    @property
    def number(self) -> int:
        """From 1."""
        return int(self.folder.name)

    @property
    def is_open(self) -> bool:
        """Whether it was stopped and can go on."""
        return (self.folder / _SAID).is_file() and not (self.folder / "report.json").is_file()

    def settings(self) -> dict[str, Any]:
        """What it was begun with."""
        try:
            said = json.loads((self.folder / _SAID).read_text(encoding="utf-8"))
            return dict(said)
        except (OSError, ValueError) as error:
            raise UnreadableFileError(f"{self.folder / _SAID} cannot be read: {error}") from None

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Say what it is begun with."""
        atomic_text(self.folder / _SAID, json.dumps(dict(settings), indent=1) + "\n", force=True)

    def keep(self, state: Mapping[str, Any]) -> None:
        """Keep how far it is, whole or not at all."""
        import torch

        stream = streams.BytesIO()
        torch.save(dict(state), stream)
        with atomic_output(self.folder / _RUN, force=True) as temporary:
            temporary.write_bytes(stream.getvalue())

    def kept(self) -> dict[str, Any]:
        """How far it is; empty at its start.

        Raises
        ------
        UnreadableFileError
            If the file is broken.
        """
        path = self.folder / _RUN
        if not path.is_file():
            return {}
        import torch

        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise UnreadableFileError(
                f"{path} cannot be read ({type(error).__name__}); learn again without --resume"
            ) from error
        return state

    def keep_former(self, model: Path) -> None:
        """Keep the model that this round's takes the place of, to be brought back by a copy."""
        if model.is_file():
            with atomic_output(self.folder / f"before{model.suffix}", force=True) as temporary:
                shutil.copyfile(model, temporary)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the report, after which nothing is left to go on with."""
        text = json.dumps(dict(report), indent=1, default=str) + "\n"
        atomic_text(self.folder / "report.json", text, force=True)
        (self.folder / _RUN).unlink(missing_ok=True)

    def report(self) -> dict[str, Any]:
        """What came of it; empty if it is not over."""
        try:
            return dict(json.loads((self.folder / "report.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}


def rounds(project: Project) -> list[Round]:
    """All rounds, in order."""
    root = project.folder / ROUNDS
    there = sorted(root.iterdir()) if root.is_dir() else []
    return [Round(path) for path in there if path.is_dir() and path.name.isdigit()]


def rounds_folder(project: Project) -> Path:
    """Where rounds lie; made if it is not there."""
    root = project.folder / ROUNDS
    try:
        root.mkdir(exist_ok=True)
    except OSError as error:
        raise output_error(root, error) from error
    return root


@contextmanager
def learning(project: Project) -> Iterator[None]:
    """While in this context, nobody else learns in the project.

    Raises
    ------
    InWorkError
        If another program learns in it.
    """
    root = rounds_folder(project)
    try:
        lease = take(root)
    except InWorkError:
        who = learner(project)
        told = who.told if who else "another program"
        raise InWorkError(
            f"{project.folder} is being learned from already, by {told}; wait until it is over"
        ) from None
    try:
        yield
    finally:
        lease.give_back()


def learner(project: Project) -> Holder | None:
    """Who learns in the project now; ``None`` if nobody does."""
    root = project.folder / ROUNDS
    return holder_of(root) if root.is_dir() else None


def stopped_round(project: Project) -> Round | None:
    """The round that was stopped and can be gone on with, if nobody is at it."""
    waiting = [one for one in rounds(project) if one.is_open]
    return waiting[-1] if waiting and learner(project) is None else None


def new_round(project: Project) -> Round:
    """The next round; one that was stopped before is given up."""
    root = rounds_folder(project)
    for former in rounds(project):
        if former.is_open:
            (former.folder / _RUN).unlink(missing_ok=True)
            (former.folder / _SAID).unlink(missing_ok=True)
    number = max((one.number for one in rounds(project)), default=0) + 1
    while True:
        folder = root / f"{number:03}"
        try:
            folder.mkdir()
            return Round(folder)
        except FileExistsError:
            number += 1


def open_round(project: Project) -> Round:
    """The round that was stopped.

    Raises
    ------
    InputError
        If there is none.
    """
    waiting = [one for one in rounds(project) if one.is_open]
    if not waiting:
        raise InputError(f"{project.folder} has no run to resume; learn without --resume")
    return waiting[-1]
