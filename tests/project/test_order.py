"""Which case comes next: cheapest to mend, by chance within strata, by doubt."""

from __future__ import annotations

import pytest

from sammed import cli
from sammed.errors import InputError
from sammed.imaging.volume import LabelVolume
from sammed.project.order import check_order
from tests.project.folders import make_project, scan


def proposed(project, id: str, **estimated: float) -> None:
    volume, labels = scan(int(id[1:]))
    case = project.case(id)
    with case.held() as lease:
        case.commit(
            lease, "propose", {"state": "proposed", "estimated": estimated},
            labels=LabelVolume(labels.astype("uint8"), volume.grid, project.description.names),
        )  # fmt: skip


@pytest.fixture
def project(tmp_path):
    project = make_project(tmp_path, 7)
    proposed(project, "p1", ball=0.9, box=0.8)
    proposed(project, "p2", ball=0.5, box=0.6)
    proposed(project, "p3", ball=0.7, box=0.0)
    proposed(project, "p4", ball=0.0, box=0.0)
    return project


def ids(project, order):
    return [case.id for case in project.queue(order)]


def test_what_costs_least_to_mend_comes_first_and_cases_without_a_proposal_last(project):
    assert ids(project, "cheapest")[:4] == ["p1", "p2", "p3", "p4"]
    assert set(ids(project, "cheapest")[4:]) == {"p0", "p5", "p6"}


def test_what_the_model_is_least_sure_of(project):
    assert ids(project, "doubt")[:4] == ["p4", "p3", "p2", "p1"]


def test_by_chance_what_was_found_takes_turns_and_nothing_comes_last(project):
    order = ids(project, "random")
    assert order == ids(project, "random")
    assert order[-1] == "p4"
    strata = {"p1": "both", "p2": "both", "p3": "ball", "p0": "", "p5": "", "p6": ""}
    assert {strata[id] for id in order[:3]} == {"both", "ball", ""}


def test_people_with_no_accepted_case_come_first(project):
    volume, labels = scan(1)
    project.accept("p1", LabelVolume(labels.astype("uint8"), volume.grid, {}))
    assert "p1" not in ids(project, "random")


def test_on_the_command_line(project, capsys):
    folder = str(project.folder)
    assert cli.main(["project", "next", folder, "--order", "doubt"]) == 0
    assert capsys.readouterr()[0] == "p4\n"
    assert cli.main(["project", "next", folder, "--order", "best"]) != 0
    assert "unknown order 'best'; expected cheapest, random, doubt" in capsys.readouterr()[1]
    with pytest.raises(InputError):
        check_order("")
