"""What other scans show of the one in hand: the requests ``take`` and ``follow_up``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import InputError
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import LabelVolume, label_dtype
from sammed.worker.answers import plain
from sammed.worker.case import copied, volume_of
from sammed.worker.finding import Found, from_examples, from_names, from_prior, without
from sammed.worker.messages import Fields, RequestError
from sammed.worker.sending import Sent

if TYPE_CHECKING:
    from sammed.examples.library import Example
    from sammed.session import Session

Report = Callable[[str, dict[str, Any]], None]
Cancel = Callable[[], bool]


def take(
    session: Session, fields: Fields, sent: Sent, report: Report, cancel: Cancel
) -> dict[str, Any]:
    """Objects that labelled examples show, or that the model knows by their names.

    Parameters
    ----------
    session
        Of the scan in hand.
    fields
        ``examples``: folders, texts ``IMAGE,LABELS``, or what `read_example` reads; ``objects``;
        ``mirror``; ``replace``; ``aside``. With neither of the first two: all that the model was
        taught by name.
    sent
        How the client is told of masks.
    report, cancel
        Told of progress; asked whether to stop.

    Raises
    ------
    RequestError
        If a field cannot be understood.
    SammedError
        Whatever there is to say about the examples; the session is then as it was.
    """
    given = [_given(one, f"take.examples[{n}]", sent) for n, one in _list(fields, "examples")]
    objects, mirror = fields.texts("objects"), fields.flag("mirror", False)
    if not given and not objects and not session.model.spec.structures:
        raise RequestError("bad_request", "take: expected 'examples', 'objects' or both")
    if given:
        found = from_examples(session, given, objects, mirror, report, cancel)
    else:
        found = from_names(session, objects, report, cancel)
    return _told(found, session, fields, sent)


def follow_up(
    session: Session, fields: Fields, sent: Sent, report: Report, cancel: Cancel
) -> dict[str, Any]:
    """What became of each lesion of an earlier scan; the table has its places.

    Parameters
    ----------
    session, sent, report, cancel
        As of `take`.
    fields
        ``earlier``: a text ``IMAGE,LABELS`` or what `read_example` reads; ``days``; ``replace``;
        ``aside``.

    Raises
    ------
    RequestError
        If a field cannot be understood.
    SammedError
        Whatever there is to say about the earlier scan; the session is then as it was.
    """
    from sammed.examples.library import pair

    days = fields.values.get("days", 0) or 0
    if type(days) not in (int, float) or not 0 <= days < 1e6:
        raise RequestError("bad_request", "follow_up: 'days' must be a number from 0")
    if "earlier" not in fields:
        raise RequestError("bad_request", "follow_up: expected 'earlier'")
    given = _given(fields.values["earlier"], "follow_up.earlier", sent)
    earlier = pair(given) if isinstance(given, str) else given
    found, _ = from_prior(session, earlier, float(days), report, cancel)
    return _told(found, session, fields, sent)


def read_example(part: Fields, sent: Sent) -> Example:
    """A labelled scan that the client sends instead of naming files.

    Parameters
    ----------
    part
        ``name``, ``affine``, ``modality`` and ``data`` of the image, ``labels`` with ``data`` on
        its grid and ``names`` by value.
    sent
        Reads the arrays.

    Raises
    ------
    RequestError
        If the two do not fit each other, or a field cannot be understood.
    """
    from sammed.examples.library import Example

    name, labels = part.text("name"), part.part("labels")
    volume = volume_of(part, copied(part, sent.arrays))
    drawn = copied(labels, sent.arrays)
    shape = volume.grid.reorientation.invert(volume.voxels).shape
    if drawn.shape != shape:
        raise RequestError(
            "bad_request",
            f"{labels.where}: shape {list(drawn.shape)} is not the image's, {list(shape)}",
        )
    if drawn.dtype.kind not in "biu" or (drawn.size and int(drawn.min()) < 0):
        raise RequestError("bad_request", f"{labels.where}: labels are whole numbers from 0")
    voxels: NDArray[np.unsignedinteger] = drawn.astype(label_dtype(int(drawn.max())))
    names = {value: called for value, called in _names(labels) if (drawn == value).any()}
    there = {int(v) for v in np.unique(voxels) if v}
    names |= {value: f"label_{value}" for value in there - set(names)}
    grid = volume.grid
    read = LabelVolume(grid.reorientation.apply(voxels), grid, names)
    return Example(name, volume, read, name)


def _names(labels: Fields) -> list[tuple[int, str]]:
    names = labels.values.get("names") or {}
    good = isinstance(names, dict) and all(
        str(value).isdigit() and int(value) > 0 and isinstance(name, str) and name
        for value, name in names.items()
    )
    if not good:
        raise RequestError(
            "bad_request", f"{labels.where}: 'names' must have a name for values from 1"
        )
    return [(int(value), name) for value, name in names.items()]


def _list(fields: Fields, name: str) -> list[tuple[int, Any]]:
    values = fields.values.get(name) or []
    if not isinstance(values, list):
        raise RequestError("bad_request", f"{fields.where}: {name!r} must be a list")
    return list(enumerate(values))


def _given(one: Any, where: str, sent: Sent) -> Any:
    if isinstance(one, str):
        return one
    if isinstance(one, dict):
        return read_example(Fields(one, where), sent)
    raise RequestError(
        "bad_request", f"{where}: expected a text, or an image with its labels, found {one!r}"
    )


def _told(found: Found, session: Session, fields: Fields, sent: Sent) -> dict[str, Any]:
    """What the client is told; put into the session unless it is told aside."""
    aside = fields.flag("aside", False)
    replace = fields.texts("replace")
    masks = {obj.name: obj for obj in found.objects}
    if not aside:
        without(found, session, replace)
        if found.objects:
            session.put(*found.objects)
    objects = []
    for name, account in found.accounts.items():
        line = {"name": name, **account}
        if aside and name in masks:
            mask = masks[name].mask
            if mask is None:
                raise InputError(f"nothing was painted of {name}")
            block = Box3D.from_mask(mask.voxels)
            line |= {"label": found.labels.get(name, 0)}
            line |= sent.mask(block, mask.voxels[block.slices])
        objects.append(line)
    return {"found": plain(objects), "notes": found.notes, "table": _table(found, sent)}


def _table(found: Found, sent: Sent) -> dict[str, Any] | None:
    """Lesions then and now, with their places in the client's indices."""
    if found.table is None:
        return None

    def placed(row: dict[str, Any]) -> dict[str, Any]:
        at = row["at"]
        return {**row, "at": None if at is None else sent.frame.point_out(tuple(at))}

    table = dict(found.table)
    return {
        **table,
        "rows": list(map(placed, table["rows"])),
        "new": list(map(placed, table["new"])),
    }
