from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import InputError
from sammed.evaluation import protocols
from sammed.evaluation.protocols import Condition, conditions, headline, parse_protocols
from sammed.models.protocols import ALL_PROMPTS, BOX_ONLY, ModelSpec

CLICKABLE = ModelSpec("any", 64, 64, prompts=ALL_PROMPTS)
BOXES = ModelSpec("boxes", 64, 64, prompts=BOX_ONLY)


def mask():
    m = np.zeros((7, 20, 22), bool)
    m[1:6, 3:9, 4:12] = True
    m[3, 13:19, 14:20] = True
    return m


def test_protocols_are_read_from_text():
    assert parse_protocols("a, B2,A") == ["A", "B2"]
    with pytest.raises(InputError, match="unknown protocol Z; expected A, B, B2, C, D, P"):
        parse_protocols("A,Z")
    with pytest.raises(InputError, match="unknown protocol"):
        parse_protocols("")


def test_only_what_is_random_is_repeated():
    a = conditions("A", CLICKABLE, (3, 4, 5), (0.0, 0.05))
    assert [(c.jitter, c.seed) for c in a] == [(0, 3), (0.05, 3), (0.05, 4), (0.05, 5)]
    assert [(c.points, c.seed) for c in conditions("P", CLICKABLE, (0, 1))] == [
        (n, s) for n in (1, 3, 10) for s in (0, 1)
    ]
    assert len(conditions("B", CLICKABLE, (0, 1))) == len(conditions("B2", CLICKABLE, (0, 1))) == 1
    d = conditions("D", CLICKABLE, (0, 1))
    assert [c.seed for c in d if c.distortion == "noise 5%"] == [0, 1]
    assert len({c.variant for c in d}) == len(protocols.DISTORTIONS)


def test_models_without_points_are_not_clicked_on():
    assert conditions("C", CLICKABLE)[0].clicks == 5
    assert conditions("C", BOXES)[0].clicks == 0
    assert "boxes only" in protocols.unsuited("P", BOXES)
    assert protocols.unsuited("P", CLICKABLE) == protocols.unsuited("A", BOXES) == ""


def test_headlines():
    assert headline("A", conditions("A", CLICKABLE, (1, 2))) == Condition("A", 1, jitter=0.05)
    assert headline("A", conditions("A", CLICKABLE, (1,), (0.0, 0.5))).jitter == 0
    assert headline("P", conditions("P", CLICKABLE, (1, 2))) == Condition("P", 1, points=10)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_start_prompts_are_those_of_the_protocol(axis):
    rng = np.random.default_rng(0)
    m = mask()

    def start(condition):
        prompts = protocols.start_prompts(condition, "organ", m, axis, rng)
        prompts.check(m.shape)
        return prompts

    every = start(Condition("A"))
    assert every.propagate == "off"
    assert {b.axis for b in every.boxes} == {axis}
    if axis == 0:
        assert [b.index for b in every.boxes] == [1, 2, 3, 3, 4, 5]
    block = start(Condition("B"))
    assert block.blocks[0].low == (1, 3, 4)
    assert block.blocks[0].high == (6, 19, 20)
    assert block.propagate == "auto"
    assert (
        start(Condition("C", clicks=5)) == start(Condition("D", distortion="undisturbed")) == block
    )
    single = start(Condition("B2"))
    assert (len(single.boxes), single.blocks, single.propagate) == (1, (), "auto")
    points = start(Condition("P", points=3))
    assert points.propagate == "off"
    assert all(m[p.at] and p.positive for p in points.points)


def test_random_numbers_belong_to_seed_variant_and_object():
    def draw(condition, *where):
        return condition.generator(*where).random()

    a = Condition("A", 0, jitter=0.1)
    assert draw(a, "case", "liver") == draw(a, "case", "liver")
    others = [
        draw(a, "case", "spleen"),
        draw(a, "other", "liver"),
        draw(Condition("A", 1, jitter=0.1), "case", "liver"),
        draw(Condition("A", 0, jitter=0.25), "case", "liver"),
    ]
    assert len({draw(a, "case", "liver"), *others}) == 5


def test_a_run_has_the_baselines_that_take_part_and_those_asked_for():
    from sammed.evaluation.cohort import idle_baselines
    from sammed.models import registry
    from sammed.models.catalogue import BASELINES

    built = {name: registry.build(name) for name in BASELINES}
    assert set(idle_baselines(built, (), ("A", "B2"))) == {"random_walker", "stroke_classes"}
    assert set(idle_baselines(built, (), ("S",))) == {"box", "ellipse", "two_class"}
    assert idle_baselines(built, (), ("B", "S")) == []
    assert "box" not in idle_baselines(built, ("box",), ("S",))
