"""How much memory a model takes: what `sammed.models.memory` compares with what is free."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from sammed.models import catalogue, registry
from sammed.models.protocols import ImageModel, TrackingModel, ViewBatch, ViewPrompt
from sammed.models.sam.network import ARCHITECTURES as SAM
from sammed.models.sam2.network import ARCHITECTURES as SAM2

REMEMBERED = 7


def peaks() -> dict[str, Any]:
    """Peaks of programs that build one model from a file and use it, in GB; largest over stated."""
    found, most = {}, 0.0
    for name in (n for n in (*SAM, *SAM2) if not n.startswith("sam2_")):  # SAM 2.0 is as large
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{name}.pt")
            _python("save", name, str(file))
            found[name] = round(json.loads(_python("use", name, str(file))) / 1e9, 2)
        most = max(most, found[name] * 1e9 / catalogue.resolve(name).memory)
    return {"ratio": round(most, 3), **found}


def _python(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.models_memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout.splitlines() or [""])[-1]


def save(name: str, file: Path) -> None:
    """Random weights of an architecture."""
    if name in SAM:
        from sammed.models.sam.network import build_network as build_sam

        torch.save(build_sam(SAM[name]).state_dict(), file)
    else:
        from sammed.models.sam2.network import build_network, configuration

        torch.save({"model": build_network(configuration(name)).state_dict()}, file)


def use(name: str, file: Path) -> None:
    """Encode a slice, answer a box on it, and with a full memory track the next."""
    model = registry.build(name, weights=file)
    assert isinstance(model, ImageModel)
    size = model.spec.view_size
    pixels = np.random.default_rng(0).random((1, 1, size, size), np.float32)
    (embedding,) = model.encode(ViewBatch(pixels))
    box = np.array([size / 4, size / 4, 3 * size / 4, 3 * size / 4], np.float32)
    (answer,) = model.decode(embedding, [ViewPrompt(box=box)])
    if isinstance(model, TrackingModel):
        own, memory = answer.only(answer.best), model.begin(40)
        for index in range(REMEMBERED + 1):
            memory = model.remember(memory, index, embedding, own, prompted=not index)
        model.track(memory, REMEMBERED + 1, embedding, direction=1)
    print(machine.peak_bytes())


if __name__ == "__main__":
    {"save": save, "use": use}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
