"""What another scan shows of the one in hand, as objects that can be edited."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sammed.imaging import geometry
from sammed.prompts import MaskPrompt, ObjectPrompts
from sammed.worker.answers import plain

if TYPE_CHECKING:
    from sammed.engine.progress import Progress
    from sammed.examples.followup import PriorModel
    from sammed.examples.library import Example
    from sammed.imaging.volume import Volume
    from sammed.models.protocols import Model
    from sammed.session import Session

Hear = Callable[[str, dict[str, Any]], None]
Cancel = Callable[[], bool]


@dataclass(eq=False)
class Found:
    """What came of asking another scan.

    Attributes
    ----------
    objects
        To be put into the session, painted as they were found.
    accounts
        Name → what is to be said of it, also of what is missing and of what was left alone.
    notes
        For the person.
    table
        Of a follow-up: each lesion then and now.
    labels
        Name → value in the other scan.
    """

    objects: list[ObjectPrompts] = field(default_factory=list)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    table: dict[str, Any] | None = None
    labels: dict[str, int] = field(default_factory=dict)


def from_examples(
    session: Session,
    given: list[Any],
    objects: Collection[str],
    mirror: bool,
    hear: Hear,
    cancel: Cancel,
) -> Found:
    """Objects that labelled examples show.

    Parameters
    ----------
    session
        Of the scan; nothing in it is changed.
    given
        As `sammed.examples.asking.gathered` takes it.
    objects
        Names of what is wanted; empty: all that is labelled.
    mirror
        Whether what is on the other side counts as well.
    hear, cancel
        Told of progress; asked whether to stop.

    Raises
    ------
    SammedError
        Whatever there is to say about the examples.
    Cancelled
        If ``cancel`` said so.
    """
    from sammed.examples.asking import example_model
    from sammed.examples.model import Taking

    _tell(hear, "reading the labelled scan")
    model = example_model(given, session.model, list(objects) or None, None, Taking(mirror=mirror))
    names = model.asked
    runs = _asked(
        session, model, names, "laying it on this scan: step {done} of {total}", hear, cancel
    )
    account = model.account.as_json()
    found = Found(notes=list(account["notes"]))
    by = ", ".join(line["example"] for line in account["examples"])
    for name in names:
        said = account["objects"].get(name, {})
        found.accounts[name] = {
            "by": by,
            "examples": said.get("examples"),
            "agreement": said.get("agreement"),
            "likeness": said.get("likeness"),
            "model": said.get("model"),
        }
        _keep(found, session, name, model.spec.structures[name], runs[name], said.get("missing"))
    return found


def from_prior(
    session: Session, earlier: Example, days: float, hear: Hear, cancel: Cancel
) -> tuple[Found, PriorModel]:
    """What became of each lesion of an earlier scan; and the model that found it.

    Parameters
    ----------
    session, hear, cancel
        As of `from_examples`.
    earlier
        The earlier scan with its labels.
    days
        Between the scans; 0: as DICOM says, or unknown.
    """
    from sammed.examples.followup import PriorModel, days_between

    _tell(hear, "reading the earlier scan")
    model = PriorModel(earlier, session.model, days or days_between(earlier, session.volume))
    names = list(model.spec.structures)
    runs = _asked(
        session, model, names, "looking at each lesion: step {done} of {total}", hear, cancel
    )
    found = Found()
    for name in names:
        run = runs[name]
        why = next((c.how for c in model.account.changes if c.name == name), "")
        found.accounts[name] = {"by": earlier.id, "how": why}
        _keep(found, session, name, model.spec.structures[name], run, "")
    found.table = _table(model, session.volume, found)
    return found, model


def from_names(session: Session, objects: Collection[str], hear: Hear, cancel: Cancel) -> Found:
    """Objects that the session's model was taught by name; no other scan is asked.

    Parameters
    ----------
    session, objects, hear, cancel
        As of `from_examples`; no object: all that the model was taught.

    Raises
    ------
    InputError
        If it knows none of that name: with what the name means, and what to do.
    Cancelled
        If ``cancel`` said so.
    """
    from sammed.io.meaning import meant

    known = session.model.spec.structures
    names = [one for name in objects for one in meant(name, known, "without an example")]
    names = list(dict.fromkeys(names)) or list(known)
    words = "looking for what was learned: step {done} of {total}"
    runs = _asked(session, session.model, names, words, hear, cancel)
    found = Found()
    for name in names:
        found.accounts[name] = {"by": session.model.spec.name, "learned": True}
        _keep(found, session, name, known[name], runs[name], "")
    return found


def _asked(
    session: Session, model: Model, names: list[str], words: str, hear: Hear, cancel: Cancel
) -> dict[str, Any]:
    """The runs of a session of its own, in which the model is asked for objects by name."""
    from sammed.session import Session as Aside

    alone = session.volume  # as it is: a model that has seen it need not look again
    if alone.channels:  # things are found by name in one image
        alone = replace(alone, channels=())
    aside = Aside(alone, model, session.settings)
    aside.put(*(ObjectPrompts(name) for name in names))
    _tell(hear, "laying one onto the other")

    def progress(told: Progress) -> None:
        text = words.format(done=told.done, total=told.total)
        _tell(hear, text, told.done, told.total, told.seconds_left)

    aside.segment(progress, cancel)
    return aside.runs


def _keep(
    found: Found, session: Session, name: str, label: int, run: Any, missing: str | None
) -> None:
    """An object that was found, or why there is none."""
    account = found.accounts[name]
    found.labels[name] = label
    mask = run.volume.mask_in(session.volume.shape)
    if run.error or not mask.any():
        account["missing"] = missing or run.error or "nothing is left of it"
        return
    voxels = int(np.count_nonzero(mask))
    account["voxels"] = voxels
    account["ml"] = voxels * geometry.voxel_volume_ml(session.volume.affine)
    taken = {obj.label for obj in session.objects if obj.name != name}
    taken |= {obj.label for obj in found.objects}
    value = label if label not in taken else 0
    found.objects.append(ObjectPrompts(name, value, mask=MaskPrompt(mask), propagate="off"))


def without(found: Found, session: Session, replace: Collection[str]) -> None:
    """Leave alone what the session has already, but for names that may be replaced."""
    there = {obj.name for obj in session.objects} - set(replace)
    for obj in found.objects:
        if obj.name in there:
            found.accounts[obj.name]["left_alone"] = True
    found.objects = [obj for obj in found.objects if obj.name not in there]


def _table(model: PriorModel, volume: Volume, found: Found) -> dict[str, Any]:
    """Each lesion then and now, with where it is on this scan."""
    account = model.account
    to_voxel = np.linalg.inv(volume.affine)
    rows = account.as_json()["changes"]
    for row in rows:
        place = model.places.get(row["name"])
        row["at"] = None if place is None else [round(float(v)) for v in place]
        row["voxels"] = found.accounts[row["name"]].get("voxels", 0)
    new = [
        {
            "ml": one["ml"],
            "at": [
                round(float(v))
                for v in geometry.apply_affine(to_voxel, np.array(one["centre_lps_mm"]))
            ],
        }
        for one in account.new
    ]
    told = {"by": model.earlier.id, "days": account.days, "moved": account.moved}
    return dict(plain({**told, "rows": rows, "new": new}))


def _tell(
    hear: Hear, text: str, done: int = 0, total: int | None = None, left: float | None = None
) -> None:
    hear(
        "progress",
        {
            "done": done,
            "total": total,
            "object": "",
            "plane": "",
            "seconds_left": plain(left),
            "text": text,
        },
    )
