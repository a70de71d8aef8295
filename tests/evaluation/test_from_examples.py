"""Protocol X: other people's scans explain a case, never the same person's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sammed import io
from sammed.evaluation.cohort import Plan, run_cohort
from sammed.evaluation.from_examples import chosen
from sammed.evaluation.manifest import Case
from sammed.evaluation.parts import PartStore
from sammed.evaluation.protocols import EXAMPLES, FLOORS, unsuited
from sammed.models import registry
from sammed.models.recipe import PLAIN
from tests.examples.scans import body

pytestmark = pytest.mark.thorough


def case(number: int, subject: str, folder: Path = Path()) -> Case:
    image, label = folder / f"{number}.nii.gz", folder / f"{number}_l.nii.gz"
    return Case(f"c{number}", image, label, {1: "liver"}, "CT", subject=subject)


def test_no_example_is_of_the_same_person_and_the_draw_is_the_cases_own():
    cases = [case(n, f"p{n // 2}") for n in range(20)]
    for one in cases:
        drawn = chosen(one, cases)
        assert len(drawn) == max(EXAMPLES)
        assert one.subject not in {other.subject for other in drawn}
        assert drawn == chosen(one, list(cases))
    assert chosen(cases[0], cases) != chosen(cases[0], cases, seed=1)


def test_a_cohort_is_run_with_floors_beside_the_examples(tmp_path: Path):
    cases = []
    for number in range(3):
        volume, labels = body(40 + number)
        one = case(number, f"p{number}", tmp_path)
        io.write_volume(volume, one.image)
        io.write_labels(labels, one.label)
        cases.append(one)
    model = registry.build("two_class")

    class Judging:
        """The baseline, as a model whose answers mean something."""

        spec = replace(model.spec, calibrated=True, recipe=PLAIN)
        encode, decode = staticmethod(model.encode), staticmethod(model.decode)

    plan = Plan(tuple(cases), {"two": Judging()}, ("X",))
    parts = run_cohort(plan, PartStore(tmp_path / "out"))
    scores = {
        kind: [row.dice for part in parts for row in part.rows if row.variant == kind]
        for kind in (*FLOORS, *(f"examples {n}" for n in EXAMPLES))
    }
    assert {len(found) for found in scores.values()} == {3}
    assert sum(scores["examples 1"]) > sum(scores["affine"])


def test_baselines_take_no_part():
    assert unsuited("X", registry.build("ellipse").spec)
    assert not unsuited("X", registry.build("compact").spec)
