"""``sammed doctor``: what is installed, and how fast each model is on this machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import put, set_verbosity
from sammed.cli.options import Device, Engine, Json, Threads

if TYPE_CHECKING:
    from sammed.imaging.volume import Volume
    from sammed.models.protocols import ImageModel

PACKAGES = {
    "core": (
        "torch", "torchvision", "segment-anything", "numpy", "scipy", "monai", "nibabel",
        "SimpleITK", "pydicom", "safetensors", "pillow",
    ),
    "dicom": ("highdicom", "contourpy", "dicomweb-client"),
    "mesh": ("scikit-image",),
    "everything": ("scikit-image",),
    "workbench": ("starlette", "uvicorn", "websockets"),
    "cluster": ("distributed", "dask", "cryptography", "bokeh"),
    "plots": ("matplotlib",),
    "openvino": ("openvino",),
    "onnx": ("onnxruntime", "onnx"),
    "sam2": ("sam2",),
    "hq": ("segment-anything-hq", "timm"),
    "nninteractive": ("nninteractive",),
}  # fmt: skip
"""Packages by the extra of sammed that brings them."""

REPEATS = 3
BOX_SHARE = (0.3, 0.3, 0.7, 0.7)


def doctor(
    image: Annotated[
        Path | None, typer.Argument(help="A volume, for which the time is estimated.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only these models. Repeatable.")
    ] = None,
    engine: Engine = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Say what is installed and measure seconds per slice of every model that is at hand.

    For example:

      sammed doctor

      sammed doctor ct.nii.gz --model compact --json

      sammed doctor --model vit_b --engine openvino
    """
    set_verbosity(quiet=False, verbose=False)
    from sammed import io

    volume = io.read(image) if image is not None else None
    found: dict[str, Any] = {
        "machine": _machine(),
        "packages": {extra: _versions(names) for extra, names in PACKAGES.items()},
        "models": [
            _measure(name, device, threads, engine, volume) for name in model or _known(engine)
        ],
    }
    if as_json:
        put(found)
    else:
        _print(found)


def _machine() -> dict[str, Any]:
    from sammed.models.devices import accelerators, threads_now

    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "threads": threads_now(),
        **accelerators(),
    }


def _versions(names: tuple[str, ...]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _known(engine: str | None) -> list[str]:
    """All models, or those that an engine may run."""
    from sammed.models import catalogue

    entries = catalogue.entries().items()
    return [name for name, entry in entries if engine is None or "engine" in entry.options]


def _measure(
    name: str, device: str, threads: int | None, engine: str | None, volume: Volume | None
) -> dict[str, Any]:
    """Seconds to encode one view and to decode one prompt on it, medians; none of volumes."""
    from sammed.errors import ModelError
    from sammed.models import registry
    from sammed.models.protocols import ImageModel

    try:
        model = registry.build(name, device=device, threads=threads, engine=engine)
    except ModelError as error:
        return {"name": name, "available": False, "reason": str(error)}
    if not isinstance(model, ImageModel):
        return {"name": name, "available": True, "reason": "it sees no slices that could be timed"}
    encode, decode = _time_slices(model)
    measured: dict[str, Any] = {
        "name": name,
        "available": True,
        "encode_s": round(encode, 4),
        "decode_s": round(decode, 4),
        "seconds_per_slice": round(encode + decode, 4),
    }
    if volume is not None:
        slices = volume.shape[0]
        measured["slices"] = slices
        measured["estimated_s"] = round(slices * (encode + decode), 1)
    return measured


def _time_slices(model: ImageModel) -> tuple[float, float]:
    import numpy as np

    from sammed.models.protocols import ViewBatch, ViewPrompt

    spec = model.spec
    size = spec.view_size
    rng = np.random.default_rng(0)
    pixels = rng.random((1, 1, size, size), np.float32)
    around = rng.random((1, 2 * spec.context, size, size), np.float32) if spec.context else None
    box = (np.array(BOX_SHARE) * size).astype(np.float32)
    encoding, decoding = [], []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        embedding = model.encode(ViewBatch(pixels, around))[0]
        encoded = time.perf_counter()
        model.decode(embedding, [ViewPrompt(box=box)])
        encoding.append(encoded - start)
        decoding.append(time.perf_counter() - encoded)
    return statistics.median(encoding[1:]), statistics.median(decoding[1:])


def _print(found: dict[str, Any]) -> None:
    machine = found["machine"]
    typer.echo(f"{machine['system']}, Python {machine['python']}, {machine['cores']} cores")
    typer.echo(f"threads: {machine['threads']}; compact follows so many chains or planes at once")
    typer.echo(
        f"CUDA {'yes' if machine['cuda'] else 'no'}, MPS {'yes' if machine['mps'] else 'no'}"
    )
    for extra, versions in found["packages"].items():
        hint = "" if extra == "core" else f" (pip install 'sammed[{extra}]')"
        listed = (f"{n} {v or 'missing' + hint}" for n, v in versions.items())
        typer.echo(f"{extra}: {', '.join(listed)}")
    for entry in found["models"]:
        if "reason" in entry:
            state = "ready" if entry["available"] else "not available"
            typer.echo(f"{entry['name']}: {state}: {entry['reason']}")
            continue
        line = (
            f"{entry['name']}: {entry['seconds_per_slice']:.3f} s/slice "
            f"(encode {entry['encode_s']:.3f}, decode {entry['decode_s']:.3f})"
        )
        if "estimated_s" in entry:
            line += f"; about {entry['estimated_s']:.1f} s for all {entry['slices']} slices"
        typer.echo(line)
