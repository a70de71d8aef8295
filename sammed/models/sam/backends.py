"""What runs an image encoder: PyTorch, or an optional engine whose model is kept on disk."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor

from sammed import folders
from sammed.errors import BackendUnavailableError, InputError, OutputError
from sammed.models.sam.fast_encoder import FastEncoder

log = logging.getLogger(__name__)

ENGINES = ("torch", "compile", "openvino", "onnxruntime")
"""``torch``: the fast path; ``compile``: the same through ``torch.compile``; the others: extras."""

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_EXTRAS = {"openvino": "openvino", "onnxruntime": "onnx"}

Encoder = Callable[[Tensor], Tensor]


def build_encoder(
    encoder: ImageEncoderViT,
    *,
    engine: str = "torch",
    precision: str = "float32",
    key: str = "",
) -> Encoder:
    """What computes an image encoder's embeddings.

    Parameters
    ----------
    encoder
        segment-anything's encoder with its weights, on the device where it shall run.
    engine
        One of `ENGINES`.
    precision
        ``"float32"`` gives the encoder's own numbers to 1e-4 relative; ``"bfloat16"`` and
        ``"float16"`` change masks a little and pay only on processors that are made for them.
    key
        SHA-256 (hex) of the weights, under which an engine's model is kept between runs; empty
        keeps nothing.

    Returns
    -------
    callable
        (n, 3, size, size) float32 images to (n, 256, g, g) float32 embeddings.

    Raises
    ------
    InputError
        If engine or precision are unknown or do not go together.
    BackendUnavailableError
        If the engine is not installed or cannot use the device.
    OutputError
        If an engine's model cannot be kept on disk.
    """
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}; expected one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; expected {' or '.join(PRECISIONS)}")
    if engine == "torch":
        return FastEncoder(encoder, PRECISIONS[precision])
    if engine == "compile":
        return _compiled(FastEncoder(encoder, PRECISIONS[precision], pack=False))
    _check_extra(engine, precision, next(encoder.parameters()).device)
    if engine == "openvino":
        return _OpenVinoEncoder(encoder, precision, key)
    return _OnnxEncoder(encoder, key)


def _check_extra(engine: str, precision: str, device: torch.device) -> None:
    if importlib.util.find_spec(engine) is None:
        raise BackendUnavailableError(
            f"engine {engine!r} is not installed; install it with "
            f"'pip install \"sammed[{_EXTRAS[engine]}]\"' or use '--engine torch'"
        )
    allowed = ("float32", "bfloat16") if engine == "openvino" else ("float32",)
    if precision not in allowed:
        raise InputError(
            f"engine {engine!r} does not compute in {precision}; expected {' or '.join(allowed)}"
        )
    if device.type != "cpu":
        raise BackendUnavailableError(
            f"engine {engine!r} runs on the CPU, not on {device.type}; use '--engine torch'"
        )


def _compiled(plain: FastEncoder) -> Encoder:
    """``torch.compile``, which cannot trace tensors made in inference mode."""
    compiled = torch.compile(plain)

    def encode(images: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            result: Tensor = compiled(images.clone())
        return result

    return encode


class _OpenVinoEncoder:
    """segment-anything's own encoder, translated and run by OpenVINO."""

    def __init__(self, encoder: ImageEncoderViT, precision: str, key: str) -> None:
        openvino = _import_openvino()
        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }

        def translate(folder: Path) -> None:
            example = torch.zeros(1, 3, encoder.img_size, encoder.img_size)
            with _quiet(), torch.no_grad():
                model = openvino.convert_model(encoder, example_input=example)
                model.reshape(list(example.shape))
            openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)

        name = f"openvino-{openvino.__version__.split('-')[0]}"
        with _kept(name, key, int(encoder.img_size), translate) as folder:
            compiled = core.compile_model(core.read_model(folder / "model.xml"), "CPU", settings)
        self._request = compiled.create_infer_request()

    def __call__(self, images: Tensor) -> Tensor:
        answers = [
            np.array(self._request.infer([image[None].numpy()])[0])
            for image in images.float().contiguous()
        ]
        return torch.from_numpy(np.concatenate(answers))


class _OnnxEncoder:
    """segment-anything's own encoder, exported and run by ONNX Runtime."""

    def __init__(self, encoder: ImageEncoderViT, key: str) -> None:
        import onnxruntime

        if importlib.util.find_spec("onnx") is None:
            raise BackendUnavailableError(
                "engine 'onnxruntime' needs the package onnx to export the encoder; install it "
                "with 'pip install \"sammed[onnx]\"'"
            )

        def export(folder: Path) -> None:
            example = torch.zeros(1, 3, encoder.img_size, encoder.img_size)
            with _quiet(), torch.no_grad():
                torch.onnx.export(
                    encoder,
                    (example,),
                    str(folder / "model.onnx"),
                    dynamo=False,
                    opset_version=17,
                    input_names=["images"],
                    output_names=["embeddings"],
                )

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with _kept("onnx-17", key, int(encoder.img_size), export) as folder:
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )

    def __call__(self, images: Tensor) -> Tensor:
        answers = [
            self._session.run(None, {"images": image[None].numpy()})[0]
            for image in images.float().contiguous()
        ]
        return torch.from_numpy(np.concatenate(answers))


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    OpenVINO reports its use, from the import on, by the package openvino_telemetry unless the
    user has opted out; where that package cannot be imported it does without. sammed never uses
    the network unasked.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)
    import openvino

    module: ModuleType = openvino
    return module


@contextmanager
def _kept(engine: str, key: str, size: int, make: Callable[[Path], None]) -> Iterator[Path]:
    """A folder with an engine's model, made if it is not kept from an earlier run.

    It is made elsewhere and moved into place whole; several processes may do so at once.
    """
    if not key:
        with tempfile.TemporaryDirectory(prefix="sammed-") as temporary:
            make(Path(temporary))
            yield Path(temporary)
        return
    place = folders.compiled_folder() / f"{engine}-{key[:16]}-{size}"
    if not place.is_dir():
        log.info("preparing the model for %s; it is kept in %s", engine, place)
        try:
            _make(place, make)
        except OSError as error:
            raise OutputError(
                f"cannot keep the model for {engine} in {place.parent}: "
                f"{error.strerror or error}; make room, point {folders.HOME_VARIABLE} elsewhere, "
                "or use '--engine torch'"
            ) from error
    yield place


def _make(place: Path, make: Callable[[Path], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=place.parent, prefix=".making-"))
    try:
        make(unfinished)
        _move_into_place(unfinished, place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _move_into_place(folder: Path, place: Path) -> None:
    try:
        os.replace(folder, place)
    except OSError:
        if not place.is_dir():  # else another process was faster
            raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of every shape that it takes as constant, which is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
