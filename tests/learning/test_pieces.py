"""Structures of one piece: what lies apart is left out, told, and only where that is no loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sammed.errors import SammedWarning
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import dice
from sammed.imaging.volume import LabelVolume, Volume
from sammed.learning import course, proposing
from sammed.learning.course import Wishes, learn, model_path
from sammed.learning.judging import Judgement, Taught, judge, labels_of, torn
from sammed.learning.planning import Fingerprint, fingerprint, make_plan
from sammed.models.learned.file import Teaching, pack, read_learned
from sammed.models.learned.model import LearnedModel
from sammed.models.learned.net import build_net
from sammed.models.learned.pieces import in_one_piece, told_apart
from sammed.models.learned.plan import Brightness, Look, Plan
from sammed.models.learned.sight import Seen, look_at
from tests.phantoms import affine_of
from tests.project.folders import make_project, scan

PLAN = Plan({4: "block"}, (Look((1.0, 1.0, 1.0), (16, 32, 32)),), Brightness("ct", 0, 100, 50, 50),
            (), single=(4,))  # fmt: skip


class Bright(torch.nn.Module):
    """Answers with brightness itself."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([-20 * images, 20 * images], 1)


def two_blocks() -> tuple[Volume, np.ndarray, np.ndarray]:
    """A scan of a large and a small block, and both."""
    large, small = np.zeros((2, 16, 32, 32), bool)
    large[4:12, 5:15, 5:15] = True
    small[5:9, 22:26, 22:26] = True
    voxels = np.where(large | small, 100, 0).astype(np.float32)
    return Volume.from_array(voxels, affine_of((1, 1, 1), (0, 0, 0))), large, small


def prints(*drawn: np.ndarray) -> list[Fingerprint]:
    volume = two_blocks()[0]
    return [fingerprint(volume, mask.astype(np.uint8)) for mask in drawn]


def test_label_maps_say_what_is_one_piece():
    _, large, small = two_blocks()
    torn_ = large | small
    assert make_plan(prints(large, small, large), {1: "block"}).single == (1,)
    assert make_plan(prints(large, small), {1: "block"}).single == ()
    assert make_plan(prints(large, small, large, torn_), {1: "block"}).single == ()
    stray = large.copy()
    stray[0, 0, 0] = True
    assert make_plan(prints(large, stray, stray), {1: "block"}).single == (1,)
    empty = np.zeros_like(large)
    assert make_plan(prints(large, large, empty), {1: "block"}).single == ()


def test_the_largest_stays_and_the_rest_is_told():
    volume, large, small = two_blocks()
    all_of_it = look_at(volume, PLAN, [Bright()])
    np.testing.assert_array_equal(labels_of(all_of_it, PLAN, volume) == 4, large | small)
    assert in_one_piece(all_of_it, replace(PLAN, single=())) is all_of_it
    seen = in_one_piece(all_of_it, PLAN)
    np.testing.assert_array_equal(labels_of(seen, PLAN, volume) == 4, large)
    assert seen.apart == {"block": pytest.approx(small.sum() / (large | small).sum())}
    for look in seen.looks:
        np.testing.assert_allclose(look.sum(0), 1, atol=1e-5)
        assert look[1][small].max() == 0
    assert told_apart(seen.apart).startswith("left out pieces apart of block (7.4 % of it)")


def test_of_two_pieces_the_surer_stays_and_neighbours_keep_theirs():
    shares = np.zeros((3, 1, 8, 40), np.float32)
    shares[1, 0, 2:6, 2:8] = 0.51
    shares[1, 0, 2:6, 20:27] = 0.95
    shares[2, 0, 2:6, 30:33] = shares[2, 0, 2:6, 36:39] = 0.9
    shares[0] = 1 - shares.sum(0)
    looks, extents = [shares.copy()], ((0, 1), (0, 8), (0, 40))
    plan = replace(PLAN, structures={4: "block", 7: "pair"}, single=(4,))
    seen = in_one_piece(Seen(Box3D(0, 0, 0, 1, 8, 40), looks, extents), plan)
    assert set(seen.apart) == {"block"}
    np.testing.assert_array_equal(seen.mean[1] > 0, shares[1] > 0.9)
    np.testing.assert_array_equal(seen.mean[2], shares[2])
    shares[1, 0, 2:6, 2:8] = 0.6  # nearly as much: a person has to say
    assert in_one_piece(replace(seen, looks=[shares], apart={}), plan).apart == {}


