"""Results of one case, model and protocol as a file of their own, so that a run can be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.results import Row
from sammed.evaluation.slice_scores import SliceScore
from sammed.imaging.boxes import Box3D
from sammed.io import atomic_output, atomic_text

FORMAT = "sammed-evaluation-part/2"


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask as the bits of its tight box."""

    box: Box3D
    bits: NDArray[np.uint8]

    def unpack(self, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
        """The mask on a grid of that shape, (z, y, x) bool."""
        mask = np.zeros(shape, bool)
        if not self.box.is_empty:
            count = int(np.prod(self.box.shape))
            mask[self.box.slices] = np.unpackbits(self.bits, count=count).reshape(self.box.shape)
        return mask


def pack(mask: NDArray[np.bool_]) -> PackedMask:
    """A (z, y, x) bool mask, packed."""
    box = Box3D.from_mask(mask)
    return PackedMask(box, np.packbits(mask[box.slices]))


@dataclass(frozen=True)
class Part:
    """What came of one case with one model under one protocol.

    Attributes
    ----------
    case, model, protocol
        Which.
    fingerprint
        Hash of everything that the results depend on; another one means that they are stale.
    rows
        The scores.
    slices
        Predicted and true IoU of the slices of each row's result.
    profiles
        By object, how its slices agree under the headline condition; see `trial.profile`.
    read_s
        Seconds to read image and label.
    peak_mb
        Peak of the process's memory meanwhile, in MB; 0 if unknown.
    prompts
        Where prompts were simulated from, in words.
    error
        What stopped this case, or ``""``.
    notes
        What the readers decided or found odd, and the case's own.
    """

    case: str
    model: str
    protocol: str
    fingerprint: str
    rows: tuple[Row, ...] = ()
    slices: tuple[SliceScore, ...] = ()
    profiles: dict[str, list[list[float]]] = field(default_factory=dict)
    read_s: float = 0.0
    peak_mb: float = 0.0
    prompts: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()


class PartStore:
    """Parts and predicted masks in a folder.

    Parameters
    ----------
    folder
        The output folder of the evaluation; parts lie in ``parts/MODEL/PROTOCOL/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "parts"

    def path(self, case: str, model: str, protocol: str, ending: str) -> Path:
        """Where a part's file lies."""
        return self.folder / model.replace("/", "_") / protocol / f"{case}{ending}"

    def load(
        self, case: str, model: str, protocol: str, fingerprint: str, failed: bool = False
    ) -> Part | None:
        """A part of that fingerprint; ``None`` if it is absent, stale or, unless asked, failed."""
        try:
            content = json.loads(self.path(case, model, protocol, ".json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if content.get("format") != FORMAT or content.get("fingerprint") != fingerprint:
            return None
        if content.get("error") and not failed:
            return None
        rows = tuple(Row.from_dict(row) for row in content.pop("rows"))
        slices = tuple(SliceScore(*line) for line in content.pop("slices"))
        content.pop("format")
        notes = tuple(content.pop("notes", ()))
        return Part(rows=rows, slices=slices, notes=notes, **content)

    def save(self, part: Part, masks: dict[str, PackedMask]) -> None:
        """Keep a part with its predicted masks (of the headline condition)."""
        path = self.path(part.case, part.model, part.protocol, ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if masks:
            with atomic_output(path.with_suffix(".npz"), force=True) as temporary:
                np.savez_compressed(temporary, **dict(_arrays(masks)))  # type: ignore[arg-type]
        content: dict[str, Any] = {
            "format": FORMAT,
            **vars(part),
            "rows": [row.as_dict() for row in part.rows],
            "slices": [list(vars(score).values()) for score in part.slices],
        }
        atomic_text(path, json.dumps(content, allow_nan=False), force=True)

    def mask(
        self, case: str, model: str, protocol: str, name: str, shape: tuple[int, int, int]
    ) -> NDArray[np.bool_] | None:
        """The predicted mask of an object, (z, y, x) bool, if it was kept."""
        path = self.path(case, model, protocol, ".npz")
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as kept:
            if f"{name}.box" not in kept:
                return None
            box = Box3D(*(int(v) for v in kept[f"{name}.box"]))
            return PackedMask(box, kept[f"{name}.bits"]).unpack(shape)


def _arrays(masks: dict[str, PackedMask]) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, mask in masks.items():
        yield f"{name}.box", np.array([*mask.box.low, *mask.box.high])
        yield f"{name}.bits", mask.bits
