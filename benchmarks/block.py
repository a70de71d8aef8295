"""What a 3D box round a large organ costs, against every slice, one thread, and one 2D box of it.

``python -m benchmarks.block`` prints a table and writes benchmarks/results/block.json: seconds,
answers of the network, and Dice of a liver of 70 slices of 512 x 512 voxels, drawn by the sample's
generator; and a click into the largest error, to the corrected volume.
"""

from __future__ import annotations

import argparse
import json
import runpy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.machine import describe
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.models.devices import set_threads, threads_now
from sammed.models.registry import build
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.prompts.simulation import corrective_click
from sammed.session import Session

GENERATOR = Path(__file__).parent.parent / "sample_data" / "generate.py"
RESULTS = Path(__file__).parent / "results" / "block.json"
SHAPE = (130, 512, 512)
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
    boxed, sliced = ObjectPrompts("liver", blocks=(block,)), ObjectPrompts("liver", boxes=(flat,))
    found = {
        "2D box": measured(volume, build("compact"), sliced, liver),
        "2D box, one thread": measured(volume, build("compact"), sliced, liver, threads=1),
        "3D box": measured(volume, build("compact"), boxed, liver),
        "3D box, one thread": measured(volume, build("compact"), boxed, liver, threads=1),
        "3D box, every slice": measured(volume, Thorough(build("compact")), boxed, liver),
    }
    for name, row in found.items():
        numbers = ", ".join(f"{what} {value:.3f}" for what, value in row.items())
        print(f"{name}: {numbers}")
    seconds = {name: row["seconds"] for name, row in found.items()}
    whole, thorough = seconds["3D box"], seconds["3D box, every slice"]
    ratios = {"of every slice": whole / thorough, "of a 2D box": whole / seconds["2D box"]}
    for name in ("2D box", "3D box"):
        ratios[f"of a {name} (a click on it)"] = found[name]["a click"] / seconds[name]
        ratios[f"of one thread ({name})"] = seconds[name] / seconds[f"{name}, one thread"]
    print(
        f"3D box of {block.shape} voxels: " + ", ".join(f"{r:.2f} {n}" for n, r in ratios.items())
    )
    result = {"machine": describe(), "shape": shape, "found": found, "ratios": ratios}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    return 0


class Thorough:
    """compact that leaves no slice out, however large the object."""

    def __init__(self, model: Any) -> None:
        self._model = model
        recipe = model.spec.recipe
        planes, look = replace(recipe.planes, finest=10_000), replace(recipe.refine, most=10_000)
        self.spec = replace(model.spec, recipe=replace(recipe, planes=planes, refine=look))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def scan(shape: tuple[int, ...]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The sample with more and smaller voxels: HU, and its liver."""
    made = runpy.run_path(str(GENERATOR), run_name="sample")
    scene = made["scene"]
    scene.__globals__.update(SHAPE=shape, FINE=1, SPACING=SPACING)
    rng = np.random.default_rng(made["SEED"])
    hu, labels = scene(rng)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), (0, 0.7, 0.7))
    return np.rint(hu + 14 * noise / noise.std()).astype(np.int16), labels == LIVER


def measured(
    volume: Volume,
    model: Any,
    obj: ObjectPrompts,
    truth: NDArray[np.bool_],
    threads: int | None = None,
) -> dict[str, Any]:
    """Seconds, answers and Dice of an object, the model loaded before, and the same of a click."""
    before = threads_now()
    set_threads(threads)
    session = Session(volume, model)
    session.put(obj)
    started = time.perf_counter()
    session.segment()
    seconds, answers = time.perf_counter() - started, session.counts["decode"]
    found = session.result().voxels > 0
    click = corrective_click(found, truth, volume.spacing)
    started = time.perf_counter()
    if click is not None:
        session.add(obj.name, click)
        session.segment()
    corrected = session.result().voxels > 0
    clicked = time.perf_counter() - started
    set_threads(before)
    return {
        "seconds": seconds,
        "a click": clicked,
        "answers": answers,
        "Dice": dice(found, truth),
        "Dice after the click": dice(corrected, truth),
    }


if __name__ == "__main__":
    raise SystemExit(main())
