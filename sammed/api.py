"""The face in one module: an image and some prompts to a label map, in one call.

`import sammed` offers what is here, next to `Session`; the command line calls the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.engine.progress import Progress
from sammed.engine.settings import Settings
from sammed.errors import InputError, SegmentationError
from sammed.imaging.intensity import window_notes
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.memory import is_image, labels_like, volume_of
from sammed.io.voxels import labels_from_volume
from sammed.models import registry
from sammed.prompts import (
    PROPAGATE,
    ObjectPrompts,
    PromptSet,
    Propagate,
    merge,
    with_labels,
)
from sammed.prompts.files import read_prompts
from sammed.prompts.masks import only_label, painted_objects
from sammed.prompts.naming import named_objects, with_values
from sammed.prompts.numeric import Box, Point, as_boxes, as_points
from sammed.prompts.placing import canonical_array, place_box, place_point
from sammed.prompts.text import (
    apply_labels,
    check_space,
    split_label,
    split_name,
)
from sammed.session import Session

if TYPE_CHECKING:
    from sammed.models.protocols import Model
    from sammed.views.embeddings import EmbeddingStore


def segment(
    image: Any,
    *,
    box: Any = (),
    slice: float | None = None,
    axis: str = "k",
    point: Any = (),
    mask: Any = (),
    prompts: str | PathLike[str] | None = None,
    objects: Collection[str] | None = None,
    labels: Mapping[str, int] | None = None,
    space: str = "voxel",
    propagate: Propagate | None = None,
    model: str | Model = "compact",
    device: str = "auto",
    settings: Settings | None = None,
    frame: int | None = None,
    series: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LabelVolume | Any:
    """Segment objects of a volume from boxes, points or painted slices.

    Numbers are the file's own voxel indices (i, j, k), as NIfTI viewers show them, whatever
    the orientation; boxes are half-open, as slices of arrays are.

    Parameters
    ----------
    image
        A file or DICOM folder; a `Volume`; an image of nibabel or SimpleITK; or
        ``(array, affine)``: an array (i, j, k) and its affine to RAS mm, as nibabel has them.
    box
        ``(i0, j0, i1, j1)`` with ``slice``, or ``(i0, j0, k0, i1, j1, k1)``: a 3D box, beyond
        which the object does not reach. Several in a list; by name of the object in a mapping,
        where a box of four numbers may bring its slice: ``{"spleen": ((99, 56, 131, 97), 44)}``.
        Also `Box`, and text as the command line takes it: ``"spleen=99,56,131,97@44"``.
    slice, axis
        On which slice, across ``"i"``, ``"j"`` or ``"k"``, boxes of four numbers lie.
    point
        ``(i, j, k)`` inside the object; ``Point(i, j, k, positive=False)`` is not the object.
        Several, by name, and as text: as boxes.
    mask
        Painted slices: an array (i, j, k), a `LabelVolume`, an image of nibabel or SimpleITK, or
        a file, on the image's grid. Each label is an object; ``"painted.nii.gz#2"`` is one label
        of a file, and a mapping names what holds a single one: ``{"liver": "painted.nii.gz#2"}``.
    prompts
        A prompt file (``sammed-prompts/1``) or Slicer markups (``.mrk.json``, ``.fcsv``).
    objects
        Names of objects that the model knows without a prompt, see `load_model`; by default, and
        without any prompt, all that it knows.
    labels
        Label values by object name; the others get the lowest free ones.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"``: numbers of boxes and points are millimetres.
    propagate
        ``"auto"``, ``"between"`` or ``"off"`` for all objects; by default what the prompt file
        says, else ``"auto"``.
    model
        A registry name, a checkpoint, or a model; see `load_model`.
    device
        Where a model that is given by name runs.
    settings
        Plane, window, overlap, clean-up, ...
    frame, series
        Which volume of a file, folder or image with several.
    progress
        Called after each slice.

    Returns
    -------
    LabelVolume, nibabel image, SimpleITK image or array
        Labels on the image's own grid, in the image's own kind: a `LabelVolume` for files and
        volumes, which `write` writes; an array (i, j, k) for ``(array, affine)``.

    Raises
    ------
    SammedError
        One line that says what was wrong and what to do.

    Examples
    --------
    >>> labels = segment(
    ...     "sample_data/phantom_ct.nii.gz",
    ...     box={"spleen": ((99, 56, 131, 97), 44)},
    ...     model="two_class",
    ... )
    >>> labels.names, labels.shape
    ({1: 'spleen'}, (64, 128, 152))
    """
    volume = as_volume(image, frame=frame, series=series)
    structures = known_structures(model)
    gathered = gather_prompts(
        volume,
        named=objects,
        structures=structures,
        boxes=as_boxes(box, slice, axis),
        points=as_points(point),
        masks=mask,
        files=() if prompts is None else (Path(prompts),),
        labels=labels or {},
        space=space,
        propagate=propagate,
    )
    built = load_model(model, device=device) if isinstance(model, str) else model
    session = make_session(volume, built, gathered, settings)
    session.segment(progress)
    check_segmented(session)
    found = session.result()
    assumed = window_notes(session.settings.window, volume, session.window)
    found = replace(found, notes=(*found.notes, *gathered.notes, *assumed))
    return found if isinstance(image, str | PathLike) else labels_like(found, image)


def as_volume(image: Any, *, frame: int | None = None, series: str | None = None) -> Volume:
    """Anything that is an image as a `Volume`, for `Session`.

    Parameters
    ----------
    image
        As `segment` takes it. Voxels in memory are shared where they need no change, and never
        written to.
    frame, series
        Which volume of a file, folder or image with several.

    Raises
    ------
    InputError
        If it cannot be read, is of an unknown kind, or needs a choice of frame or series.
    GeometryError
        If it does not say, or contradicts itself about, where its voxels are.

    Examples
    --------
    >>> import numpy as np
    >>> as_volume((np.zeros((11, 7, 5), np.int16), np.diag([0.7, 0.8, 2.5, 1])))
    <Volume: 11 × 7 × 5 voxels (i, j, k) of 0.7 × 0.8 × 2.5 mm, RAS, int16>
    """
    if isinstance(image, str | PathLike):
        return io.read(image, frame=frame, series=series)
    if series is not None:
        raise InputError(f"an image in memory has no series {series!r}; leave series out")
    return volume_of(image, frame)


def write(
    thing: Volume | LabelVolume,
    path: str | PathLike[str],
    *,
    force: bool = False,
    output_type: str | None = None,
    **options: Any,
) -> None:
    """Write an image or a label map on the grid of the file that it came from.

    Parameters
    ----------
    thing
        A `Volume` or a `LabelVolume`.
    path
        Its ending chooses the format.
    force
        Whether an existing file may be replaced.
    output_type, **options
        For label maps, see `sammed.io.write_labels`.

    Raises
    ------
    OutputError
        If the name is of no known kind, the file exists, or it cannot be written.
    InputError
        If it is neither.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> volume = io.read("sample_data/phantom_ct.nii.gz")
    >>> with TemporaryDirectory() as folder:
    ...     write(volume, f"{folder}/ct.nrrd")
    ...     io.read(f"{folder}/ct.nrrd")
    <Volume: 152 × 128 × 64 voxels (i, j, k) of 2.5 × 2.5 × 4 mm, LPS, int16>
    """
    if isinstance(thing, LabelVolume):
        io.write_labels(thing, path, force=force, output_type=output_type, **options)
    elif not isinstance(thing, Volume):
        raise InputError(
            f"cannot write an object of type {type(thing).__name__}; expected a Volume or a "
            "LabelVolume (other libraries write their own images)"
        )
    elif output_type is not None or options:
        raise InputError(
            f"a Volume is written without {', '.join(options) or 'output_type'}; that is for "
            "label maps"
        )
    else:
        io.write_volume(thing, path, force=force)


def load_model(
    name: str = "compact", *, device: str = "auto", threads: int | None = None, **options: Any
) -> Model:
    """A model by its name, ready for any number of images.

    Parameters
    ----------
    name
        One of `list_models`, or the path of a checkpoint.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    threads
        How many threads PyTorch may use; ``None`` leaves the choice to the model.
    **options
        What only some models take, see `sammed.models.registry.build`.

    Raises
    ------
    InputError
        If there is no such model, device or option.
    ModelError
        If its weights or what it runs on are not here, or are broken.

    Examples
    --------
    >>> load_model("two_class").spec.name
    'two_class'
    """
    return registry.build(name, device=device, threads=threads, **options)


def list_models() -> list[str]:
    """The names of all models; ``sammed models`` tells which have their weights here.

    Examples
    --------
    >>> "compact" in list_models()
    True
    """
    return registry.names()


def known_structures(model: str | Model) -> Mapping[str, int]:
    """Names of what a model finds without a prompt, and their values; of most models nothing.

    Parameters
    ----------
    model
        As `segment` takes it.

    Raises
    ------
    ModelError
        If it is the file of a learned model that cannot be used.

    Examples
    --------
    >>> known_structures("compact")
    {}
    """
    return registry.structures(model) if isinstance(model, str) else model.spec.structures


def gather_prompts(
    volume: Volume,
    *,
    named: Collection[str] | None = None,
    structures: Mapping[str, int] | None = None,
    boxes: Iterable[str | Box] = (),
    points: Iterable[str | Point] = (),
    masks: Any = (),
    files: Iterable[Path] = (),
    labels: Mapping[str, int] | None = None,
    space: str = "voxel",
    propagate: Propagate | None = None,
) -> PromptSet:
    """Join prompts from numbers, text and files into objects, checked on the volume.

    Parameters are those of `segment`, boxes and points one by one; ``named`` are its ``objects``,
    ``structures`` what the model knows.

    Raises
    ------
    PromptError, LabelError
        If a prompt or a label makes no sense.
    """
    check_space(space)
    if propagate is not None and propagate not in PROPAGATE:
        raise InputError(f"unknown propagation {propagate!r}; expected {', '.join(PROPAGATE)}")
    parts: list[ObjectPrompts] = []
    notes: list[str] = []
    read_mask = partial(_read_mask, volume=volume, notes=notes)
    for path in files:
        found = read_prompts(path, volume, read_mask)
        parts += found
        notes += found.notes
    parts += [place_box(box, volume, space) for box in boxes]
    parts += [place_point(point, volume, space) for point in points]
    parts += _painted(masks, volume, notes)
    known = structures or {}
    parts = [*named_objects(named, known, alone=not parts), *parts]
    objects = with_values(apply_labels(merge(parts), dict(labels or {})), known)
    if propagate is not None:
        objects = tuple(replace(obj, propagate=propagate) for obj in objects)
    gathered = PromptSet(with_labels(objects), tuple(notes))
    gathered.check(volume.shape, known)
    return gathered


def make_session(
    volume: Volume,
    model: Model,
    objects: PromptSet,
    settings: Settings | None = None,
    store: EmbeddingStore | None = None,
) -> Session:
    """A session that holds all objects, ready to segment."""
    session = Session(volume, model, settings, store)
    for obj in objects:
        session.put(obj)
    return session


def check_segmented(session: Session) -> tuple[str, ...]:
    """What went wrong with single objects, one line each.

    Raises
    ------
    SegmentationError
        If nothing was found for any object.
    """
    errors = tuple(run.error for run in session.runs.values() if run.error)
    if errors and len(errors) == len(session.runs):
        raise SegmentationError("; ".join(errors))
    return errors


def timed_read(
    image: str | PathLike[str],
    *,
    frame: int | None = None,
    series: str | None = None,
    allow_gaps: bool = False,
) -> tuple[Volume, float]:
    """Read a volume; also the seconds that it took."""
    started = time.perf_counter()
    volume = io.read(image, frame=frame, series=series, allow_gaps=allow_gaps)
    return volume, time.perf_counter() - started


def _read_mask(
    path: Path, value: int | None, volume: Volume, notes: list[str]
) -> NDArray[np.bool_]:
    """One label of a file, or the only one that it holds."""
    labels = _read_painted(path, volume, notes)
    only = only_label(labels, value, f"the mask {path}", str(path))
    return np.asarray(labels.voxels == only)


def _read_painted(path: str | PathLike[str], volume: Volume, notes: list[str]) -> LabelVolume:
    labels = io.read_labels(path, like=volume)
    notes += [f"{Path(path).name}: {note}" for note in labels.notes]
    return labels


def _painted(given: Any, volume: Volume, notes: list[str], name: str = "") -> list[ObjectPrompts]:
    """Painted slices, however they are given: one object, or one a label if it has no name."""
    if isinstance(given, str):
        return _painted_file(given, volume, notes, name)
    if isinstance(given, PathLike):
        return painted_objects(_read_painted(given, volume, notes), name, str(given))
    if isinstance(given, LabelVolume):
        return painted_objects(given.on_grid_of(volume, "the mask"), name, "")
    if isinstance(given, Mapping):
        each = (_painted(one, volume, notes, str(key)) for key, one in given.items())
        return [part for parts in each for part in parts]
    if isinstance(given, list | tuple):
        return [part for one in given for part in _painted(one, volume, notes, name)]
    if is_image(given):
        labels = labels_from_volume(volume_of(given, keep_nan=True)).on_grid_of(volume, "the mask")
        return painted_objects(labels, name, "")
    voxels = canonical_array(given, volume, "the mask")
    painted = Volume(voxels, volume.grid, source=Path("the mask"))
    return painted_objects(labels_from_volume(painted), name, "")


def _painted_file(text: str, volume: Volume, notes: list[str], name: str) -> list[ObjectPrompts]:
    """``[name=]file[#label]``."""
    if not name and not Path(text).exists():
        found, rest = split_name(text)
        name, text = ("" if rest == text else found), rest
    file, value = (text, None) if Path(text).exists() else split_label(text)
    return painted_objects(_read_painted(file, volume, notes), name, file, value)
