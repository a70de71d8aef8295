"""``project.toml``: what a project is about, for people and scripts to read and change."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sammed.errors import InputError, LabelError, UnreadableFileError
from sammed.imaging.volume import MAX_LABEL
from sammed.io.output import atomic_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = "sammed-project/1"
FILE = "project.toml"

WHEN = "%Y-%m-%dT%H:%M:%S%z"
"""How moments are written."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Description:
    """What a project is about.

    Attributes
    ----------
    name
        Of the project.
    structures
        Name → value in every label map of the project.
    seed
        Of every choice by chance.
    since
        Structure → when it was added, of those that were not there from the start: label maps that
        were accepted before say nothing of them.
    """

    name: str
    structures: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    since: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> dict[int, str]:
        """Value → name."""
        return {value: name for name, value in self.structures.items()}

    def with_structures(self, more: Mapping[str, int]) -> Description:
        """The same with more structures; a value of 0 asks for the next free one.

        Raises
        ------
        LabelError
            If a name or value is taken, or no value.

        Examples
        --------
        >>> Description("study", {"liver": 1}).with_structures({"spleen": 0, "cyst": 7}).structures
        {'liver': 1, 'spleen': 2, 'cyst': 7}
        """
        there = dict(self.structures)
        for name, value in more.items():
            if not name or name != name.strip() or "=" in name or "," in name:
                raise LabelError(f"{name!r} cannot name a structure; expected a word like 'liver'")
            if name.casefold() in (known.casefold() for known in there):
                raise LabelError(f"there is a structure {name!r} already; give it another name")
            taken = {**there, **{n: v for n, v in more.items() if v and n != name}}.values()
            value = value or next(v for v in range(1, MAX_LABEL + 1) if v not in taken)
            if not 1 <= value <= MAX_LABEL or value in there.values():
                raise LabelError(
                    f"the value {value} of {name!r} is taken or not in 1..{MAX_LABEL}; "
                    f"taken are {', '.join(map(str, there.values())) or 'none'}"
                )
            there[name] = value
        return replace(self, structures=there)


def now() -> str:
    """The present moment, as `WHEN` writes it."""
    return time.strftime(WHEN)


def parse_structures(text: str) -> dict[str, int]:
    """Structures as they are typed, ``liver,spleen=2``; a value of 0 is still free.

    Raises
    ------
    LabelError
        If a part is no name, or its value no whole number.

    Examples
    --------
    >>> parse_structures("liver, spleen=7")
    {'liver': 0, 'spleen': 7}
    """
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if not name.strip() or (value and not value.strip().isdigit()) or name.strip() in found:
            raise LabelError(
                f"cannot read the structure {part!r}; expected NAME or NAME=VALUE, each once"
            )
        found[name.strip()] = int(value or 0)
        if value and not found[name.strip()]:
            raise LabelError(
                f"the structure {name.strip()!r} has the value 0, which is the background's; give "
                "it another value, or none"
            )
    return found


def is_project(folder: Path) -> bool:
    """Whether a folder is one of a project."""
    return (folder / FILE).is_file()


def read_description(folder: Path) -> Description:
    """The description of a project.

    Raises
    ------
    UnreadableFileError
        If the folder is no project, or its ``project.toml`` is broken or of a newer version.
    """
    path = folder / FILE
    if not path.is_file():
        raise UnreadableFileError(
            f"{folder} is no project: it has no {FILE}; make one with 'sammed project new {folder}'"
        )
    try:
        said: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        form = said.get("format")
        if form != FORMAT:
            raise UnreadableFileError(
                f"{path} has the format {form!r}, not {FORMAT!r}; a newer sammed may read it"
            )
        structures = {str(name): value for name, value in said.get("structures", {}).items()}
        if not all(type(value) is int for value in structures.values()):
            raise InputError("values of structures are whole numbers")
        since = {str(name): str(when) for name, when in said.get("since", {}).items()}
        name = str(said.get("name") or folder.resolve().name)
        bare = Description(name, {}, int(said["seed"]), since)
        return bare.with_structures(structures)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise UnreadableFileError(f"{path} cannot be read: {error}; mend it by hand") from None
    except (InputError, TypeError) as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise UnreadableFileError(f"{path}: {error}") from None


def write_description(folder: Path, description: Description) -> None:
    """Write ``project.toml``, whole or not at all.

    Parameters
    ----------
    folder
        Of the project.
    description
        What to say.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    lines = [
        f"format = {_quoted(FORMAT)}",
        f"name = {_quoted(description.name)}",
        f"seed = {description.seed}",
        "",
        "[structures] # name = value in the label maps",
        *(f"{_key(name)} = {value}" for name, value in description.structures.items()),
    ]
    if description.since:
        lines += ["", "[since] # label maps accepted before say nothing of these"]
        lines += [f"{_key(name)} = {_quoted(when)}" for name, when in description.since.items()]
    atomic_text(folder / FILE, "\n".join(lines) + "\n", force=True)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """A basic string of TOML, which JSON's are but for how it writes DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
