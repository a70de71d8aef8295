"""Two checkouts, voxel by voxel: what a change that should change nothing has changed.

python -m benchmarks.same_masks prompts --cases cases.json --out PROMPTS
python -m benchmarks.same_masks run --checkout BEFORE --prompts PROMPTS --out MASKS_BEFORE
python -m benchmarks.same_masks run --checkout AFTER --prompts PROMPTS --out MASKS_AFTER
python -m benchmarks.same_masks compare MASKS_BEFORE MASKS_AFTER

The prompts are made once, without jitter. Each checkout runs them by its own command line, in
fresh processes of one thread; options after ``--`` go to ``sammed segment``. What is compared:
the label map with its place in space, the exit code, and the report's quality table, which is
made before overlaps are resolved and rests on probabilities. Both runs belong on one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

PROTOCOLS = ("A", "B", "B2")
"""By default. Besides there are A1, with a box on every slice, and C, which is B and two clicks."""

STEP_OF_A = 4
"""Here protocol A has a box on every fourth slice that shows the object."""

OPTIONS = (
    *("--overlap", "keep", "--quiet", "--force", "--no-cache"),
    *("--device", "cpu", "--threads", "1"),
)
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

OK, NOTHING_FOUND = 0, 4
"""Exit codes of runs whose results can be compared."""

PROMPTS_ENDING = ".json"
RECORD_ENDING = ".run.json"


def simulated(
    manifest: Path, protocols: Sequence[str], only: Sequence[str], folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and ``sammed-prompts/1`` document of each case and protocol, all objects in it."""
    from sammed import io
    from sammed.evaluation.manifest import read_manifest
    from sammed.prompts import ObjectPrompts, PointPrompt
    from sammed.prompts.files import document
    from sammed.prompts.simulation import (
        block,
        centre,
        largest_slice,
        largest_slice_box,
        slice_boxes,
    )
    from sammed.views.slices import PLANES, choose_plane

    def spread(mask: Any, axis: int, step: int) -> dict[str, Any]:
        boxes = slice_boxes(mask, axis)
        kept = set(sorted({box.index for box in boxes})[::step])
        return {"boxes": tuple(b for b in boxes if b.index in kept), "propagate": "off"}

    def clicked(mask: Any, axis: int) -> dict[str, Any]:
        at = list(block(mask).low)  # a corner of the 3D box, on the largest slice
        at[axis] = largest_slice(mask, axis)
        inside, corner = PointPrompt(centre(mask, (1.0, 1.0, 1.0))), (at[0], at[1], at[2])
        outside = () if mask[corner] else (PointPrompt(corner, positive=False),)
        return {"blocks": (block(mask),), "points": (inside, *outside)}

    ways: dict[str, Callable[[Any, int], dict[str, Any]]] = {
        "A": partial(spread, step=STEP_OF_A),
        "A1": partial(spread, step=1),
        "B": lambda mask, axis: {"blocks": (block(mask),)},
        "B2": lambda mask, axis: {"boxes": (largest_slice_box(mask, axis),)},
        "C": clicked,
    }
    if unknown := set(protocols) - set(ways):
        raise SystemExit(f"unknown protocol {min(unknown)!r}; expected {', '.join(ways)}")
    for case in read_manifest(manifest):
        if only and case.id not in only:
            continue
        volume = io.read(case.image)
        axis = PLANES[choose_plane("auto", volume)]
        labels = io.read_labels(case.prompt_source, like=volume)
        names = case.labels or {int(v): f"label_{v}" for v in np.unique(labels.voxels) if v}
        masks = {value: labels.voxels == value for value in names}
        image = Path(os.path.relpath(case.image.resolve(), folder)).as_posix()
        for protocol in protocols:
            objects = [
                ObjectPrompts(names[value], value, **ways[protocol](mask, axis))
                for value, mask in masks.items()
                if mask.any()
            ]
            about = {"case": case.id, "protocol": protocol, "image": image}
            yield f"{case.id}.{protocol}", document(objects, volume, **about)


