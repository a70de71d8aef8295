"""The picture of a training run: ``python -m sammed.training.plots metrics.csv picture.png``."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from PIL import Image


def plot_metrics(source: Path, path: Path) -> None:
    """Draw loss and validation against the number of samples.

    Parameters
    ----------
    source
        ``metrics.csv`` of a run.
    path
        Picture to write.
    """
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))

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


def main() -> None:
    """Draw the metrics of a run."""
    parser = argparse.ArgumentParser(prog="python -m sammed.training.plots")
    parser.add_argument("metrics", type=Path, help="metrics.csv of a run")
    parser.add_argument("picture", type=Path, help="picture to write (.png)")
    options = parser.parse_args()
    plot_metrics(options.metrics, options.picture)


if __name__ == "__main__":
    main()
