"""The face in one module: an image and some prompts to a label map, in one call.

`import sammed` offers what is here, next to `Session`; the command line calls the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed import io
from sammed.engine.progress import Progress
from sammed.engine.settings import Settings
from sammed.errors import InputError, SegmentationError
from sammed.examples.asking import example_model
from sammed.gathering import gather_prompts as gather_prompts  # a step of what is done here
from sammed.imaging.intensity import window_notes
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.memory import labels_like, volume_of
from sammed.models import registry
from sammed.prompts import (
    PromptSet,
    Propagate,
)
from sammed.prompts.numeric import as_boxes, as_points
from sammed.session import Session

if TYPE_CHECKING:
    from sammed.everything.found import Things
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
    scribble: Any = (),
    prompts: str | PathLike[str] | None = None,
    objects: Collection[str] | None = None,
    examples: Any = (),
    labels: Mapping[str, int] | None = None,
    space: str = "voxel",
    propagate: Propagate | None = None,
    candidate: int = 0,
    model: str | Model = "compact",
    device: str = "auto",
    settings: Settings | None = None,
    frame: int | None = None,
    series: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LabelVolume | Any:
    """Segment objects of a volume from boxes, points, strokes or painted slices.

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
    scribble
        Strokes inside the object: positions (n, 3) of (i, j, k) in drawing order, an array
        (i, j, k) that is true on the stroke, or text as the command line takes it; a file holds 1
        on strokes inside and 2 on strokes outside. Several, and by name: as boxes.
    prompts
        A prompt file (``sammed-prompts/1``) or Slicer markups (``.mrk.json``, ``.fcsv``).
    objects
        Names of objects that the model or the examples know without a prompt, in English, German
        or Latin, or by SNOMED CT codes; by default, and without any prompt, all that is known.
    examples
        Labelled scans that explain this one, see `sammed.examples.asking.gathered`: pairs ``(image,
        labels)``, or a folder of them. For more choices give an `example_model` as ``model``.
    labels
        Label values by object name; the others get the lowest free ones.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"``: numbers of boxes and points are millimetres.
    propagate
        ``"auto"``, ``"between"`` or ``"off"`` for all objects; by default what the prompt file
        says, else ``"auto"``.
    candidate
        Which of the model's candidate masks, 1 to 3, is meant on prompted slices (of
        segment-anything: whole, part, subpart); by default the engine chooses.
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
    if not isinstance(examples, list | tuple) or examples:
        companion = load_model(model, device=device) if isinstance(model, str) else model
        model = example_model(examples, companion, objects, labels)
    structures = known_structures(model)
    gathered = gather_prompts(
        volume,
        named=objects,
        structures=structures,
        boxes=as_boxes(box, slice, axis),
        points=as_points(point),
        masks=mask,
        scribbles=scribble,
        files=() if prompts is None else (Path(prompts),),
        labels=labels or {},
        space=space,
        propagate=propagate,
        candidate=candidate,
    )
    built = load_model(model, device=device) if isinstance(model, str) else model
    session = make_session(volume, built, gathered, settings)
    session.segment(progress)
    check_segmented(session)
    found = session.result()
    assumed = window_notes(session.settings.window, volume, session.window)
    found = replace(found, notes=(*found.notes, *gathered.notes, *assumed))
    return found if isinstance(image, str | PathLike) else labels_like(found, image)


def propose(
    image: Any,
    *,
    within: Any = "body",
    min_ml: float | None = None,
    most: int = 50,
    like: str | PathLike[str] | None = None,
    window: str = "auto",
    model: str | Model = "compact",
    device: str = "auto",
    frame: int | None = None,
    series: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Things:
    """Find things of an image that nobody prompted, each with a score.

    Parameters
    ----------
    image, model, device, frame, series
        As `segment` takes them.
    within
        ``"body"``, ``"image"``, a label map, or a box ``(i0, j0, k0, i1, j1, k1)``.
    min_ml
        Volume of the smallest thing.
    most
        At most so many.
    like
        A prompt file; things like its objects come first.
    window
        As `Settings` takes it.
    progress
        Told what is done, and how much of how much.
    cancel
        Asked often; ``True`` stops the work.

    Returns
    -------
    Things
        By falling score, with masks, boxes as prompts, and measures; ``labels`` is their map.

    Raises
    ------
    SegmentationError
        If nothing was found.
    SammedError
        One line that says what was wrong and what to do.
    """
    from sammed.everything.found import Wishes
    from sammed.everything.things import find_things

    volume = as_volume(image, frame=frame, series=series)
    examples = () if like is None else tuple(gather_prompts(volume, files=(Path(like),)))
    built = load_model(model, device=device) if isinstance(model, str) else model
    wishes = Wishes(within, min_ml, most, examples, window)
    return find_things(volume, built, wishes, progress, cancel)


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
