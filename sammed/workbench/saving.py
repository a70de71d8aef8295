"""Results as files: what ``sammed segment`` writes, all of one request or none."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.errors import InputError, OutputError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io import OUTPUT_TYPES, output_format, write_labels
from sammed.io.conversion import files_written
from sammed.io.formats import DICOM_TYPES, NEEDS_DICOM
from sammed.io.output import atomic_outputs, check_output
from sammed.worker.messages import Fields, RequestError

if TYPE_CHECKING:
    from sammed.session import Session

_KINDS = (
    ("nifti", "NIfTI", ".nii.gz"),
    ("seg.nrrd", "3D Slicer segmentation", ".seg.nrrd"),
    ("dicom-seg", "DICOM SEG", ".dcm"),
    ("rtstruct", "DICOM RTSTRUCT", ".rtstruct.dcm"),
    ("stl", "STL surfaces", ".stl"),
    ("prompts", "Prompts, to replay", ".prompts.json"),
    ("report", "Run report", ".report.json"),
    ("preview", "Preview in three planes", ".png"),
)
"""Kind of output, what people call it, and how its name ends."""

_ENDINGS = {"prompts": (".json",), "report": (".json",), "preview": (".png",)}
_PACKAGES = {
    "dicom-seg": ("highdicom", "dicom"),
    "rtstruct": ("highdicom", "dicom"),
    "stl": ("skimage", "mesh"),
}
"""What writes a kind, and in which extra it comes."""


Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Target:
    """A file that is asked for.

    Attributes
    ----------
    kind
        One of those of `formats_for`.
    path
        Where it is to be.
    """

    kind: str
    path: Path


def formats_for(volume: Volume | None) -> list[dict[str, Any]]:
    """What can be saved of a volume's objects, and why not what cannot.

    Parameters
    ----------
    volume
        The image; ``None`` if there is none yet.
    """
    told = []
    for kind, label, suffix in _KINDS:
        why = _why_not(kind, volume)
        about = {"id": kind, "label": label, "suffix": suffix}
        told.append({**about, "available": not why, "why": why})
    return told


def _why_not(kind: str, volume: Volume | None) -> str:
    package, extra = _PACKAGES.get(kind, ("", ""))
    if package and find_spec(package) is None:
        return f"it needs a package more: pip install 'sammed[{extra}]'"
    if kind in DICOM_TYPES and (volume is None or volume.grid.format != "dicom"):
        return NEEDS_DICOM
    return ""


def read_targets(fields: Fields, folder: Path, volume: Volume) -> list[Target]:
    """The files that a ``save`` asks for, in the folder of outputs.

    Raises
    ------
    RequestError
        ``bad_request`` if a name is more than a name, or a kind is none.
    InputError
        If a kind cannot be written of this volume, or a name does not fit its kind.
    """
    targets = []
    parts = fields.parts("files")
    if not parts:
        raise RequestError("bad_request", "save: 'files' is empty; say what to write")
    for part in parts:
        kind, name = part.text("format"), part.text("name")
        if kind not in {known for known, _, _ in _KINDS}:
            raise RequestError("bad_request", f"{part.where}: unknown format {kind!r}")
        if why := _why_not(kind, volume):
            raise InputError(why)
        targets.append(Target(kind, folder / _bare(name, part.where)))
    for target in targets:
        _check_ending(target)
    _check_apart(targets, volume)
    return targets


def _bare(name: str, where: str) -> str:
    """The name, if it is one and leads nowhere else."""
    if (
        not name
        or name.startswith(".")
        or any(c in name for c in "/\\:\0")
        or not name.isprintable()
    ):
        raise RequestError(
            "bad_request",
            f"{where}: {name!r} is no name of a file; files go into the folder of outputs",
        )
    return name


def _check_ending(target: Target) -> None:
    endings = _ENDINGS.get(target.kind)
    if endings is None:
        output_format(target.path, target.kind)
    elif not target.path.name.lower().endswith(endings):
        raise OutputError(
            f"cannot write {target.path} as {target.kind}: its name should end in {endings[0]}"
        )


def _check_apart(targets: list[Target], volume: Volume) -> None:
    """Make sure that no output is the image itself, nor another output."""
    source = volume.source
    taken = {os.path.realpath(source): "it is the image itself"} if source is not None else {}
    for target in targets:
        real = os.path.realpath(target.path)
        if real in taken:
            raise OutputError(f"cannot write {target.path}: {taken[real]}; choose another name")
        taken[real] = "it is named twice among the outputs"


def save(
    session: Session,
    targets: list[Target],
    force: bool,
    notes: tuple[str, ...],
    colours: dict[str, Colour] | None = None,
) -> list[Path]:
    """Write files, all or none.

    Parameters
    ----------
    session
        After `Session.segment`.
    targets
        All of one folder.
    force
        Whether files that are there may be replaced.
    notes
        For the run report.
    colours
        Of objects, by name; others get their usual ones.

    Returns
    -------
    list of Path
        All files that were written: surfaces and painted slices are one a structure.

    Raises
    ------
    RequestError
        ``exists``, with the names of the files, if one is there and may not be replaced.
    SammedError
        As the writers.
    """
    labels = _coloured(session.result(), colours or {})
    painted = _painted(session, targets)
    files = {target: _files(target, labels, painted) for target in targets}
    paths = [path for listed in files.values() for path in listed]
    for path in paths:
        check_output(path, force=True)
    _check_free(paths, force)
    with atomic_outputs(paths, force=force) as temporary:
        folder = temporary[0].parent
        main = next((t.path for t in targets if t.kind in OUTPUT_TYPES), None)
        for target in targets:
            place = folder / Path(os.path.realpath(target.path)).name
            try:
                _write(target.kind, place, session, labels, painted, main, paths[0].parent, notes)
            except OutputError as error:  # of the place where files wait for the others
                text = str(error).replace(str(folder), str(target.path.parent))
                raise OutputError(text) from error
    return paths


def read_colours(fields: Fields) -> dict[str, Colour]:
    """The colours in which the page shows its objects, by name.

    Raises
    ------
    RequestError
        ``bad_request`` if one is not three numbers from 0 to 255.
    """
    if "colours" not in fields:
        return {}
    told = fields.part("colours")
    colours: dict[str, Colour] = {}
    for name in told.values:
        red, green, blue = told.wholes(name, 3)
        if not all(0 <= part <= 255 for part in (red, green, blue)):
            raise RequestError(
                "bad_request", f"{told.where}: {name!r} must be three numbers from 0 to 255"
            )
        colours[name] = (red, green, blue)
    return colours


def _coloured(labels: LabelVolume, colours: dict[str, Colour]) -> LabelVolume:
    chosen = {value: colours[name] for value, name in labels.names.items() if name in colours}
    return replace(labels, colours={**labels.colours, **chosen})


def _files(target: Target, labels: LabelVolume, painted: dict[str, Path]) -> list[Path]:
    if target.kind == "prompts":
        return [target.path, *painted.values()]
    if target.kind in OUTPUT_TYPES:
        return files_written(labels, target.path)
    return [target.path]


def _check_free(paths: list[Path], force: bool) -> None:
    there = [path.name for path in paths if path.exists() or path.is_symlink()]
    if there and not force:
        named = ", ".join(there)
        what = "exists already" if len(there) == 1 else "exist already"
        raise RequestError("exists", f"{named} {what}; nothing was written", files=there)


def _write(
    kind: str,
    place: Path,
    session: Session,
    labels: LabelVolume,
    painted: dict[str, Path],
    main: Path | None,
    folder: Path,
    notes: tuple[str, ...],
) -> None:
    from sammed.reporting.preview import draw_preview
    from sammed.reporting.run_report import algorithm, prompt_document, run_report

    if kind in OUTPUT_TYPES:
        about: dict[str, Any] = {"algorithm": algorithm(session)} if kind in DICOM_TYPES else {}
        write_labels(labels, place, output_type=kind, **about)
    elif kind == "preview":
        picture = draw_preview(session.volume, labels, session.window, session.objects)
        picture.save(place, format="PNG")
    elif kind == "report":
        _write_json(place, run_report(session, labels, output=main, notes=notes))
    else:
        for name, path in painted.items():
            _write_painted(session, name, place.parent / path.name)
        names = {name: str(path) for name, path in painted.items()}
        _write_json(place, prompt_document(session, folder, names))


def _write_json(place: Path, document: Any) -> None:
    place.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")


def _painted(session: Session, targets: list[Target]) -> dict[str, Path]:
    """By object, the file for slices that were painted here: a prompt file can only name them."""
    prompts = next((t.path for t in targets if t.kind == "prompts"), None)
    if prompts is None:
        return {}
    stem = prompts.name.removesuffix(".json").removesuffix(".prompts")
    return {
        obj.name: prompts.with_name(f"{stem}.painted-{obj.label}.nii.gz")
        for obj in session.objects
        if obj.mask is not None and not obj.mask.source
    }


def _write_painted(session: Session, name: str, place: Path) -> None:
    obj = next(o for o in session.objects if o.name == name)
    if obj.mask is None:
        return
    voxels = obj.mask.voxels.astype("u1")
    write_labels(LabelVolume(voxels, session.volume.grid, {1: name}), place)
