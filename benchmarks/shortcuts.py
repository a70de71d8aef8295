"""What encodes less: a smaller input, a zoomed view, every N-th slice; speed, and what it changes.

Where masks come from random weights, their Dice says how much the shortcut moves such a network,
not how much it moves a trained one. The stride is measured on compact, whose weights are trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import cases
from benchmarks.end_to_end import naive, prompted, sampled, segment
from sammed.models import registry
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.session import Session

RANDOM = "random weights: the Dice says nothing of a trained network's masks"


def small(zoom: float | None, slices: int = 8, number: int = 5, size: int = 512) -> dict[str, Any]:
    """Objects seen at fewer tokens: in a view round each, or (no zoom) in one whole slice."""
    scan, sample = cases.volume(slices), sampled(slices)
    asked = prompted(number, scan)
    naive_s, _ = naive(scan, 1, sample)
    ours_s, session = segment(scan, cases.model(size=size), asked, zoom=zoom)
    some = [replace(o, boxes=tuple(b for b in o.boxes if b.index in sample)) for o in asked]
    full_s, full = segment(scan, cases.model(), some)
    expected_s = naive_s / len(sample) * slices * number
    return {
        "ratio": round(expected_s / ours_s, 2),
        "ratio_to_whole_slices": round(full_s / len(sample) * slices / ours_s, 2),
        "naive_s": round(expected_s, 2),
        "sammed_s": round(ours_s, 2),
        "encodes": session.counts["encode"],
        "dice": _dice(full, session, number, sample),
        "note": f"{slices} slices, {session.counts['encode']} encodes; naive loop and full path "
        f"measured on {len(sample)} slices and scaled; {RANDOM}",
    }


def encode_size(size: int, slices: int = 6) -> dict[str, Any]:
    """Whole slices at fewer tokens against 1024 px, on the same weights."""
    scan = cases.volume(slices)
    asked = prompted(1, scan)
    small, full = cases.model(size=size), cases.model()
    full_s, reference = segment(scan, full, asked)
    ours_s, session = segment(scan, small, asked)
    return {
        "ratio": round(full_s / ours_s, 2),
        "full_s": round(full_s, 2),
        "sammed_s": round(ours_s, 2),
        "dice": _dice(reference, session, 1, list(range(slices))),
        "note": f"1 object, {slices} slices; {RANDOM}",
    }


def stride(step: int, slices: int = 80) -> dict[str, Any]:
    """How many fewer slices are encoded, and what it does to masks: compact, as it is trained.

    A network with random weights disagrees with itself from slice to slice, so that its strides
    would be refined throughout. What is saved of a costly encoder is what is saved of encodes.
    """
    scan, model = cases.volume(slices), registry.build("compact")
    box = cases.boxes(0, slices)[slices // 2]
    asked = [ObjectPrompts("object 0", boxes=(BoxPrompt(0, slices // 2, box),))]
    full_s, full = segment(scan, model, asked)
    ours_s, ours = segment(scan, model, asked, stride=step)
    return {
        "ratio": round(full.counts["encode"] / ours.counts["encode"], 2),
        "ratio_s": round(full_s / ours_s, 2),
        "encodes_every_slice": full.counts["encode"],
        "encodes": ours.counts["encode"],
        "dice": _dice(full, ours, 1, list(range(slices))),
        "note": f"encodes of compact, one box propagated through an ellipsoid of {slices} slices",
    }


def _dice(a: Session, b: Session, number: int, indices: list[int]) -> float:
    """Of all objects on some slices together."""
    both = total = 0
    for n in range(number):
        one, other = (_mask(session, n)[indices] for session in (a, b))
        both += int((one & other).sum())
        total += int(one.sum() + other.sum())
    return round(2 * both / max(total, 1), 4)


def _mask(session: Session, number: int) -> NDArray[np.bool_]:
    return session.object_mask(f"object {number}")
