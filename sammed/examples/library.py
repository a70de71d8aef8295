"""Labelled scans, wherever they are: pairs of files, nnU-Net, BIDS, our projects, manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sammed import io
from sammed.errors import InputError, UnreadableFileError
from sammed.imaging.intensity import ct_offset
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.formats import FORMATS
from sammed.io.recognition import longest_ending, stem
from sammed.project.description import FILE, read_description
from sammed.project.folder import Project
from sammed.project.sources import find_scans
from sammed.prompts.files import read_json

MANIFEST = "sammed-cases/1"

LABEL_WORDS = ("_dseg", "_seg", "_labels", "_label", "-labels", "_mask")
"""What label maps are called beside or under their image's name, BIDS' first."""


@dataclass(frozen=True, eq=False)
class Example:
    """A scan with labels.

    Attributes
    ----------
    id
        How reports call it.
    image, labels
        Files, or what was read from them.
    subject
        Whose scan it is.
    names
        Value → name, instead of what the file of labels says.
    only
        The one value that counts, or 0.
    modality
        Where the library says it and the file does not.
    series
        Of a DICOM folder.
    turned
        Whether left and right were exchanged on purpose.
    """

    id: str
    image: Path | Volume
    labels: Path | LabelVolume
    subject: str = ""
    names: Mapping[int, str] = field(default_factory=dict)
    only: int = 0
    modality: str = ""
    series: str = ""
    turned: bool = False

    @cached_property
    def read(self) -> tuple[Volume, LabelVolume]:
        """Image and labels on its grid.

        Raises
        ------
        SammedError
            If one cannot be read, or they are on different grids.
        """
        image, labels = self.image, self.labels
        volume = image if isinstance(image, Volume) else io.read(image, series=self.series or None)
        if self.modality and not volume.modality:
            volume = replace(volume, modality=self.modality)
        volume = in_units(volume)
        if isinstance(labels, LabelVolume):
            return volume, labels.on_grid_of(volume, f"the label map of {self.id}")
        return volume, io.read_labels(labels, like=volume, names=dict(self.names) or None)

    def values(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """Name → value of what is labelled.

        Parameters
        ----------
        wanted
            Names that the user asks for, with the values that were given for them (0: none). An
            only label, and a value that was given, get the name that was asked for.
        """
        labels = self.read[1]
        there = {int(value) for value in np.unique(labels.voxels) if value}
        if self.only:
            if self.only not in there:
                raise InputError(
                    f"example {self.id} has no voxel of label {self.only}; it has "
                    f"{', '.join(map(str, sorted(there))) or 'none'}"
                )
            there = {self.only}
        named = {labels.names.get(value, f"label_{value}"): value for value in sorted(there)}
        unnamed = all(name == f"label_{value}" for name, value in named.items())
        if unnamed and len(there) == 1 and len(wanted) == 1:
            return {next(iter(wanted)): next(iter(there))}
        if unnamed:
            said = {name: value for name, value in wanted.items() if value in there}
            named = {n: v for n, v in named.items() if v not in said.values()} | said
        return named


def in_units(volume: Volume) -> Volume:
    """The volume, said to be CT where its values are Hounsfield units and its file says nothing.

    NIfTI knows no modality; but what means the same in two scans is compared as it is.

    Examples
    --------
    >>> in_units(io.read("sample_data/phantom_ct.nii.gz")).modality
    'CT'
    """
    is_ct = not volume.modality and not volume.is_colour and ct_offset(volume) == 0
    return replace(volume, modality="CT") if is_ct else volume


def pair(text: str) -> Example:
    """An example as it is typed: ``image,labels`` or ``image,labels#3``, one label of the file.

    Raises
    ------
    InputError
        If it is no pair, or a file is missing.

    Examples
    --------
    >>> one = pair("sample_data/phantom_ct.nii.gz,sample_data/phantom_labels.nii.gz#2")
    >>> one.id, one.only
    ('phantom_ct', 2)
    """
    image, comma, labels = text.rpartition(",")
    if not comma or not image or not labels:
        raise InputError(
            f"example {text!r} is no pair; expected IMAGE,LABELS or IMAGE,LABELS#3, e.g. "
            "a.nii.gz,a_labels.nii.gz"
        )
    only = 0
    head, mark, value = labels.rpartition("#")
    if mark and not Path(labels).exists():
        if not value.isdigit() or int(value) == 0:
            raise InputError(f"{labels}: after # comes a label's value, from 1; found {value!r}")
        labels, only = head, int(value)
    for name in (image, labels):
        if not Path(name).exists():
            raise UnreadableFileError(f"there is no file {name} of the example {text!r}")
    plain = stem(Path(image))
    return Example(plain, Path(image), Path(labels), plain, only=only)


def of_arrays(pairs: Iterable[tuple[Any, Any]], first: int = 1) -> list[Example]:
    """Examples as Python gives them: ``(image, labels)``, files or what was read from them."""
    found = []
    for number, (image, labels) in enumerate(pairs, first):
        if isinstance(image, Volume) and isinstance(labels, LabelVolume):
            source = image.source.name if image.source else f"example {number}"
            found.append(Example(source, image, labels, source))
        elif isinstance(image, Volume) or isinstance(labels, LabelVolume):
            volume = image if isinstance(image, Volume) else io.read(image)
            read = (
                labels if isinstance(labels, LabelVolume) else io.read_labels(labels, like=volume)
            )
            found.append(Example(f"example {number}", volume, read, f"example {number}"))
        else:
            found.append(pair(f"{image},{labels}"))
    return found


def folder(path: Path) -> list[Example]:
    """All examples of a library.

    Parameters
    ----------
    path
        A project of ours (its accepted cases), nnU-Net's raw folder, a BIDS folder with label maps
        in its derivatives, a folder with ``images`` and ``labels`` or with label maps beside the
        images (``a.nii.gz``, ``a_labels.nii.gz``); or a manifest, ``.json`` or ``.csv``.

    Raises
    ------
    InputError
        If there is no labelled scan.
    """
    if not path.exists():
        raise UnreadableFileError(f"there is no folder of examples {path}")
    found = _found(path)
    if not found:
        raise InputError(
            f"{path} holds no labelled scan; expected a project, an nnU-Net or BIDS folder, images "
            "with label maps beside them (a.nii.gz, a_labels.nii.gz), or a manifest"
        )
    return found


def _found(path: Path) -> list[Example]:
    if path.suffix.lower() == ".json":
        return _of_manifest(path)
    if path.is_dir() and (path / FILE).is_file():
        return _of_project(path)
    if path.is_dir() and (path / "cases.json").is_file():
        return _of_manifest(path / "cases.json")
    if path.suffix.lower() == ".csv" or (path / "dataset.json").is_file():
        return _of_scans(path)
    return _of_folders(path)


def _of_project(path: Path) -> list[Example]:
    """The cases that somebody accepted."""
    names = read_description(path).names
    found = []
    for case in Project(path).cases():
        labels = case.file("labels")
        if case.record.state == "accepted" and labels is not None:
            scan = case.scan
            found.append(
                Example(
                    case.id, case.image, labels, scan.subject or case.id, names,
                    modality=scan.modality, series=scan.series,
                )
            )  # fmt: skip
    return found


def _of_manifest(path: Path) -> list[Example]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != MANIFEST:
        raise UnreadableFileError(f"{path} is no manifest of cases ({MANIFEST})")
    found = []
    for entry in content.get("cases", []):
        if not entry.get("image") or not entry.get("label"):
            raise InputError(f"case {entry.get('id')!r} of {path} has no image or no label")
        names = {int(v): n for v, n in (entry.get("labels") or {}).items() if str(v).isdigit()}
        name = str(entry.get("id") or stem(Path(entry["label"])))
        found.append(
            Example(
                name, path.parent / entry["image"], path.parent / entry["label"],
                str(entry.get("subject") or entry["image"]), names,
                modality=str(entry.get("modality") or ""),
            )
        )  # fmt: skip
    return found


def _of_scans(path: Path) -> list[Example]:
    """nnU-Net's raw folder, or a table of images and labels."""
    names: dict[int, str] = {}
    told = path / "dataset.json"
    if told.is_file():
        content = read_json(told)
        listed = content.get("labels", {}) if isinstance(content, dict) else {}
        for key, value in listed.items():  # version 2: name → value; version 1 the other way round
            name, number = (key, value) if isinstance(value, int) else (value, key)
            if str(number).isdigit() and int(number):
                names[int(number)] = str(name)
    return [
        Example(one.id, one.image, one.label, one.subject, names, series=one.series)
        for one in find_scans([str(path)])
        if one.label is not None
    ]


