"""What was found as files take it: a label map, a table, a report, prompts to go on from."""

from __future__ import annotations

import csv
import io as text
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.everything.found import Thing, Things
from sammed.imaging import geometry
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import apply_affine
from sammed.imaging.volume import LabelVolume, Volume, label_dtype
from sammed.prompts.files import document
from sammed.version import __version__

FORMAT = "sammed-things/1"


@dataclass(frozen=True, eq=False)
class Painted:
    """Things in a label map, where each voxel has one value.

    Attributes
    ----------
    labels
        Value n is the n-th thing.
    hidden
        By name, the share of a thing's voxels that smaller ones lie on; those of which nothing is
        hidden are left out.
    """

    labels: LabelVolume
    hidden: Mapping[str, float]


def painted(found: Things) -> Painted:
    """The label map: the largest first, so that what lies in others stays to be seen."""
    volume = found.volume
    voxels = np.zeros(volume.shape, label_dtype(len(found.things)))
    values = {thing.name: n + 1 for n, thing in enumerate(found.things)}
    for thing in sorted(found.things, key=lambda t: -t.region.size):
        voxels[thing.region.block.slices][thing.region.mask] = values[thing.name]
    hidden = {}
    for thing in found.things:
        here = voxels[thing.region.block.slices][thing.region.mask]
        lost = 1 - np.count_nonzero(here == values[thing.name]) / thing.region.size
        if lost:
            hidden[thing.name] = round(float(lost), 4)
    names = {value: name for name, value in values.items()}
    return Painted(LabelVolume(voxels, volume.grid, names, image=volume), hidden)


def rows(found: Things) -> list[dict[str, Any]]:
    """One line a thing, by falling score.

    Positions are of the middle of its mass, in LPS mm and in the file's voxels (i, j, k).
    """
    return [_row(thing, n + 1, found.volume) for n, thing in enumerate(found.things)]


def csv_text(found: Things) -> str:
    """The table as CSV, a column a measure."""
    lines = [_flat(row) for row in rows(found)]
    out = text.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def report(
    found: Things, hidden: Mapping[str, float], model: str, seconds: float, output: Path | None
) -> dict[str, Any]:
    """All that is needed to trust and repeat a search, as plain data for JSON."""
    volume = found.volume
    return {
        "format": FORMAT,
        "sammed": __version__,
        "input": {
            "source": None if volume.source is None else str(volume.source),
            "modality": volume.modality,
            "shape_ijk": list(volume.grid.shape[::-1]),
            "spacing_mm_ijk": [round(s, 6) for s in geometry.spacing(volume.grid.affine)[::-1]],
            "notes": list(volume.notes),
        },
        "window": str(found.window),
        "model": model,
        "regions_seen": found.regions,
        "candidates_asked": found.candidates,
        "notes": list(found.notes),
        "things": rows(found),
        "hidden_share": dict(hidden),
        "output": None if output is None else str(output),
        "seconds": round(seconds, 2),
    }


def prompt_file(found: Things, model: str) -> dict[str, Any]:
    """A ``sammed-prompts/1`` document: each thing is an object that can be edited, by its box."""
    volume = found.volume
    objects = [thing.prompts(volume, n + 1) for n, thing in enumerate(found.things)]
    source = None if volume.source is None else str(volume.source)
    about = {"image": {"source": source}, "window": str(found.window), "model": model}
    return document(objects, volume, **about)


def touches_edge(block: Box3D, volume: Volume) -> bool:
    """Whether a block reaches the edge of the image, so that a thing may go on beyond it."""
    sides = zip(block.low, block.high, volume.shape, strict=True)
    return any((low == 0 or high == n) and n > 1 for low, high, n in sides)


def _row(thing: Thing, label: int, volume: Volume) -> dict[str, Any]:
    region = thing.region
    centre = np.argwhere(region.mask).mean(0) + np.array(region.block.low)
    values: NDArray[Any] = volume.voxels[region.block.slices][region.mask].astype(np.float64)
    ijk = volume.grid.file_index(centre)
    corners = volume.grid.file_index(np.array([region.block.low, region.block.high]) - 0.5) + 0.5
    return {
        "name": thing.name,
        "label": label,
        "score": round(thing.score, 4),
        "parent": thing.parent,
        "volume_ml": round(region.size * geometry.voxel_volume_ml(volume.affine), 4),
        "mean_intensity": np.round(values.mean(0), 3).tolist(),
        "centre_mm_lps": np.round(apply_affine(volume.affine, centre), 2).tolist(),
        "centre_ijk": np.round(ijk, 1).tolist(),
        "box_ijk": np.rint(np.concatenate([corners.min(0), corners.max(0)])).astype(int).tolist(),
        "touches_edge": touches_edge(region.block, volume),
        "agreement": round(thing.agreement, 4),
        "planes_agree": round(thing.planes, 4),
        "predicted_iou": round(thing.predicted, 4),
        "border_step": round(thing.step, 3),
        "stability": round(thing.stability, 4),
        "chance": round(thing.chance, 4),
        "salience": round(thing.salience, 4),
        "likeness": round(thing.likeness, 4),
        "known": thing.known,
        "source": thing.source,
    }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: " ".join(str(v) for v in value) if isinstance(value, list) else value
        for key, value in row.items()
    }
