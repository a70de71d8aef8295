"""Voxels with their place in the patient, and the way back to the grid of the file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GridMismatchError, LabelError
from sammed.imaging import geometry
from sammed.imaging.geometry import Affine, Reorientation, Shape3

MAX_LABEL = 65535

MOST_NAMED = 8
"""So many labels of a label map are named in its repr."""


@dataclass(frozen=True, eq=False, repr=False)
class FileGrid:
    """The grid as the file stores it, and the exact way from and to the canonical one.

    Attributes
    ----------
    affine : (4, 4) float64
        Maps the stored index (k, j, i) to LPS mm.
    reorientation
        From the stored array (k, j, i) to the canonical (z, y, x).
    format
        Name of the io module that read it: ``"nifti"``, ``"itk"``, ``"dicom"``, ``"image"``.
    native
        Whatever that module needs to write the same grid bit for bit (a header, the slices'
        datasets); opaque to everyone else.
    """

    affine: Affine
    reorientation: Reorientation
    format: str = ""
    native: Any = None

    def __repr__(self) -> str:
        return f"<FileGrid: {self.describe()}>"

    def describe(self) -> str:
        """Extents, voxel size and directions of the axes i, j, k, as people say them.

        Examples
        --------
        >>> make_grid(np.diag([2.5, 0.8, 0.7, 1.0])[:, [2, 1, 0, 3]], (5, 7, 11)).describe()
        '11 × 7 × 5 voxels (i, j, k) of 2.5 × 0.8 × 0.7 mm, LPS'
        """
        extents = " × ".join(f"{n}" for n in self.shape[::-1])
        sizes = " × ".join(f"{mm:.4g}" for mm in geometry.spacing(self.affine)[::-1])
        codes = geometry.axis_codes(self.affine)[::-1]
        return f"{extents} voxels (i, j, k) of {sizes} mm, {codes}"

    @property
    def shape(self) -> Shape3:
        """Extents of the stored array (k, j, i)."""
        return self.reorientation.shape

    def canonical_index(
        self, ijk: NDArray[np.floating] | NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Canonical (z, y, x) of the file's voxel indices (i, j, k), (..., 3), continuous."""
        kji = np.asarray(ijk, np.float64)[..., ::-1]
        return geometry.apply_affine(np.linalg.inv(self.reorientation.to_file), kji)

    def file_index(self, zyx: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
        """The file's (i, j, k) of canonical indices (z, y, x), (..., 3), continuous."""
        return geometry.apply_affine(self.reorientation.to_file, zyx)[..., ::-1]

    def canonical_axis(self, name: str) -> int:
        """Canonical axis (0 z, 1 y, 2 x) that is the file's axis ``"i"``, ``"j"`` or ``"k"``."""
        return self.reorientation.axes.index("kji".index(name))

    def file_axis(self, axis: int) -> str:
        """Name ``"i"``, ``"j"`` or ``"k"`` of the file's axis that is canonical ``axis``."""
        return "kji"[self.reorientation.axes[axis]]


def make_grid(
    affine: NDArray[np.floating], shape: Shape3, format: str = "", native: Any = None
) -> FileGrid:
    """Grid of a stored array.

    Parameters
    ----------
    affine : (4, 4)
        Maps the stored index (k, j, i) to LPS mm.
    shape
        Extents of the stored array (k, j, i).
    format, native
        See `FileGrid`.

    Raises
    ------
    OrientationError
        If the affine is singular, not finite or sheared.

    Examples
    --------
    >>> grid = make_grid(geometry.affine_from_ras(np.diag([0.7, 0.8, 2.5, 1.0])), (5, 7, 11))
    >>> grid
    <FileGrid: 11 × 7 × 5 voxels (i, j, k) of 0.7 × 0.8 × 2.5 mm, RAS>
    >>> grid.canonical_index(np.array([10, 6, 4])).tolist()  # z, y, x
    [4.0, 0.0, 0.0]
    """
    affine = geometry.check_affine(affine)
    k, j, i = (int(n) for n in shape)
    return FileGrid(affine, geometry.canonical(affine, (k, j, i)), format, native)


@dataclass(frozen=True)
class HeaderWindow:
    """A display window that the file itself proposes (DICOM), in the volume's units."""

    level: float
    width: float
    name: str = ""


class OnGrid:
    """What images and label maps have in common: voxels in canonical order and their place."""

    voxels: NDArray[Any]
    grid: FileGrid

    @property
    def shape(self) -> Shape3:
        """Extents (z, y, x)."""
        z, y, x = self.voxels.shape[:3]
        return z, y, x

    @cached_property
    def affine(self) -> Affine:
        """(4, 4) float64 from the canonical index (z, y, x) to LPS mm."""
        return self.grid.reorientation.apply_affine(self.grid.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in mm."""
        return geometry.spacing(self.affine)

    def ijk_array(self) -> NDArray[Any]:
        """The voxels as the file has them, (i, j, k) or (i, j, k, 3): a view, not a copy."""
        stored = self.grid.reorientation.invert(self.voxels)
        return stored.transpose(2, 1, 0, *range(3, stored.ndim))

    @property
    def ras_affine(self) -> Affine:
        """(4, 4) float64 from the file's index (i, j, k) to RAS mm, as nibabel has it."""
        return geometry.affine_to_ras(self.grid.affine)


@dataclass(frozen=True, eq=False, repr=False)
class Volume(OnGrid):
    """An image in canonical orientation, which knows the grid of its file.

    Two volumes are equal only if they are one and the same; in a notebook a volume shows itself
    in three planes.

    Attributes
    ----------
    voxels : (z, y, x) or (z, y, x, 3)
        Real-world values (HU for CT) in any numeric dtype; uint8 colour if 4D.
    grid
        The file's grid.
    modality
        ``"CT"``, ``"MR"``, ``"PT"``, ``"US"``, ... or ``""`` if nothing says.
    source
        The file or folder that it was read from.
    windows
        Windows that the file proposes, first is its default.
    notes
        What the reader decided or found odd, one sentence each; goes into the run report.
    name
        As one of several channels or phases.
    channels
        Others of the same person on this grid, see `sammed.examples.channels`.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> volume
    <Volume: 152 × 128 × 64 voxels (i, j, k) of 2.5 × 2.5 × 4 mm, LPS, int16>
    >>> volume.voxels.shape, volume.ijk_array().shape
    ((64, 128, 152), (152, 128, 64))
    """

    voxels: NDArray[np.generic]
    grid: FileGrid
    modality: str = ""
    source: Path | None = None
    windows: tuple[HeaderWindow, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = ""
    channels: tuple[Volume, ...] = ()

    def __repr__(self) -> str:
        about = [self.grid.describe(), *filter(None, [self.modality]), str(self.voxels.dtype)]
        return f"<Volume: {', '.join(about)}{' colour' if self.is_colour else ''}>"

    def _repr_html_(self) -> str:
        from sammed.imaging.html import volume_html

        return volume_html(self)

    @property
    def is_colour(self) -> bool:
        """Whether voxels are RGB."""
        return self.voxels.ndim == 4

    @classmethod
    def from_file_array(
        cls, array: NDArray[np.generic], grid: FileGrid, **attributes: Any
    ) -> Volume:
        """From the array as stored, (k, j, i) or (k, j, i, 3); voxels are a view of it."""
        return cls(grid.reorientation.apply(array), grid, **attributes)

    @classmethod
    def from_array(
        cls, voxels: NDArray[np.generic], affine: NDArray[np.floating], **attributes: Any
    ) -> Volume:
        """From an array (k, j, i) in any orientation and its affine to LPS mm."""
        k, j, i = voxels.shape[:3]
        return cls.from_file_array(voxels, make_grid(affine, (k, j, i)), **attributes)


@dataclass(frozen=True, eq=False, repr=False)
class LabelVolume(OnGrid):
    """A label map on a volume's canonical grid.

    Two label maps are equal only if they are one and the same; in a notebook a label map shows
    itself in three planes.

    Attributes
    ----------
    voxels : (z, y, x) uint8 or uint16
        0 is background.
    grid
        The grid of the file that the segmented volume came from.
    names
        Label value → name, for every value that may occur.
    colours
        Label value → (r, g, b) in 0..255; values that are absent get a default when written.
    probabilities
        Label value → (z, y, x) float16 in [0, 1], where the engine kept them; for fractional
        output.
    source
        The file that it was read from.
    notes
        What the reader decided or found odd.
    image
        The volume that the labels belong to, where it is known; only for showing them on it.

    Examples
    --------
    >>> from sammed.io import read_labels
    >>> labels = read_labels("sample_data/phantom_labels.nii.gz", names={1: "liver", 2: "spleen"})
    >>> labels.names
    {1: 'liver', 2: 'spleen', 3: 'label_3', 4: 'label_4', 5: 'label_5'}
    >>> round(labels.volume_ml("spleen"))
    288
    """

    voxels: NDArray[np.unsignedinteger]
    grid: FileGrid
    names: dict[int, str]
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    probabilities: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    source: Path | None = None
    notes: tuple[str, ...] = ()
    image: Volume | None = None

    def __repr__(self) -> str:
        named = [f"{name} {_ml(ml)}" for name, ml in self.volumes_ml().items()]
        more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
        listed = ", ".join([*named[:MOST_NAMED], *more]) or "no label"
        return f"<LabelVolume: {self.grid.describe()}, {self.voxels.dtype}: {listed}>"

    def _repr_html_(self) -> str:
        from sammed.imaging.html import labels_html

        return labels_html(self)

    def file_array(self) -> NDArray[np.unsignedinteger]:
        """The array as the file stores it, (k, j, i), C-contiguous."""
        return np.ascontiguousarray(self.grid.reorientation.invert(self.voxels))

    def volume_ml(self, label: int | str) -> float:
        """Volume in ml of one label, by its value or its name.

        Raises
        ------
        LabelError
            If no label has that name.
        """
        values = [label] if not isinstance(label, str) else self._values(label)
        voxels = sum(int(np.count_nonzero(self.voxels == value)) for value in values)
        return voxels * geometry.voxel_volume_ml(self.affine)

    def volumes_ml(self) -> dict[str, float]:
        """Volume in ml by name, of every label in `names`; all counted in one go."""
        counts = np.zeros(MAX_LABEL + 1, np.int64)
        for plane in self.voxels:
            found = np.bincount(plane.ravel())
            counts[: found.size] += found
        ml = geometry.voxel_volume_ml(self.affine)
        volumes: dict[str, float] = {}
        for value, name in self.names.items():
            volumes[name] = volumes.get(name, 0.0) + float(counts[value]) * ml
        return volumes

    def _values(self, name: str) -> list[int]:
        values = [value for value, known in self.names.items() if known == name]
        if not values:
            known = ", ".join(self.names.values()) or "none"
            raise LabelError(f"no label is called {name!r}; the labels are {known}")
        return values

    def on_grid_of(self, volume: Volume, what: str = "the label map") -> LabelVolume:
        """The same labels, said to be on the volume's own grid.

        Two files of one grid may store it in different axis orders; canonical arrays agree.

        Raises
        ------
        GridMismatchError
            If the canonical grids are not the same, see `geometry.same_grid`.
        """
        if not geometry.same_grid(self.affine, self.shape, volume.affine, volume.shape):
            told = geometry.describe_mismatch(self.affine, self.shape, volume.affine, volume.shape)
            raise GridMismatchError(
                f"{what} is not on the grid of the image: {told}; resample it to the image"
            )
        notes = self.notes + geometry.grid_note(self.affine, self.shape, volume.affine)
        return replace(self, grid=volume.grid, image=volume, notes=notes)


def label_dtype(highest: int) -> type[np.uint8] | type[np.uint16]:
    """Smallest unsigned type that holds the highest label value.

    Examples
    --------
    >>> label_dtype(255).__name__, label_dtype(256).__name__
    ('uint8', 'uint16')
    """
    return np.uint8 if highest <= 255 else np.uint16


def _ml(volume: float) -> str:
    return f"{volume:.4g} ml" if volume < 1000 else f"{volume:.0f} ml"


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in values) + ")"
