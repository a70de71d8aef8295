"""One object under one condition: prompt it, segment it, score it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sammed.engine.settings import Settings
from sammed.evaluation.distortion import Disturbed, disturb
from sammed.evaluation.objects import Key
from sammed.evaluation.protocols import Condition, correction, start_prompts
from sammed.evaluation.slice_scores import PredictedSlice
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.protocols import ImageModel
from sammed.prompts import ObjectPrompts
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import PLANES, choose_plane

Bool3 = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Target:
    """An object to segment.

    Attributes
    ----------
    name, label
        From the manifest.
    reference : (z, y, x) bool
        What is scored against, not empty.
    prompts_from : (z, y, x) bool
        What prompts are simulated from; the same array unless the manifest says otherwise.
    """

    name: str
    label: Key
    reference: Bool3
    prompts_from: Bool3


@dataclass(frozen=True, eq=False)
class Step:
    """What the engine answered to the prompts so far.

    Attributes
    ----------
    number
        Corrective clicks so far.
    prompts
        All prompts given so far.
    mask : (z, y, x) bool
        On the grid of the reference.
    axis
        Canonical axis across which the object was segmented.
    predicted
        The slices across it that the engine reports, with the IoU that it predicts of each; none
        if the model does not judge its masks.
    seconds, encode_s, decode_s
        Time of this step, and the model's shares of it.
    stops
        Where propagation ended and why.
    error
        What the engine said if it found nothing.
    """

    number: int
    prompts: ObjectPrompts
    mask: Bool3
    axis: int
    predicted: tuple[PredictedSlice, ...]
    seconds: float
    encode_s: float
    decode_s: float
    stops: tuple[str, ...]
    error: str


def run_trial(
    volume: Volume,
    target: Target,
    model: ImageModel,
    condition: Condition,
    settings: Settings | None = None,
    store: EmbeddingStore | None = None,
    case: str = "",
) -> Iterator[Step]:
    """Segment an object as a condition says; one step, or one for each click after the first.

    Parameters
    ----------
    volume
        The image.
    target
        The object.
    model
        Any model.
    condition
        The protocol and its variant.
    settings
        Of the session. Slice prompts lie in ``plane``; for ``"auto"`` and ``"all"`` that is the
        plane of the thick slices.
    store
        Embeddings shared with other objects of this volume.
    case
        Name of the case, for the seed.

    Yields
    ------
    Step
        Nothing at all where the condition does not apply, see `disturb`.
    """
    settings = settings or Settings()
    plane = choose_plane("auto" if settings.plane == "all" else settings.plane, volume)
    axis = PLANES[plane]
    rng = condition.generator(case, target.name)
    setting = _setting(condition, volume, target, axis, settings.window)
    if setting is None:
        return
    start = start_prompts(condition, target.name, setting.there(target.prompts_from), axis, rng)
    began = time.perf_counter()
    engine = Session(setting.volume, model, replace(settings, window=setting.window), store)
    step = _advance(engine, start, setting, 0, began)
    yield step
    for number in range(1, condition.clicks + 1):
        said = correction(condition, step.mask, target.prompts_from, axis, volume.spacing, rng)
        if said is None:
            step = replace(step, number=number, seconds=0.0, encode_s=0.0, decode_s=0.0)
        else:
            prompts = step.prompts.with_(said)
            step = _advance(engine, prompts, setting, number, time.perf_counter())
        yield step


def _setting(
    condition: Condition, volume: Volume, target: Target, axis: int, window: str
) -> Disturbed | None:
    if condition.protocol != "D":
        return Disturbed(volume, window=window)
    region = volume.voxels[Box3D.from_mask(target.prompts_from).slices]
    rng = condition.generator(condition.distortion)
    return disturb(condition.distortion, volume, region, axis, rng, window)


def _advance(
    engine: Session,
    prompts: ObjectPrompts,
    setting: Disturbed,
    number: int,
    began: float,
) -> Step:
    before = engine.timings
    engine.put(prompts)
    engine.segment()
    seconds = time.perf_counter() - began
    after = engine.timings
    run = engine.runs[prompts.name]
    axis = PLANES[run.plane]
    records = run.slices if engine.model.spec.calibrated else ()
    return Step(
        number,
        prompts,
        setting.back(engine.object_mask(prompts.name)),
        axis,
        tuple((setting.slices_back(axis, r.index), r.predicted_iou) for r in records),
        seconds,
        after.get("encode", 0.0) - before.get("encode", 0.0),
        after.get("decode", 0.0) - before.get("decode", 0.0),
        run.stops,
        run.error,
    )


def profile(mask: Bool3, reference: Bool3, axis: int) -> list[list[float]]:
    """How the slices of an object agree, for plots against the relative slice position.

    Parameters
    ----------
    mask, reference : (z, y, x) bool
        Prediction and reference.
    axis
        Canonical axis across which slices lie.

    Returns
    -------
    list of [position, reference px, predicted px, common px]
        One for each slice that shows either. The position is 0 in the middle of the reference's
        first slice and 1 in that of its last (0.5 if it has but one); beyond, it goes on evenly.
    """
    others = tuple(a for a in range(3) if a != axis)
    areas = [m.sum(axis=others) for m in (reference, mask, mask & reference)]
    there = np.flatnonzero(areas[0])
    first, last = int(there[0]), int(there[-1])
    return [
        [
            round((i - first) / (last - first), 4) if last > first else 0.5 + float(i - first),
            *(int(a[i]) for a in areas),
        ]
        for i in np.flatnonzero(areas[0] + areas[1])
    ]
