"""Reading, writing and memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from benchmarks import cases
from benchmarks.machine import peak_bytes
from benchmarks.timing import by_turns, ratio
from sammed import io
from sammed.engine.settings import Settings
from sammed.imaging.volume import LabelVolume
from sammed.models import registry
from sammed.session import Session


def nifti(slices: int = 400) -> dict[str, Any]:
    """512 x 512 x 400 int16 as .nii.gz: sammed's read and write against nibabel's."""
    scan = cases.volume(slices)
    labels = (scan.voxels > 40).astype(np.uint8)
    with tempfile.TemporaryDirectory() as name:
        image, ours, theirs = (Path(name, n) for n in ("i.nii.gz", "o.nii.gz", "t.nii.gz"))
        affine = np.diag([-0.8, -0.8, 2.5, 1])
        nibabel.save(nibabel.Nifti1Image(scan.voxels.transpose(2, 1, 0), affine), image)

        def by_nibabel() -> None:
            loaded = nibabel.load(image)
            np.asanyarray(loaded.dataobj)
            stored = nibabel.Nifti1Image(labels.transpose(2, 1, 0), loaded.affine)
            nibabel.save(stored, theirs)

        def by_sammed() -> None:
            read = io.read(image)
            io.write_labels(LabelVolume(labels, read.grid, {1: "object"}), ours, force=True)

        best = by_turns({"sammed": by_sammed, "nibabel": by_nibabel}, rounds=2, warm_up=False)
        same = np.array_equal(
            np.asanyarray(nibabel.load(ours).dataobj), np.asanyarray(nibabel.load(theirs).dataobj)
        )
    return {**ratio(best, "sammed", "nibabel"), "exact": bool(same)}


def memory(slices: int = 1000, segmented: int = 300) -> dict[str, Any]:
    """Peak memory of one object over 300 slices of a 512 x 512 x 1000 int16 volume."""
    model = registry.build("compact")
    before = peak_bytes()
    scan = cases.volume(slices)
    made = peak_bytes()
    asked = cases.prompted(0, slices)
    boxes = tuple(b for b in asked.boxes if abs(b.index - slices // 2) < segmented / 2)
    session = Session(scan, model, Settings(plane="axial", window=cases.WINDOW))
    session.put(replace(asked, boxes=boxes))
    session.segment()
    session.result()
    size = scan.voxels.nbytes
    return {
        "ratio": round((peak_bytes() - before - 500e6) / size, 2),
        "volume_mb": round(size / 1e6),
        "peak_above_model_mb": round((peak_bytes() - before) / 1e6),
        "of_which_making_the_volume_mb": round((made - before) / 1e6),
        "peak_mb": round(peak_bytes() / 1e6),
    }
