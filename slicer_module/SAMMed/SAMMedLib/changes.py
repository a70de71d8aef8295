"""Lesions then and now as a table of the scene, which is saved with it."""

from __future__ import annotations

import json
import math

import slicer
import vtk
from slicer.i18n import tr as _

from . import geometry, history, prompts, segmentation

VOLUME = "SAMMed.FollowUpOf"
ABOUT = "SAMMed.FollowUp"
NUMBERS = ("then_ml", "now_ml", "change_ml", "change_percent", "doubling_days")
COLUMNS = ("lesion", *NUMBERS, "state", "how", "R", "A", "S")


def write(volume, node, earlier_name, table, former):
    """Make the table of a follow-up; those of other earlier scans stay in the scene.

    Parameters
    ----------
    volume
        The later scan.
    node
        The segmentation that its lesions are in; ``None`` if none was written.
    earlier_name
        Of the earlier scan.
    table
        As the worker tells it: ``rows``, ``new``, ``days``, ``moved``.
    former
        Of the lesions that were written, see `arriving.Arrived`.
    """
    name = _("{volume} compared with {earlier}")
    name = name.format(volume=volume.GetName(), earlier=earlier_name)
    made = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    made.SetNodeReferenceID(VOLUME, volume.GetID())
    about = {k: table[k] for k in ("days", "moved")}
    about.update(earlier=earlier_name, former=former)
    if node is not None:
        made.SetNodeReferenceID(prompts.OWNER, node.GetID())
    made.SetAttribute(ABOUT, json.dumps(about))
    rows = [*table["rows"], *({**one, "state": "new"} for one in table["new"])]
    columns = {column: _column(column) for column in COLUMNS}
    for row in rows:
        for column, value in _cells(volume, row).items():
            columns[column].InsertNextValue(value)
    for array in columns.values():
        made.AddColumn(array)
    made.SetUseFirstColumnAsRowHeader(False)
    made.SetUseColumnNameAsColumnHeader(True)
    return made


def _column(name):
    words = ("lesion", "state", "how")
    array = vtk.vtkStringArray() if name in words else vtk.vtkDoubleArray()
    array.SetName(name)
    return array


def _cells(volume, row):
    missing = math.nan
    at = row.get("at")
    place = [missing] * 3 if at is None else geometry.world_from_ijk(volume, [at[::-1]])[0]
    new = row["state"] == "new"
    values = {
        "lesion": row.get("name", ""),
        "then_ml": 0.0 if new else row["before_ml"],
        "now_ml": row["ml"] if new else row["now_ml"],
        "change_ml": row["ml"] if new else row["change_ml"],
        "change_percent": missing if new else row["percent"],
        "doubling_days": row.get("doubling_days"),
        "state": row["state"],
        "how": row.get("how", ""),
        "R": place[0],
        "A": place[1],
        "S": place[2],
    }
    words = ("lesion", "state", "how")
    return {
        name: value if name in words else (missing if value is None else float(value))
        for name, value in values.items()
    }


def of(volume):
    """The table of a volume's last follow-up that stands; ``None`` if there is none."""
    tables = slicer.util.getNodesByClass("vtkMRMLTableNode") if volume is not None else []
    for node in reversed(tables):
        if node.GetNodeReference(VOLUME) is volume and not is_undone(node):
            return node
    return None


def rows(node):
    """Its rows as dictionaries by column; numbers that are not known are ``None``."""
    table, found = node.GetTable(), []
    for n in range(table.GetNumberOfRows()):
        row = {name: table.GetColumnByName(name).GetValue(n) for name in COLUMNS}
        for name, value in row.items():
            if isinstance(value, float) and math.isnan(value):
                row[name] = None
        found.append(row)
    return found


def about(node):
    """``days``, ``moved``, ``earlier`` and ``former`` of a table."""
    return json.loads(node.GetAttribute(ABOUT) or "{}")


def is_undone(node):
    """Whether all lesions that were written with a table are as they were before it."""
    home, former = node.GetNodeReference(prompts.OWNER), about(node).get("former", {})
    return bool(former) and all(_is_as_before(home, *one) for one in former.items())


def _is_as_before(home, segment_id, state):
    if not segmentation.exists(home, segment_id):
        return True
    return state is not None and history.History.name_of(home, segment_id) == state


def follow():
    """Tables go with their lesions when these are taken back, and come again with them."""
    for node in slicer.util.getNodesByClass("vtkMRMLTableNode"):
        if not node.GetAttribute(ABOUT):
            continue
        undone = is_undone(node)
        if bool(node.GetHideFromEditors()) != undone:
            node.SetHideFromEditors(undone)
            node.SetSaveWithScene(not undone)
