"""A project's label maps as other programs want them: nnU-Net, BIDS, plain NIfTI, DICOM SEG."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed import io
from sammed.errors import InputError, OutputError, SammedError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.output import check_folder, output_error
from sammed.io.recognition import stem
from sammed.project.case import CaseFolder
from sammed.project.folder import Project
from sammed.version import __version__

CONTENT = {"CT": "CT", "MR": "MRI", "PT": "PET"}
"""Modalities as nnU-Net's dataset.json calls its channels."""


@dataclass(frozen=True)
class Exported:
    """What came of one case.

    Attributes
    ----------
    case
        Its id.
    error
        Why it was left out; empty if it was written.
    """

    case: str
    error: str = ""


Writer = Callable[[Path, CaseFolder, Volume, LabelVolume], None]


def export(
    project: Project,
    folder: Path,
    layout: str = "nifti",
    states: Sequence[str] = ("accepted",),
) -> list[Exported]:
    """Write label maps of a project into a new folder, which appears as a whole if there is one.

    Parameters
    ----------
    project
        The project.
    folder
        Must not be there, or be empty.
    layout
        One of `LAYOUTS`.
    states
        Which cases.

    Returns
    -------
    list of Exported
        One a case; a case that cannot be written does not stop the others.

    Raises
    ------
    InputError
        If the layout is unknown or no case is in one of the states.
    OutputError
        If the folder is there already, or cannot be written.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; expected {', '.join(LAYOUTS)}")
    folder = check_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; export into a new folder")
    cases, unread = _labelled(project, states)
    if not cases:
        raise InputError(f"{project.folder} has no case that is {' or '.join(states)} to export")
    temporary = folder.parent / f".{folder.name}-{os.getpid()}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        done = [*LAYOUTS[layout](project, temporary, cases), *unread]
        if any(not one.error for one in done):
            if folder.exists():
                folder.rmdir()
            temporary.rename(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return done


def _labelled(project: Project, states: Sequence[str]) -> tuple[list[CaseFolder], list[Exported]]:
    """Cases with a label map that are in one of the states, and those that cannot be read."""
    cases, unread = [], []
    for case in project.cases():
        try:
            record = case.record
        except SammedError as error:
            unread.append(_failed(case, error))
            continue
        if record.labels and record.state in states:
            cases.append(case)
    return cases, unread


def _failed(case: CaseFolder, error: SammedError) -> Exported:
    return Exported(case.id, " ".join(str(error).split()))


def _each(project: Project, cases: Iterable[CaseFolder], write: Writer, to: Path) -> list[Exported]:
    done = []
    for case in cases:
        try:
            volume = case.volume()
            labels = case.labels(volume, project.description.names)
            if labels is not None:
                write(to, case, volume, project.checked(labels, f"the label map of {case.id}"))
            done.append(Exported(case.id))
        except SammedError as error:
            done.append(_failed(case, error))
    return done


def _nifti(project: Project, folder: Path, cases: Sequence[CaseFolder]) -> list[Exported]:
    def write(to: Path, case: CaseFolder, volume: Volume, labels: LabelVolume) -> None:
        io.write_labels(labels, to / f"{case.id}.nii.gz")

    _json(folder / "labels.json", {str(v): n for v, n in project.description.names.items()})
    return _each(project, cases, write, folder)


def _nnunet(project: Project, folder: Path, cases: Sequence[CaseFolder]) -> list[Exported]:
    """nnU-Net's raw folder; values are made consecutive, as it wants them."""
    numbers = {value: n for n, value in enumerate(sorted(project.description.names), 1)}
    modalities = set()

    def write(to: Path, case: CaseFolder, volume: Volume, labels: LabelVolume) -> None:
        import numpy as np

        table = np.zeros(int(max(numbers)) + 1, labels.voxels.dtype)
        for value, number in numbers.items():
            table[value] = number
        names = {numbers[value]: name for value, name in labels.names.items()}
        mapped = LabelVolume(table[labels.voxels], labels.grid, names)
        image = to / "imagesTr" / f"{case.id}_0000.nii.gz"
        source = case.image
        if source.is_file() and source.name.endswith(".nii.gz"):
            shutil.copyfile(source, image)
        else:
            io.write_volume(volume, image)
        io.write_labels(mapped, to / "labelsTr" / f"{case.id}.nii.gz")
        modalities.add(volume.modality)

    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    done = _each(project, cases, write, folder)
    only = modalities.pop() if len(modalities) == 1 else ""
    names = project.description.names
    said = {
        "channel_names": {"0": CONTENT.get(only, only or "image")},
        "labels": {"background": 0, **{names[v]: n for v, n in numbers.items()}},
        "numTraining": sum(not one.error for one in done),
        "file_ending": ".nii.gz",
        "name": project.description.name,
    }
    _json(folder / "dataset.json", said)
    return done


