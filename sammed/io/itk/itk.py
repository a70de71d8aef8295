"""What ITK reads and writes: NRRD (`.nrrd`, `.nhdr`), MetaImage (`.mha`, `.mhd`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from sammed.errors import OutputError, UnreadableFileError, UnsupportedFormatError
from sammed.imaging import geometry
from sammed.imaging.geometry import Affine
from sammed.imaging.volume import FileGrid, LabelVolume, Volume, make_grid
from sammed.io.itk.header import Header, read_header
from sammed.io.itk.payload import check_payload
from sammed.io.itk.readable import readable
from sammed.io.itk.space import intensity, placed
from sammed.io.output import PathLike, atomic_output
from sammed.io.stderr import stderr_into
from sammed.io.voxels import (
    Notes,
    choose_frame,
    labels_from_volume,
    real_values,
    storable,
)

COMPRESSION_LEVEL = 5
"""Of zlib; higher levels take far longer and gain little on label maps."""


@dataclass(frozen=True)
class ItkGrid:
    """What is needed to write the same grid: ITK's own numbers, and its dimensions (2 or 3)."""

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    dimensions: int


def read(path: PathLike, *, frame: int | None = None, as_labels: bool = False) -> Volume:
    """Read one 3D image.

    Parameters
    ----------
    path
        ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.
    frame
        Which volume of a 4D file, or which component of a vector image, from 0.
    as_labels
        Leave NaN and infinite voxels, for `sammed.io.voxels.labels_from_volume` to judge.

    Returns
    -------
    Volume
        Integers stay integers, floats are float32, RGB is uint8. The modality is ``""``.

    Raises
    ------
    UnreadableFileError
        If ITK cannot make sense of the file.
    UnsupportedFormatError
        If it has more than four dimensions or complex voxels.
    InputError
        If a file of several frames needs a choice.
    OrientationError
        If its axes are not orthogonal.
    """
    path = Path(path)
    notes = Notes(path)
    header = read_header(path)
    with readable(header) as file, _itk_speaks_to(notes, path):
        reader = _opened(file, header, notes)
        components, index = _choose(reader, header, frame, notes)
        image = reader.Execute()
        array = array_of(image, components, index, path, notes)
    grid = _file_grid(image, header, notes)
    values = array
    if array.ndim == 3:
        slope, intercept = intensity(header, notes)
        values = real_values(array, slope, intercept, path, notes, keep_nan=as_labels)
    return Volume.from_file_array(values, grid, source=path, notes=tuple(notes.texts))


@dataclass(frozen=True)
class Stored:
    """An image as a file has it: (k, j, i, component) voxels, their grid and the header's pairs."""

    array: NDArray[np.generic]
    grid: FileGrid
    pairs: dict[str, str]


def read_stored(path: Path, notes: Notes) -> Stored:
    """Read a 3D image with all its components and the pairs of its header.

    Raises
    ------
    UnreadableFileError, UnsupportedFormatError, OrientationError
        As `read`.
    """
    header = read_header(path)
    with readable(header) as file, _itk_speaks_to(notes, path):
        reader = _opened(file, header, notes)
        if len(reader.GetSize()) > 3:
            raise UnsupportedFormatError(
                f"{path} has {len(reader.GetSize())} dimensions; expected 3"
            )
        image = reader.Execute()
        array = sitk.GetArrayFromImage(image)
    if image.GetDimension() == 2:
        array = array[np.newaxis]
    if image.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., np.newaxis]
    return Stored(array, _file_grid(image, header, notes), header.pairs)


def read_labels(path: PathLike, *, frame: int | None = None) -> LabelVolume:
    """Read a label map.

    Parameters
    ----------
    path, frame
        As `read`.

    Raises
    ------
    LabelError
        If a voxel is no whole number in 0..65535. Else as `read`.
    """
    return labels_from_volume(read(path, frame=frame, as_labels=True))


def write_volume(volume: Volume, path: PathLike, *, force: bool = False) -> None:
    """Write an image on the grid of its file.

    Parameters
    ----------
    volume
        The image, grey or RGB.
    path
        As `write_array`.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    array = storable(volume.grid.reorientation.invert(volume.voxels))
    write_array(array, volume.grid, path, force=force)


def write_labels(labels: LabelVolume, path: PathLike, *, force: bool = False) -> None:
    """Write a label map on the grid of its file; these formats have no place for names.

    Parameters
    ----------
    labels
        The label map.
    path
        As `write_array`.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_array(labels.file_array(), labels.grid, path, force=force)


