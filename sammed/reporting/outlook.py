"""What may be expected of each object of a session: for its run report, and to be said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sammed.engine.results import ObjectRun
from sammed.engine.settings import Settings
from sammed.prompts import ObjectPrompts
from sammed.reporting.expectation import (
    FOLDER,
    LEVEL,
    Expected,
    kind_of,
    table_for,
    values_of,
)
from sammed.reporting.factors import looseness, measure, window_for
from sammed.session import Session
from sammed.views.slices import PLANES, choose_plane

NONE = "no object like this was measured"


def outlook(session: Session, obj: ObjectPrompts, folder: Path = FOLDER) -> dict[str, Any]:
    """What objects like one of a session reach, as plain data for JSON.

    Parameters
    ----------
    session
        After `segment`.
    obj
        One of its objects.
    folder
        Where tables are.

    Returns
    -------
    dict
        Empty for a model of which nothing was measured. Else ``"expected"``: ``text``; where
        something can be said, ``dice``, ``low`` and ``high``, the share of objects (``level``)
        whose Dice lies between them, and the ``nearest`` examples; else ``why`` not.
    """
    spec, run = session.model.spec, session.runs[obj.name]
    table = table_for(spec.name, "" if spec.variant else spec.weights_hash, folder)
    if table is None:
        return {}
    kind = kind_of(obj)
    why = _unlike(session, run, kind)
    if not why and kind not in table.kinds:
        why = "prompts of this kind were not"
    if why:
        return {"expected": {"text": f"{NONE}: {why}", "why": why}}
    found = table.kinds[kind].expect(_values(session, run, obj))
    if found is None:
        why = "its shape, border or texture is far from all that was"
        return {"expected": {"text": f"{NONE}: {why}", "why": why}}
    return {"expected": _as_json(found)}


def _unlike(session: Session, run: ObjectRun, kind: str) -> str:
    """Why nothing can be said of an object before it is looked at, or ``""``."""
    if not run.volume.mask.any():
        return "nothing was found"
    if run.channels or session.volume.channels:
        return "scans of several channels were not"
    plain = replace(session.settings, window="auto", overlap="keep", probabilities=False)
    if plain != Settings():
        return "these settings were not"
    return "" if kind else "prompts of this kind were not"


def _values(session: Session, run: ObjectRun, obj: ObjectPrompts) -> tuple[float, ...]:
    volume, mask = session.volume, session.object_mask(obj.name)
    axis = PLANES[choose_plane("auto", volume)]
    factors = measure(volume, mask, window_for(volume, mask), axis)
    predicted = [r.predicted_iou for r in run.slices if math.isfinite(r.predicted_iou)]
    mean = float(np.mean(predicted)) if predicted else math.nan
    return values_of(factors, looseness(obj, mask), mean)


def _as_json(found: Expected) -> dict[str, Any]:
    return {
        "text": str(found),
        "dice": round(found.dice, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "level": LEVEL,
        "nearest": [
            {"case": e.case, "object": e.object, "dice": e.dice, "distance": round(away, 3)}
            for e, away in found.nearest
        ],
    }


def spoken(expected: Mapping[str, Any]) -> str:
    """What `outlook` says of an object in one line, with the nearest examples."""
    near = [f"{n['case']} {n['object']} {n['dice']:.2f}" for n in expected.get("nearest", ())]
    return expected["text"] + (f" (nearest: {', '.join(near)})" if near else "")
