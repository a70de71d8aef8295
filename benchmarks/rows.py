"""The lines of the table: what is measured against what, and how much is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any

Found = dict[str, Any]
Options = dict[str, int]


class Run:
    """A function of one of the modules here, found when it is called.

    Parameters
    ----------
    module, function
        Where it is.
    fixed
        Its first arguments.
    """

    def __init__(self, module: str, function: str, *fixed: Any) -> None:
        self._module, self._function, self._fixed = module, function, fixed

    def __call__(self, options: Options) -> Found:
        found: Found = self._find()(*self._fixed, **options)
        return found

    def takes(self, option: str) -> bool:
        """Whether it has an option of that name that is not fixed."""
        return option in list(signature(self._find()).parameters)[len(self._fixed) :]

    def _find(self) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(
            import_module(f"benchmarks.{self._module}"), self._function
        )
        return found


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    what, against
        For people.
    target
        The value to reach; ``None`` if nothing was promised.
    run
        Measures it; ``None`` if it is read from other rows.
    most
        The target must not be exceeded.
    of, field
        The rows from whose results it is read (the best of them counts), and which of their values.
    unit
        ``"x"`` (times as fast, or as much), ``"share"`` or ``"ms"``.
    """

    what: str
    against: str
    target: float | None = None
    run: Run | None = None
    most: bool = False
    of: tuple[str, ...] = ()
    field: str = "ratio"
    unit: str = "x"

    def met(self, value: float | None) -> bool | None:
        """Whether a value reaches the target; ``None`` if there is no telling."""
        if self.target is None or value is None:
            return None
        return value <= self.target if self.most else value >= self.target

    def read(self, results: Mapping[str, Found]) -> Found:
        """The best value of the rows from which this one is read."""
        found = {name: results[name] for name in self.of if self.field in results.get(name, {})}
        if not found:
            return {"error": f"none of {', '.join(self.of)} was measured"}
        best = (min if self.most else max)(found, key=lambda name: found[name][self.field])
        return {"ratio": found[best][self.field], "from": best, "exact": found[best].get("exact")}


SAM = "segment-anything's encoder"
LOOP = "naive SamPredictor loop"
SAM2 = "SAM2VideoPredictor"
FULL = "every slice, whole, 1024 px"
ENCODES = ("encode-torch", "encode-openvino", "encode-onnxruntime")

ROWS = {
    "encode-torch": Row("ViT-B encode, torch", SAM, 1.6, Run("encoder", "encode", "torch")),
    "encode-openvino": Row(
        "ViT-B encode, OpenVINO", SAM, 2.1, Run("encoder", "encode", "openvino")
    ),
    "encode-onnxruntime": Row(
        "ViT-B encode, ONNX Runtime", SAM, None, Run("encoder", "encode", "onnxruntime")
    ),
    "encode-vit-l": Row(
        "ViT-L encode, torch", SAM, None, Run("encoder", "encode", "torch", "float32", "vit_l", 1)
    ),
    "encode-bfloat16": Row(
        "ViT-B encode, bfloat16", "float32", None, Run("encoder", "precision", "bfloat16")
    ),
    "gflops": Row(
        "GFLOP/s of that encode, best engine", "4096³ fp32 matrix product", 0.6,
        of=ENCODES, field="share_of_matrix", unit="share",
    ),
    "objects-1": Row("1 object, end to end, ViT-B", LOOP, 1.6, Run("end_to_end", "objects", 1)),
    "objects-5": Row("5 objects, end to end, ViT-B", LOOP, 8.0, Run("end_to_end", "objects", 5)),
    "overhead": Row(
        "all but the network's forwards", "network time, ViT-B", 0.03,
        most=True, of=("objects-1",), field="overhead_share", unit="share",
    ),
    "decode": Row(
        "ViT-B, one prompt on an embedded slice", "", 50.0, Run("encoder", "decode"),
        most=True, unit="ms",
    ),
    "micro-sam": Row(
        "ViT-B, a box on each slice, end to end", "micro-sam", 2.5, Run("micro_sam", "boxes")
    ),
    "zoom-512": Row("5 objects, --zoom 2 at 512 px", LOOP, 25.0, Run("shortcuts", "small", 2.0)),
    "whole-512": Row(
        "5 objects, whole slices at 512 px", LOOP, 25.0, Run("shortcuts", "small", None)
    ),
    "encode-size-512": Row("--encode-size 512", FULL, None, Run("shortcuts", "encode_size", 512)),
    "encode-size-768": Row("--encode-size 768", FULL, None, Run("shortcuts", "encode_size", 768)),
    "stride-2": Row("encodes, --stride 2", "every slice", None, Run("shortcuts", "stride", 2)),
    "stride-4": Row("encodes, --stride 4", "every slice", None, Run("shortcuts", "stride", 4)),
    "cached": Row("second run, cached volume", "first run", 20.0, Run("end_to_end", "cached")),
    "growth": Row(
        "departure from a straight line", "the largest cost", 0.05, Run("growth", "growth"),
        most=True, unit="share",
    ),
    "compact": Row(
        "compact, 80 slices of 200", "ViT-B exact path", 100.0, Run("end_to_end", "compact")
    ),
    "compact-view": Row(
        "compact, one view, one thread", "", 25.0, Run("encoder", "compact_view"),
        most=True, unit="ms",
    ),
    "nifti": Row(
        "read + write 512x512x400 .nii.gz", "nibabel", 1.3, Run("files", "nifti"), most=True
    ),
    "memory": Row(
        "peak less model and 500 MB, 512x512x1000", "the volume's bytes", 3.0,
        Run("files", "memory"), most=True,
    ),
    "container": Row("a view to disk, safetensors", "zarr", 1.0, Run("keeping", "container")),
    "half": Row(
        "lowest Dice of masks of fp16 embeddings", "exact", None,
        Run("keeping", "half_precision"), unit="dice",
    ),
    "sam2-1": Row("SAM 2.1 tiny, one object, both ways", SAM2, 1.3, Run("sam2", "track", 1)),
    "sam2-5": Row("SAM 2.1 tiny, five objects", f"five runs, {SAM2}", 3.0, Run("sam2", "track", 5)),
    "sam2-kept": Row("SAM 2.1 tiny, second run", "first run", 5.0, Run("sam2", "kept")),
    "models-memory": Row(
        "memory of a model", "what is said before it starts", 1.05, Run("models_memory", "peaks"),
        most=True,
    ),
    "sam2-memory": Row(
        "memory of SAM 2, 300 slices", SAM2, 0.5, Run("sam2", "memory"), most=True
    ),
}  # fmt: skip


def measure(name: str, options: Options, known: Mapping[str, Found] | None = None) -> Found:
    """One row in this process; rows that it is read from are measured unless they are known."""
    from benchmarks import machine

    row, found = ROWS[name], dict(known or {})
    if row.run is None:
        for other in row.of:
            if other not in found:
                found[other] = _tried(other, options)
        result = row.read(found)
    else:
        result = row.run(options)
    return {**described(name, result), "machine": machine.describe()}


def described(name: str, result: Found) -> Found:
    """A row's result with what people want to know of it."""
    row, value = ROWS[name], result.get("ratio")
    about = {"what": row.what, "against": row.against, "target": row.target, "unit": row.unit}
    about["most"] = row.most
    return {"name": name, **about, "met": row.met(value), **result}


def _tried(name: str, options: Options) -> Found:
    run = ROWS[name].run
    if run is None:
        raise ValueError(f"row {name!r} is itself read from others")
    try:
        return run(options)
    except Exception as error:  # an engine that is not installed is no reason to give up
        return {"error": str(error)}