def write_array(
    array: NDArray[np.generic],
    grid: FileGrid,
    path: PathLike,
    *,
    force: bool = False,
    metadata: dict[str, str] | None = None,
    dimensions: int | None = None,
) -> None:
    """Write an array in the file's order.

    Parameters
    ----------
    array : (k, j, i) or (k, j, i, 3)
        Voxels or RGB.
    grid
        Where they are.
    path
        ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; the last and ``.nhdr`` come with a data file.
    force
        Whether existing files may be replaced.
    metadata
        Header fields, for formats that keep them.
    dimensions
        2 or 3; by default as the file that the grid came from.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    image = image_of(array, grid, dimensions)
    for key, value in (metadata or {}).items():
        image.SetMetaData(key, value)
    with atomic_output(path, force=force) as temporary, stderr_into([]):
        try:
            sitk.WriteImage(
                image, str(temporary), useCompression=True, compressionLevel=COMPRESSION_LEVEL
            )
        except RuntimeError as error:
            raise OutputError(f"cannot write {path}: is the disk full? ({_line(error)})") from error
        _check_written(image, temporary, Path(path))


@contextmanager
def _itk_speaks_to(notes: Notes, path: Path) -> Iterator[None]:
    """Turn ITK's warnings into notes and its exceptions into one line of ours."""
    said: list[str] = []
    try:
        with stderr_into(said):
            before = sitk.LoggerBase.GetGlobalITKLogger()
            logger = _make_logger(said)
            logger.SetAsGlobalITKLogger()
            try:
                yield
            finally:
                before.SetAsGlobalITKLogger()
    except RuntimeError as error:
        raise UnreadableFileError(
            f"{path} cannot be read: it is damaged, truncated or not what its name says "
            f"({said[0] if said else _line(error)})"
        ) from error
    except MemoryError:
        raise UnreadableFileError(f"{path} needs more memory than there is") from None
    for text in said:
        if "fail" in text.lower():  # and hands over voxels all the same
            raise UnreadableFileError(f"{path} is damaged: ITK says {text!r}")
        notes.note(f"ITK: {text}")


def _make_logger(said: list[str]) -> Any:
    class _ToNotes(sitk.LoggerBase):
        def DisplayText(self, text: str) -> None:  # noqa: N802
            pass

        DisplayGenericOutputText = DisplayText
        DisplayDebugText = DisplayText

        def DisplayWarningText(self, text: str) -> None:  # noqa: N802
            said.append(_line(text))

        DisplayErrorText = DisplayWarningText

    return _ToNotes()


def _opened(file: Path, header: Header, notes: Notes) -> Any:
    """ITK's reader of a file that can hold what its header promises; no voxel is read yet."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if header.is_nrrd else "MetaImageIO")
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    extents = reader.GetSize()
    if not extents or min(extents) < 1:
        raise UnreadableFileError(f"{header.path} holds no voxels: its extents are {extents}")
    if len(extents) > 4:
        raise UnsupportedFormatError(
            f"{header.path} has {len(extents)} dimensions; expected 2, 3, or 4 with --frame"
        )
    promised = int(np.prod(extents, dtype=object)) * reader.GetNumberOfComponents()
    check_payload(header, promised * _component_bytes(reader), notes)
    for text in header.odd:
        notes.note(text)
    return reader


def _component_bytes(reader: Any) -> int:
    """Bytes of one number in the file."""
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    bits = next((n for n in (64, 32, 16, 8) if str(n) in kind), 8)
    return bits // 4 if "complex" in kind else bits // 8


def _choose(reader: Any, header: Header, frame: int | None, notes: Notes) -> tuple[int, int | None]:
    """Number of components, and the chosen one; none of them if they are a colour.

    A 4D reader is told to read one frame only.
    """
    path = header.path
    components = int(reader.GetNumberOfComponents())
    extents = list(reader.GetSize())
    if len(extents) == 4:
        if components > 1:
            raise UnsupportedFormatError(f"{path} has vectors in four dimensions")
        index = choose_frame(extents[3], frame, path)
        reader.SetExtractIndex([0, 0, 0, index])
        reader.SetExtractSize([*extents[:3], 0])
        _note_frame(extents[3], index, notes)
        return 1, 0
    listed = "list" in header.fields.get("kinds", "").lower().split()
    if is_colour(reader.GetPixelID(), components) and not listed:
        choose_frame(1, frame, path)
        return components, None
    index = choose_frame(components, frame, path)
    _note_frame(components, index, notes)
    return components, index


def is_colour(pixel_id: int, components: int) -> bool:
    """Whether voxels are RGB or RGBA of 8 bits, by ITK's type of them."""
    return components in (3, 4) and pixel_id == sitk.sitkVectorUInt8


