"""Whole runs against a SamPredictor loop that sets an image and asks for a mask, slice by slice.

Both get a box on every slice and no propagation, so that both answer exactly the same questions.
The naive loop costs the same on every slice; it is timed on a few of them and scaled up. The cost
grows linearly with slices (`benchmarks.growth`), so that the ratios of 16 slices are those of 40;
``--set slices=40`` measures these.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from segment_anything import SamPredictor

from benchmarks import cases
from sammed.engine.cleanup import Cleanup
from sammed.engine.settings import Settings
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.models.protocols import ImageModel
from sammed.prompts import ObjectPrompts
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack

Masks = dict[tuple[int, int], NDArray[np.bool_]]
"""By object and slice."""

SLICES = 16
SAMPLE = 3


def settings(**changes: Any) -> Settings:
    """Axial, one window, nothing cleaned up."""
    return Settings(
        plane="axial", window=cases.WINDOW, cleanup=Cleanup(components="all"), **changes
    )


def segment(
    scan: Volume,
    model: ImageModel,
    asked: Sequence[ObjectPrompts],
    store: EmbeddingStore | None = None,
    **changes: Any,
) -> tuple[float, Session]:
    """Seconds from a volume in memory to its label map, and the session."""
    started = time.perf_counter()
    session = Session(scan, model, settings(**changes), store)
    for obj in asked:
        session.put(obj)
    session.segment()
    session.result()
    return time.perf_counter() - started, session


def prompted(number: int, scan: Volume) -> list[ObjectPrompts]:
    """That many objects with a box on every slice."""
    return [cases.prompted(n, len(scan.voxels)) for n in range(number)]


def sampled(slices: int, count: int = SAMPLE) -> list[int]:
    """Some slices from the first to the last."""
    return sorted({round(z) for z in np.linspace(0, slices - 1, min(count, slices))})


def naive(scan: Volume, number: int, indices: list[int]) -> tuple[float, Masks]:
    """The loop that everyone writes: seconds for one object on some slices, masks of all objects.

    The masks of the other objects are for the comparison and cost no time.
    """
    predictor = SamPredictor(cases.random_network())
    boxes = [cases.boxes(n, len(scan.voxels)) for n in range(number)]
    stack = SliceStack(scan, "axial", resolve_window(cases.WINDOW, scan))
    masks: Masks = {}
    seconds = 0.0
    for z in indices:
        started = time.perf_counter()
        predictor.set_image(cases.levels(stack.image(z)))
        for n in range(number):
            box = boxes[n][z]
            found, _, _ = predictor.predict(
                box=np.array([box.c0, box.r0, box.c1, box.r1]), multimask_output=False
            )
            masks[n, z] = found[0]
            if n == 0:
                seconds += time.perf_counter() - started
    return seconds, masks


def _compare(session: Session, expected: Masks) -> dict[str, Any]:
    ours = {n: session.object_mask(f"object {n}") for n in {n for n, _ in expected}}
    differing = sum(int((ours[n][z] != mask).sum()) for (n, z), mask in expected.items())
    both = sum(int((ours[n][z] & mask).sum()) for (n, z), mask in expected.items())
    total = sum(int(ours[n][z].sum() + mask.sum()) for (n, z), mask in expected.items())
    voxels = sum(mask.size for mask in expected.values())
    return {
        "dice": round(2 * both / max(total, 1), 6),
        "compared_masks": len(expected),
        "differing_voxels": differing,
        "compared_voxels": voxels,
        "exact": differing <= 1e-5 * voxels,
    }


def objects(number: int, slices: int = SLICES, engine: str = "torch") -> dict[str, Any]:
    """Objects over slices: one encode a slice against one encode an object and slice."""
    scan, sample = cases.volume(slices), sampled(slices)
    naive_s, expected = naive(scan, number, sample)
    ours_s, session = segment(scan, cases.model(engine), prompted(number, scan))
    expected_s = naive_s / len(sample) * slices * number
    network = session.timings["encode"] + session.timings["decode"]
    return {
        "ratio": round(expected_s / ours_s, 2),
        "naive_s": round(expected_s, 2),
        "sammed_s": round(ours_s, 2),
        "slices": slices,
        "encodes": session.counts["encode"],
        "decodes": session.counts["decode"],
        "network_s": round(network, 2),
        "overhead_share": round((ours_s - network) / network, 4),
        "decode_ms": round(1000 * session.timings["decode"] / session.counts["decode"], 1),
        **_compare(session, expected),
        "note": f"{slices} slices; the naive loop measured on {len(sample)} of them and scaled",
    }


def cached(slices: int = SLICES) -> dict[str, Any]:
    """A second run on the same volume, in a new store over the same folder."""
    scan, model = cases.volume(slices), cases.model()
    asked = prompted(1, scan)
    with tempfile.TemporaryDirectory() as folder:
        first_s, first = segment(scan, model, asked, EmbeddingStore(folder=Path(folder)))
        again = EmbeddingStore(folder=Path(folder))
        second_s, second = segment(scan, model, asked, again)
        a, b = (s.object_mask("object 0") for s in (first, second))
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
    return {
        "ratio": round(first_s / second_s, 2),
        "first_s": round(first_s, 2),
        "second_s": round(second_s, 2),
        "encodes_again": second.counts["encode"],
        "folder_mb": round(size / 1e6, 1),
        "exact": bool(np.array_equal(a, b)),
        "note": f"1 object over {slices} slices, without loading the model",
    }


def compact(slices: int = 80) -> dict[str, Any]:
    """The built-in network on 80 of 200 slices against ViT-B's exact path."""
    scan = cases.volume(200)
    built_in = registry.build("compact")
    wanted = cases.prompted(0, 200)
    middle = [b for b in wanted.boxes if abs(b.index - 100) < slices / 2][:slices]
    segment(scan, built_in, [replace(wanted, boxes=tuple(middle[:2]))])
    ours_s, session = segment(scan, built_in, [replace(wanted, boxes=tuple(middle))])
    sample = tuple(middle[n] for n in sampled(len(middle)))
    sam_s, _ = segment(scan, cases.model(), [replace(wanted, boxes=sample)])
    expected_s = sam_s / len(sample) * len(middle)
    network = session.timings["encode"] + session.timings["decode"]
    return {
        "ratio": round(expected_s / ours_s, 1),
        "vit_b_s": round(expected_s, 1),
        "compact_s": round(ours_s, 3),
        "s_per_slice": round(ours_s / len(middle), 4),
        "engine_over_network": round((ours_s - network) / network, 2),
        "note": "a box on each slice, each looked at twice; "
        f"ViT-B measured on {len(sample)} slices and scaled",
    }
