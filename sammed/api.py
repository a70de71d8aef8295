"""From a file and some prompts to a label map, in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.engine.progress import Progress
from sammed.engine.settings import Settings
from sammed.errors import InputError, PromptError, SegmentationError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models import registry
from sammed.prompts import (
    PROPAGATE,
    MaskPrompt,
    ObjectPrompts,
    PromptSet,
    Propagate,
    merge,
    with_labels,
)
from sammed.prompts.files import read_prompts
from sammed.prompts.text import (
    DEFAULT_NAME,
    SPACES,
    apply_labels,
    parse_box,
    parse_point,
    split_name,
)
from sammed.session import Session

if TYPE_CHECKING:
    from sammed.models.protocols import ImageModel
    from sammed.views.embeddings import EmbeddingStore

Texts = str | Sequence[str]
Source = str | PathLike[str] | Volume


def segment(
    image: Source,
    *,
    box: Texts = (),
    point: Texts = (),
    mask: Texts = (),
    prompts: str | PathLike[str] | None = None,
    labels: Mapping[str, int] | None = None,
    space: str = "voxel",
    propagate: Propagate | None = None,
    model: str | ImageModel = "compact",
    device: str = "auto",
    threads: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
    encode_size: int | None = None,
    settings: Settings | None = None,
    frame: int | None = None,
    series: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LabelVolume:
    """Segment objects of a volume from boxes, points or painted slices.

    Parameters
    ----------
    image
        A file or DICOM folder, or a `Volume`.
    box
        ``"i0,j0,i1,j1@k"``: a half-open box on slice k in the file's voxel indices; ``@i=N``,
        ``@j=N`` for the other axes; ``"i0,j0,k0,i1,j1,k1"``: a 3D box, whose z-range is a hard
        limit. Several, and ``"liver=..."`` to name the object.
    point
        ``"i,j,k"`` or ``"i,j,k,-"`` (not the object).
    mask
        A label map of painted slices, on the image's grid.
    prompts
        A prompt file (``sammed-prompts/1``) or Slicer markups.
    labels
        Label values by object name; the others get the lowest free ones.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"``: numbers are millimetres.
    propagate
        ``"auto"``, ``"between"`` or ``"off"`` for all objects; by default what the prompt file
        says, else ``"auto"``.
    model
        A registry name, a checkpoint, or a model.
    device, threads
        Where it runs.
    engine, precision, encode_size
        How a segment-anything model is run, see `sammed.models.registry.build`; not with a model
        that is built already.
    settings
        Plane, window, overlap, clean-up, ...
    frame, series
        Which volume of a file or folder with several.
    progress
        Called after each slice.

    Returns
    -------
    LabelVolume
        On the image's own grid; ``sammed.io.write_labels`` writes it.

    Raises
    ------
    SammedError
        One line that says what was wrong and what to do.

    Examples
    --------
    >>> labels = segment("ct.nii.gz", box="liver=120,90,210,170@88")  # doctest: +SKIP
    """
    volume = image if isinstance(image, Volume) else io.read(image, frame=frame, series=series)
    objects = gather_prompts(
        volume,
        boxes=_texts(box),
        points=_texts(point),
        masks=_texts(mask),
        files=() if prompts is None else (Path(prompts),),
        labels=labels or {},
        space=space,
        propagate=propagate,
    )
    options: dict[str, Any] = {"engine": engine, "precision": precision, "encode_size": encode_size}
    if isinstance(model, str):
        model = registry.build(model, device=device, threads=threads, **options)
    elif any(value is not None for value in options.values()):
        raise InputError(
            f"the model {model.spec.name!r} is built already; give {' and '.join(options)} to "
            "sammed.models.registry.build"
        )
    session = make_session(volume, model, objects, settings)
    session.segment(progress)
    check_segmented(session)
    return session.result()


def gather_prompts(
    volume: Volume,
    *,
    boxes: Sequence[str] = (),
    points: Sequence[str] = (),
    masks: Sequence[str] = (),
    files: Sequence[Path] = (),
    labels: Mapping[str, int] | None = None,
    space: str = "voxel",
    propagate: Propagate | None = None,
) -> PromptSet:
    """Join prompts from text and files into objects, checked on the volume.

    Parameters are those of `segment`.

    Raises
    ------
    PromptError, LabelError
        If a prompt or a label makes no sense.
    """
    if space not in SPACES:
        raise InputError(f"unknown space {space!r}; expected {', '.join(SPACES)}")
    if propagate is not None and propagate not in PROPAGATE:
        raise InputError(f"unknown propagation {propagate!r}; expected {', '.join(PROPAGATE)}")
    parts: list[ObjectPrompts] = []
    for path in files:
        parts += read_prompts(path, volume, lambda p, value: _read_mask(p, value, volume))
    parts += [parse_box(text, volume, space) for text in boxes]
    parts += [parse_point(text, volume, space) for text in points]
    for text in masks:
        parts += _mask_prompts(text, volume)
    objects = apply_labels(merge(parts), dict(labels or {}))
    if propagate is not None:
        objects = tuple(replace(obj, propagate=propagate) for obj in objects)
    gathered = PromptSet(with_labels(objects))
    gathered.check(volume.shape)
    return gathered


def make_session(
    volume: Volume,
    model: ImageModel,
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


def _texts(texts: Texts) -> Sequence[str]:
    return (texts,) if isinstance(texts, str) else texts


def _read_mask(path: Path, value: int | None, volume: Volume) -> NDArray[np.bool_]:
    voxels = io.read_labels(path, like=volume).voxels
    return np.asarray(voxels > 0 if value is None else voxels == value)


def _mask_prompts(text: str, volume: Volume) -> list[ObjectPrompts]:
    """``[name=]file``: one object, or one for each label value if there is no name."""
    name, file = (DEFAULT_NAME, text) if Path(text).exists() else split_name(text)
    labels = io.read_labels(file, like=volume)
    values = [int(v) for v in np.unique(labels.voxels) if v]
    if not values:
        raise PromptError(f"the mask {file} is empty: nothing is painted in it")
    if name != DEFAULT_NAME or len(values) == 1:
        painted = MaskPrompt(labels.voxels > 0, str(file))
        return [ObjectPrompts(name, mask=painted)]
    return [
        ObjectPrompts(
            labels.names.get(value, f"label_{value}"),
            label=value,
            mask=MaskPrompt(labels.voxels == value, f"{file}#{value}"),
        )
        for value in values
    ]
