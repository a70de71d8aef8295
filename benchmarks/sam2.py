"""SAM 2 behind a session against its own predictor for videos: the same frames, random weights.

The predictor goes forwards and backwards from the same prompted frame, each from a fresh state, so
that both compute the same masks; the session's accept tests are off. Frames come as JPEG files of
the network's size, which is what the predictor reads.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks import machine
from benchmarks.timing import by_turns, ratio
from sammed.engine.cleanup import Cleanup
from sammed.engine.settings import Settings
from sammed.imaging.boxes import Box2D
from sammed.imaging.volume import Volume
from sammed.models.sam2.model import Sam2Model
from sammed.models.sam2.network import build_network, configuration
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore

ARCHITECTURE = "sam2.1_tiny"
FREE = Settings(window="255/127.5", cleanup=Cleanup(components="all"), unchecked="all")
AXIAL = np.array([[0, 0, 0.7, 0], [0, 0.8, 0, 0], [2.5, 0, 0, 0], [0, 0, 0, 1]])
"""Index (z, y, x) to LPS."""

LIGHT = {
    "image_encoder": {
        "trunk": {"embed_dim": 16, "stages": [1, 1, 2, 1], "global_att_blocks": [3]},
        "neck": {"backbone_channel_list": [128, 64, 32, 16]},
    },
    "memory_attention": {"num_layers": 1},
    "num_maskmem": 2,
}
"""A network that computes little and keeps as much of each slice as SAM 2.1 tiny does."""


@cache
def network(light: bool = False, size: int = 1024, kind: str = "SAM2Base") -> Any:
    """Seeded random weights that find something on every slice."""
    from omegaconf import OmegaConf

    module = "sam2.modeling.sam2_base" if kind == "SAM2Base" else "sam2.sam2_video_predictor"
    changes: dict[str, Any] = {"_target_": f"{module}.{kind}", **(LIGHT if light else {})}
    torch.manual_seed(1)
    made = build_network(OmegaConf.merge(configuration(ARCHITECTURE), changes), size)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "output_hypernetworks_mlps" in name and "layers.2" in name:
                parameter.mul_(20)
            if name.startswith(("no_", "maskmem")):
                parameter.add_(0.5 * torch.randn_like(parameter))
        made.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5)
    return made


class Case:
    """Frames in a folder and as a volume."""

    def __init__(self, folder: Path, slices: int, size: int, objects: int = 1) -> None:
        self.folder, self.slices, self.objects = folder, slices, objects
        self.levels = _frames(folder, slices, size)
        self.size, self.middle = size, slices // 2

    def boxes(self, longer: int = 0) -> list[Box2D]:
        """A box an object, side by side; ``longer`` by so many rows."""
        tenth = self.size // 10
        return [
            Box2D(3 * tenth, (1 + n) * tenth, 6 * tenth + longer, (4 + n) * tenth)
            for n in range(self.objects)
        ]

    def ours(
        self, model: Sam2Model, store: EmbeddingStore | None = None, longer: int = 0
    ) -> NDArray[np.bool_]:
        """Masks of all objects, (objects, z, y, x)."""
        volume = Volume.from_array(self.levels, AXIAL, modality="MR")
        session = Session(volume, model, FREE, store)
        for n, box in enumerate(self.boxes(longer)):
            session.put(ObjectPrompts(f"object {n}", boxes=(BoxPrompt(0, self.middle, box),)))
        session.segment()
        return np.stack([session.object_mask(f"object {n}") for n in range(self.objects)])

    def theirs(self, predictor: Any) -> NDArray[np.bool_]:
        """The same, a run of the predictor an object."""
        masks = np.zeros((self.objects, *self.levels.shape), bool)
        for n, box in enumerate(self.boxes()):
            prompt = [box.c0, box.r0, box.c1, box.r1]
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
                state = predictor.init_state(str(self.folder))
                for reverse in (False, True):
                    predictor.reset_state(state)
                    predictor.add_new_points_or_box(state, self.middle, 1, box=prompt)
                    found = predictor.propagate_in_video(state, self.middle, reverse=reverse)
                    for index, _, logits in found:
                        masks[n, index] = logits[0, 0].numpy() > 0
        return masks


def _frames(folder: Path, slices: int, size: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    rows, cols = np.mgrid[:size, :size] / size
    held = np.empty((slices, size, size), np.uint8)
    for i in range(slices):
        grey = 60 + 30 * cols + 6 * rng.standard_normal((size, size))
        grey[((rows - 0.45) / 0.15) ** 2 + ((cols - 0.5) / (0.3 + 0.002 * i)) ** 2 < 1] += 90
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(folder / f"{i}.jpg")
        held[i] = np.asarray(Image.open(folder / f"{i}.jpg"))
    return held


def track(objects: int = 1, slices: int = 8, size: int = 1024, light: int = 0) -> dict[str, Any]:
    """Objects through all slices, both ways, against a run of the predictor for each."""
    model = Sam2Model(network(bool(light), size), name=ARCHITECTURE)
    predictor = network(bool(light), size, "SAM2VideoPredictor")
    with tempfile.TemporaryDirectory() as name:
        case = Case(Path(name), slices, size, objects)
        found: dict[str, NDArray[np.bool_]] = {}
        best = by_turns(
            {
                "theirs": lambda: found.update(theirs=case.theirs(predictor)),
                "ours": lambda: found.update(ours=case.ours(model)),
            },
            rounds=1,
            warm_up=False,
        )
    return {**ratio(best, "theirs", "ours"), **_alike(found["ours"], found["theirs"])}


def kept(slices: int = 8, size: int = 1024, light: int = 0) -> dict[str, Any]:
    """A second run on kept features against the first.

    The same prompts find their answers kept as well (``ratio``); others find the features alone
    (``ratio_other_prompts``).
    """
    model = Sam2Model(network(bool(light), size), name=ARCHITECTURE, weights_hash="1" * 64)
    with tempfile.TemporaryDirectory() as name:
        Path(name, "frames").mkdir()
        case = Case(Path(name, "frames"), slices, size)
        masks: dict[str, NDArray[np.bool_]] = {}

        def run(which: str, longer: int = 0) -> None:
            store = EmbeddingStore(folder=Path(name, "kept"))
            masks[which] = case.ours(model, store, longer)

        best = by_turns(
            {
                "first": lambda: run("first"),
                "again": lambda: run("again"),
                "other": lambda: run("other", 4),
            },
            rounds=1,
            warm_up=False,
        )
    others = ratio(best, "first", "other")
    return {
        **ratio(best, "first", "again"),
        "ratio_other_prompts": others["ratio"],
        "other_prompts_s": others["other_s"],
        **_alike(masks["first"], masks["again"]),
    }


def _alike(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> dict[str, Any]:
    differ = int(np.count_nonzero(ours != theirs))
    there = theirs.any(axis=(2, 3))
    return {
        "slices": ours.shape[1],
        "objects": len(ours),
        "differing_voxels": differ,
        "masks_that_are_there": int(there.sum()),
        "exact": differ <= 1e-5 * ours.size,
    }


def memory(slices: int = 300, size: int = 1024) -> dict[str, Any]:
    """Peak of a program that tracks one object both ways, against the predictor's.

    By a network that computes little (`LIGHT`), as 300 slices would take an hour otherwise; what it
    keeps of a slice is as much.
    """
    peaks = {}
    for side in ("theirs", "ours"):
        command = [sys.executable, "-m", "benchmarks.sam2", side, str(slices), str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[side] = json.loads(done.stdout.splitlines()[-1])
    return {
        "ratio": round(peaks["ours"] / peaks["theirs"], 3),
        "ours_gb": round(peaks["ours"] / 1e9, 2),
        "theirs_gb": round(peaks["theirs"] / 1e9, 2),
        "slices": slices,
    }


def main(side: str, slices: str, size: str) -> None:
    """One side's peak, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        case = Case(Path(name), int(slices), int(size))
        if side == "ours":
            case.ours(Sam2Model(network(True, int(size)), name=ARCHITECTURE))
        else:
            case.theirs(network(True, int(size), "SAM2VideoPredictor"))
    print(machine.peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
