"""The real worker with a model that takes its time, one that was taught, and a printing library."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import sammed.models.registry as registry
from sammed.imaging.boxes import Box3D
from sammed.models.protocols import ModelSpec, VolumeMask

_build = registry.build


class Slow:
    """A model whose every answer takes some seconds, as ViT-H does."""

    def __init__(self, model, seconds):
        self._model = model
        self._seconds = seconds

    @property
    def spec(self):
        return self._model.spec

    def encode(self, views):
        return self._model.encode(views)

    def decode(self, embedding, prompts):
        sys.__stdout__.write("a library prints\n")
        sys.__stdout__.flush()
        time.sleep(self._seconds)
        return self._model.decode(embedding, prompts)


class Blind(Slow):
    """A model that finds nothing while a file exists."""

    def __init__(self, model, path):
        super().__init__(model, 0)
        self._path = Path(path)

    def decode(self, embedding, prompts):
        found = super().decode(embedding, prompts)
        if not self._path.exists():
            return found
        return [replace(m, low_res_logits=-abs(m.low_res_logits) - 1) for m in found]


class Weighted(Slow):
    """A quick model that says that it has weights."""

    def __init__(self, model, weights):
        super().__init__(model, 0)
        self._spec = replace(model.spec, weights_hash=weights)

    @property
    def spec(self):
        return self._spec


class Taught:
    """Was taught three organs, finds each in the middle of the volume, and was tuned to one.

    It was tuned to a ``cyst`` as well, which it does not find. Boxes of what it was tuned to are
    answered by ellipses, all others by boxes.
    """

    spec = ModelSpec(
        name="taught",
        prompts=frozenset({"box", "points", "mask", "box3d"}),
        weights_hash="a" * 64,
        structures={"organ": 1, "Twin": 2, "twin": 3},
        tuned=frozenset({"cyst", "organ"}),
    )

    def __init__(self):
        self._tuned = Weighted(_build("ellipse"), "b" * 64)
        self._shipped = Weighted(_build("box"), "c" * 64)

    def prompted(self, name):
        return self._tuned if name in self.spec.tuned else self._shipped

    def takes_blocks(self, name):
        return name in self.spec.tuned

    def find(self, image, *, reporter):
        shape = image.volume.shape
        block = Box3D(*(n // 3 for n in shape), *(2 * n // 3 for n in shape))
        found = VolumeMask(block, np.full(block.shape, 4, np.float16), 0.9)
        return dict.fromkeys(self.spec.structures, found)


def build(name, **options):
    """``slow:SECONDS``, ``blind:FILE``, ``taught.sammed`` or ``broken``, else the registry's."""
    if name == "taught.sammed":
        return Taught()
    if name == "broken":
        raise ZeroDivisionError("a bug")
    if name.startswith("blind:"):
        return Blind(_build("box"), name[6:])
    if name.startswith("slow:"):
        return Slow(_build("box"), float(name[5:]))
    return _build(name, **options)


registry.build = build

if __name__ == "__main__":
    from sammed.cli import main

    raise SystemExit(main(["worker", *sys.argv[1:]]))