def test_what_loses_by_it_is_known():
    volume, large, small = two_blocks()
    labels = 4 * (large | small).astype(np.uint8)
    both = [Taught("a", "a", "", volume, labels), Taught("b", "b", "", volume, 4 * large)]
    judged = judge(both, PLAN, [Bright()])
    assert [one.loose for one in judged] == [1.0, pytest.approx(dice(large | small, large))]
    assert judged[0].dice == pytest.approx(dice(large, large | small))
    assert judged[1].dice == 1
    doubt = judged[0].doubt
    assert torn([Judgement("a", "a", "x", 0.7, doubt, 0.9), Judgement("b", "b", "y", 0.9, doubt)]) \
        == {"x"}  # fmt: skip
    assert torn([Judgement("a", "a", "x", 0.9, doubt, 0.7)]) == set()


def test_a_model_says_what_it_left_out(tmp_path: Path):
    volume, large, _ = two_blocks()
    net = build_net(PLAN.looks[0], 1, 2)
    about = {"round": 1, "when": "", "seconds": 1, "seed": 0, "sammed": "", "rehearsed": False}
    path = tmp_path / "some.sammed"
    path.write_bytes(pack(Teaching(PLAN, about=about), (net.state_dict(),), ""))
    assert read_learned(path).teaching.plan.single == (4,)
    model = LearnedModel(path)
    model.nets = [Bright()]
    with pytest.warns(SammedWarning, match=r"pieces apart of block \(7.4 % of it\)"):
        found = model.find(_image(volume), reporter=_Nobody())["block"]
    assert found.block == Box3D.from_mask(large)


class _Nobody:
    def check(self) -> None:
        """Nobody stops it."""


def _image(volume: Volume):
    from sammed.imaging.intensity import resolve_window
    from sammed.models.protocols import VolumeImage

    return VolumeImage(volume, resolve_window("auto", volume))


@pytest.mark.thorough
def test_a_course_keeps_in_one_piece_what_gains_and_proposals_tell(tmp_path: Path, monkeypatch):
    project = make_project(tmp_path, 4)
    for number, case in enumerate(project.cases()[:3]):
        labels = scan(number)[1]
        project.accept(case.id, LabelVolume(labels, case.volume().grid, {}), prompted=1)
    monkeypatch.setattr(course.judging, "torn", lambda judged: set())
    learn(project, Wishes(steps=3, what="segmenter"))
    assert set(read_learned(model_path(project)).teaching.plan.single) == {1, 2}
    monkeypatch.setattr(course.judging, "torn", lambda judged: {"ball"})
    learn(project, Wishes(steps=3, what="segmenter"))
    newest = max(project.folder.rglob("*.sammed"), key=lambda file: file.stat().st_mtime)
    assert read_learned(newest).teaching.plan.single == (2,)

    def torn_answer(self, volume, check=lambda: None):
        shares = np.zeros((3, *volume.shape), np.float32)
        shares[1, 2:9, 2:9, 2:9] = shares[1, 2:4, -3:, -3:] = shares[2, 12:14, :2, :2] = 1
        shares[0] = 1 - shares[1:].sum(0)
        whole = Box3D(0, 0, 0, *volume.shape)
        plan = replace(self.teaching.plan, single=(1,))
        return in_one_piece(Seen(whole, [shares], tuple((0, n) for n in volume.shape)), plan)

    monkeypatch.setattr(proposing.LearnedModel, "see", torn_answer)
    proposing.propose(project)
    assert "left out pieces apart of ball (5.0 % of it)" in project.case("p3").record.note
