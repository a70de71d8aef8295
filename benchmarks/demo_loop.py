"""The labelling loop on twelve synthetic abdomens: three are labelled, nine are proposed.

``make demo-loop`` runs it. Everything is done by ``sammed``'s own commands, which it prints; the
references of the nine serve only to say how good the proposals are.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from sammed import io
from sammed.cli import main as sammed
from sammed.imaging.intensity import resolve_window
from sammed.imaging.masks import dice
from sammed.imaging.volume import LabelVolume
from sammed.project.folder import Project
from sammed.reporting.preview import draw_preview
from sammed.synthesis.abdomens import ORGANS, make_abdomen

SCANS = 12
LABELLED = 3
ACROSS = 3
"""Pictures beside each other in the sheet."""


def run(*arguments: str | Path) -> None:
    """A command of sammed, printed first; a failure ends the demo."""
    words = [str(word) for word in arguments]
    print(f"\n$ sammed {shlex.join(words)}", flush=True)
    if code := sammed(words):
        sys.exit(code)


def write_scans(folder: Path) -> None:
    """Twelve scans and their references."""
    for name in ("scans", "references"):
        (folder / name).mkdir(parents=True)
    for number in range(SCANS):
        volume, labels = make_abdomen(number)
        io.write_volume(volume, folder / "scans" / f"patient-{number:02}.nii.gz")
        io.write_labels(labels, folder / "references" / f"patient-{number:02}.nii.gz")


def main() -> None:
    """From nothing to nine proposals, their Dice and a sheet of pictures."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/loop")
    more = sys.argv[2:]
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    write_scans(folder)
    print(f"{SCANS} synthetic scans in {folder / 'scans'}", flush=True)
    study = folder / "study"
    run("project", "new", study, "--images", folder / "scans" / "*.nii.gz",
        "--structures", ",".join(ORGANS))  # fmt: skip
    for number in range(LABELLED):
        name = f"patient-{number:02}"
        labels = folder / "references" / f"{name}.nii.gz"
        run("project", "accept", study, name, "--labels", labels)
    run("learn", study, "--what", "segmenter", *(more or ["--minutes", "3"]))
    run("propose", study)
    run("project", "status", study)
    score(Project(study), folder)
    print(f"\n{time.monotonic() - began:.0f} seconds; look at {folder / 'sheet.png'}")


def score(project: Project, folder: Path) -> None:
    """Print true beside estimated Dice, and draw the sheet."""
    pictures, true, estimated = [], [], []
    print(f"\n{'case':12} {'Dice':>6} {'est.':>6}  by organ")
    for case in project.cases():
        volume, record = case.volume(), case.record
        labels = case.labels(volume, project.description.names)
        if labels is None:
            continue
        window = resolve_window("soft-tissue", volume)
        pictures.append(draw_preview(volume, labels, window, ()))
        if record.state != "proposed":
            continue
        reached = against(labels, folder / "references" / f"{case.id}.nii.gz")
        true += list(reached.values())
        estimated += [record.estimated[name] for name in reached]
        each = ", ".join(f"{name} {value:.2f}" for name, value in reached.items())
        print(f"{case.id:12} {np.mean(list(reached.values())):6.3f} {record.estimate:6.3f}  {each}")
    r = float(np.corrcoef(true, estimated)[0, 1])
    error = float(np.abs(np.subtract(true, estimated)).mean())
    means = f"mean Dice {np.mean(true):.3f}, estimated {np.mean(estimated):.3f}"
    print(f"{means}: r = {r:.2f}, mean error {error:.3f} over {len(true)} organs")
    sheet(pictures).save(folder / "sheet.png")


def against(labels: LabelVolume, reference: Path) -> dict[str, float]:
    """Dice of every organ."""
    theirs = io.read_labels(reference).voxels
    return {name: dice(labels.voxels == v, theirs == v) for name, v in ORGANS.items()}


def sheet(pictures: list[Image.Image]) -> Image.Image:
    """All cases on one page, the labelled ones first."""
    width, height = (max(p.size[n] for p in pictures) for n in (0, 1))
    rows = -(-len(pictures) // ACROSS)
    page = Image.new("RGB", (ACROSS * width, rows * height), (16, 16, 18))
    for number, picture in enumerate(pictures):
        page.paste(picture, (number % ACROSS * width, number // ACROSS * height))
    return page


if __name__ == "__main__":
    main()
