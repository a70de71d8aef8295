"""Whole runs against a SamPredictor loop that sets an image and asks for a mask, slice by slice.

Both get a box on every slice and no propagation, so that both answer exactly the same questions.
The naive loop costs the same on every slice; it is timed on a few of them and scaled up.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from segment_anything import SamPredictor

from benchmarks import cases
from sammed.embeddings import EmbeddingStore
from sammed.fusion import Cleanup
from sammed.intensity import resolve_window
from sammed.models import registry
from sammed.models.base import SliceModel
from sammed.session import Session, Settings
from sammed.slices import SliceStack
from sammed.volume import Volume

Masks = dict[int, NDArray[np.bool_]]
SLICES = 40
SAMPLE = 4


def _settings(zoom: float | str | None = "auto") -> Settings:
    return Settings(
        plane="axial", window=cases.WINDOW, cleanup=Cleanup(components="all"), zoom=zoom
    )


def _segment(
    scan: Volume,
    model: SliceModel,
    objects: int,
    store: EmbeddingStore | None = None,
    zoom: float | str | None = "auto",
) -> tuple[float, Session]:
    started = time.perf_counter()
    session = Session(scan, model, _settings(zoom), store)
    for number in range(objects):
        session.put(cases.prompted(number, scan.shape[0]))
    session.segment()
    session.result()
    return time.perf_counter() - started, session


def _naive(scan: Volume, number: int, indices: list[int]) -> tuple[float, Masks]:
    """The loop that everyone writes, for one object on some slices."""
    predictor = SamPredictor(cases.random_network())
    boxes = cases.boxes(number, scan.shape[0])
    masks: Masks = {}
    started = time.perf_counter()
    stack = SliceStack(scan, "axial", resolve_window(cases.WINDOW, scan))
    for z in indices:
        box = boxes[z]
        predictor.set_image(cases.levels(stack.image(z)))
        found, _, _ = predictor.predict(
            box=np.array([box.c0, box.r0, box.c1, box.r1]), multimask_output=False
        )
        masks[z] = found[0]
    return time.perf_counter() - started, masks


def _compare(session: Session, number: int, naive: Masks) -> dict[str, Any]:
    ours = session.object_mask(f"object {number}")
    differing = sum(int((ours[z] != mask).sum()) for z, mask in naive.items())
    both = sum(int((ours[z] & mask).sum()) for z, mask in naive.items())
    total = sum(int(ours[z].sum() + mask.sum()) for z, mask in naive.items())
    voxels = sum(mask.size for mask in naive.values())
    return {
        "dice": round(2 * both / max(total, 1), 6),
        "differing_voxels": differing,
        "compared_voxels": voxels,
    }


def objects(number: int, slices: int = SLICES, engine: str = "torch") -> dict[str, Any]:
    """Objects over slices: one encode a slice against one encode an object and slice."""
    scan = cases.volume(slices)
    sample = [round(z) for z in np.linspace(0, slices - 1, min(SAMPLE, slices))]
    naive_s, naive = _naive(scan, 0, sample)
    ours_s, session = _segment(scan, cases.model(engine), number)
    expected_s = naive_s / len(sample) * slices * number
    network = session.timings["encode"] + session.timings["decode"]
    compared = _compare(session, 0, naive)
    return {
        "ratio": round(expected_s / ours_s, 2),
        "naive_s": round(expected_s, 2),
        "naive_measured_slices": len(sample),
        "sammed_s": round(ours_s, 2),
        "encodes": session.counts["encode"],
        "decodes": session.counts["decode"],
        "network_s": round(network, 2),
        "overhead_share": round((ours_s - network) / network, 4),
        "decode_ms": round(1000 * session.timings["decode"] / session.counts["decode"], 1),
        **compared,
        "exact": compared["differing_voxels"] <= 1e-5 * compared["compared_voxels"],
    }


def zoomed(slices: int = SLICES, number: int = 5, size: int = 512) -> dict[str, Any]:
    """Zoomed views encoded with fewer tokens: one encode an object and slice, but a small one."""
    scan = cases.volume(slices)
    sample = [round(z) for z in np.linspace(0, slices - 1, min(SAMPLE, slices))]
    naive_s, _ = _naive(scan, 0, sample)
    full_s, full = _segment(scan, cases.model(), number)
    ours_s, session = _segment(scan, cases.model(size=size), number, zoom=2.0)
    expected_s = naive_s / len(sample) * slices * number
    a, b = (s.object_mask("object 0") for s in (full, session))
    return {
        "ratio": round(expected_s / ours_s, 2),
        "naive_s": round(expected_s, 2),
        "sammed_s": round(ours_s, 2),
        "whole_slices_s": round(full_s, 2),
        "encodes": session.counts["encode"],
        "dice_of_paths": round(2 * int((a & b).sum()) / max(int(a.sum() + b.sum()), 1), 4),
        "note": "random weights: the Dice between the paths says nothing of real masks",
    }


def cached(slices: int = SLICES) -> dict[str, Any]:
    """A second run on the same volume, in a new store over the same folder."""
    scan, model = cases.volume(slices), cases.model()
    with tempfile.TemporaryDirectory() as folder:
        first_s, first = _segment(scan, model, 1, EmbeddingStore(folder=Path(folder)))
        again = EmbeddingStore(folder=Path(folder))
        second_s, second = _segment(scan, model, 1, again)
        a, b = (s.object_mask("object 0") for s in (first, second))
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
    return {
        "ratio": round(first_s / second_s, 2),
        "first_s": round(first_s, 2),
        "second_s": round(second_s, 2),
        "encodes_again": second.counts["encode"],
        "folder_mb": round(size / 1e6, 1),
        "exact": bool(np.array_equal(a, b)),
    }


def growth(slices: int = 8) -> dict[str, Any]:
    """Seconds by number of slices and by number of objects, with the encoder's cost apart."""
    model = cases.model()
    by_slices, by_objects = {}, {}
    for factor in (1, 2, 4):
        seconds, _ = _segment(cases.volume(slices * factor), model, 1)
        by_slices[slices * factor] = round(seconds, 2)
    scan = cases.volume(slices)
    for count in (1, 2, 5, 10, 20):
        seconds, session = _segment(scan, model, count)
        decode = session.timings["decode"]
        by_objects[count] = {"s": round(seconds, 2), "decode_s": round(decode, 2)}
    per_slice = [s / n for n, s in by_slices.items()]
    return {
        "by_slices": by_slices,
        "by_objects": by_objects,
        "ratio": round(max(per_slice) / min(per_slice), 2),
    }


