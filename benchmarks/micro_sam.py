"""ViT-B with a box on each slice: sammed against micro-sam, on the same random weights.

micro-sam (Archit et al. 2025, doi:10.1038/s41592-024-02580-4) embeds the volume
(`precompute_image_embeddings`), then answers a box a slice (`segment_from_box`): segment-anything's
own networks, as its predictor runs them. It stretches each slice to its own darkest and brightest
value; that is left out here, so that both see the same pictures and their masks can be compared.

It is no dependency of sammed's: `pip install micro-sam` brings napari and Qt with it, and is best
done in an environment of its own.
"""

from __future__ import annotations

import time
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from segment_anything import SamPredictor

from benchmarks import cases
from benchmarks.end_to_end import prompted, sampled, segment
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.views.slices import SliceStack

Spent = tuple[float, float]
"""Seconds by the clock, and of processor time."""


def boxes(slices: int = 40, sample: int = 4) -> dict[str, Any]:
    """One object, a box on each slice, from a volume in memory to masks.

    micro-sam costs the same on every slice: it is timed on some of them and scaled.
    """
    scan, indices = cases.volume(slices), sampled(slices, sample)
    theirs, expected = _micro_sam(scan, indices)
    model = cases.model()
    segment(cases.volume(1), model, prompted(1, cases.volume(1)))  # threads and packing
    cpu = time.process_time()
    ours_s, session = segment(scan, model, prompted(1, scan))
    cpu = time.process_time() - cpu
    theirs_s, theirs_cpu = (seconds / len(indices) * slices for seconds in theirs)
    found = session.object_mask("object 0")[indices]
    differ = int(np.count_nonzero(found != expected))
    return {
        "ratio": round(theirs_s / ours_s, 2),
        "ratio_cpu": round(theirs_cpu / cpu, 2),
        "micro_sam_s": round(theirs_s, 2),
        "sammed_s": round(ours_s, 2),
        "micro_sam_cpu_s": round(theirs_cpu, 2),
        "sammed_cpu_s": round(cpu, 2),
        "slices": slices,
        "version": metadata.version("micro-sam"),
        "differing_voxels": differ,
        "exact": differ <= 1e-5 * found.size,
        "note": f"{slices} slices; micro-sam measured on {len(indices)} of them and scaled",
    }


def _micro_sam(scan: Volume, indices: list[int]) -> tuple[Spent, NDArray[np.bool_]]:
    from micro_sam import util
    from micro_sam.prompt_based_segmentation import segment_from_box

    util._to_image = lambda levels: np.repeat(levels[..., None], 3, axis=-1)
    predictor: Any = SamPredictor(cases.random_network())
    predictor.model_type = predictor.model_name = "vit_b"
    predictor._hash = "random"
    stack = SliceStack(scan, "axial", resolve_window(cases.WINDOW, scan))
    levels = np.stack([cases.levels(stack.image(z))[..., 0] for z in indices])
    wanted = cases.boxes(0, len(scan.voxels))
    util.precompute_image_embeddings(predictor, levels[:1], ndim=3, verbose=False)
    wall, cpu = time.perf_counter(), time.process_time()
    embedded = util.precompute_image_embeddings(predictor, levels, ndim=3, verbose=False)
    masks = []
    for i, z in enumerate(indices):
        box = wanted[z]
        corners = np.array([box.r0, box.c0, box.r1, box.c1])
        masks.append(segment_from_box(predictor, corners, embedded, i=i)[0])
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return spent, np.stack(masks)
