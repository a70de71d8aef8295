"""The run report: everything that is needed to trust, check and repeat a segmentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sammed.engine.channelwise import agreement
from sammed.engine.results import ObjectRun, SliceRecord
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts import ObjectPrompts
from sammed.prompts.files import document
from sammed.reporting.outlook import outlook
from sammed.session import Session
from sammed.version import __version__
from sammed.views.slices import PLANES

FORMAT = "sammed-report/1"


def run_report(
    session: Session,
    labels: LabelVolume,
    *,
    output: Path | None = None,
    timings: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The report of a finished session, as plain data for JSON.

    Parameters
    ----------
    session
        After `segment`.
    labels
        Its result.
    output
        Where the label map went.
    timings
        Seconds of stages outside the session (``read``, ``write``), added to its own.
    notes
        What was taken for granted of the prompts and the window; the image's own are its input's.

    Returns
    -------
    dict
        Indices are the file's voxel indices (i, j, k); millimetres are LPS.
    """
    return {
        "format": FORMAT,
        "sammed": __version__,
        "input": describe_input(session),
        "window": asdict(session.window),
        "model": _model(session),
        "settings": _settings(session),
        "notes": list(notes),
        "prompts": prompt_document(session),
        "objects": [_object(session, obj, labels) for obj in session.objects],
        **_other_scans(session),
        "output": None if output is None else str(output),
        "timings_s": {k: round(v, 4) for k, v in {**(timings or {}), **session.timings}.items()},
        "counts": session.counts,
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        },
    }


def describe_input(session: Session) -> dict[str, Any]:
    """Where the volume came from, its hash and its geometry."""
    volume = session.volume
    return {
        "source": None if volume.source is None else str(volume.source),
        "voxels_sha256": session.volume_hash,
        "modality": volume.modality,
        **describe_geometry(volume),
        "notes": list(volume.notes),
    }


def describe_geometry(volume: Volume) -> dict[str, Any]:
    """Shape, spacing and orientation of the file's grid, in its order (i, j, k)."""
    affine = volume.grid.affine
    i, j, k = volume.grid.shape[::-1]
    return {
        "shape_ijk": [i, j, k],
        "spacing_mm_ijk": [round(s, 6) for s in geometry.spacing(affine)[::-1]],
        "orientation_ijk": geometry.axis_codes(affine)[::-1],
        "affine_ijk_to_ras": geometry.affine_to_ras(affine).tolist(),
    }


def prompt_document(
    session: Session, folder: Path | None = None, painted: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The session's prompts as a ``sammed-prompts/1`` document that replays the run.

    Parameters
    ----------
    session
        Any.
    folder
        Where the document will lie: masks are named relative to it.
    painted
        By object, the file into which its painted slices are written, where they are from none.
    """
    there = [_with_source(obj, (painted or {}).get(obj.name)) for obj in session.objects]
    objects = [_relative_mask(obj, folder) for obj in there]
    return document(
        objects,
        session.volume,
        image={
            "source": None if session.volume.source is None else str(session.volume.source),
            "voxels_sha256": session.volume_hash,
        },
        window=str(session.window),
        model=session.model.spec.name,
    )


def algorithm(session: Session) -> tuple[str, str]:
    """What DICOM says of who drew the segments: the model, and sammed's version and weights."""
    spec = session.model.spec
    weights = f", weights {spec.weights_hash[:12]}" if spec.weights_hash else ""
    return spec.name, f"sammed {__version__}{weights}"


def _with_source(obj: ObjectPrompts, source: str | None) -> ObjectPrompts:
    if source is None or obj.mask is None:
        return obj
    return obj.replaced(mask=obj.mask.read_from(source))


def _relative_mask(obj: ObjectPrompts, folder: Path | None) -> ObjectPrompts:
    if folder is None or obj.mask is None or not obj.mask.source:
        return obj
    source = os.path.relpath(obj.mask.source, folder)
    return obj.replaced(mask=obj.mask.read_from(Path(source).as_posix()))


def _model(session: Session) -> dict[str, Any]:
    spec = asdict(session.model.spec)
    for kinds in ("prompts", "tuned"):
        spec[kinds] = sorted(spec[kinds])
    return spec


def _other_scans(session: Session) -> dict[str, Any]:
    """What examples or an earlier scan explained, where there were any."""
    account = getattr(session.model, "account", None)
    if account is None:
        return {}
    return {"follow_up" if session.model.spec.name == "prior" else "examples": account.as_json()}


def _channels(run: ObjectRun) -> dict[str, Any]:
    """What each channel showed of an object: a disagreement of phases is information."""
    if not run.channels:
        return {}
    each = {
        name: {
            "weight": view.weight,
            "agreement_with_joined": round(view.agreement, 4),
            "error": view.error or None,
        }
        for name, view in run.channels.items()
    }
    shared = agreement(run.channels)
    return {"channels": each, "agreement": None if shared is None else round(shared, 4)}


def _settings(session: Session) -> dict[str, Any]:
    return asdict(session.settings)


def _object(session: Session, obj: ObjectPrompts, labels: LabelVolume) -> dict[str, Any]:
    run = session.runs[obj.name]
    volume = session.volume
    records = [_slice(record, run, volume) for record in run.slices]
    return {
        "name": obj.name,
        "label": obj.label,
        "volume_ml": round(labels.volume_ml(obj.label), 4),
        "plane": run.plane,
        "error": run.error or None,
        **_channels(run),
        "stops": [
            {
                **_file_slice(stop.index, run, volume),
                "direction": stop.direction,
                "reason": stop.reason,
                "text": stop.text,
            }
            for stop in run.trace.stops
        ],
        "look_first": [r[r["axis"]] for r in worst_slices(records)],
        **outlook(session, obj),
        "slices": records,
    }


def worst_slices(records: list[dict[str, Any]], count: int = 5) -> list[dict[str, Any]]:
    """The slices to check first: lowest product of predicted IoU and IoU with the neighbour."""
    ranked = sorted(records, key=lambda r: r["predicted_iou"] * r["neighbour_iou"])
    return ranked[:count]


def _slice(record: SliceRecord, run: ObjectRun, volume: Volume) -> dict[str, Any]:
    centroid = volume.grid.file_index(np.array(record.centroid))
    return {
        **_file_slice(record.index, run, volume),
        "predicted_iou": round(record.predicted_iou, 4),
        "stability": round(record.stability, 4),
        "present": round(record.present, 4),
        "neighbour_iou": round(record.neighbour_iou, 4),
        "area_mm2": round(record.area_mm2, 2),
        "centroid_ijk": [round(float(v), 2) for v in centroid],
        "prompt": record.prompt,
        "retries": record.retries,
    }


def _file_slice(index: int, run: ObjectRun, volume: Volume) -> dict[str, Any]:
    """A slice of the object's plane as the file's axis and its index."""
    axis = PLANES[run.plane]
    zyx = np.zeros(3)
    zyx[axis] = index
    name = volume.grid.file_axis(axis)
    at = round(float(volume.grid.file_index(zyx)["ijk".index(name)]))
    return {"axis": name, name: at}
