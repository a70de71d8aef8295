"""Plans, patches, splits: what learning starts from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sammed.errors import InputError
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.io import read
from sammed.learning import verdict
from sammed.learning.estimate import Calibration, Doubt, calibrate
from sammed.learning.judging import Judgement, labels_of, summary
from sammed.learning.lessons import make_lesson
from sammed.learning.patches import Changes, Patch, draw_patch, pasted
from sammed.learning.planning import fingerprint, make_plan
from sammed.learning.split import split
from sammed.models.learned import file
from sammed.models.learned.file import Teaching, read_learned
from sammed.models.learned.net import build_net, multiples
from sammed.models.learned.plan import Brightness, Look, Plan, resampled, seen
from sammed.models.learned.sight import look_at
from sammed.project.case import Scan, create_case
from sammed.project.folder import Project
from tests.phantoms import SAMPLE, affine_of
from tests.project.folders import scan

STILL = Changes(turn=0, turn_flat=0, stretch=0, stretch_axis=0, bend=0, paste=0)


def print_of(shape, spacing, modality="MR"):
    volume = Volume.from_array(
        np.zeros(shape, np.int16), affine_of(spacing, (0, 0, 0)), modality=modality
    )
    labels = np.zeros(shape, np.uint8)
    labels[tuple(n // 2 for n in shape)] = 1
    return fingerprint(volume, labels)


def test_small_scans_are_seen_whole():
    plan = make_plan([print_of((35, 50, 34), (1, 1, 1))] * 3, {1: "a"})
    (look,) = plan.looks
    assert look.flat_axis is None
    assert all(p >= n for p, n in zip(look.patch, (35, 50, 34), strict=True))
    assert all(p % m == 0 for p, m in zip(look.patch, multiples(look), strict=True))


def test_large_scans_are_looked_at_twice():
    plan = make_plan([print_of((120, 256, 256), (3, 1.5, 1.5), "CT")], {1: "liver"})
    coarse, fine = plan.looks
    assert all(a >= b for a, b in zip(coarse.spacing, fine.spacing, strict=True))
    extents = coarse.shape_of((120, 256, 256), (3, 1.5, 1.5))
    assert all(p >= n - 3 for p, n in zip(coarse.patch, extents, strict=True))
    assert plan.brightness.kind == "ct"


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [((1, 64, 64), (8, 1, 1), 0), ((12, 64, 64), (8, 1, 1), 0), ((64, 64, 9), (1, 1, 7), 2)],
)
def test_thick_slices_are_seen_one_by_one(shape, spacing, axis):
    plan = make_plan([print_of(shape, spacing)], {1: "a"})
    assert plan.looks[0].flat_axis == axis
    assert plan.looks[0].patch[0] == 1
    assert plan.looks[0].spacing[axis] == 0
    assert axis not in plan.mirrors


@pytest.mark.parametrize("name", ["left kidney", "kidney_right", "Niere links", "hippocampus_l"])
def test_structures_of_one_side_are_not_mirrored(name):
    assert make_plan([print_of((30, 30, 30), (1, 1, 1))], {1: name}).mirrors == ()
    assert make_plan([print_of((30, 30, 30), (1, 1, 1))], {1: "liver"}).mirrors == (2,)


def test_nothing_to_learn():
    with pytest.raises(InputError, match="nothing to learn from"):
        make_plan([], {1: "a"})


def test_plans_survive_json():
    plan = make_plan([print_of((120, 256, 256), (3, 1.5, 1.5), "CT")], {2: "liver", 7: "gut"})
    assert Plan.from_dict(plan.as_dict()) == plan


def test_people_are_never_on_both_sides():
    people = {f"c{n}": f"p{n // 2}" for n in range(40)}
    found = split(people, 3)
    assert found.held
    assert not set(found.learned) & set(found.held)
    assert not {people[c] for c in found.learned} & {people[c] for c in found.held}
    more = split({**people, **{f"d{n}": f"q{n}" for n in range(20)}}, 3)
    assert set(found.held) <= set(more.held)


@pytest.mark.parametrize("seed", range(4))
def test_those_who_are_labelled_first_are_not_those_who_are_held_back(tmp_path, seed):
    """Order and judges are drawn by different lots: by the same one nothing would be learned."""
    project = Project.create(tmp_path / "study", {"ball": 0}, seed=seed)
    for n in range(60):
        create_case(tmp_path / "study" / "cases", Scan(f"c{n}", f"c{n}.nii.gz", f"c{n}"))
    first = [case.id for case in project.queue("random")]
    for count in (15, 20, 60):
        found = split({id: id for id in first[:count]}, seed)
        assert 1 <= len(found.held) <= 0.34 * count, (count, found)
        assert len(found.learned) + len(found.held) == count


def test_however_the_lots_fall_most_are_learned_from():
    for seed in range(300):
        found = split({f"c{n}": f"c{n}" for n in range(16)}, seed)
        assert 1 <= len(found.held) <= 5, seed


def judgements(dices):
    return [Judgement(f"c{n}", f"c{n}", "ball", dice, Doubt(0.9, 0.9))
            for n, dice in enumerate(dices)]  # fmt: skip


@pytest.mark.parametrize(
    ("unseen", "after", "used", "why"),
    [
        (1, 0.70, True, "by what each reached"),
        (2, 0.70, True, "by what each reached"),
        (3, 0.70, False, "on the same held-back cases"),
        (3, 0.90, True, "on the same held-back cases"),
        (1, 0.57, True, "by what each reached"),
        (1, 0.50, False, "by what each reached"),
    ],
)
def test_one_person_does_not_decide_which_model_is_used(monkeypatch, unseen, after, used, why):
    """The one before reached 0.6 in its own round, and 0.8 on each case that is held back now.

    The new one learned from its case and another.
    """
    judged = judgements([after] * 4)
    monkeypatch.setattr(verdict, "build_nets", lambda plan, weights: ())
    monkeypatch.setattr(
        verdict.judging, "judge", lambda cases, plan, nets: judgements([0.8] * unseen)
    )
    before = Teaching(None, cases={"a": "1"}, judged={"mean": {"dice": 0.6}})
    now = Teaching(None, cases={"a": "1", "b": "2"}, judged=summary(judged))
    said = verdict.segmenter_verdict(
        SimpleNamespace(weights=({},), teaching=before), "", judged, now,
        lambda _: {f"c{n}" for n in range(unseen)}, list,
    )  # fmt: skip
    assert said["used"] is used
    assert said["why"].startswith(why)


def test_few_people_are_judged_in_a_rehearsal():
    found = split({"a": "1", "b": "2", "c": "3"}, 0)
    assert found.learned == ("a", "b", "c")
    assert len(found.held) == 1
    assert found.rehearsed


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_a_patch_that_is_not_changed_is_the_scan(axis):
    volume, labels = scan(0, (8, 16, 24))
    order = Look((1, 1, 1), (8, 16, 24), axis).order
    patch = tuple(
        (1 if n == 0 and axis is not None else (8, 16, 24)[a]) for n, a in enumerate(order)
    )
    spacing = tuple(0.0 if a == axis else mm for a, mm in enumerate(volume.spacing))
    look = Look(spacing, patch, axis)
    plan = Plan({1: "ball", 2: "box"}, (look,), Brightness(), ())
    lesson = make_lesson("a", volume, labels, plan.structures, look, plan.brightness)
    assert lesson.classes.shape == tuple(labels.shape[a] for a in order)
    drawn = draw_patch(np.random.default_rng(0), [lesson], plan, look, STILL)
    assert drawn.image.shape == (1, *patch)
    assert drawn.target.shape == (3, *patch)
    torch.testing.assert_close(drawn.target.sum(0), torch.ones(patch))
    bright = drawn.image[0][drawn.target[1] > 0.9]
    if len(bright):
        assert bright.mean() > drawn.image[0][drawn.target[0] > 0.9].mean()


def test_the_same_seed_draws_the_same_patch():
    volume, labels = scan(0)
    look = Look(volume.spacing, (8, 16, 16))
    plan = Plan({1: "ball", 2: "box"}, (look,), Brightness())
    lessons = [make_lesson("a", volume, labels, plan.structures, look, plan.brightness)] * 2
    one, two = (draw_patch(np.random.default_rng(5), lessons, plan, look, Changes()) for _ in "12")
    torch.testing.assert_close(one.image, two.image, rtol=0, atol=0)


def test_objects_are_pasted_where_there_is_room():
    empty, taken = (torch.zeros(2, 6, 8, 8) for _ in range(2))
    empty[0] = 1
    taken[0] = 1
    taken[:, 2:4, 2:5, 2:5] = torch.tensor([0.0, 1.0])[:, None, None, None]
    dark, light = torch.zeros(1, 6, 8, 8), torch.zeros(1, 6, 8, 8)
    light[0, 2:4, 2:5, 2:5] = 5
    drawn, undrawn = torch.tensor([False, False]), torch.tensor([False, True])
    done = pasted(Patch(dark, empty, undrawn), Patch(light, taken, drawn))
    torch.testing.assert_close(done.target, taken)
    assert done.unknown.tolist() == [False, True]
    assert done.image[0, 3, 3, 3] > 3
    again = pasted(Patch(light, taken, drawn), Patch(light, taken, drawn))
    torch.testing.assert_close(again.image, light)


def test_brightness():
    values = np.array([[[-2000.0, 0.0, 100.0, np.nan]]], np.float32)
    ct = Brightness("ct", -100, 200, 50, 100).applied(values)
    np.testing.assert_allclose(ct[0, 0, 0], [-1.5, -0.5, 0.5, -0.5])
    assert Brightness("scan").applied(np.full((2, 3, 4), 7.0)).std() == 0
    colour = Brightness("colour").applied(np.full((1, 2, 2, 3), 255, np.uint8))
    assert colour.shape == (3, 1, 2, 2)
    np.testing.assert_allclose(colour, 1)


def test_resampling_keeps_what_is_even():
    even = np.full((2, 5, 7, 11), 3.0, np.float32)
    np.testing.assert_allclose(resampled(even, (9, 3, 11)), 3, rtol=1e-5)
    volume, _ = scan(0)
    assert seen(volume, Look((5.0, 0.0, 0.7), (8, 8, 8)), Brightness()).shape == (1, 6, 20, 24)


@pytest.mark.parametrize("look", [Look((1, 1, 1), (16, 16, 16), levels=3),
                                  Look((1, 1, 1), (8, 8, 8), levels=2),
                                  Look((0, 1, 1), (1, 32, 32), 0, levels=4),
                                  Look((4, 1, 1), (8, 32, 32), levels=4)])  # fmt: skip
def test_networks_answer_for_every_sample(look):
    net = build_net(look, 1, 3)
    shape = look.patch[1:] if look.flat_axis is not None else look.patch
    assert net(torch.zeros(1, 1, *shape)).shape == (1, 3, *shape)


def test_samples_that_were_halved_together_lie_beside_each_other():
    """The answer of a bright sample is bright where it is, along every axis."""
    look = Look((1, 1, 1), (8, 8, 8), levels=2)
    net = build_net(look, 1, 1)
    head = net.model[2]
    with torch.no_grad():
        head[0].weight.zero_()
        head[0].bias.copy_(torch.arange(8.0))
        block = net(torch.zeros(1, 1, 8, 8, 8))[0, 0, :2, :2, :2]
    assert block.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_calibration_without_cases_says_so():
    assert Calibration.from_dict({}) == Calibration()
    assert Calibration().estimate(Doubt(0.8, 0.6)) == pytest.approx(0.7)
    assert Calibration().estimate(Doubt(0.0, 0.0)) == 0
    one = calibrate("aa", [Doubt(0.9, 0.9), Doubt(0.7, 0.7)], [0.8, 0.6])
    assert one.people == 1
    assert np.isnan(one.r)
    same = replace(one, r=0.5, error=0.1)
    assert Calibration.from_dict(same.as_dict()).r == 0.5


def test_what_the_coarse_look_finds_is_seen_finely_in_its_place():
    """Two looks of a network that answers with brightness itself: nothing may shift."""

    class Bright(torch.nn.Module):
        def forward(self, images):
            return torch.cat([-20 * images, 20 * images], 1)

    voxels = np.zeros((22, 40, 50), np.float32)
    voxels[7:13, 9:21, 27:41] = 100
    volume = Volume.from_array(voxels, affine_of((2.5, 0.8, 0.7), (0, 0, 0)))
    looks = (Look((5.0, 2.0, 2.0), (8, 16, 16)), Look((2.5, 1.1, 0.9), (8, 16, 16)))
    plan = Plan({4: "block"}, looks, Brightness("ct", 0, 100, 50, 50), ())
    found = look_at(volume, plan, [Bright(), Bright()])
    assert found.block != Box3D(0, 0, 0, *volume.shape)
    labels = labels_of(found, plan, volume)
    truth = voxels > 50
    assert dice(labels == 4, truth) > 0.9
    centre = np.argwhere(labels == 4).mean(0) - np.argwhere(truth).mean(0)
    assert abs(centre).max() <= 0.5  # an edge may fall on either side of a voxel
    assert not look_at(Volume.from_array(0 * voxels, affine_of()), plan, [Bright(), Bright()]).looks


def test_slices_are_also_seen_standardised_by_their_surroundings():
    """What a coil leaves dark looks as it does where that is bright; CT means what it says."""
    (look,) = make_plan([print_of((6, 128, 120), (10, 1.5, 1.5))], {1: "a"}).looks
    assert look.local % 2 == 1
    assert max(look.patch) / 5 < look.local < max(look.patch) / 3
    for kind in ("CT", "US"):
        shape = (1, 128, 120) if kind == "CT" else (40, 50, 40)
        (other,) = make_plan([print_of(shape, (1, 1, 1), kind)], {1: "a"}).looks
        assert other.local == 0
    rng = np.random.default_rng(0)
    even = 100 + 30 * rng.standard_normal((2, 128, 120)).astype(np.float32)
    shaded = even * np.geomspace(0.2, 2, 120, dtype=np.float32)
    one, two = (
        seen(Volume.from_array(v, affine_of((10, 1.5, 1.5), (0, 0, 0))), look, Brightness("scan"))
        for v in (even, shaded)
    )
    assert one.shape == (2, 2, 128, 120)
    assert np.corrcoef(one[0].ravel(), two[0].ravel())[0, 1] < 0.8
    assert np.corrcoef(one[1].ravel(), two[1].ravel())[0, 1] > 0.97
    flat = np.full((2, 128, 120), 7, np.float32)
    air = seen(Volume.from_array(flat, affine_of((10, 1.5, 1.5), (0, 0, 0))), look, Brightness())
    assert not air.any()


def test_a_file_of_the_version_before_can_be_read(tmp_path, monkeypatch):
    plan = make_plan([print_of((6, 128, 120), (10, 1.5, 1.5), "CT")], {1: "a"})
    told = plan.as_dict()
    del told["single"], told["looks"][0]["local"]
    monkeypatch.setattr(file, "VERSION", 2)
    monkeypatch.setattr(Plan, "as_dict", lambda self: told)
    path = tmp_path / "before.sammed"
    path.write_bytes(file.pack(Teaching(plan), (build_net(plan.looks[0], 1, 2).state_dict(),), ""))
    monkeypatch.undo()
    assert read_learned(path).teaching.plan == plan


def test_raw_ct_values_are_taken_for_hounsfield_units():
    volume = read(SAMPLE / "phantom_ct.nii.gz")
    raw = replace(volume, voxels=(volume.voxels + 1024).astype(np.uint16), modality="")
    look, ct = Look((8.0, 8.0, 8.0), (8, 8, 8)), Brightness("ct", -100, 200, 0, 1)
    np.testing.assert_allclose(seen(raw, look, ct), seen(volume, look, ct), atol=1)


def test_more_agreement_never_means_less_dice():
    rng = np.random.default_rng(1)
    true = rng.uniform(0.2, 0.95, 24)
    alike = 0.8 + 0.2 * true + 0.01 * rng.standard_normal(24)
    doubted = [Doubt(a - 0.02 + 0.001 * n, a) for n, a in enumerate(alike)]
    found = calibrate([str(n) for n in range(24)], doubted, list(true))
    assert min(found.weights[1:]) >= 0
    assert found.estimate(Doubt(0.99, 0.99)) > 0.8
    assert found.r > 0.9


def test_a_second_opinion_counts_where_it_was_asked_for():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.95, 24)
    people = [f"p{n // 2}" for n in range(24)]
    vague = rng.uniform(0.7, 0.9, (24, 2))
    told = [Doubt(a, b, t - 0.05) for (a, b), t in zip(vague, truth, strict=True)]
    silent = [Doubt(one.promise, one.agreement) for one in told]
    found, without = calibrate(people, told, truth), calibrate(people, silent, truth)
    assert found.asks
    assert not without.asks
    assert found.error < 0.5 * without.error
    assert found.r > 0.9
    again = Calibration.from_dict(found.as_dict())
    assert again.estimate(told[0]) == pytest.approx(found.estimate(told[0]), abs=1e-3)
    assert Calibration.from_dict({**found.as_dict(), "weights": [0.1, 0.2, 0.3]}).weights[3] == 0


def test_earlier_proposals_teach_the_calibration_and_are_not_judged():
    late = [Doubt(0.9, 0.9), Doubt(0.88, 0.9), Doubt(0.9, 0.88), Doubt(0.89, 0.9)]
    early = [Doubt(0.6, 0.5), Doubt(0.3, 0.2), Doubt(0.5, 0.6), Doubt(0.2, 0.3)]
    true = [0.85, 0.84, 0.84, 0.85, 0.4, 0.1, 0.4, 0.1]
    found = calibrate([*"aabb", *"aabb"], [*late, *early], true, judged=4)
    assert found.structures == 4
    alone = calibrate([*"aabb"], late, true[:4])
    bad = Doubt(0.4, 0.4)
    assert abs(found.estimate(bad) - 0.25) < abs(alone.estimate(bad) - 0.25)


def test_a_second_opinion_is_high_on_the_truth_and_low_elsewhere():
    volume, truth = scan(0)
    from sammed.learning.opinion import second_opinion
    from sammed.models.compact.model import CompactModel

    model = CompactModel()
    right = second_opinion(volume, truth == 1, "ball", lambda name: model)
    wrong = second_opinion(volume, np.roll(truth == 1, 5, 2), "ball", lambda name: model)
    assert right > wrong
    assert second_opinion(volume, np.zeros_like(truth, bool), "ball", lambda name: model) == 0
