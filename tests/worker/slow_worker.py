"""The real worker with a model that takes its time and a library that prints."""

from __future__ import annotations

import sys
import time

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


def build(name, **options):
    """``slow:SECONDS`` or ``broken``, else the registry's."""
    if name == "broken":
        raise ZeroDivisionError("a bug")
    if name.startswith("slow:"):
        return Slow(_build("box"), float(name[5:]))
    return _build(name, **options)


registry.build = build

if __name__ == "__main__":
    from sammed.worker.server import main

    raise SystemExit(main(sys.argv[1:]))
