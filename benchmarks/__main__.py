"""Run the benchmarks: every row in a fresh process, or one row alone."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    what, against
        For people.
    target
        The ratio to reach; ``most`` says that it must not be exceeded.
    run
        Measures it.
    """

    what: str
    against: str
    target: float | None
    run: Callable[[dict[str, int]], dict[str, Any]]
    most: bool = False

    def met(self, ratio: float | None) -> bool | None:
        if self.target is None or ratio is None:
            return None
        return ratio <= self.target if self.most else ratio >= self.target


def _call(module: str, function: str, *fixed: Any) -> Callable[[dict[str, int]], dict[str, Any]]:
    def run(options: dict[str, int]) -> dict[str, Any]:
        from importlib import import_module

        found: dict[str, Any] = getattr(import_module(f"benchmarks.{module}"), function)(
            *fixed, **options
        )
        return found

    return run


SAM = "segment-anything's encoder"
LOOP = "naive SamPredictor loop"
ROWS = {
    "encode-torch": Row("ViT-B encode, torch", SAM, 1.6, _call("encoder", "encode", "torch")),
    "encode-openvino": Row(
        "ViT-B encode, OpenVINO", SAM, 2.1, _call("encoder", "encode", "openvino")
    ),
    "encode-onnxruntime": Row(
        "ViT-B encode, ONNX Runtime", SAM, None, _call("encoder", "encode", "onnxruntime")
    ),
    "encode-vit-l": Row(
        "ViT-L encode, torch", SAM, None, _call("encoder", "encode", "torch", "float32", "vit_l")
    ),
    "encode-bfloat16": Row(
        "ViT-B encode, bfloat16", "float32", None, _call("encoder", "precision", "bfloat16")
    ),
    "objects-1": Row("1 object, 40 slices, ViT-B", LOOP, 1.6, _call("end_to_end", "objects", 1)),
    "objects-5": Row("5 objects, 40 slices, ViT-B", LOOP, 8.0, _call("end_to_end", "objects", 5)),
    "zoom-512": Row("the same, zoomed at 512 px", LOOP, 25.0, _call("end_to_end", "zoomed")),
    "cached": Row("second run, cached volume", "first run", 20.0, _call("end_to_end", "cached")),
    "growth": Row(
        "seconds a slice, 8 to 32 slices", "the fewest", 1.1, _call("end_to_end", "growth"), True
    ),
    "compact": Row(
        "compact, 80 slices of 200", "ViT-B exact path", 100.0, _call("end_to_end", "compact")
    ),
    "nifti": Row("read + write 512x512x400 .nii.gz", "nibabel", 1.3, _call("files", "nifti"), True),
    "memory": Row(
        "peak less 500 MB, 512x512x1000", "int16 bytes", 3.0, _call("files", "memory"), True
    ),
    "container": Row("a view to disk, safetensors", "zarr", 1.0, _call("keeping", "container")),
    "half": Row("masks of fp16 embeddings", "exact", None, _call("keeping", "half_precision")),
}


def measure(name: str, options: dict[str, int]) -> dict[str, Any]:
    """One row in this process."""
    from benchmarks import machine

    row = ROWS[name]
    found = row.run(options)
    ratio = found.get("ratio")
    return {
        "name": name,
        "what": row.what,
        "against": row.against,
        "target": row.target,
        "met": row.met(ratio),
        **found,
        "machine": machine.describe(),
    }


def measure_apart(name: str) -> dict[str, Any]:
    """One row in a fresh process."""
    command = [sys.executable, "-m", "benchmarks", name, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return {"name": name, "what": ROWS[name].what, "error": reason[0]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write(results: list[dict[str, Any]]) -> None:
    """CSV of the ratios, JSON of everything, and the plot of growth."""
    RESULTS.mkdir(exist_ok=True)
    columns = ["name", "what", "against", "ratio", "target", "met", "exact", "error"]
    with (RESULTS / "results.csv").open("w", newline="") as stream:
        machine = next((r["machine"] for r in results if "machine" in r), {})
        stream.write("# " + "; ".join(f"{k} {v}" for k, v in machine.items()) + "\n")
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(results)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for result in results:
        if "by_slices" in result:
            plot(result)


def plot(result: dict[str, Any]) -> None:
    """Seconds over slices and over objects."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    slices = {int(k): v for k, v in result["by_slices"].items()}
    objects = {int(k): v["s"] for k, v in result["by_objects"].items()}
    for axes, points, label in ((left, slices, "slices"), (right, objects, "objects")):
        axes.plot(list(points), list(points.values()), "o-")
        axes.set(xlabel=label, ylabel="s", xlim=(0, None), ylim=(0, None))
    figure.savefig(RESULTS / "growth.png", dpi=120)


def _options(given: list[str]) -> dict[str, int]:
    pairs = (text.split("=", 1) for text in given)
    return {key.replace("-", "_"): int(value) for key, value in pairs}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows; all by default")
    parser.add_argument("--json", action="store_true", help="one row in this process, as JSON")
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    parser.add_argument("--set", action="append", default=[], metavar="slices=8", help="smaller")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in ROWS]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; expected one of {', '.join(ROWS)}")
    if arguments.list:
        print("\n".join(f"{name:<20} {row.what} / {row.against}" for name, row in ROWS.items()))
        return 0
    if arguments.json:
        if len(arguments.names) != 1:
            parser.error("--json measures one row")
        print(json.dumps(measure(arguments.names[0], _options(arguments.set))))
        return 0
    results = []
    for name in arguments.names or ROWS:
        result = measure_apart(name)
        results.append(result)
        state = {True: "met", False: "MISSED", None: ""}[result.get("met")]
        shown = result.get("error") or f"{result.get('ratio', '')} (target {result['target']})"
        print(f"{name:<20} {result['what']:<36} {shown} {state}", flush=True)
    write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
