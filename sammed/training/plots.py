"""The picture of a training run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from PIL import Image

from sammed.errors import UnreadableFileError


def plot_metrics(source: Path, path: Path) -> None:
    """Draw loss and validation against the number of samples.

    Parameters
    ----------
    source
        ``metrics.csv`` of a run.
    path
        Picture to write (.png).

    Raises
    ------
    UnreadableFileError
        If the source is not such a file.
    """
    rows = _rows(source)

    def column(name: str) -> tuple[list[float], list[float]]:
        kept = [r for r in rows if r.get(name)]
        return [float(r["views"]) / 1000 for r in kept], [float(r[name]) for r in kept]

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6))
    for name in ("loss", "mask"):
        left.plot(*column(name), label=name)
    left.set(xlabel="thousand samples", ylabel="training loss", yscale="log")
    names = {
        "val_dice": "synthetic, all prompts",
        "val_own": "synthetic, own box",
        "val_dice_ellipse": "synthetic floor (ellipse, own box)",
        "val_real_a": "real, protocol A",
        "val_real_a_floor": "real floor (ellipse)",
        "val_block": "synthetic, 3D boxes",
        "val_block_ellipsoid": "synthetic floor (ellipsoid)",
        "val_real_block": "real, 3D boxes",
    }
    for name, label in names.items():
        if column(name)[0]:
            right.plot(*column(name), marker=".", label=label)
    right.set(xlabel="thousand samples", ylabel="Dice")
    right.set_ylim(top=right.get_ylim()[1] + 0.06)  # room for the legend
    for axes in (left, right):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format="png")
    pyplot.close(figure)
    Image.open(drawn).convert("RGB").quantize(64).save(path, "PNG", optimize=True)


def _rows(source: Path) -> list[dict[str, str]]:
    try:
        with source.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFileError(f"cannot read {source}: {error}") from None
    if not rows or "views" not in rows[0]:
        raise UnreadableFileError(f"{source} is no metrics.csv of 'sammed train'")
    return rows
