"""That the cost grows in a straight line with slices and with objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import cases
from benchmarks.end_to_end import prompted, segment
from sammed.models import registry
from sammed.models.protocols import ImageModel

COUNTS = (1, 2, 5, 10, 20)
ROUNDS = 2

Curve = dict[int, float]


def growth(slices: int = 200, vit_b_slices: int = 8) -> dict[str, Any]:
    """Seconds by number of slices and of objects, of compact and, with fewer, of ViT-B."""
    quarter, few = slices // 8, vit_b_slices // 4
    built_in, sam = registry.build("compact"), cases.model()
    segment(cases.volume(2), built_in, prompted(1, cases.volume(2)))
    curves = {
        "compact": {
            "slices": by_slices(built_in, [quarter * n for n in (1, 2, 4, 8)]),
            f"objects, {quarter} slices": by_objects(built_in, quarter),
        },
        "ViT-B": {
            "slices": by_slices(sam, [few * n for n in (1, 2, 4)]),
            "objects, 1 slice": by_objects(sam, 1),
        },
    }
    bends = {f"{m}, {name}": bend(c) for m, by in curves.items() for name, c in by.items()}
    return {
        "ratio": max(bends.values()),
        "departures": bends,
        "curves": curves,
        "note": f"largest departure of any of four curves (growth.png): compact to {slices} slices "
        f"and to {COUNTS[-1]} objects over {quarter} slices, ViT-B to {vit_b_slices} slices and to "
        f"{COUNTS[-1]} objects on one slice",
    }


def by_slices(model: ImageModel, counts: list[int]) -> Curve:
    """Seconds for one object, by number of slices."""
    found = {}
    for count in counts:
        scan = cases.volume(count)
        found[count] = _fastest(lambda s=scan: segment(s, model, prompted(1, s))[0])
    return found


def by_objects(model: ImageModel, slices: int) -> Curve:
    """Seconds for several objects over some slices, by number of objects."""
    scan = cases.volume(slices)
    asked = prompted(COUNTS[-1], scan)
    return {n: _fastest(lambda n=n: segment(scan, model, asked[:n])[0]) for n in COUNTS}


def bend(curve: Mapping[int, float]) -> float:
    """Largest departure from the straight line that fits best, as a share of the largest value."""
    counts, seconds = np.array(list(curve), float), np.array(list(curve.values()))
    line = np.polyval(np.polyfit(counts, seconds, 1), counts)
    return round(float(np.abs(seconds - line).max() / seconds.max()), 4)


def _fastest(run: Callable[[], float]) -> float:
    return round(min(run() for _ in range(ROUNDS)), 3)