def compact(slices: int = 80) -> dict[str, Any]:
    """The built-in network on 80 of 200 slices against ViT-B's exact path."""
    scan = cases.volume(200)
    box_model = registry.build("compact")
    wanted = cases.prompted(0, 200)
    middle = [b for b in wanted.boxes if abs(b.index - 100) < slices / 2][:slices]
    asked = replace(wanted, boxes=tuple(middle))
    _segment_one(scan, box_model, replace(asked, boxes=asked.boxes[:2]))
    ours_s, session = _segment_one(scan, box_model, asked)
    sample = tuple(middle[:: max(len(middle) // SAMPLE, 1)][:SAMPLE])
    sam_s, _ = _segment_one(scan, cases.model(), replace(asked, boxes=sample))
    expected_s = sam_s / len(sample) * len(middle)
    network = session.timings["encode"] + session.timings["decode"]
    return {
        "ratio": round(expected_s / ours_s, 1),
        "vit_b_s": round(expected_s, 1),
        "vit_b_measured_slices": len(sample),
        "compact_s": round(ours_s, 3),
        "s_per_slice": round(ours_s / len(middle), 4),
        "engine_over_network": round((ours_s - network) / network, 2),
    }


def _segment_one(scan: Volume, model: SliceModel, asked: Any) -> tuple[float, Session]:
    started = time.perf_counter()
    session = Session(scan, model, _settings())
    session.put(asked)
    session.segment()
    session.result()
    return time.perf_counter() - started, session
