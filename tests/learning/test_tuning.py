"""compact tuned to a small project: drawn, learned, kept as a difference, used, refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import sammed
from sammed import api, cli
from sammed.errors import Cancelled, InputError, WeightsMismatchError
from sammed.evaluation.protocols import Condition
from sammed.evaluation.trial import Target, run_trial
from sammed.learning import jury, prompted
from sammed.learning.course import Wishes, learn, model_path
from sammed.learning.exercises import make_exercises, slab_of
from sammed.learning.prompted import Prompted, gains, worse
from sammed.learning.proposing import propose
from sammed.learning.pupils import read_all
from sammed.learning.rounds import rounds
from sammed.learning.stepping import Budget
from sammed.learning.tuning import Tuner, TuningRecipe, parts_for, towards
from sammed.models import registry
from sammed.models.compact.tuned import PARTS, difference, shipped_nets, tuned_nets
from sammed.models.learned.file import pack, read_learned
from sammed.models.learned.model import LearnedModel
from sammed.prompts import ObjectPrompts
from sammed.prompts.simulation import largest_slice_box
from sammed.session import Session
from tests.learning.test_course import taught_project
from tests.project.folders import scan

SMALL = TuningRecipe(real=2, replayed=1, chunk=4, window=1)
QUICK = Wishes(steps=2, what="promptable", tuning=SMALL)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def exercises(tmp_path_factory):
    project = taught_project(tmp_path_factory.mktemp("exercises"), 2, 2)
    return make_exercises(read_all(project, ["p0", "p1"]), project.description.names, 0)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    project = taught_project(tmp_path_factory.mktemp("tuned"), 4, 3)
    learn(project, QUICK)
    return project


def test_an_exercise_shows_its_structure_and_never_twice_the_same(exercises):
    assert {one.structure for one in exercises} == {"ball", "box"}
    assert parts_for(exercises) == PARTS
    assert parts_for([one for one in exercises if not one.solid]) == ("views", "boxes")
    one = next(one for one in exercises if not one.solid)
    first, second, again = (slab_of(one, np.random.default_rng(n)) for n in (1, 2, 1))
    assert first.by_hand
    np.testing.assert_array_equal(first.image, again.image)
    assert not np.array_equal(first.image, second.image)
    (target,) = first.targets
    share = target.mask.sum() / one.mask.sum()
    assert 0.5 < share < 2
    inside = first.image[target.mask].mean()
    assert abs(inside - first.image[~target.mask].mean()) > 0.02  # image and mask move together


@pytest.mark.thorough
@pytest.mark.parametrize("part", PARTS)
def test_so_many_steps_give_the_same_network_also_when_stopped(exercises, part):
    net = shipped_nets().part(part)
    before = copy.deepcopy(net.state_dict())
    whole = Tuner(part, net, exercises, 0, SMALL)
    whole.run(Budget(0, 3))
    halves = [Tuner(part, net, exercises, 0, SMALL) for _ in range(2)]

    def stop(pace):
        if pace.step == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        halves[0].run(Budget(0, 3), stop)
    halves[1].resume(halves[0].state())
    halves[1].run(Budget(0, 3))
    for name, value in whole.weights.items():
        torch.testing.assert_close(halves[1].weights[name], value, rtol=0, atol=0)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert any(not torch.equal(whole.weights[name], value) for name, value in before.items())


def test_few_weights_learn_where_few_are_to(exercises):
    net = shipped_nets().views
    for trained, still in (("norms", "masks.weight"), ("decoder", "stem.0.weight")):
        tuner = Tuner("views", net, exercises, 0, replace(SMALL, trained=trained))
        tuner.run(Budget(0, 2))
        assert torch.equal(tuner.weights[still], net.state_dict()[still])
        changed = [n for n, v in net.state_dict().items() if not torch.equal(tuner.weights[n], v)]
        assert changed


def test_the_difference_added_is_what_was_tuned_to_half_a_step():
    shipped = shipped_nets()
    rng = torch.Generator().manual_seed(0)
    for part in PARTS:
        net = shipped.part(part)
        weights = {
            name: value + 0.01 * torch.randn(value.shape, generator=rng)
            if value.is_floating_point() and "running" not in name else value.clone()
            for name, value in net.state_dict().items()
        }  # fmt: skip
        stored = difference(net, weights)
        assert not any("running" in name for name in stored)
        back = tuned_nets(shipped, shipped.hashes, {part: stored}).part(part).state_dict()
        for name, value in weights.items():
            if not value.is_floating_point():
                continue
            scale = stored.get(name + ".scale", torch.full((len(value),), 2e-4))
            step = scale.reshape(-1, *[1] * (value.ndim - 1)).expand_as(value)
            kept = (value - net.state_dict()[name]).abs() <= 7 * step  # a few large ones are cut
            assert bool(((back[name] - value).abs() <= step / 2 + 1e-5)[kept].all())
            assert float(kept.float().mean()) > 0.9 or value.ndim == 1
        half = towards(net, weights, 0.5)
        name = next(iter(weights))
        torch.testing.assert_close(half[name], (weights[name] + net.state_dict()[name]) / 2)


@pytest.mark.thorough
def test_a_file_that_answers_prompts_alone(tuned):
    file = model_path(tuned)
    read = read_learned(file)
    assert set(read.tuned) == set(PARTS)
    assert read.weights == ()
    assert read.teaching.tuned["parents"] == shipped_nets().hashes
    assert file.stat().st_size < 6e6
    model = LearnedModel(file)
    assert registry.structures(str(file)) == {}
    volume, _ = scan(3)
    found = api.segment(volume, box={"thing": (2, 2, 2, 16, 16, 10)}, model=model)
    assert found.names == {1: "thing"}
    with pytest.raises(InputError, match="finds nothing without a prompt"):
        propose(tuned)
    report = rounds(tuned)[0].report()
    assert report["verdict"] == {}
    assert set(report["prompted"]["gained"]["structures"]) == {"ball", "box"}
    assert "From prompts" in read.card


@pytest.mark.thorough
def test_each_half_stays_where_the_other_is_learned(tuned, tmp_path):
    project = taught_project(tmp_path, 4, 3)
    learn(project, Wishes(steps=2, what="segmenter"))
    first = read_learned(model_path(project))
    assert not first.tuned
    learn(project, QUICK)
    both = read_learned(model_path(project))
    if rounds(project)[1].report()["prompted"]["verdict"]["used"]:
        assert set(both.tuned) == set(PARTS)
    for name, value in first.weights[0].items():
        torch.testing.assert_close(both.weights[0][name], value)
    assert both.teaching.judged == first.teaching.judged
    learn(project, Wishes(steps=4, what="segmenter"))
    third = read_learned(model_path(project))
    assert third.teaching.tuned == both.teaching.tuned


def with_tuned(path, tuned, **change) -> None:
    """The file of a project again, with something else said of its tuning."""
    read = read_learned(model_path(tuned))
    teaching = replace(read.teaching, tuned={**read.teaching.tuned, **change})
    path.write_bytes(pack(teaching, read.weights, read.card, read.tuned))


def test_another_parent_is_refused_in_one_line(tuned, tmp_path):
    parents = {**shipped_nets().hashes, "boxes": "0" * 64}
    with_tuned(tmp_path / "other.sammed", tuned, parents=parents)
    with pytest.raises(
        WeightsMismatchError, match="tuned from other weights of compact's boxes"
    ) as e:
        sammed.load_model(tmp_path / "other.sammed")
    assert "\n" not in str(e.value)


@pytest.mark.thorough
def test_what_became_worse_is_left_to_compact_as_it_is_shipped(tuned, tmp_path):
    with_tuned(tmp_path / "some.sammed", tuned, worse=["box"])
    model = LearnedModel(tmp_path / "some.sammed")
    plain, other = model.prompted("box"), model.prompted("ball")
    assert plain.spec.weights_hash == registry.build("compact").spec.weights_hash
    assert other.spec.weights_hash != plain.spec.weights_hash
    assert model.prompted("ball") is other
    volume, truth = scan(3)
    target = Target("box", 2, truth == 2, truth == 2)
    masks = [
        next(iter(run_trial(volume, target, one, Condition("B")))).mask
        for one in (model, registry.build("compact"))
    ]
    np.testing.assert_array_equal(*masks)


def test_an_object_of_another_name_may_say_which_structure_it_is(tuned, tmp_path):
    with_tuned(tmp_path / "some.sammed", tuned, worse=["box"])
    model = LearnedModel(tmp_path / "some.sammed")
    assert model.spec.tuned == {"ball"}
    volume, truth = scan(3)
    drawn = {"boxes": [largest_slice_box(truth == 1, 0)], "propagate": "off"}
    session = Session(volume, model)
    session.put(
        ObjectPrompts("ball", **drawn),
        ObjectPrompts("Segment_1", structure="ball", **drawn),
        ObjectPrompts("Segment_2", structure="box", **drawn),
        ObjectPrompts("Segment_3", **drawn),
    )
    session.segment()
    told = {name: run.structure for name, run in session.runs.items()}
    assert told == {"ball": "ball", "Segment_1": "ball", "Segment_2": "", "Segment_3": ""}
    logits = [run.volume.logits.tobytes() for run in session.runs.values()]
    assert logits[0] == logits[1] != logits[2] == logits[3]


@pytest.mark.thorough
def test_tuning_that_held_back_cases_call_worse_is_not_used(tmp_path, monkeypatch):
    project = taught_project(tmp_path, 4, 3)
    learn(project, Wishes(steps=2, what="segmenter"))
    before = model_path(project).read_bytes()
    lower = [Prompted("p1", "p1", "ball", 0.9, 0.8), Prompted("p1", "p1", "box", 0.7, 0.72)]
    monkeypatch.setattr(jury, "judge_prompted", lambda *_: lower)
    outcome = learn(project, QUICK)
    assert not outcome.used
    assert outcome.report["prompted"]["verdict"]["why"] == "worse than compact as it is shipped"
    assert outcome.file.name == "not-used.sammed"
    assert model_path(project).read_bytes() == before


def test_gains_by_structure():
    judged = [
        Prompted("a", "a", "liver", 0.8, 0.9), Prompted("b", "b", "liver", 0.7, 0.9),
        Prompted("a", "a", "vein", 0.6, 0.5),
    ]  # fmt: skip
    found = gains(judged)
    assert found["structures"]["liver"]["difference"] == pytest.approx(0.15)
    assert found["structures"]["liver"]["low"] == pytest.approx(0.1)
    assert worse(found) == ["vein"]
    assert worse({}) == []


@pytest.mark.thorough
def test_a_stopped_course_goes_on_to_the_same_file(tmp_path):
    whole, parts = (taught_project(tmp_path / name, 3, 2) for name in "ab")
    wishes = Wishes(steps=2, what="both", tuning=SMALL)
    first = read_learned(learn(whole, wishes).file)
    calls = 0

    def stop(progress):
        nonlocal calls
        calls += progress.pace is not None
        if calls == 5 and progress.pace is not None:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        learn(parts, wishes, told=stop)
    second = read_learned(learn(parts, Wishes(tuning=SMALL), resume=True).file)
    assert second.tuned.keys() == first.tuned.keys()
    for part, stored in first.tuned.items():
        for name, value in stored.items():
            assert torch.equal(second.tuned[part][name], value)


def test_at_most_so_many_are_prompted(tmp_path, monkeypatch):
    project = taught_project(tmp_path, 3, 3)
    monkeypatch.setattr(prompted, "MOST", 3)
    monkeypatch.setattr(prompted, "reached", lambda volume, target, model: model)
    cases = read_all(project, ["p0", "p1", "p2"])
    done = prompted.judge_prompted(cases, project.description.names, 0.5, 0.6)
    assert [(one.case, one.structure) for one in done] == [
        ("p0", "ball"), ("p0", "box"), ("p1", "ball")
    ]  # fmt: skip


@pytest.mark.thorough
def test_on_the_command_line(tuned, tmp_path, capsys):
    assert cli.main(["learn", str(tuned.folder), "--what", "all"]) != 0
    assert "cannot learn 'all'; expected both, segmenter, promptable" in capsys.readouterr()[1]
    volume, truth = scan(3)
    sammed.write(volume, tmp_path / "s.nii.gz")
    model = str(model_path(tuned))
    for name in (model, f"{model}#prompts"):
        said = ["segment", str(tmp_path / "s.nii.gz"), "--box", "ball=3,3,3,16,16,12", "--model",
                name, "-o", str(tmp_path / "o.nii.gz"), "--force"]  # fmt: skip
        assert cli.main(said) == 0
    folder = tuned.folder.parent
    files = {name: str(folder / f"{name}s" / "p3.nii.gz") for name in ("scan", "label")}
    case = {"id": "p3", "image": files["scan"], "label": files["label"], "labels": {"1": "ball"}}
    (tmp_path / "cases.json").write_text(json.dumps({"format": "sammed-cases/1", "cases": [case]}))
    said = ["evaluate", "--cases", str(tmp_path / "cases.json"), "--protocol", "B", "--model",
            model, "--no-baselines", "--out", str(tmp_path / "results")]  # fmt: skip
    assert cli.main(said) == 0
    assert truth.any()