def _bids(project: Project, folder: Path, cases: Sequence[CaseFolder]) -> list[Exported]:
    """BIDS derivatives: ``sub-x/ses-y/anat/sub-x_ses-y_..._dseg.nii.gz``, with sources."""
    said = {
        "Name": project.description.name,
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "sammed", "Version": __version__}],
    }
    _json(folder / "dataset_description.json", said)
    rows = [f"{v}\t{n}" for v, n in sorted(project.description.names.items())]
    io.atomic_text(folder / "dseg.tsv", "\n".join(["index\tname", *rows]) + "\n")

    def write(to: Path, case: CaseFolder, volume: Volume, labels: LabelVolume) -> None:
        subject, entities, suffix = _entities(case)
        session = [part for part in entities.split("_") if part.startswith("ses-")][:1]
        anat = to.joinpath(subject, *session, "anat")
        anat.mkdir(parents=True, exist_ok=True)
        target = anat / f"{entities}_dseg.nii.gz"
        if target.exists() or suffix == case.id:
            target = anat / f"{entities}_desc-{_plain(suffix)}_dseg.nii.gz"
        io.write_labels(labels, target)
        record = case.record
        about = {
            "Sources": [case.scan.image],
            "Case": case.id,
            "GeneratedBy": [{"Name": "sammed", "Version": __version__, "Model": record.model}],
            "State": record.state,
        }
        _json(target.with_name(target.name.removesuffix(".nii.gz") + ".json"), about)

    return _each(project, cases, write, folder)


def _entities(case: CaseFolder) -> tuple[str, str, str]:
    """Subject, entities and suffix of a case: of its scan's name if that is BIDS, else its id."""
    subject = "sub-" + (_plain(case.scan.subject.removeprefix("sub-")) or "unknown")
    for name in (stem(case.image), case.id):
        entities, _, suffix = name.rpartition("_")
        if entities == subject or entities.startswith(f"{subject}_"):
            return subject, entities, suffix
    return subject, subject, case.id


def _dicom_seg(project: Project, folder: Path, cases: Sequence[CaseFolder]) -> list[Exported]:
    def write(to: Path, case: CaseFolder, volume: Volume, labels: LabelVolume) -> None:
        if volume.grid.format != "dicom":
            raise InputError(
                f"the scan of case {case.id} is no DICOM, to which a DICOM SEG could refer; "
                "export it as nifti"
            )
        io.write_labels(labels, to / f"{case.id}.dcm", output_type="dicom-seg")

    return _each(project, cases, write, folder)


LAYOUTS: dict[str, Callable[[Project, Path, Sequence[CaseFolder]], list[Exported]]] = {
    "nifti": _nifti,
    "nnunet": _nnunet,
    "bids": _bids,
    "dicom-seg": _dicom_seg,
}
"""What a project can be exported as."""


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", text)


def _json(path: Path, said: dict[str, Any]) -> None:
    io.atomic_text(path, json.dumps(said, indent=1) + "\n")
