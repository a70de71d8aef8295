"""Which cases to evaluate: a ``cases.json``, a CSV, or a pair of folders."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from sammed.errors import EvaluationError, InputError, UnreadableFileError
from sammed.evaluation.objects import Key, Wanted, parse_names
from sammed.io.formats import FORMATS
from sammed.io.recognition import longest_ending, stem
from sammed.io.tables import read_table
from sammed.prompts.files import read_json

logger = logging.getLogger(__name__)

FORMAT = "sammed-cases/1"

ENDINGS = tuple(ending for f in FORMATS for ending in f.suffixes)
"""Endings that are looked for in folders: all that can be read."""

BESIDE = {".img": ".hdr", ".img.gz": ".hdr.gz"}
"""Endings of files that are the voxels of another, which is read."""

CHANNEL = "_{:04}"
"""What nnU-Net puts behind the name of an image's channel; its label has no such ending."""


@dataclass(frozen=True)
class Case:
    """An image with its reference label map.

    Attributes
    ----------
    id
        Unique in the manifest; names the files of its results.
    image, label
        Files on one grid.
    labels
        Value, or values of a region → name of the objects to evaluate; empty takes all values in
        the label map.
    modality, area, truth, note
        For the tables; ``truth`` says who made the reference.
    subject
        Cases of one person share it: confidence intervals resample subjects. By default the image
        as the manifest names it.
    prompts
        Another label map, on the same grid, from which the prompts are simulated; by default the
        reference itself.
    """

    id: str
    image: Path
    label: Path
    labels: dict[Key, str] = field(default_factory=dict)
    modality: str = ""
    area: str = ""
    truth: str = ""
    note: str = ""
    subject: str = ""
    prompts: Path | None = None

    @property
    def prompt_source(self) -> Path:
        """The label map from which prompts are simulated."""
        return self.prompts or self.label


def read_manifest(path: Path) -> list[Case]:
    """Cases of a ``.json`` (``sammed-cases/1``) or ``.csv`` file.

    Parameters
    ----------
    path
        Paths in it are relative to it. A CSV has the columns ``image`` and ``label``, and may have
        ``id``, ``labels`` (``1=liver;2=spleen;1+2=both``), ``modality``, ``area``, ``truth``,
        ``note``, ``subject``, ``prompts``.

    Raises
    ------
    UnreadableFileError
        If the file is missing or not what its name says.
    InputError
        If a case has no image or label, or two share an id.
    """
    if not path.is_file():
        raise UnreadableFileError(
            f"there is no manifest {path}; expected a .json or .csv file, or a project's folder"
        )
    entries = _json_entries(path) if path.suffix.lower() == ".json" else _csv_entries(path)
    return _checked([_case(entry, path.parent, i) for i, entry in enumerate(entries)], str(path))


def pair_folders(images: Path, references: Path, wanted: Wanted | None = None) -> list[Case]:
    """Cases of two folders: an image and a label map of the same name are a case.

    nnU-Net's channel ending ``_0000`` of images is left out of the name; of several channels the
    first is the image, and the case's note says so.

    Raises
    ------
    EvaluationError
        If no name occurs in both.
    InputError
        If two images or two label maps have one name.
    """
    there: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for by_name, folder in ((there, images), (labels, references)):
        for path in _files(folder):
            _add(by_name, stem(path), path)
    found = {name: there.get(name) or there.get(name + CHANNEL.format(0)) for name in labels}
    pairs = [(name, image, labels[name]) for name, image in found.items() if image is not None]
    if alone := sorted(labels.keys() - {name for name, *_ in pairs}) if pairs else []:
        logger.warning(
            "%d of %d label maps in %s have no image of their name and are left out: %s%s",
            len(alone), len(labels), references, ", ".join(alone[:5]), ", ..." * (len(alone) > 5),
        )  # fmt: skip
    if not pairs:
        raise EvaluationError(
            f"no image in {images} has a label map of the same name in {references}; expected "
            "pairs such as case_1.nii.gz in both"
        )
    return _checked(
        [
            Case(
                name,
                image,
                label,
                dict(wanted.names if wanted else {}),
                note="" if name in there else _channels(name, there),
                subject=name,
            )
            for name, image, label in sorted(pairs)
        ],
        str(references),
    )


