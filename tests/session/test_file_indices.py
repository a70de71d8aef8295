"""Prompts in the file's own indices, given to a session one by one."""

from __future__ import annotations

import numpy as np
import pytest

from sammed import io
from sammed.errors import PromptError
from sammed.session import Session
from tests.phantoms import ORDERS, ORGAN, STRAIGHT, StubModel, image_of, reordered, save_nifti


@pytest.fixture(params=[0, 11, 29, 46])
def session(request, tmp_path) -> Session:
    """Of one organ, its axes stored in some order."""
    voxels, affine = reordered(image_of(ORGAN), STRAIGHT, *ORDERS[request.param])
    path = save_nifti(tmp_path / "a.nii.gz", voxels, affine)
    return Session(io.read(path), StubModel(52))


def organ_in_file(session: Session) -> np.ndarray:
    """Where the organ is in the file, (i, j, k) bool."""
    return session.volume.grid.reorientation.invert(ORGAN).transpose(2, 1, 0)


def found(session: Session) -> float:
    session.segment()
    mask = session.volume.grid.reorientation.invert(session.object_mask("organ")).transpose(2, 1, 0)
    organ = organ_in_file(session)
    return 2 * (mask & organ).sum() / (mask.sum() + organ.sum())


def test_a_3d_box_and_clicks(session):
    at = np.argwhere(organ_in_file(session))
    session.add_box("organ", (*(at.min(0) - 1), *(at.max(0) + 2)))
    session.add_point("organ", at[len(at) // 2])
    session.add_point("organ", (0, 0, 0), positive=False)
    assert len(session.objects[0].interactions) == 3
    assert found(session) > 0.97
    session.undo()
    assert len(session.objects[0].interactions) == 2


def test_a_box_on_a_slice(session):
    axis = session.volume.grid.file_axis(0)
    across = "ijk".index(axis)
    organ = organ_in_file(session)
    middle = int(np.argwhere(organ)[:, across].mean())
    on_slice = np.argwhere(np.take(organ, middle, axis=across))
    session.add_box(
        "organ", (*(on_slice.min(0) - 1), *(on_slice.max(0) + 2)), slice=middle, axis=axis
    )
    assert found(session) > 0.97


def test_strokes(session):
    at = np.argwhere(organ_in_file(session))
    session.add_scribble("organ", at[len(at) // 2][None])
    stroke = np.zeros(organ_in_file(session).shape, bool)
    stroke[tuple(at[len(at) // 2])] = True
    session.add_scribble("organ", stroke)
    assert session.objects[0].scribbles[0] == session.objects[0].scribbles[1]
    session.add_scribble("organ", [(0, 0, 0), (0, 0, 1)], positive=False)
    assert found(session) > 0.9


def test_a_lasso(session):
    axis = session.volume.grid.file_axis(0)
    across = "ijk".index(axis)
    organ = organ_in_file(session)
    middle = int(np.argwhere(organ)[:, across].mean())
    low = np.argwhere(np.take(organ, middle, axis=across)).min(0)
    high = np.argwhere(np.take(organ, middle, axis=across)).max(0) + 1
    outline = [low, (low[0], high[1]), high, (high[0], low[1])]
    session.add_lasso("organ", outline, slice=middle, axis=axis)
    assert found(session) > 0.9


def test_what_lies_outside_is_refused(session):
    with pytest.raises(PromptError, match="outside"):
        session.add_box("organ", (0, 0, 0, 999, 5, 5))
    with pytest.raises(PromptError, match="outside"):
        session.add_point("organ", (-1, 0, 0))
    with pytest.raises(PromptError, match="outside"):
        session.add_lasso("organ", [(0, 0), (1, 1), (1, 0)], slice=999)
    with pytest.raises(PromptError, match="nothing says where"):
        session.add_point("organ", (1, 1, 1), positive=False)
    assert not session.objects
    assert not session.can_undo
