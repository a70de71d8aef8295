"""What a 3D box round a large organ costs, against one 2D box of the same organ in the same run.

``python -m benchmarks.block`` prints a table and writes benchmarks/results/block.json: seconds,
slices looked at, and Dice of a liver of 512 x 512 x 78 voxels, drawn by the sample's generator.
"""

from __future__ import annotations

import argparse
import json
import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.machine import describe
from sammed.evaluation.metrics import dice
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.models.registry import build
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.session import Session

GENERATOR = Path(__file__).parent.parent / "sample_data" / "generate.py"
RESULTS = Path(__file__).parent / "results" / "block.json"
SHAPE = (78, 512, 512)
SPACING = (2.5, 0.9, 0.9)
"""mm; coronal and sagittal slices are looked at, too."""
LIVER = 1


def main() -> int:
    """Measure both and say how they compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, help="z, y, x")
    shape = tuple(parser.parse_args().shape)
    voxels, liver = scan(shape)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(SPACING[::-1]))  # index (z, y, x) to (L, P, S)
    volume = Volume.from_array(voxels, affine, modality="CT")
    block = Box3D.from_mask(liver)
    index = int(liver.sum(axis=(1, 2)).argmax())
    flat = BoxPrompt(0, index, Box2D.from_mask(liver[index]))
    found = {
        "3D box": measured(volume, ObjectPrompts("liver", blocks=(block,)), liver),
        "2D box": measured(volume, ObjectPrompts("liver", boxes=(flat,)), liver),
    }
    for name, row in found.items():
        numbers = ", ".join(f"{what} {value:.3f}" for what, value in row.items())
        print(f"{name}: {numbers}")
    ratio = found["3D box"]["seconds"] / found["2D box"]["seconds"]
    print(f"a 3D box of {block.shape} voxels takes {ratio:.1f} times as long as a 2D box")
    result = {"machine": describe(), "shape": shape, "found": found, "ratio": ratio}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def scan(shape: tuple[int, ...]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The sample with more and smaller voxels: HU, and its liver."""
    made = runpy.run_path(str(GENERATOR), run_name="sample")
    scene = made["scene"]
    scene.__globals__.update(SHAPE=shape, FINE=1, SPACING=SPACING)
    rng = np.random.default_rng(made["SEED"])
    hu, labels = scene(rng)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), (0, 0.7, 0.7))
    return np.rint(hu + 14 * noise / noise.std()).astype(np.int16), labels == LIVER


def measured(volume: Volume, obj: ObjectPrompts, truth: NDArray[np.bool_]) -> dict[str, Any]:
    """Seconds, decoded prompts and Dice of an object, the model loaded before."""
    session = Session(volume, build("compact"))
    session.put(obj)
    started = time.perf_counter()
    session.segment()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "answers": session.counts["decode"],
        "Dice": dice(session.result().voxels > 0, truth),
    }


if __name__ == "__main__":
    raise SystemExit(main())