def _channels(name: str, there: Mapping[str, Path]) -> str:
    """Which of an image's channels is taken, if it has several."""
    more = takewhile(lambda n: name + CHANNEL.format(n) in there, count())
    channels = len(list(more))
    return f"channel 0 of {channels}" if channels > 1 else ""


def _add(by_name: dict[str, Path], name: str, path: Path) -> None:
    if name in by_name:
        raise InputError(
            f"{by_name[name]} and {path.name} are of one name; leave one, or list cases in a "
            "manifest (--cases)"
        )
    by_name[name] = path


def share_subject(cases: Iterable[Case], ids: Iterable[str]) -> list[Case]:
    """Cases of which those named show one person.

    Raises
    ------
    InputError
        If one of the ids is unknown.
    """
    cases, ids = list(cases), list(ids)
    unknown = set(ids) - {case.id for case in cases}
    if unknown:
        raise InputError(f"there is no case {', '.join(sorted(unknown))}; expected ids of cases")
    together = " + ".join(ids)
    return [replace(case, subject=together) if case.id in ids else case for case in cases]


def _json_entries(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise UnreadableFileError(f'{path} is no manifest: its "format" is {found!r}, not {FORMAT}')
    return list(content.get("cases", []))


def _csv_entries(path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [dict(line) for line in read_table(path)[1]]
    for entry in entries:
        parts = (entry.get("labels") or "").replace(",", ";").split(";")
        entry["labels"] = dict(part.split("=", 1) for part in parts if "=" in part)
    return entries


def _case(entry: Mapping[str, Any], folder: Path, position: int) -> Case:
    missing = [key for key in ("image", "label") if not entry.get(key)]
    if missing:
        raise InputError(
            f"case {entry.get('id') or position + 1} of the manifest has no {missing[0]}; "
            "expected a path"
        )
    try:
        labels = dict(parse_names(entry["labels"]).names) if entry.get("labels") else {}
    except (ValueError, AttributeError) as error:
        raise InputError(f"case {entry.get('id') or position + 1}: {error}") from None
    texts = {
        key: str(entry.get(key) or "") for key in ("modality", "area", "truth", "note", "subject")
    }
    texts["subject"] = texts["subject"] or str(entry["image"])
    prompts = entry.get("prompts")
    return Case(
        str(entry.get("id") or stem(entry["label"])),
        folder / entry["image"],
        folder / entry["label"],
        labels,
        prompts=folder / prompts if prompts else None,
        **texts,
    )


def _checked(cases: list[Case], source: str) -> list[Case]:
    if not cases:
        raise EvaluationError(f"{source} lists no case")
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise InputError(f"two cases of {source} are called {case.id!r}; give each its own id")
        if case.id in {"", ".", ".."} or set(case.id) & set('/\\:*?"<>|'):
            raise InputError(
                f"case id {case.id!r} cannot name a file; use letters, digits, - and _"
            )
        seen.add(case.id)
    return cases


def _files(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        raise UnreadableFileError(f"there is no folder {folder}")
    there = (p for p in sorted(folder.iterdir()) if not p.name.startswith("."))  # as macOS's ._x
    paths = [p for p in there if longest_ending(p, ENDINGS)]
    names = {p.name.lower() for p in paths}
    return [p for p in paths if not _header_of(p) & names]


def _header_of(path: Path) -> set[str]:
    """Names of the file, if any, of which it holds the voxels."""
    ending = BESIDE.get(longest_ending(path, ENDINGS) or "")
    return {f"{stem(path).lower()}{ending}"} if ending else set()
