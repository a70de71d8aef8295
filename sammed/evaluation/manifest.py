"""Which cases to evaluate: a ``cases.json``, a CSV, or a pair of folders."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sammed.errors import EvaluationError, InputError, UnreadableFileError

FORMAT = "sammed-cases/1"

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".tiff", ".jpg")
"""Endings that are looked for in folders, longest first where one ends another."""

CHANNEL = "_0000"
"""What nnU-Net puts behind an image's name; its label has no such ending."""


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
        Value → name of the objects to evaluate; empty takes all values in the label map.
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
    labels: dict[int, str] = field(default_factory=dict)
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
        ``id``, ``labels`` (``1=liver;2=spleen``), ``modality``, ``area``, ``truth``, ``note``,
        ``subject``, ``prompts``.

    Raises
    ------
    UnreadableFileError
        If the file is missing or not what its name says.
    InputError
        If a case has no image or label, or two share an id.
    """
    if not path.is_file():
        raise UnreadableFileError(f"there is no manifest {path}; expected a .json or .csv file")
    entries = _json_entries(path) if path.suffix.lower() == ".json" else _csv_entries(path)
    return _checked([_case(entry, path.parent, i) for i, entry in enumerate(entries)], str(path))


def pair_folders(
    images: Path, references: Path, labels: Mapping[int, str] | None = None
) -> list[Case]:
    """Cases of two folders: an image and a label map of the same name are a case.

    nnU-Net's channel ending ``_0000`` of images is left out of the name.

    Raises
    ------
    EvaluationError
        If no name occurs in both.
    """
    by_name = {_stem(p).removesuffix(CHANNEL): p for p in _files(images)}
    pairs = [(name, by_name[name], p) for p in _files(references) if (name := _stem(p)) in by_name]
    if not pairs:
        raise EvaluationError(
            f"no image in {images} has a label map of the same name in {references}; expected "
            "pairs such as case_1.nii.gz in both"
        )
    return _checked(
        [
            Case(name, image, label, dict(labels or {}), subject=name)
            for name, image, label in sorted(pairs)
        ],
        str(references),
    )


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


def read_names(path: Path) -> dict[int, str]:
    """Label values and names from a JSON file, ``{"1": "liver"}`` or nnU-Net's reverse of it.

    Raises
    ------
    UnreadableFileError
        If the file is missing or no such JSON.
    """
    content = _load(path)
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        content = content["labels"]  # nnU-Net's dataset.json
    if not isinstance(content, dict):
        raise UnreadableFileError(f'{path} holds no names; expected {{"1": "liver", ...}}')
    try:
        if all(isinstance(value, int) for value in content.values()):
            content = {value: name for name, value in content.items()}
        return {int(value): str(name) for value, name in content.items() if int(value) != 0}
    except ValueError as error:
        raise UnreadableFileError(f"{path}: a label value is no whole number: {error}") from None


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UnreadableFileError(f"{path} is no JSON: {error}") from None


def _json_entries(path: Path) -> list[dict[str, Any]]:
    content = _load(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise UnreadableFileError(f'{path} is no manifest: its "format" is {found!r}, not {FORMAT}')
    return list(content.get("cases", []))


def _csv_entries(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            entries = [dict(row) for row in csv.DictReader(handle)]
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFileError(f"cannot read {path}: {error}") from None
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
        labels = {int(v): str(n).strip() for v, n in (entry.get("labels") or {}).items()}
    except ValueError as error:
        raise InputError(f"case {entry.get('id') or position + 1}: {error}") from None
    texts = {
        key: str(entry.get(key) or "") for key in ("modality", "area", "truth", "note", "subject")
    }
    texts["subject"] = texts["subject"] or str(entry["image"])
    prompts = entry.get("prompts")
    return Case(
        str(entry.get("id") or _stem(Path(entry["label"]))),
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
    return [p for p in sorted(folder.iterdir()) if p.name.lower().endswith(IMAGE_ENDINGS)]


def _stem(path: Path) -> str:
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem
