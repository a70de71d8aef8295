"""The table of formats: what each is known by, and who reads and writes it.

One value a format, in `FORMATS`. Whatever lists formats derives from it: how a file is recognised
(`sammed.io.recognition`), `OUTPUT_TYPES`, the messages of errors, the help of the command line. A
new format is its module and a row here.

The module of a format is imported when it is called, not with the table: the command line shows
parts of the table in its help, and ``sammed --help`` has to be quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sammed.io.output import PathLike

if TYPE_CHECKING:
    from sammed.imaging.volume import LabelVolume, Volume


class Choice(NamedTuple):
    """Which volume of a file is wanted, and how strictly; see `sammed.io.read`.

    ``only`` are the names of the structures that are wanted of a label map; None for all.
    """

    frame: int | None = None
    series: str | None = None
    allow_gaps: bool = False
    only: tuple[str, ...] | None = None


LabelWriter = Callable[..., None]
"""Called with the label map, the path, ``force`` and the format's own options."""

VolumeWriter = Callable[..., None]
"""Called with the volume, the path and ``force``."""


def _always(path: Path) -> bool:
    return True


def _never(path: Path) -> bool:
    return False


@dataclass(frozen=True)
class Format:
    """How files of a kind are recognised, read and written.

    Attributes
    ----------
    name
        What `input_format` calls it.
    title
        What people call it; several names are separated by commas.
    suffixes
        Endings of the files that it reads, in lower case; the longest that fits a name counts.
    magic
        (offset, bytes): how its files may begin, once unpacked if they are gzip.
    content_decides
        Whether such a beginning counts for more than the file's name.
    modality
        For DICOM objects that hold labels: the modality that tells them from DICOM images.
    has_series
        Whether a path may hold several series, one of which is chosen.
    writes
        Kind of output, as ``--output-type`` names it → the endings that ask for it.
    read
        (path, choice) → image.
    read_labels
        (path, the image that they belong to if it is known, choice) → label map.
    says_labels
        Whether the file at a path says by itself that it is a label map.
    write, write_volume
        Writers of label maps and of images, of all kinds that it `writes`; a format without one
        does not write such a thing.
    """

    name: str
    title: str
    suffixes: tuple[str, ...] = ()
    magic: tuple[tuple[int, bytes], ...] = ()
    content_decides: bool = False
    modality: str = ""
    has_series: bool = False
    writes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    read: Callable[[Path, Choice], Volume] | None = None
    read_labels: Callable[[Path, Volume | None, Choice], LabelVolume] | None = None
    says_labels: Callable[[Path], bool] = _never
    write: LabelWriter | None = None
    write_volume: VolumeWriter | None = None

    @property
    def is_for_labels(self) -> bool:
        """Whether its files hold label maps and nothing else."""
        return self.says_labels is _always

    def begins(self, start: bytes) -> bool:
        """Whether a file of this format may begin like that."""
        return any(start[offset:].startswith(magic) for offset, magic in self.magic)


def _read_dicom(path: Path, choice: Choice) -> Volume:
    from sammed.io.dicom.images.read import read

    return read(path, series=choice.series, frame=choice.frame, allow_gaps=choice.allow_gaps)


def _read_dicom_labels(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io.voxels import labels_from_volume

    return labels_from_volume(_read_dicom(path, choice))


def _read_seg(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io.dicom.objects import seg_read

    return seg_read.read(path, like, only=choice.only)


def _write_seg(labels: LabelVolume, path: PathLike, **options: Any) -> None:
    from sammed.io.dicom.objects import seg

    seg.write(labels, path, **options)


def _read_rtstruct(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io.dicom.objects import rtstruct_read

    return rtstruct_read.read(path, like, only=choice.only)


def _write_rtstruct(labels: LabelVolume, path: PathLike, **options: Any) -> None:
    from sammed.io.dicom.objects import rtstruct

    rtstruct.write(labels, path, **options)


def _read_nifti(path: Path, choice: Choice) -> Volume:
    from sammed.io.nifti import nifti

    return nifti.read(path, frame=choice.frame)


def _read_nifti_labels(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io.nifti import nifti

    return nifti.read_labels(path, frame=choice.frame)


def _nifti_says_labels(path: Path) -> bool:
    from sammed.io.nifti import nifti

    return nifti.says_labels(path)


def _write_nifti_labels(labels: LabelVolume, path: PathLike, **options: Any) -> None:
    from sammed.io.nifti import nifti

    nifti.write_labels(labels, path, **options)


def _write_nifti(volume: Volume, path: PathLike, **options: Any) -> None:
    from sammed.io.nifti import nifti

    nifti.write_volume(volume, path, **options)


def _read_mgh(path: Path, choice: Choice) -> Volume:
    from sammed.io.freesurfer import mgh

    return mgh.read(path, frame=choice.frame)


def _read_mgh_labels(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io.freesurfer import mgh

    return mgh.read_labels(path, frame=choice.frame)


def _read_seg_nrrd(path: Path, choice: Choice) -> Volume:
    from sammed.io.itk import seg_nrrd

    return seg_nrrd.read(path, frame=choice.frame)


def _read_seg_nrrd_labels(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io.itk import seg_nrrd

    return seg_nrrd.read_labels(path, like, only=choice.only)


def _write_seg_nrrd(labels: LabelVolume, path: PathLike, **options: Any) -> None:
    from sammed.io.itk import seg_nrrd

    seg_nrrd.write_labels(labels, path, **options)


def _read_itk(path: Path, choice: Choice) -> Volume:
    from sammed.io.itk import itk

    return itk.read(path, frame=choice.frame)


def _read_itk_labels(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io.itk import itk, seg_nrrd

    if seg_nrrd.describes_segments(path):
        return seg_nrrd.read_labels(path, like, only=choice.only)
    return itk.read_labels(path, frame=choice.frame)


def _itk_says_labels(path: Path) -> bool:
    from sammed.io.itk import seg_nrrd

    return seg_nrrd.describes_segments(path)


def _write_itk_labels(labels: LabelVolume, path: PathLike, **options: Any) -> None:
    from sammed.io.itk import itk

    itk.write_labels(labels, path, **options)


def _write_itk(volume: Volume, path: PathLike, **options: Any) -> None:
    from sammed.io.itk import itk

    itk.write_volume(volume, path, **options)


def _write_mesh(labels: LabelVolume, path: PathLike, **options: Any) -> None:
    from sammed.io import mesh

    mesh.write_labels(labels, path, **options)


def _read_image(path: Path, choice: Choice) -> Volume:
    from sammed.io import image

    return image.read(path, frame=choice.frame)


def _read_image_labels(path: Path, like: Volume | None, choice: Choice) -> LabelVolume:
    from sammed.io import image

    return image.read_labels(path, frame=choice.frame)


def _write_image_labels(labels: LabelVolume, path: PathLike, **options: Any) -> None:
    from sammed.io import image

    image.write_labels(labels, path, **options)


def _write_image(volume: Volume, path: PathLike, **options: Any) -> None:
    from sammed.io import image

    image.write_volume(volume, path, **options)


ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
"""Endings of what is unpacked to look for DICOM files in it."""

DICOM = Format(
    name="dicom",
    title="DICOM (file, folder or archive)",
    suffixes=(".dcm", ".dicom", ".ima", *ARCHIVES),
    magic=((128, b"DICM"), (0, b"PK\x03\x04"), (257, b"ustar")),
    content_decides=True,
    has_series=True,
    read=_read_dicom,
    read_labels=_read_dicom_labels,
)
"""Also every folder, and every file whose name has no ending or a number for one."""

FORMATS: tuple[Format, ...] = (
    DICOM,
    Format(
        name="nifti",
        title="NIfTI",
        suffixes=(".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"),
        magic=((344, b"n+1\0"), (4, b"n+2\0")),
        writes={"nifti": (".nii", ".nii.gz")},
        read=_read_nifti,
        read_labels=_read_nifti_labels,
        says_labels=_nifti_says_labels,
        write=_write_nifti_labels,
        write_volume=_write_nifti,
    ),
    Format(
        name="seg.nrrd",
        title="3D Slicer segmentation",
        suffixes=(".seg.nrrd",),
        writes={"seg.nrrd": (".seg.nrrd",)},
        read=_read_seg_nrrd,
        read_labels=_read_seg_nrrd_labels,
        says_labels=_always,
        write=_write_seg_nrrd,
    ),
    Format(
        name="itk",
        title="NRRD, MetaImage",
        suffixes=(".nrrd", ".nhdr", ".mha", ".mhd"),
        magic=((0, b"NRRD"), (0, b"ObjectType")),
        writes={"nrrd": (".nrrd", ".nhdr"), "mha": (".mha", ".mhd")},
        read=_read_itk,
        read_labels=_read_itk_labels,
        says_labels=_itk_says_labels,
        write=_write_itk_labels,
        write_volume=_write_itk,
    ),
    Format(
        name="mgh",
        title="FreeSurfer MGH",
        suffixes=(".mgz", ".mgh", ".mgh.gz"),
        read=_read_mgh,
        read_labels=_read_mgh_labels,
    ),
    Format(
        name="dicom-seg",
        title="DICOM SEG",
        modality="SEG",
        writes={"dicom-seg": (".dcm",)},
        read_labels=_read_seg,
        says_labels=_always,
        write=_write_seg,
    ),
    Format(
        name="rtstruct",
        title="RTSTRUCT",
        modality="RTSTRUCT",
        writes={"rtstruct": (".dcm",)},
        read_labels=_read_rtstruct,
        says_labels=_always,
        write=_write_rtstruct,
    ),
    Format(
        name="mesh",
        title="STL, OBJ, PLY",
        writes={"stl": (".stl",), "obj": (".obj",), "ply": (".ply",)},
        write=_write_mesh,
    ),
    Format(
        name="image",
        title="PNG, JPEG, TIFF, BMP",
        suffixes=(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
        magic=(
            *((0, b"\x89PNG"), (0, b"\xff\xd8\xff")),
            *((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
        ),
        writes={"png": (".png",), "tiff": (".tif", ".tiff")},
        read=_read_image,
        read_labels=_read_image_labels,
        write=_write_image_labels,
        write_volume=_write_image,
    ),
)
"""All formats. Where two kinds of output share an ending, the first is meant by it."""


def label_writers() -> dict[str, LabelWriter]:
    """Kind of output → what writes label maps so, in the order of the table."""
    return {kind: f.write for f in FORMATS if f.write for kind in f.writes}


def volume_writers() -> dict[str, VolumeWriter]:
    """Kind of output → what writes images so, in the order of the table."""
    return {kind: f.write_volume for f in FORMATS if f.write_volume for kind in f.writes}


def endings(kinds: Iterable[str]) -> tuple[str, ...]:
    """Endings that ask for some kinds of output, each once.

    Examples
    --------
    >>> endings(["nifti", "dicom-seg", "rtstruct"])
    ('.nii', '.nii.gz', '.dcm')
    """
    table = {kind: found for f in FORMATS for kind, found in f.writes.items()}
    return tuple(dict.fromkeys(ending for kind in kinds for ending in table[kind]))


OUTPUT_TYPES = tuple(label_writers())
"""Kinds of output for label maps, as `--output-type` names them."""

VOLUME_TYPES = tuple(volume_writers())
"""Kinds of output for images."""

DICOM_TYPES = tuple(kind for f in FORMATS if f.modality for kind in f.writes)
"""Kinds of output that refer to DICOM images, and say which model made them."""

NEEDS_DICOM = (
    "DICOM SEG and RTSTRUCT refer to the DICOM images on which they lie, and this image is "
    "no DICOM; write .nii.gz, .nrrd or .seg.nrrd instead"
)
"""Why `DICOM_TYPES` cannot be written of other images."""

SHARED_ENDINGS = tuple(
    ending
    for ending in endings(OUTPUT_TYPES)
    if sum(ending in endings([kind]) for kind in OUTPUT_TYPES) > 1
)
"""Endings that leave a choice of kinds."""

CHOSEN_TYPES = tuple(kind for kind in OUTPUT_TYPES if set(endings([kind])) & {*SHARED_ENDINGS})
"""Kinds of output that an ending does not tell apart."""

IMAGE_TITLES = tuple(f.title for f in FORMATS if f.read and not f.is_for_labels)
"""What an image may come from, for people."""