def _of_folders(path: Path) -> list[Example]:
    """Images with label maps of their names: beside them, in ``labels``, in BIDS' derivatives."""
    endings = tuple(ending for known in FORMATS for ending in known.suffixes)
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and longest_ending(p, endings)]
    images = {stem(p): p for p in files if not _is_label(p, path)}
    found = []
    for labels in files:
        if not _is_label(labels, path):
            continue
        plain = _without_word(stem(labels))
        image = images.get(plain) or _closest(plain, images)
        if image is not None:
            inside = image.relative_to(path).parts
            subject = next((part for part in inside if part.startswith("sub-")), stem(image))
            found.append(Example(stem(image), image, labels, subject))
    return found


def _is_label(path: Path, root: Path) -> bool:
    inside = path.relative_to(root).parts[:-1]
    return _without_word(stem(path)) != stem(path) or bool({"labels", "labelsTr"} & set(inside))


def _without_word(name: str) -> str:
    """The image's name in that of a label map: ``sub-1_T1w`` of ``sub-1_T1w_desc-x_dseg``."""
    plain = next((name.removesuffix(w) for w in LABEL_WORDS if name.endswith(w)), name)
    if plain != name:
        kept = [part for part in plain.split("_") if not part.startswith(("desc-", "label-"))]
        return "_".join(kept)
    return name


def _closest(plain: str, images: Mapping[str, Path]) -> Path | None:
    """BIDS' derivatives may leave the suffix out: ``sub-1_dseg`` is of ``sub-1_T1w``."""
    begin = [path for name, path in images.items() if name.startswith(plain + "_")]
    return begin[0] if len(begin) == 1 else None
