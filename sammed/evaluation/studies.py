"""Two studies: Dice against the number of prompts, and against the size of voxels.

What Mazurowski et al. 2023 (doi:10.1016/j.media.2023.102918) and Huang et al. 2024
(doi:10.1016/j.media.2023.103061) asked of Segment Anything, in three dimensions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sammed.engine.settings import Settings
from sammed.errors import InputError
from sammed.evaluation import coarsening, metrics
from sammed.evaluation.case_run import Loaded, load
from sammed.evaluation.coarsening import Coarser
from sammed.evaluation.cohort import engine_hash
from sammed.evaluation.manifest import Case
from sammed.evaluation.objects import key_text
from sammed.evaluation.protocols import Condition
from sammed.evaluation.results import Row
from sammed.evaluation.trial import Bool3, Target, run_trial
from sammed.imaging.boxes import Box2D
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.io import atomic_text
from sammed.many.content import fingerprint, look
from sammed.models.catalogue import BASELINES
from sammed.models.protocols import ImageModel
from sammed.prompts import BoxPrompt, ObjectPrompts, simulation
from sammed.session import Session
from sammed.views.slices import PLANES, choose_plane

logger = logging.getLogger(__name__)

STUDIES = ("prompts", "resolution")

BOXES = (1, 2, 3, 5, 9)
"""Slices with a box."""

CLICKS = 9
"""Clicks, of which the first stands alone."""

COARSER = (1.0, 1.5, 2.0, 3.0)
"""How many times as large voxels are."""

CEILING = "reference"
"""Of the study of resolution: the reference itself on the coarser grid and back, in a model's
place. No mask of that grid can do better."""

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """What to run.

    Attributes
    ----------
    kind
        One of `STUDIES`.
    cases, models
        On which images; models by name.
    settings
        Of the engine.
    limit
        At most so many objects of a case; 0: all.
    """

    kind: str
    cases: tuple[Case, ...]
    models: Mapping[str, ImageModel]
    settings: Settings = field(default_factory=Settings)
    limit: int = 0


def check_study(text: str) -> str:
    """A kind of study.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if text not in STUDIES:
        raise InputError(f"unknown study {text!r}; expected {' or '.join(STUDIES)}")
    return text


def run_study(
    study: Study, out: Path, told: Told = lambda case, done, total: None
) -> tuple[list[Row], list[str]]:
    """Run a study; cases that were finished before, by the same code and files, are taken over.

    Parameters
    ----------
    study
        What to run.
    out
        The folder; each case is kept in ``study/``.
    told
        Called with the case, how many are done and how many there are.

    Returns
    -------
    rows
        ``protocol`` is the kind, ``variant`` what was varied and how much: ``boxes 3``, ``clicks
        2``, ``in plane 1.5``, ``across 2``. Of an object in which the engine broke there is a row
        with its error.
    errors
        A line for each case that cannot be read.
    """
    rows: list[Row] = []
    errors = []
    for number, case in enumerate(study.cases):
        told(case.id, number, len(study.cases))
        path = out / "study" / study.kind / f"{case.id}.json"
        mark = _mark(study, case)
        found = _kept(path, mark)
        if found is None:
            loaded = load(case)
            if loaded.error:
                errors.append(f"case {case.id} could not be run: {loaded.error}")
                continue
            found = list(_of_case(study, loaded))
            path.parent.mkdir(parents=True, exist_ok=True)
            content = {"mark": mark, "rows": [row.as_dict() for row in found]}
            atomic_text(path, json.dumps(content, allow_nan=False), force=True)
        rows += found
    return rows, errors


def _kept(path: Path, mark: str) -> list[Row] | None:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return [Row.from_dict(r) for r in content["rows"]] if content.get("mark") == mark else None


def _mark(study: Study, case: Case) -> str:
    """Hash of everything on which the rows of a case depend."""
    own = hashlib.sha256()
    for module in (__file__, coarsening.__file__):
        own.update(Path(module).read_bytes())
    models = [
        [name, vars(m.spec), engine_hash(name in BASELINES, False)]
        for name, m in study.models.items()
    ]
    files = [look(p)["sha256"] for p in (case.image, case.label, case.prompt_source)]
    labels = {key_text(key): name for key, name in case.labels.items()}
    about = [case.id, case.subject, case.area, case.modality, case.truth, labels]
    return fingerprint(
        own.hexdigest(), study.kind, models, files, about, study.settings, study.limit
    )


def _of_case(study: Study, loaded: Loaded) -> Iterator[Row]:
    for value, name in loaded.objects(study.limit):
        target = loaded.target(value, name)
        if target is None or loaded.volume is None:
            continue
        for model, built in study.models.items():
            blank = _blank(study, loaded.case, target, model)
            try:
                yield from _KINDS[study.kind](study, loaded.volume, target, built, blank)
            except Exception as error:  # recorded; the other objects go on
                logger.warning("%s, %s, %s: %s", loaded.case.id, name, model, error)
                yield replace(blank, error=" ".join(str(error).split()) or type(error).__name__)
        if study.kind == "resolution":
            blank = _blank(study, loaded.case, target, CEILING)
            yield from _ceiling(loaded.volume, target, blank)


