"""The bench with other scans beside the one on it: to take from, to follow up, to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sammed.errors import Cancelled, InputError, SammedError
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.workbench.bench import Bench
from sammed.workbench.beside import (
    THEN,
    Beside,
    asked_for,
    labelled_among,
    phase_source,
)
from sammed.workbench.journal import Entry
from sammed.workbench.kept_phases import read_phase, write_phase
from sammed.workbench.opening import Choice, Source, series_of
from sammed.workbench.wishes import Wishes
from sammed.worker.case import Case
from sammed.worker.engine import Engine
from sammed.worker.finding import Found, from_examples, from_prior, without
from sammed.worker.messages import Fields, RequestError
from sammed.worker.service import Cancel, Report

if TYPE_CHECKING:
    from sammed.examples.followup import PriorModel
    from sammed.session import Session

CHANGING = ("take", "follow_up", "add_phase", "remove_phase")
"""Requests after which pages that look on have to ask again."""


class ExplainedBench(Bench):
    """See `Bench`; answers requests about other scans too.

    Parameters
    ----------
    wishes, engine
        See `Bench`.
    """

    def __init__(self, wishes: Wishes, engine: Engine | None = None) -> None:
        super().__init__(wishes, engine)
        self.beside = Beside()
        self._series: list[Choice] | None = None
        self._source: Source | None = None
        self._dropped: dict[str, Source] = {}
        self._handlers |= {
            "beside": self._beside_told,
            "others": self._others,
            "take": self._take_from,
            "follow_up": self._follow_up,
            "add_phase": self._add_phase,
            "remove_phase": self._remove_phase,
        }

    def _take(self, source: Source, volume: Volume) -> None:
        """See `Bench._take`; what the command line puts beside the scan is made ready first."""
        wished = self._is_wished(source)
        beside = Beside(name=self.wishes.channel if wished else "")
        beside.offer(asked_for(self.wishes))
        if wished and self.wishes.channels:
            from sammed.examples.channels import read_channels

            beside.name = beside.name or "this scan"
            _, first, others = read_channels(self.wishes.channels, volume)
            for name, other in others.items():
                _add(beside, first, other, name, self.wishes.align, lambda: None)
        super()._take(source, volume)
        self.beside, self._source, self._series = beside, source, None

    def drop_labelled(self, folder: Path) -> dict[str, Any]:
        """Labelled scans that came over the page; what it is told of them."""
        return {"others": self.beside.offer(labelled_among(folder))}

    def drop_phase(self, folder: Path) -> dict[str, Any]:
        """A scan that came over the page to be seen beside this one; its id."""
        source = phase_source(folder)
        key = f"dropped-{len(self._dropped) + 1}"
        self._dropped[key] = source
        return {"phase": {"id": key, "name": source.name}}

    # -- requests --------------------------------------------------------------------------

    def _beside_told(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self.opened is not None:
            if self._has_work(self._case()):
                self._session()  # what was done before is brought back, and with it what was said
            told = self.opened.keeper.told
        return {
            "name": self.beside.name,
            "phases": self.beside.told_phases,
            "taken": told.get("taken", {}),
            "table": told.get("table"),
            "then": self._told_then(),
            "days": self.wishes.days,
            "asked": [key for key, one in self.beside.offers.items() if one.asked],
            "compares": bool(self.wishes.prior),
        }

    def _told_then(self) -> list[dict[str, Any]]:
        """Where the lesions were, for the earlier scan as a phase."""
        told = []
        for name, (block, mask) in self.beside.then.items():
            corners = [int(v) for v in (*block.low, *block.high)]
            data = self.arrays.write(mask.astype(np.uint8))
            told.append(
                {"name": name, "block": corners, "data": data, "replace": True, "removed": False}
            )
        return told

    def _others(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        source = self._source
        if self._series is None and source is not None:
            listed = series_of(replace(source, series=None, frame=None)) if source.series else []
            self._series = [one for one in listed if one.source.series != source.series]
        series = [
            {"id": f"series-{n}", "name": one.about.get("description") or one.source.name}
            for n, one in enumerate(self._series or ())
        ]
        own = source.path if source is not None else Path()
        return {"others": self.beside.listed(own), "series": series}

    def _take_from(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        _, session = self._session()
        chosen = [self.beside.chosen(key) for key in fields.texts("others")]
        if not chosen:
            raise RequestError("bad_request", "take: 'others' names no labelled scan")
        given: list[Any] = []
        for one in chosen:
            given += [one.given] if isinstance(one.given, str) else one.given
        found = from_examples(
            session, given, fields.texts("objects"), fields.flag("mirror", False), report, cancel
        )
        return self._put_found(found, fields, report)

    def _follow_up(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        _, session = self._session()
        earlier = self.beside.chosen(fields.text("other")).one
        days = fields.values.get("days") or 0
        if type(days) not in (int, float) or not 0 <= days < 1e6:
            raise RequestError("bad_request", "follow_up: 'days' must be a number from 0")
        found, model = from_prior(session, earlier, float(days), report, cancel)
        answer = self._put_found(found, fields, report)
        if self._show_then(model, session.volume):
            self._keep_phase(THEN, report)
        return answer

    def _put_found(self, found: Found, fields: Fields, report: Report) -> dict[str, Any]:
        """What was found, as one step of undo, and in the journal."""
        case, session = self._session()
        without(found, session, fields.texts("replace"))
        keeper = self._opened().keeper
        taken = {**keeper.told.get("taken", {}), **found.accounts}
        keeper.told = {**keeper.told, "taken": taken}
        if found.table is not None:
            keeper.told["table"] = found.table
        if found.objects:
            session.put(*found.objects)
            case.dirty = True
        self._keep(partial(keeper.keep_taken, case, found.objects), report)
        return {
            **self._masks(case, session),
            "prompts": self._prompts(case),
            "found": found.accounts,
            "put": [obj.name for obj in found.objects],
            "notes": found.notes,
            "table": found.table,
        }

    def _show_then(self, model: PriorModel, volume: Volume) -> bool:
        """The earlier scan beside this one, as it was laid on it; whether it could be."""
        earlier = model.earlier.read[0]
        if model.laid is None or earlier.is_colour:
            return False
        voxels = model.laid.carry(
            earlier.voxels.astype(np.float32), earlier.affine, volume.affine, volume.shape,
            outside=float(earlier.voxels.min()),
        )  # fmt: skip
        placed = replace(earlier, voxels=_as_before(voxels, earlier), grid=volume.grid)
        self.beside.then = {}
        for name, value in model.spec.structures.items():
            drawn = (model.earlier.read[1].voxels == value).astype(np.float32)
            mask = model.laid.carry(drawn, earlier.affine, volume.affine, volume.shape) > 0.5
            if mask.any():
                block = Box3D.from_mask(mask)
                self.beside.then[name] = block, mask[block.slices]
        self.beside.name = self.beside.name or "now"
        mm = model.laid.moved_mm(volume.affine, volume.shape)
        said = f"moved and bent by {mm:.1f} mm on the mean; outlined as it was drawn"
        self.beside.add_phase(placed, THEN, said)
        return True

    def _add_phase(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case = self._case()
        if self._has_work(case):
            self._session()  # what was done before comes first in the journal
        source = self._phase_source(fields.text("scan"))
        name = fields.text("name").strip()
        if not name:
            raise InputError("a phase needs a name, such as arterial")
        told = {"done": 0, "total": None, "object": "", "plane": "", "seconds_left": None}
        report("progress", {**told, "text": f"reading {source.name}"})
        other = source.read()
        report("progress", {**told, "text": f"looking whether {name} has to be moved"})

        def check() -> None:
            if cancel():
                raise Cancelled("stopped; nothing was changed")

        align = fields.text("align", "auto")
        self.beside.name = self.beside.name or "this scan"
        _add(self.beside, case.volume, other, name, align, check)
        self._keep_phase(name, report)
        return {"name": self.beside.name, "phases": self.beside.told_phases}

    def _phase_source(self, key: str) -> Source:
        for number, one in enumerate(self._series or ()):
            if key == f"series-{number}":
                return one.source
        if key in self._dropped:
            return self._dropped[key]
        raise RequestError("bad_request", f"there is no scan that is called {key!r}")

    def _remove_phase(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        name = fields.text("name")
        self.beside.phases.pop(name, None)
        if THEN not in self.beside.phases:
            self.beside.then = {}
        self._keep(partial(self._opened().keeper.keep_no_phase, self._case(), name), report)
        return {"name": self.beside.name, "phases": self.beside.told_phases}

    # -- the journal -----------------------------------------------------------------------

    def _keep_phase(self, name: str, report: Report) -> None:
        beside, phase = self.beside, self.beside.phases[name]

        def write(journal: Path) -> Entry:
            then = beside.then if name == THEN else {}
            return write_phase(journal, phase, beside.name, then)

        self._keep(partial(self._opened().keeper.keep_phase, self._case(), name, write), report)

    def _begun(self, case: Case) -> Session:
        """See `Bench._begun`; phases that lay beside the scan do so again."""
        waits = self.opened is not None and self.opened.keeper.has_work
        session = super()._begun(case)
        if waits:
            self._bring_phases()
        return session

    def _bring_phases(self) -> None:
        """What lay beside the scan before; what the command line names counts for more."""
        opened, beside = self._opened(), self.beside
        for name, entry in opened.keeper.phases.items():
            if name in beside.phases or name == beside.name:
                continue
            try:
                journal = opened.keeper.resumed.journal.path
                volume, then = read_phase(journal, entry, opened.volume)
                beside.add_phase(volume, name, str(entry["said"]))
            except SammedError as error:
                opened.about["notes"].append(f"{name} is not shown again: {error}; add it anew")
                continue
            beside.name = beside.name or str(entry["first"])
            beside.then = then if name == THEN else beside.then


def _add(
    beside: Beside, first: Volume, other: Volume, name: str, align: str, check: Callable[[], None]
) -> None:
    """Put another scan of the same person beside the first, on its grid."""
    from sammed.examples.channels import with_channels

    placed, told = with_channels(first, {name: other}, name=beside.name, align=align, check=check)
    phase = placed.channels[0]
    whole = replace(phase, voxels=_as_before(phase.voxels, other))
    beside.add_phase(whole, name, told[0].said)


def _as_before(voxels: Any, like: Volume) -> Any:
    """Voxels of the type that they had before they were moved: half as much to send."""
    kind = like.voxels.dtype
    if kind.kind in "iu" and voxels.dtype.kind == "f":
        return np.rint(voxels).astype(kind)
    return voxels