def _note_frame(count: int, index: int, notes: Notes) -> None:
    if count > 1:
        notes.note(f"frame {index} of {count} was read")


def array_of(
    image: Any, components: int, index: int | None, source: object, notes: Notes
) -> NDArray[np.generic]:
    """A copy of an image's voxels, (k, j, i) or, for 8-bit colour, (k, j, i, 3).

    Parameters
    ----------
    image
        ITK's, in two or three dimensions.
    components
        Numbers that a voxel consists of.
    index
        Which of them to take; None if they are a colour.
    source
        Named in messages.
    notes
        Receives what was left out.

    Raises
    ------
    UnsupportedFormatError
        If voxels are complex.
    """
    if "complex" in image.GetPixelIDTypeAsString():
        raise UnsupportedFormatError(f"{source} has complex voxels; expected integers or floats")
    array: NDArray[np.generic] = sitk.GetArrayFromImage(image)
    if image.GetDimension() == 2:
        array = array[np.newaxis]
    if components == 1:
        return array
    if index is not None:
        return np.ascontiguousarray(array[..., index])
    if components == 4:
        notes.note("the alpha channel was dropped")
    return array[..., :3]


def grid_of(image: Any, source: object) -> FileGrid:
    """Where the voxels of ITK's image are.

    Raises
    ------
    OrientationError
        If its axes are not orthogonal.
    """
    native = ItkGrid(
        image.GetSpacing(), image.GetOrigin(), image.GetDirection(), image.GetDimension()
    )
    i, j, k = [*image.GetSize(), 1][:3]
    return make_grid(geometry.check_affine(_affine(native), str(source)), (k, j, i), "itk", native)


def _file_grid(image: Any, header: Header, notes: Notes) -> FileGrid:
    """Where the voxels of a file are: as ITK has it, with what else its header says."""
    grid = grid_of(image, header.path)
    affine = placed(grid.affine, header, notes)
    if np.array_equal(affine, grid.affine):
        return grid
    affine = geometry.check_affine(affine, str(header.path))
    return make_grid(affine, grid.shape, "itk", _native(affine, image.GetDimension()))


def _affine(native: ItkGrid) -> Affine:
    """Map of the stored index (k, j, i) to LPS mm."""
    n = native.dimensions
    ijk = np.eye(4)
    ijk[:n, :n] = np.array(native.direction).reshape(n, n) * np.array(native.spacing)
    ijk[:n, 3] = native.origin
    return np.asarray(ijk[:, [2, 1, 0, 3]])


def image_of(array: NDArray[np.generic], grid: FileGrid, dimensions: int | None = None) -> Any:
    """ITK's image of an array (k, j, i) or (k, j, i, 3), in 2 or 3 dimensions or as it was."""
    native = grid.native
    if not isinstance(native, ItkGrid) or native.dimensions != (dimensions or native.dimensions):
        native = _native(grid.affine)
    if native.dimensions == 2 and grid.shape[0] == 1:
        array = array[0]
    image = sitk.GetImageFromArray(array, isVector=array.ndim == native.dimensions + 1)
    image.SetSpacing(native.spacing)
    image.SetOrigin(native.origin)
    image.SetDirection(native.direction)
    return image


def _native(affine: Affine, dimensions: int = 3) -> ItkGrid:
    """ITK's numbers for an affine from the stored index (k, j, i)."""
    n = dimensions
    ijk = affine[:, [2, 1, 0, 3]]
    spacing = np.sqrt((ijk[:n, :n] ** 2).sum(axis=0))
    unit = ijk[:n, :n] / spacing
    return ItkGrid(
        tuple(spacing.tolist()), tuple(ijk[:n, 3].tolist()), tuple(unit.ravel().tolist()), n
    )


def _check_written(image: Any, temporary: Path, path: Path) -> None:
    """ITK does not always notice a full disk: read what was written."""
    try:
        again = sitk.ReadImage(str(temporary))
        same = np.array_equal(sitk.GetArrayViewFromImage(again), sitk.GetArrayViewFromImage(image))
    except RuntimeError:
        same = False
    if not same:
        raise OutputError(f"cannot write {path}: the file came out incomplete; is the disk full?")


def _line(error: object) -> str:
    """The last sentence of ITK's long message, without its own paths."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    for mark in ("): ", "sitk::ERROR: "):
        last = last.rsplit(mark, 1)[-1]
    return last[:200]