def write_prompts(asked: Any) -> int:
    """A prompt file for each case and protocol; it names the image, relative to itself."""
    folder = Path(asked.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, document in simulated(Path(asked.cases), asked.protocols, asked.only, folder):
        text = json.dumps(document, indent=1) + "\n"
        (folder / (name + PROMPTS_ENDING)).write_text(text, encoding="utf-8")
        print(f"{name:<30} {len(document['objects'])} objects", flush=True)
        count += 1
    print(f"{count} prompt files in {folder}")
    return 0 if count else 1


@dataclass(frozen=True)
class Run:
    """A prompt file, the checkout that is to answer it, and where the answer goes.

    Attributes
    ----------
    prompts
        The prompt file.
    checkout, out
        Folders.
    options
        More options of ``sammed segment``.
    """

    prompts: Path
    checkout: Path
    out: Path
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Case and protocol."""
        return self.prompts.name.removesuffix(PROMPTS_ENDING)

    @property
    def record(self) -> Path:
        """The file that says how the run ended; written last."""
        return self.out / (self.name + RECORD_ENDING)

    def key(self) -> dict[str, Any]:
        """What was asked, of which state of the code."""
        content = self.prompts.read_bytes()
        return {
            "prompts_sha256": hashlib.sha256(content).hexdigest(),
            "options": list(self.options),
            "code_sha256": state_of(self.checkout),
        }

    def former(self) -> dict[str, Any] | None:
        """The record of the same run, if it was finished before."""
        if not self.record.is_file():
            return None
        record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        same = self.key().items() <= record.items()
        return record if same and record["exit_code"] in (OK, NOTHING_FOUND) else None

    def do(self) -> dict[str, Any]:
        """Segment in a fresh process; the record, also written."""
        image = self.prompts.parent / json.loads(self.prompts.read_text(encoding="utf-8"))["image"]
        result = self.out / (self.name + ".nii.gz")
        for stale in (self.record, result, report_of(result)):
            stale.unlink(missing_ok=True)
        key, began = self.key(), time.perf_counter()
        given = [os.path.realpath(image), "--prompts", str(self.prompts), "-o", str(result)]
        done = python(self.checkout, ["-m", "sammed", "segment", *given, *OPTIONS, *self.options])
        record = {
            **key,
            "exit_code": done.returncode,
            "seconds": round(time.perf_counter() - began, 1),
            "said": done.stderr.strip().splitlines()[-3:],
        }
        self.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return record


def python(checkout: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Python with the package of a checkout, and no other."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


def package_of(checkout: Path) -> Path:
    """Folder of the package that is imported in a checkout, its own."""
    done = python(checkout, ["-c", "import sammed; print(sammed.__file__)"])
    found = Path(done.stdout.strip() or os.devnull).parent
    if done.returncode or found != checkout / "sammed":
        why = done.stderr.strip().splitlines()[-1:] or [f"{found} is imported"]
        raise SystemExit(f"{checkout} does not import its own package: {why[0]}")
    return found


def state_of(checkout: Path) -> str:
    """SHA-256 (hex) of all files of a checkout's package."""
    digest = hashlib.sha256()
    for path in sorted((checkout / "sammed").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name, content = path.relative_to(checkout).as_posix(), path.read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def run_all(asked: Any) -> int:
    """Segment all prompt files with a checkout; what was finished before is skipped."""
    checkout, out = Path(asked.checkout).resolve(), Path(asked.out).resolve()
    if out == Path(asked.prompts).resolve():
        raise SystemExit("the results need another folder than the prompts")
    out.mkdir(parents=True, exist_ok=True)
    print(f"sammed is {package_of(checkout)}, {state_of(checkout)[:12]}", flush=True)
    runs = [
        Run(path, checkout, out, tuple(asked.options))
        for path in sorted(Path(asked.prompts).resolve().glob("*" + PROMPTS_ENDING))
        if _wanted(path, asked.only)
    ]
    if not runs:
        raise SystemExit(f"no prompt files to run in {asked.prompts}")
    broken, began = 0, time.perf_counter()
    with ThreadPoolExecutor(asked.jobs) as pool:
        for number, (run, new, record) in enumerate(pool.map(_done, runs), 1):
            code, seconds = record["exit_code"], record["seconds"]
            failed = code not in (OK, NOTHING_FOUND)
            broken += failed
            text = f"{number} of {len(runs)}  {run.name:<30} exit {code}  {seconds:6.1f} s"
            text += "" if new else "  before"
            print(text + "".join(f"\n  {line}" for line in record["said"] if failed), flush=True)
    print(f"{len(runs) - broken} of {len(runs)} done in {time.perf_counter() - began:.0f} s")
    return 1 if broken else 0


def _done(run: Run) -> tuple[Run, bool, dict[str, Any]]:
    former = run.former()
    return run, former is None, former or run.do()


def _wanted(path: Path, only: Sequence[str]) -> bool:
    return not only or json.loads(path.read_text(encoding="utf-8"))["case"] in only


def report_of(result: Path) -> Path:
    """The run report beside a label map."""
    return result.with_name(result.name.removesuffix(".nii.gz") + ".report.json")


def quality(result: Path) -> dict[str, Any] | None:
    """What the report says of objects, window and voxels read; ``None`` without a report."""
    if not report_of(result).is_file():
        return None
    report = json.loads(report_of(result).read_text(encoding="utf-8"))
    read = report["input"]["voxels_sha256"]
    return {"window": report["window"], "voxels_sha256": read, "objects": report["objects"]}


def map_difference(a: Path, b: Path) -> str:
    """How two label maps differ, in words; ``""`` if they do not."""
    there = [path.is_file() for path in (a, b)]
    if not all(there):
        return f"label map only in {a.parent if there[0] else b.parent}" if any(there) else ""
    one, other = (nibabel.load(path) for path in (a, b))
    left, right = (np.asanyarray(image.dataobj) for image in (one, other))
    if left.shape != right.shape or left.dtype != right.dtype:
        return f"{left.shape} {left.dtype} and {right.shape} {right.dtype}"
    said = []
    if count := np.count_nonzero(left != right):
        said.append(f"{count} of {left.size} voxels differ")
    places = [
        (i.affine.tolist(), *(i.header[f"{form}form_code"].item() for form in "qs"))
        for i in (one, other)
    ]
    if places[0] != places[1]:
        said.append("affines or their codes differ")
    return "; ".join(said)


def differences(a: Any, b: Any, where: str) -> Iterator[str]:
    """Places at which two JSON values differ, with both values."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            yield from differences(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            name = left.get("name", index) if isinstance(left, dict) else index
            yield from differences(left, right, f"{where}/{name}")
    elif json.dumps(a) != json.dumps(b):  # tells 1 from 1.0, and not NaN from NaN
        yield f"{where} {json.dumps(a)[:60]} and {json.dumps(b)[:60]}"


@dataclass(frozen=True)
class Difference:
    """How the results of a run differ, each in words, ``""`` if they do not.

    Attributes
    ----------
    run
        What was asked and how it ended; if that differs, nothing counts as the same.
    labels
        Label maps.
    table
        Quality tables.
    """

    run: str = ""
    labels: str = ""
    table: str = ""

    def __str__(self) -> str:
        return "; ".join(text for text in (self.run, self.labels, self.table) if text)


def difference(name: str, a: Path, b: Path) -> Difference:
    """How the results of a run in two folders differ."""
    records = [_record(folder, name) for folder in (a, b)]
    if None in records:
        return Difference(f"not finished in {a if records[0] is None else b}")
    results = [folder / f"{name}.nii.gz" for folder in (a, b)]
    reports = [report_of(path) for path in results]
    codes = [record["exit_code"] for record in records]
    said = []
    if any(records[0][key] != records[1][key] for key in ("prompts_sha256", "options")):
        said.append("other prompts or options")
    if codes[0] != codes[1] or codes[0] not in (OK, NOTHING_FOUND):
        said.append(f"exit codes {codes[0]} and {codes[1]}")
    elif codes[0] == OK and not all(_in_either(paths) for paths in (results, reports)):
        said.append("label maps or reports are gone")
    found = list(differences(quality(results[0]), quality(results[1]), "quality table"))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    table = f"{found[0]}{more}" if found else ""
    return Difference("; ".join(said), map_difference(*results), table)


def _in_either(paths: Sequence[Path]) -> bool:
    return any(path.is_file() for path in paths)


def _record(folder: Path, name: str) -> Any:
    path = folder / (name + RECORD_ENDING)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def compare(asked: Any) -> int:
    """Print what differs between two folders of results."""
    folders = [Path(asked.a), Path(asked.b)]
    records = [sorted(folder.glob("*" + RECORD_ENDING)) for folder in folders]
    names = sorted({p.name.removesuffix(RECORD_ENDING) for paths in records for p in paths})
    mixed = [f for f, paths in zip(folders, records, strict=True) if len(_states(paths)) > 1]
    for folder in mixed:
        print(f"{folder}: runs of more than one state of the code; run it again")
    same_maps = same_tables = 0
    for name in names:
        found = difference(name, *folders)
        same_maps += not found.run and not found.labels
        same_tables += not found.run and not found.table
        if str(found):
            print(f"{name}: {found}")
    total = len(names)
    print(
        f"{same_maps} of {total} label maps and {same_tables} of {total} quality tables are the "
        "same, voxel by voxel"
    )
    return 0 if total and same_maps == same_tables == total and not mixed else 1


def _states(records: Sequence[Path]) -> set[str]:
    return {json.loads(path.read_text(encoding="utf-8"))["code_sha256"] for path in records}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_masks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = parser.add_subparsers(required=True, metavar="prompts | run | compare")
    prompts = steps.add_parser("prompts", help="make the prompt files")
    prompts.add_argument("--cases", required=True, metavar="FILE", help="a sammed-cases/1 manifest")
    prompts.add_argument(
        "--protocols", nargs="+", default=PROTOCOLS, metavar="NAME", help="of A, A1, B, B2, C"
    )
    prompts.set_defaults(step=write_prompts)
    run = steps.add_parser("run", help="segment them with a checkout")
    run.add_argument("--checkout", required=True, metavar="FOLDER", help="a clone of the project")
    run.add_argument("--prompts", required=True, metavar="FOLDER", help="where the prompts are")
    run.add_argument("--jobs", type=int, default=1, help="processes at a time")
    run.add_argument("options", nargs="*", metavar="-- OPTION", help="for sammed segment")
    run.set_defaults(step=run_all)
    for step in (prompts, run):
        step.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
        step.add_argument("--only", nargs="+", default=(), metavar="CASE", help="some cases")
    two = steps.add_parser("compare", help="compare the results of two checkouts")
    two.add_argument("a", metavar="FOLDER_A")
    two.add_argument("b", metavar="FOLDER_B")
    two.set_defaults(step=compare)
    return parser


def main(arguments: list[str] | None = None) -> int:
    asked = _arguments().parse_args(arguments)
    step: Callable[[Any], int] = asked.step
    return step(asked)


if __name__ == "__main__":
    sys.exit(main())
