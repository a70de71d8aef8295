"""The real worker with a model that takes its time and a library that prints."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import sammed.models.registry as registry

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


def build(name, **options):
    """``slow:SECONDS``, ``blind:FILE`` or ``broken``, else the registry's."""
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
