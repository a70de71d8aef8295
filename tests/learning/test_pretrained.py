"""What segmenters begin with, and what of it fits which network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sammed import cli
from sammed.errors import WeightsMismatchError
from sammed.learning.card import model_card
from sammed.learning.lessons import make_lesson
from sammed.learning.planning import fingerprint, make_plan
from sammed.learning.stepping import Budget
from sammed.learning.training import LookTrainer, Recipe
from sammed.learning.wishes import Wishes
from sammed.models.learned import pretrained
from sammed.models.learned.file import Teaching
from sammed.models.learned.net import build_net
from sammed.models.learned.plan import Look
from sammed.models.learned.pretrained import FILES, FLAT, SOLID, begin, fitted, read_pretrained
from tests.learning.tiny_cases import STRUCTURES, cases

USUAL = {3: Look((1.0, 1.0, 1.0), (40, 56, 40)), 2: FLAT.look}
LAST = ("model.2.0.weight", "model.2.0.bias")


def changed(look: Look, channels: int, classes: int = 3) -> tuple[set[str], set[str]]:
    """Names of what `begin` gives a network, and of the rest."""
    torch.manual_seed(0)
    net = build_net(look, channels, classes)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    begin(net, look)
    after = net.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    return set(before) - same, same


@pytest.mark.parametrize("dims", [3, 2])
def test_all_but_the_last_layer_begins_with_what_is_shipped(dims):
    _, left = changed(USUAL[dims], 1 if dims == 3 else 2)
    assert left == set(LAST)


@pytest.mark.parametrize(
    ("look", "channels", "most"),
    [
        (replace(USUAL[3], patch=(96, 96, 64), levels=5), 1, 14),  # a whole level more
        (replace(USUAL[3], patch=(24, 24, 24), levels=3), 1, 5),
        (Look((4.0, 1.0, 1.0), (16, 64, 64)), 1, 2),
        (replace(USUAL[2], patch=(1, 64, 64), levels=4), 2, 5),
        (replace(USUAL[2], local=0), 1, 2),
        (replace(USUAL[2], local=0), 3, 2),
        (USUAL[3], 3, 2),
    ],
)
def test_networks_of_other_depths_and_channels_begin_with_most_of_it(look, channels, most):
    got, left = changed(look, channels)
    assert len(left) <= most, left
    assert any(name.startswith("model.0.") for name in got)


def test_the_first_layer_sees_of_colours_their_brightness():
    look = replace(USUAL[2], local=0)
    grey, colour = build_net(look, 1, 2), build_net(look, 3, 2)
    for net in (grey, colour):
        begin(net, look)
    image = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        first = [net.get_submodule("model.0") for net in (grey, colour)]
        a, b = first[0](image), first[1](image.repeat(1, 3, 1, 1))
    assert torch.allclose(a, b, atol=1e-4)


def test_what_does_not_fit_stays_as_it_was():
    own = {"model.1.weight": torch.zeros(2, 3)}
    assert fitted({"model.1.weight": torch.ones(3, 3)}, own) == own


def test_weights_of_another_network_are_refused():
    with pytest.raises(WeightsMismatchError, match="expected 'segmenter-unet/1 2-2-24"):
        read_pretrained(FILES[3], FLAT)
    assert read_pretrained(FILES[3], SOLID)


@pytest.mark.thorough
def test_it_learns_more_in_the_same_steps():
    """Of the same patches, from the same seed."""
    taught = cases(2)
    names = STRUCTURES
    plan = make_plan([fingerprint(one.volume, one.labels) for one in taught], names)
    (look,) = plan.looks
    lessons = [
        make_lesson(one.id, one.volume, one.labels, names, look, plan.brightness) for one in taught
    ]
    losses = {}
    for begun in (True, False):
        trainer = LookTrainer(lessons, plan, look, 0, Recipe(pretrained=begun))
        told: list[float] = []
        trainer.run(Budget(0, 60), lambda pace, told=told: told.append(pace.loss))
        losses[begun] = told[-1]  # the mean of the last forty steps
    assert losses[True] < 0.95 * losses[False]


def test_a_run_that_is_resumed_begins_as_it_was_begun():
    scratch = Wishes(recipe=Recipe(pretrained=False))
    said = {**scratch.told(), "seed": 0}
    assert not Wishes().resumed(said).recipe.pretrained
    said.pop("pretrained")  # of a version that had no such weights
    assert not Wishes().resumed(said).recipe.pretrained
    assert Wishes().resumed({**Wishes().told(), "seed": 0}).recipe.pretrained


def test_the_card_says_what_it_began_with():
    plan = make_plan([fingerprint(one.volume, one.labels) for one in cases(1)], {1: "ball"})
    about = {
        "round": 1, "when": "now", "seconds": 1.0, "seed": 0, "sammed": "0", "rehearsed": False,
        "began": [pretrained.began_with(plan.looks[0])],
    }  # fmt: skip
    teaching = Teaching(plan, "study", {"a": "mark"}, {}, about)
    assert f"- began with: features of synthetic scenes ({about['began'][0]})" in model_card(
        teaching
    )
    about.pop("began")
    assert "- began with: random weights" in model_card(teaching)


def test_a_project_may_learn_from_scratch(capsys):
    assert cli.main(["learn", "--help"]) == 0
    assert "--from-scratch" in capsys.readouterr().out