def _blank(study: Study, case: Case, target: Target, model: str) -> Row:
    return Row(
        case.id, case.subject or case.id, case.area, case.modality, case.truth, target.name,
        key_text(target.label), model, study.kind,
    )  # fmt: skip


def _scored(
    blank: Row, variant: str, mask: Bool3, target: Target, volume: Volume, seconds: float
) -> Row:
    scores = metrics.score(mask, target.reference, volume.spacing).as_dict()
    return replace(blank, variant=variant, seconds=seconds, **scores)  # type: ignore[arg-type]


def _prompts(
    study: Study, volume: Volume, target: Target, model: ImageModel, blank: Row
) -> Iterator[Row]:
    """Boxes on more and more slices; then clicks, one after the other."""
    axis = PLANES[choose_plane("auto", volume)]
    for count in BOXES if volume.shape[axis] > 1 else BOXES[:1]:
        boxes = evenly_boxed(target.prompts_from, axis, count)
        mask, seconds = _segmented(study, volume, model, ObjectPrompts(target.name, boxes=boxes))
        row = _scored(blank, f"boxes {count}", mask, target, volume, seconds)
        yield replace(row, boxes=len(boxes))
    if "points" not in model.spec.prompts:
        return
    clicks = Condition("S", clicks=CLICKS - 1, drawn="clicks")
    for step in run_trial(volume, target, model, clicks, study.settings, case=blank.case):
        variant = f"clicks {step.number + 1}"
        row = _scored(blank, variant, step.mask, target, volume, step.seconds)
        yield replace(row, points=len(step.prompts.points), error=step.error)


def evenly_boxed(mask: Bool3, axis: int, count: int) -> tuple[BoxPrompt, ...]:
    """Tight boxes on slices that are evenly spaced over an object; of one, the largest slice.

    Parameters
    ----------
    mask : (z, y, x) bool
        The object, not empty.
    axis
        Canonical axis across which slices lie.
    count
        On how many; an object with fewer slices gets a box on each.
    """
    if count == 1:
        return (simulation.largest_slice_box(mask, axis),)
    there = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    at = there[((np.arange(count) + 0.5) * len(there) / count).astype(int)]
    return tuple(
        BoxPrompt(axis, int(i), Box2D.from_mask(np.take(mask, i, axis=axis)))
        for i in dict.fromkeys(at.tolist())
    )


def _segmented(
    study: Study, volume: Volume, model: ImageModel, prompts: ObjectPrompts
) -> tuple[Bool3, float]:
    """The mask of an object, (z, y, x) bool, and seconds in the engine."""
    began = time.perf_counter()
    session = Session(volume, model, study.settings)
    session.put(prompts)
    session.segment()
    return session.object_mask(prompts.name), time.perf_counter() - began


def _grids(volume: Volume) -> Iterator[tuple[str, Coarser]]:
    """Coarser grids of a volume: in the plane of its slices, then across them."""
    axis = PLANES[choose_plane("auto", volume)]
    for direction in ("in plane", "across"):
        if direction == "across" and volume.shape[axis] == 1:
            continue
        for factor in COARSER:
            along = [factor if (a == axis) == (direction == "across") else 1.0 for a in range(3)]
            grid = Coarser(volume.shape, (along[0], along[1], along[2]))
            yield f"{direction} {factor:g}", grid


def _resolution(
    study: Study, volume: Volume, target: Target, model: ImageModel, blank: Row
) -> Iterator[Row]:
    """A 3D box on coarser and coarser grids; scored on the volume's own."""
    same: tuple[Bool3, float] | None = None
    for variant, grid in _grids(volume):
        if grid.coarse == volume.shape and same is not None:
            mask, seconds = same  # not coarser: as in the plane
        else:
            block = simulation.block(grid.there(target.prompts_from))
            prompts = ObjectPrompts(target.name, blocks=(block,))
            mask, seconds = _segmented(study, grid.volume(volume), model, prompts)
            mask = grid.back(mask)
        if grid.coarse == volume.shape:
            same = mask, seconds
        yield replace(_scored(blank, variant, mask, target, volume, seconds), blocks=1)


def _ceiling(volume: Volume, target: Target, blank: Row) -> Iterator[Row]:
    """The Dice of the reference itself on coarser grids, there and back."""
    for variant, grid in _grids(volume):
        mask = grid.back(grid.there(target.reference))
        yield replace(blank, variant=variant, dice=dice(mask, target.reference))


_KINDS = {"prompts": _prompts, "resolution": _resolution}


def varied(rows: Sequence[Row]) -> dict[str, list[tuple[float, str]]]:
    """By what was varied, its amounts in ascending order with the variants that have them.

    Examples
    --------
    >>> row = Row("c", "s", "", "", "", "o", "1", "m", "prompts", "boxes 3", dice=0.5)
    >>> varied([row, replace(row, variant="boxes 1")])
    {'boxes': [(1.0, 'boxes 1'), (3.0, 'boxes 3')]}
    """
    found: dict[str, set[tuple[float, str]]] = {}
    for row in rows:
        if row.scored:
            name, _, amount = row.variant.rpartition(" ")
            found.setdefault(name, set()).add((float(amount), row.variant))
    return {name: sorted(amounts) for name, amounts in found.items()}
